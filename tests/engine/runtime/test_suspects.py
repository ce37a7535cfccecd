"""Suspects: after unclean ends of whatever cause steps run side by side again, and one that is to blame is found."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from perdure.engine import Engine
from perdure.engine.core.decide.recover import DEATHS_ALONE_MAX, WATCH_MAX_MS, WATCH_MS
from perdure.engine.steps import Registry, StepContext
from tests.engine.runtime.conftest import Bench, eventually, rest
from tests.engine.runtime.test_step_slots import calling


class Work:
    """Steps that go on until they are let go; `deadly` ones take the process down as soon as they are called."""

    def __init__(self) -> None:
        self.gate = asyncio.Event()
        self.called: list[str] = []
        self.has_killed = asyncio.Event()
        self.steps = Registry()
        self.steps.step("long")(self.long)
        self.steps.step("deadly")(self.deadly)
        self.others = Registry()
        self.others.step("deadly")(self.deadly)

    async def long(self, _: Any, context: StepContext) -> str:
        self.called.append(context.execution_id)
        await self.gate.wait()
        return "done"

    async def deadly(self, _: Any) -> None:
        self.has_killed.set()
        await asyncio.Event().wait()


async def begin(bench: Bench, work: Work, *steps: str) -> tuple[Engine, list[str]]:
    """An engine that has called these steps, and the ids of their runs."""
    engine = await bench.start(work.steps)
    workflows = {name: (await engine.create_workflow(name, calling(name))).id for name in dict.fromkeys(steps)}
    runs = [(await engine.trigger(workflows[name])).id for name in steps]
    await eventually(lambda: engine.node.tasks.running == len(steps))
    return engine, runs


async def die(bench: Bench, engine: Engine, registry: Registry, *, times: int = 1) -> Engine:
    """Kill an engine and start another one, some times."""
    for _ in range(times):
        await rest(engine)
        await bench.crash(engine)
        engine = await bench.start(registry)
        await rest(engine)
    return engine


async def names(engine: Engine, execution_id: str) -> list[str]:
    return [type(recorded.event).__name__ async for recorded in engine.events(execution_id)]


async def test_steps_run_side_by_side_again_after_three_unclean_ends(bench: Bench) -> None:
    """One, then two, then four: fifty steps that take an hour all run within a minute, however the three ends came."""
    work = Work()
    engine, runs = await begin(bench, work, *["long"] * 50)
    engine = await die(bench, engine, work.steps, times=2)
    work.called.clear()
    engine = await die(bench, engine, work.steps)
    seen = [len(work.called)]
    while len(work.called) < 50:
        await bench.push(engine, WATCH_MS)
        seen.append(len(work.called))
    assert seen == [1, 3, 7, 15, 31, 50]
    work.gate.set()
    for run in runs:
        assert (await engine.result(run)).status == "completed"
    assert len(work.called) == 50, "each is called once"


async def test_suspects_that_end_make_room_at_once(bench: Bench) -> None:
    """Nobody waits for a watch to pass when there is nothing left to watch."""
    work = Work()
    engine, runs = await begin(bench, work, *["long"] * 20)
    engine = await die(bench, engine, work.steps, times=2)
    work.gate.set()
    engine = await die(bench, engine, work.steps)
    for run in runs:
        assert (await engine.result(run, timeout=5)).status == "completed"


async def test_a_suspect_whose_step_this_node_lacks_holds_up_nobody(bench: Bench) -> None:
    """It waits for a node that has the step; the others have their turns at once."""
    work = Work()
    engine, (lacked, other) = await begin(bench, work, "long", "deadly")
    engine = await die(bench, engine, work.steps, times=2)
    work.has_killed.clear()
    engine = await die(bench, engine, work.others)
    await eventually(work.has_killed.is_set)
    await bench.stop(engine)
    work.gate.set()
    engine = await bench.start(work.steps)
    await bench.push(engine, WATCH_MS)
    assert (await engine.result(lacked)).status == "completed"
    assert (await names(engine, other)).count("TaskRedispatched") == 2


@pytest.mark.parametrize("place", [0, 5, 11])
async def test_whoever_takes_the_process_down_is_found_among_many(bench: Bench, place: int) -> None:
    """Wherever it stands in line, beside steps that take for ever: it fails, and nobody else does."""
    work = Work()
    steps = ["long"] * 12
    steps[place] = "deadly"
    engine, runs = await begin(bench, work, *steps)
    deaths = 0
    while "TaskFailed" not in await names(engine, runs[place]):
        assert deaths < 20
        if work.has_killed.is_set():
            work.has_killed.clear()
            engine = await die(bench, engine, work.steps)
            deaths += 1
        else:
            await bench.push(engine, WATCH_MAX_MS)
    assert (await engine.result(runs[place])).error == "States.TaskFailed"
    work.gate.set()
    await bench.push(engine, WATCH_MAX_MS)
    for run in runs[:place] + runs[place + 1 :]:
        assert (await engine.result(run, timeout=5)).status == "completed"
    assert deaths >= DEATHS_ALONE_MAX


async def test_a_failed_commit_is_no_steps_fault(bench: Bench) -> None:
    """An engine that stops by itself says so, if the store still can be written: no death is counted."""
    work = Work()
    engine, (run,) = await begin(bench, work, "long")
    engine.node.processor.stop(RuntimeError("a defect"))
    await bench.stop(engine)
    work.gate.set()
    engine = await bench.start(work.steps)
    assert (await engine.result(run)).status == "completed"
    assert "TaskInterrupted" not in await names(engine, run)
