"""Large definitions are looked at apart from the loop, on which everybody else waits."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import pytest

from perdure.engine.errors import Invalid
from perdure.engine.runtime.streams import loader
from perdure.engine.runtime.streams.bulky import IN_LOOP_MAX
from perdure.engine.services import documents
from perdure.engine.services import workflows as catalog

from .conftest import Bench, eventually

Spied = tuple[str, bool]


def large(**state: Any) -> dict[str, Any]:
    passing = {"Type": "Pass", "Comment": "a" * IN_LOOP_MAX, "End": True, **state}
    return {"StartAt": "A", "States": {"A": passing}}


@pytest.fixture
def spied(monkeypatch: pytest.MonkeyPatch) -> list[Spied]:
    """What was called to look at a definition, and whether that was on the loop's thread."""
    seen: list[Spied] = []

    def spy(module: Any, name: str) -> None:
        inner: Callable[..., Any] = getattr(module, name)

        def call(*arguments: Any, **named: Any) -> Any:
            seen.append((name, threading.current_thread() is threading.main_thread()))
            return inner(*arguments, **named)

        monkeypatch.setattr(module, name, call)

    spy(documents, "problems")
    spy(catalog, "warnings")
    spy(loader, "compile_machine")
    return seen


async def test_a_large_definition_is_looked_at_apart(bench: Bench, spied: list[Spied]) -> None:
    """When it is created, changed and applied, and when a run of it starts; a bad one, too."""
    engine = await bench.start()
    workflow = await engine.create_workflow("large", large())
    await engine.trigger(workflow.id)
    await engine.apply_workflow("large", large(Result=1))
    with pytest.raises(Invalid):
        await engine.apply_workflow("large", large(Nonsense=1))
    assert {name for name, _ in spied} == {"problems", "warnings", "compile_machine"}
    assert not any(is_on_loop for _, is_on_loop in spied)


async def test_a_small_definition_is_looked_at_at_once(bench: Bench, spied: list[Spied]) -> None:
    """Handing it to a thread would cost more than it does."""
    engine = await bench.start()
    workflow = await engine.create_workflow("small", {"StartAt": "A", "States": {"A": {"Type": "Succeed"}}})
    await engine.trigger(workflow.id)
    assert {is_on_loop for _, is_on_loop in spied} == {True}


async def test_a_large_definition_is_stored_as_it_was_when_it_was_sent(bench: Bench, spied: list[Spied]) -> None:
    """A caller that goes on changing it changes nothing."""
    engine = await bench.start()
    definition = large()
    task = asyncio.ensure_future(engine.create_workflow("large", definition))
    await eventually(lambda: bool(spied))
    definition["States"]["A"]["Type"] = "Nonsense"
    workflow = await task
    assert (await engine.trigger(workflow.id)).id
