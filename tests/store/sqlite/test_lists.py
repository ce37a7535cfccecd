"""Statements with lists: compiled once for a few sizes, so that they go the quick way as all others do."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from perdure.store.sql.log import _STREAMS_OF
from perdure.store.sql.session import LIST_MAX
from perdure.store.sqlite import open_sqlite
from perdure.store.sqlite.compile import _SIZES, Compiler
from tests.store.builders import ORG, WORKSPACE, part, process_id, uid


def test_a_statement_is_compiled_for_few_sizes_only() -> None:
    """However long its lists come, there are no more texts than sizes; what is filled up stands there again."""
    compiler = Compiler()

    made = {compiler.compiled(_STREAMS_OF, {"stream_ids": list(range(1, n + 1))})[0] for n in range(1, LIST_MAX + 1)}

    assert len(made) == len(_SIZES)
    assert compiler.compiled(_STREAMS_OF, {"stream_ids": [4, 5]})[1] == [4, 5, 5, 5, 5, 5, 5, 5]


@pytest.mark.parametrize("count", [0, LIST_MAX + 1])
def test_a_list_of_no_size_is_refused(count: int) -> None:
    """An empty list, or one that is longer than any text, is a mistake of ours and not an answer without rows."""
    with pytest.raises(ValueError, match=f"has 1 to {LIST_MAX} values; this one has {count}"):
        Compiler().compiled(_STREAMS_OF, {"stream_ids": [0] * count})


async def test_reads_with_lists_open_no_connection(database: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They go to the connections that are held, not through SQLAlchemy's pool, which costs several times as much."""
    store = await open_sqlite(database)
    a, b = uid(1), uid(2)
    await store.append([part(a, events=3, claims=[process_id("a", a)]), part(b)])

    def connect(_: AsyncEngine) -> None:
        raise AssertionError

    monkeypatch.setattr(AsyncEngine, "connect", connect)
    assert [*await store.streams_of([a, b, uid(9)])] == [a, b]
    assert {key: len(events) for key, events in (await store.events_of([a, b])).items()} == {a: 3, b: 1}
    assert [event.row.seq for event in await store.events_at(a, [3, 1])] == [1, 3]
    assert await store.process_ids_of([a, b]) == {a: "a"}
    assert [*await store.process_ids_named(ORG, WORKSPACE, ["a", "b"])] == ["a"]
    assert await store.key_uses([a]) == {}
    monkeypatch.undo()
    await store.close()
