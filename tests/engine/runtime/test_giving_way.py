"""Large work gives way: runs that go on by themselves, however many, make nobody else wait for all of them."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

import pytest

from perdure.engine import Engine
from perdure.engine.audit.store_audit import compare_projections
from perdure.engine.core import commands as c
from perdure.engine.core import ids
from perdure.engine.limits import Limits
from perdure.engine.runtime.processing.batch import Batch
from perdure.engine.runtime.processing.inbox import ADVANCE_BESIDE_MAX, ADVANCE_EVENTS_MAX, TURNS_BESIDE, Inbox
from perdure.engine.runtime.processing.requests import CommandRequest, from_inside
from perdure.engine.runtime.streams.execution import ExecutionStreamType
from perdure.engine.steps import Registry
from tests.engine.runtime.conftest import Bench, eventually
from tests.engine.runtime.test_step_slots import calling

LOOP: dict[str, Any] = {
    "StartAt": "A",
    "States": {
        "A": {"Type": "Choice", "Choices": [{"Variable": "$.stop", "IsPresent": True, "Next": "End"}], "Default": "B"},
        "B": {"Type": "Pass", "Next": "A"},
        "End": {"Type": "Succeed"},
    },
}
LOOPS = 12


async def test_endless_loops_have_one_turn_between_the_turns_of_others(bench: Bench, monkeypatch: Any) -> None:
    """A run with a step needs a few turns; each waits for one loop, not for all of them."""
    steps = Registry()

    @steps.step("quick")
    async def quick(_: Any) -> str:
        return "done"

    engine = await bench.start(steps)
    looping = await engine.create_workflow("loop", LOOP)
    quick_one = await engine.create_workflow("quick", calling("quick"))
    turns: list[str] = []
    real = ExecutionStreamType.decide

    def counted(self: ExecutionStreamType, hot: Any, command: Any, facts: Any) -> Any:
        if isinstance(command, c.Advance):
            turns.append(hot.text)
        return real(self, hot, command, facts)

    monkeypatch.setattr(ExecutionStreamType, "decide", counted)
    loops = [(await engine.trigger(looping.id)).id for _ in range(LOOPS)]
    turns.clear()
    bench.store.attempts.clear()
    run = await engine.trigger(quick_one.id)
    assert (await engine.result(run.id)).status == "completed"
    assert 0 < len(turns) < LOOPS
    assert len(set(turns)) == len(turns), "no loop has a second turn before all have had one"
    its_own = [batch for batch in bench.store.attempts if any(part.stream_id == ids.parse(run.id) for part in batch)]
    assert its_own
    assert max(sum(len(part.events) for part in batch) for batch in its_own) < 3 * ADVANCE_BESIDE_MAX
    for loop in loops:
        await engine.terminate(loop)


def order(command: Any) -> CommandRequest:
    return from_inside(b"stream", command, "engine:test")


def test_a_run_that_goes_on_has_a_turn_in_each_batch() -> None:
    """However much the others come to; and no second one then."""
    inbox, batch = Inbox(), Batch()
    going_on, other = order(c.Advance()), order(c.Recover(died=False))
    inbox.put(going_on)
    inbox.put(going_on)
    inbox.put(other)
    batch.event_count = ADVANCE_EVENTS_MAX
    assert list(inbox.take(batch)) == [other, going_on]
    assert not inbox.has_next(batch)
    assert list(inbox.take(Batch())) == [going_on]


def test_alone_a_run_passes_more_states_in_a_row() -> None:
    """While others come each of them waits for what it passes; nobody does when none have come for a while."""
    inbox, going_on = Inbox(), order(c.Advance())
    inbox.put(order(c.Recover(died=False)))
    for _ in range(TURNS_BESIDE):
        inbox.put(going_on)
        assert going_on in inbox.take(Batch())
        assert inbox.transitions_max(going_on) == ADVANCE_BESIDE_MAX
    inbox.put(going_on)
    assert going_on in inbox.take(Batch())
    assert inbox.transitions_max(going_on) == ADVANCE_EVENTS_MAX
    inbox.put(order(c.Recover(died=False)))
    assert inbox.transitions_max(going_on) == ADVANCE_BESIDE_MAX
    assert inbox.transitions_max(order(c.Recover(died=False))) > ADVANCE_EVENTS_MAX


async def test_how_many_states_a_run_passes_in_a_row_is_a_setting(bench: Bench) -> None:
    """After so many the others have their turn; a run goes on after it."""
    engine = await bench.start(limits=Limits(transitions_max=5))
    looping = await engine.create_workflow("loop", LOOP)
    bench.store.attempts.clear()
    run = await engine.trigger(looping.id)
    await eventually(lambda: len(bench.store.attempts) > 5)
    await engine.terminate(run.id)
    sizes = [len(part.events) for batch in bench.store.attempts for part in batch]
    assert sizes[:2] == [1 + 5, 5]


EACH = 2_000
ENDS: dict[str, dict[str, Any]] = {
    "waits": {"Type": "Task", "Resource": "wait_for_resume", "End": True},
    "timed waits": {"Type": "Task", "Resource": "wait_for_resume", "TimeoutSeconds": 3600, "End": True},
    "timers": {"Type": "Wait", "Seconds": 3600, "End": True},
    "steps": {"Type": "Task", "Resource": "slow", "End": True},
}


def each(state: dict[str, Any], **more: Any) -> dict[str, Any]:
    """A Map of which each iteration is one state."""
    mapped = {"Type": "Map", "ItemProcessor": {"StartAt": "One", "States": {"One": state}}, "End": True}
    return {"StartAt": "Each", "States": {"Each": mapped}, **more}


@pytest.mark.parametrize("of", ENDS)
async def test_the_end_of_a_wide_run_is_little_to_write(bench: Bench, of: str) -> None:
    """However much was open, a few rows say that it is over; and everybody reads it so at once."""
    steps = Registry()

    @steps.step("slow")
    async def slow(_: Any) -> None:
        await asyncio.Event().wait()

    engine = await bench.start(steps)
    workflow = await engine.create_workflow("each", each(ENDS[of], TimeoutSeconds=7200))
    run = ids.parse((await engine.trigger(workflow.id, [0] * EACH, process_id="P")).id)
    await eventually(lambda: width(engine, run) == EACH and engine.node.processor.pending == 0, seconds=60)
    bench.store.attempts.clear()
    await engine.terminate("P")

    sent = [part for batch in bench.store.attempts for part in batch if part.stream_id == run]
    assert sum(len(part.events) + len(part.puts) + len(part.deletes) + len(part.endings) for part in sent) < 10
    assert await engine.waits("P") == []
    assert await engine.node.store.timers_of(run) == []
    assert {row.outcome for row in await engine.node.store.waits_of(run)} <= {"cancelled"}
    tasks: Any = engine.node.tasks
    await eventually(lambda: not tasks.queued and not tasks.running)
    assert await compare_projections(engine.node.store) == []


def width(engine: Engine, run: bytes) -> int:
    """How many iterations are in their state."""
    hot = engine.node.processor.hot.get(run)
    return 0 if hot is None else sum(frame.phase is not None for frame in hot.state.frames.values()) - 1


async def test_a_map_that_fails_says_how_each_wait_ended(bench: Bench) -> None:
    """The one that failed it is told from those that went with it, and the run goes on to wait again."""
    engine = await bench.start()
    asks = {"Type": "Task", "Resource": "wait_for_resume", "TimeoutSecondsPath": "$.s", "End": True}
    definition = each(asks)
    definition["States"]["Each"] |= {"Catch": [{"ErrorEquals": ["States.ALL"], "Next": "Ask"}], "Next": "Ask"}
    del definition["States"]["Each"]["End"]
    definition["States"]["Ask"] = ENDS["waits"]
    workflow = await engine.create_workflow("each", definition)
    items = [{"s": 60 if number == 7 else 6000} for number in range(400)]
    run = ids.parse((await engine.trigger(workflow.id, items, process_id="P")).id)
    await eventually(lambda: width(engine, run) == len(items) and engine.node.processor.pending == 0)
    bench.store.attempts.clear()
    await bench.push(engine, 61_000)
    await engine.node.processor.settle()

    assert any(part.endings for batch in bench.store.attempts for part in batch)
    outcomes = Counter(row.outcome for row in await engine.node.store.waits_of(run))
    assert outcomes == {"expired": 1, "cancelled": len(items) - 1, None: 1}
    assert await compare_projections(engine.node.store) == []
    assert await engine.resume("P", {}, state="Ask") == "restarted"


async def test_steps_of_a_run_that_is_over_are_not_called(bench: Bench) -> None:
    """However many waited for a place when it ended."""
    steps, called = Registry(), list[int]()
    go = asyncio.Event()

    @steps.step("slow")
    async def slow(_: Any) -> None:
        called.append(1)
        await go.wait()

    engine = await bench.start(steps, limits=Limits(steps_max=10))
    workflow = await engine.create_workflow("each", each(ENDS["steps"]))
    run = ids.parse((await engine.trigger(workflow.id, [0] * 2000, process_id="P")).id)
    await eventually(lambda: width(engine, run) == 2000 and engine.node.processor.pending == 0)
    begun = len(called)
    await engine.terminate("P")
    tasks: Any = engine.node.tasks
    await eventually(lambda: not tasks.queued and not tasks.running)
    assert len(called) == begun
