"""Steps that wait for a place in an engine: the log says so of those that wait long, and no clock of theirs runs."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from perdure.engine import Engine
from perdure.engine.core.commands import Resume
from perdure.engine.errors import Unavailable
from perdure.engine.limits import Limits
from perdure.engine.runtime.workers.turns import AT_ONCE, REPORTED_AFTER_MS
from perdure.engine.steps import Registry
from tests.engine.runtime.conftest import Bench, eventually, rest
from tests.engine.runtime.test_quarantine import defect
from tests.engine.runtime.test_step_slots import calling, mapping

SECOND = 1000


class Work:
    """Two steps, on the loop or in threads: `slow` goes on until it is let go, `quick` ends at once."""

    def __init__(self) -> None:
        self.gate = asyncio.Event()
        self.called: list[str] = []
        self.steps = Registry()
        self.steps.step("slow")(self.slow)
        self.steps.step("quick")(self.quick)

    async def slow(self, _: Any) -> str:
        self.called.append("slow")
        await self.gate.wait()
        return "slow"

    async def quick(self, _: Any) -> str:
        self.called.append("quick")
        return "quick"


async def names(engine: Engine, execution_id: str) -> list[str]:
    return [type(recorded.event).__name__ async for recorded in engine.events(execution_id)]


async def crowd(bench: Bench, work: Work) -> tuple[Engine, str, str]:
    """An engine whose only place is taken by a slow step, and a quick one that waits; both runs' ids."""
    engine = await bench.start(work.steps, limits=Limits(steps_max=1))
    slow, quick = [await engine.create_workflow(name, calling(name)) for name in ("slow", "quick")]
    first = await engine.trigger(slow.id)
    await eventually(lambda: work.called)
    second = await engine.trigger(quick.id)
    await rest(engine)
    return engine, first.id, second.id


async def test_a_step_that_was_never_called_does_not_time_out(bench: Bench) -> None:
    """An hour behind another one, with a limit of a second: it is called, and succeeds."""
    work = Work()
    engine, _, second = await crowd(bench, work)
    limited = await engine.create_workflow("limited", calling("quick", TimeoutSeconds=1))
    third = await engine.trigger(limited.id)
    await rest(engine)
    await bench.push(engine, REPORTED_AFTER_MS)
    await bench.push(engine, 3600 * SECOND)
    assert await names(engine, third.id) == ["ExecutionStarted", "TaskScheduled", "TaskQueued"]
    work.gate.set()
    assert (await engine.result(third.id)).status == "completed"
    assert (await engine.result(second)).status == "completed"
    assert (await names(engine, third.id))[2:] == ["TaskQueued", "TaskStarted", "TaskSucceeded", "ExecutionSucceeded"]


async def test_what_is_called_after_a_wait_times_out_from_then_on(bench: Bench) -> None:
    """The limit counts from the start."""
    work = Work()
    engine, _, _ = await crowd(bench, work)
    limited = await engine.create_workflow("limited", calling("slow", TimeoutSeconds=1))
    late = await engine.trigger(limited.id)
    await rest(engine)
    await bench.push(engine, REPORTED_AFTER_MS)
    await bench.push(engine, 3600 * SECOND)
    work.gate.set()
    work.gate = asyncio.Event()
    await eventually(lambda: work.called.count("slow") == 2)
    await bench.push(engine, SECOND - 1)
    assert (await names(engine, late.id))[-1] == "TaskStarted"
    await bench.push(engine, 1)
    assert (await engine.result(late.id)).error == "States.Timeout"
    assert (await names(engine, late.id))[3:6] == ["TaskStarted", "TaskTimedOut", "ExecutionFailed"]


async def test_a_wait_of_a_moment_is_no_event(bench: Bench) -> None:
    """Who has a place before long is called at once: nothing more is written than without the wait."""
    work = Work()
    engine, first, second = await crowd(bench, work)
    await bench.push(engine, REPORTED_AFTER_MS - 1)
    work.gate.set()
    for run in (first, second):
        assert (await engine.result(run)).status == "completed"
        assert await names(engine, run) == ["ExecutionStarted", "TaskScheduled", "TaskSucceeded", "ExecutionSucceeded"]


async def test_who_is_terminated_before_its_turn_is_not_called(bench: Bench) -> None:
    """It leaves the queue."""
    work = Work()
    engine, first, second = await crowd(bench, work)
    await bench.push(engine, REPORTED_AFTER_MS)
    await engine.terminate(second)
    work.gate.set()
    assert (await engine.result(first)).status == "completed"
    await eventually(lambda: not engine.node.tasks.running)
    assert work.called == ["slow"]


@pytest.mark.parametrize("is_first", [True, False])
async def test_who_is_terminated_on_its_turn_gives_its_place_back(bench: Bench, *, is_first: bool) -> None:
    """Whether the end is decided before the start or after it, while neither is on disk."""
    work = Work()
    engine, _, second = await crowd(bench, work)
    await bench.push(engine, REPORTED_AFTER_MS)
    bench.store.gate.clear()
    ending = asyncio.ensure_future(engine.terminate(second)) if is_first else None
    await asyncio.sleep(0.01)
    work.gate.set()
    await eventually(lambda: engine.node.tasks._starting)  # type: ignore[attr-defined]
    if ending is None:
        ending = asyncio.ensure_future(engine.terminate(second))
        await asyncio.sleep(0.01)
    bench.store.gate.set()
    assert await ending == "terminated"
    await rest(engine)
    await eventually(lambda: not engine.node.tasks.running)
    assert ("TaskStarted" in await names(engine, second)) != is_first
    assert "quick" not in work.called or not is_first


async def test_after_a_crash_what_was_queued_has_an_alibi(bench: Bench) -> None:
    """The death counts for the step that ran, not for the one that waited; both are called again."""
    work = Work()
    engine, first, second = await crowd(bench, work)
    await bench.push(engine, REPORTED_AFTER_MS)
    await bench.crash(engine)
    work.gate.set()
    engine = await bench.start(work.steps, limits=Limits(steps_max=1))
    for run in (first, second):
        assert (await engine.result(run)).status == "completed"
    assert "TaskInterrupted" in await names(engine, first)
    assert (await names(engine, second))[2:] == ["TaskQueued", "TaskStarted", "TaskSucceeded", "ExecutionSucceeded"]


async def test_a_step_that_this_node_lacks_does_not_time_out(bench: Bench) -> None:
    """It is queued until a node has it."""
    work = Work()
    engine = await bench.start(work.steps)
    workflow = await engine.create_workflow("w", calling("quick", TimeoutSeconds=1))
    await bench.stop(engine)
    bare = await bench.start()
    run = await bare.trigger(workflow.id)
    await rest(bare)
    await bench.push(bare, REPORTED_AFTER_MS)
    await bench.push(bare, 3600 * SECOND)
    assert (await names(bare, run.id))[-1] == "TaskQueued"
    await bench.stop(bare)
    engine = await bench.start(work.steps)
    assert (await engine.result(run.id)).status == "completed"


async def test_many_that_wait_are_recorded_some_at_a_time(bench: Bench) -> None:
    """A wide Map with no place free: others' requests have their turns between, and every item is called once."""
    work = Work()
    engine, first, _ = await crowd(bench, work)
    workflow = await engine.create_workflow("m", mapping("quick"))
    wide = await engine.trigger(workflow.id, {"items": list(range(600))})
    await rest(engine)
    bench.store.attempts.clear()
    await bench.push(engine, REPORTED_AFTER_MS)
    while engine.node.tasks._turns._new or engine.node.tasks._turns._last:  # type: ignore[attr-defined]
        await bench.push(engine, 1)
    queued = [
        sum(event.type == "TaskQueued" for part in batch for event in part.events) for batch in bench.store.attempts
    ]
    assert sum(queued) == 601
    assert max(queued) <= AT_ONCE
    work.gate.set()
    assert (await engine.result(wide.id)).status == "completed"
    assert (await engine.result(first)).status == "completed"
    assert work.called.count("quick") == 601


async def test_what_waited_while_its_run_was_set_aside_has_its_turn_after_the_release(bench: Bench) -> None:
    """That it waits could not be recorded then: its start does not rest on that."""
    work = Work()
    engine, _, second = await crowd(bench, work)
    with defect(Resume), pytest.raises(Unavailable):
        await engine.resume(second, {}, hold=0)
    await bench.push(engine, REPORTED_AFTER_MS)
    await engine.release(second)
    await rest(engine)
    await bench.push(engine, REPORTED_AFTER_MS)
    work.gate.set()
    assert (await asyncio.wait_for(engine.result(second), 10)).status == "completed"
    assert (await names(engine, second))[2:] == [
        "ExecutionQuarantined",
        "ExecutionReleased",
        "TaskQueued",
        "TaskStarted",
        "TaskSucceeded",
        "ExecutionSucceeded",
    ]
