"""What runs leave for Python's collector of cycles to look at: an embedding program need not tune it."""

from __future__ import annotations

import asyncio
import gc
from typing import Any

from perdure.engine.core.persistent import EMPTY, PersistentMap
from perdure.engine.steps import Registry
from tests.engine.runtime.conftest import Bench, eventually

RUNS = 200
OBJECTS_MAX = 46
"""Measured: 42 to 44, of which a dozen are the store's in memory. It was 48 with a closure for each step's end."""


def waiting() -> dict[str, Any]:
    return {"StartAt": "S", "States": {"S": {"Type": "Task", "Resource": "wait", "End": True}}}


async def test_a_run_whose_step_runs_is_few_objects_to_the_collector(bench: Bench) -> None:
    """So few containers are made and kept for each; what makes more makes the collector look that much more often."""
    go_on, running = asyncio.Event(), 0
    steps = Registry()

    @steps.step("wait")
    async def wait(value: Any) -> Any:
        nonlocal running
        running += 1
        await go_on.wait()
        return value

    engine = await bench.start(steps=steps)
    workflow = await engine.create_workflow("w", waiting())

    async def begin(count: int) -> list[str]:
        expected = running + count
        begun = [(await engine.trigger(workflow.id, {})).id for _ in range(count)]
        await eventually(lambda: running == expected, seconds=60)
        return begun

    first = await begin(10)  # what is made once
    gc.collect()
    gc.disable()
    try:
        before = len(gc.get_objects())
        begun = await begin(RUNS)
        kept = len(gc.get_objects()) - before
    finally:
        gc.enable()
    go_on.set()
    for execution in (*first, *begun):
        await engine.result(execution, timeout=60)

    assert kept <= OBJECTS_MAX * RUNS


def test_what_is_made_empty_is_one_object() -> None:
    """Most runs hold no forks, timers and waits most of the time."""
    assert PersistentMap({"a": 1}).delete("a") is EMPTY
    assert PersistentMap({"a": 1, "b": 2}).without(["a", "b"]) is EMPTY
    assert len(EMPTY) == 0
