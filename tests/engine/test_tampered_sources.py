"""Tampering with the document of a version shows, as with its definition; and with who sees a workflow."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest

from perdure.engine import Engine
from perdure.engine.audit.store_audit import compare_projections, verify
from perdure.engine.core import ids
from perdure.engine.core import workflow as w
from perdure.engine.services.sending import send
from perdure.engine.testing import ManualClock
from perdure.store.memory import MemoryStore

DEFINITION = '{"StartAt":"a","States":{"a":{"Type":"Succeed"}}}'
SOURCE = '{"name":"Sch\u00f6n","steps":[{"id":"a","type":"log"}]}'
OUTLINE = '{"steps":[{"id":"a"}],"states":{"a":"a"}}'


def definition(source: str, summary: str | None) -> w.Definition:
    """A version that was compiled from this text."""
    digest = hashlib.sha256(DEFINITION.encode()).hexdigest()
    return w.Definition(DEFINITION, digest, source=w.SourceText("steps", source, OUTLINE), summary=summary)


@pytest.fixture
async def store() -> MemoryStore:
    """A store with a private workflow: a definition, then a document, then the same with another space in it."""
    made = MemoryStore()
    async with Engine.open(made, clock=ManualClock()) as engine:
        created = await engine.create_workflow("Invoices", {"StartAt": "a", "States": {"a": {"Type": "Succeed"}}})
        node = engine.services.workflows._node
        caller = await engine.services.access.default_caller("key:test")
        current = w.Definition(DEFINITION, hashlib.sha256(DEFINITION.encode()).hexdigest())
        for number, (source, summary) in enumerate([(SOURCE, "first"), (f"{SOURCE} ", None)], start=1):
            given = definition(source, summary)
            command = w.ChangeWorkflow(
                version=number,
                current=current,
                was_published=True,
                definition=given,
                sharing=w.Sharing("shared", ("ann",), ("auditor",)),
            )
            await send(node, caller, "workflow", ids.parse(created.id), command)
            current = given
    made._closed = False
    return made


async def breaks(store: MemoryStore) -> int:
    """The number of breaks that are found."""
    return len((await verify(store)).breaks)


async def test_versions_with_documents_are_sound_as_they_were_written(store: MemoryStore) -> None:
    """Three versions, of which the log says what they were made from; the fold of the stream gives the rows."""
    rows = sorted(store._versions.rows.values())
    assert [(row.format, row.source, row.summary) for row in rows] == [
        ("asl", None, None),
        ("steps", SOURCE, "first"),
        ("steps", f"{SOURCE} ", None),
    ]
    assert await breaks(store) == 0
    assert await compare_projections(store) == []


@pytest.mark.parametrize("column", ["source", "outline"])
async def test_each_changed_byte_of_a_document_is_found(store: MemoryStore, column: str) -> None:
    """Any character changed, taken out or doubled; and what is put back is sound again."""
    row = next(row for row in store._versions.rows.values() if row.version == 2)
    text = getattr(row, column)
    for index in range(len(text)):
        for put in ("", chr(ord(text[index]) ^ 1), text[index] * 2):
            forged: dict[str, Any] = {column: text[:index] + put + text[index + 1 :]}
            store._versions.put(row._replace(**forged))
            assert await breaks(store), (column, index, put)
    store._versions.put(row)
    assert await breaks(store) == 0


@pytest.mark.parametrize(
    "forged",
    [
        {"format": "graph"},
        {"format": "asl"},
        {"source": None},
        {"outline": None},
        {"source": None, "outline": None, "format": "asl"},
        {"summary": "another"},
        {"summary": None},
    ],
)
async def test_what_stands_beside_a_document_is_found_changed(store: MemoryStore, forged: dict[str, Any]) -> None:
    """Its format and summary, or that there is one at all."""
    row = next(row for row in store._versions.rows.values() if row.version == 2)
    store._versions.put(row._replace(**forged))
    assert await breaks(store)


async def test_a_document_is_not_put_beside_a_definition_later(store: MemoryStore) -> None:
    """A version that was written as its definition has none."""
    row = next(row for row in store._versions.rows.values() if row.version == 1)
    store._versions.put(row._replace(source=SOURCE))
    assert await breaks(store)
    store._versions.put(row._replace(format="steps", source=SOURCE, outline=OUTLINE))
    assert await breaks(store)


@pytest.mark.parametrize(
    "forged",
    [
        {"visibility": "tenant"},
        {"owner": "mallory"},
        {"shared_users": "\nann\n\nmallory\n"},
        {"shared_users": ""},
        {"shared_roles": "\nintern\n"},
    ],
)
async def test_who_sees_a_workflow_is_found_changed(store: MemoryStore, forged: dict[str, Any]) -> None:
    """Nobody lets themselves in by the table."""
    (row,) = store._workflows.rows.values()
    assert (row.visibility, row.owner, row.shared_users, row.shared_roles) == ("shared", "", "\nann\n", "\nauditor\n")
    store._workflows.put(row._replace(**forged))
    assert await breaks(store)
