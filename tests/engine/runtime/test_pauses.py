"""Pauses in an engine: nothing is called while a run is paused, over crashes too, and quotas outlive a reload."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from perdure.engine import Engine
from perdure.engine.core import ids
from perdure.engine.errors import Conflict, Invalid, NotFound
from perdure.engine.limits import Limits
from perdure.engine.runtime.workers.turns import REPORTED_AFTER_MS
from perdure.engine.services.pauses import PauseView
from tests.engine.runtime.conftest import WAITING, Bench, eventually, rest
from tests.engine.runtime.test_metrics import shown
from tests.engine.runtime.test_step_slots import calling, mapping
from tests.engine.runtime.test_turns import Work, crowd, names

SECOND = 1000
LOOP: dict[str, Any] = {
    "StartAt": "A",
    "States": {
        "A": {
            "Type": "Choice",
            "Choices": [{"Variable": "$.done", "IsPresent": True, "Next": "Done"}],
            "Default": "B",
        },
        "B": {"Type": "Pass", "Next": "A"},
        "Done": {"Type": "Succeed"},
    },
}
ASKING: dict[str, Any] = {
    "StartAt": "Ask",
    "States": {**LOOP["States"], "Ask": {"Type": "Task", "Resource": "wait_for_resume", "Next": "A"}},
}
ASKING["States"]["B"] = {"Type": "Pass", "Next": "Ask"}
TWICE: dict[str, Any] = {
    "StartAt": "A",
    "States": {
        "A": {"Type": "Task", "Resource": "slow", "Next": "B"},
        "B": {"Type": "Task", "Resource": "quick", "End": True},
    },
}


async def pause_of(engine: Engine, execution: str) -> PauseView | None:
    caller = await engine._caller()
    return (await engine.services.queries.execution(caller, ids.parse(execution))).pause


# --- by an operator ---------------------------------------------------------------------------------------------------


async def test_a_step_that_is_called_goes_on_and_the_next_one_waits(bench: Bench) -> None:
    """It shows when nothing is in flight any more; who paused it and why stands there until it goes on."""
    work = Work()
    engine = await bench.start(work.steps)
    run = await engine.trigger((await engine.create_workflow("w", TWICE)).id)
    await eventually(lambda: work.called)
    assert await engine.pause(run.id, "look at it", clocks="freeze") == "paused"
    assert await engine.pause(run.id, "again") == "already paused"
    pause = await pause_of(engine, run.id)
    assert pause is not None
    assert (pause.reason, pause.clocks, pause.brief.quota, pause.brief.in_flight) == ("look at it", "freeze", None, 1)
    work.gate.set()
    await rest(engine)
    pause = await pause_of(engine, run.id)
    assert pause is not None
    assert pause.brief.quiescent
    assert work.called == ["slow"]
    assert await engine.unpause(run.id) == "unpaused"
    assert (await engine.result(run.id)).status == "completed"
    assert work.called == ["slow", "quick"]
    assert await pause_of(engine, run.id) is None


@pytest.mark.parametrize("has_waited_long", [False, True])
async def test_a_step_that_waits_for_a_slot_is_not_called(bench: Bench, *, has_waited_long: bool) -> None:
    """Also if the log did not say yet that it waits; after the unpause it waits for a slot again."""
    work = Work()
    engine, first, second = await crowd(bench, work)
    if has_waited_long:
        await bench.push(engine, REPORTED_AFTER_MS)
    await engine.pause(second, "look")
    await rest(engine)
    pause = await pause_of(engine, second)
    assert pause is not None
    assert pause.brief.quiescent
    work.gate.set()
    assert (await engine.result(first)).status == "completed"
    await bench.push(engine, 3600 * SECOND)
    assert work.called == ["slow"]
    await engine.unpause(second)
    assert (await engine.result(second)).status == "completed"
    assert work.called == ["slow", "quick"]


async def test_a_pause_that_is_taken_back_at_once_loses_no_step(bench: Bench) -> None:
    """Both in one commit: the steps that waited for a slot wait on, each once."""
    work = Work()
    engine, first, _ = await crowd(bench, work)
    workflow = await engine.create_workflow("m", mapping("quick"))
    wide = await engine.trigger(workflow.id, {"items": list(range(50))})
    await rest(engine)
    for _ in range(3):
        told = await asyncio.gather(engine.pause(wide.id, "look"), engine.unpause(wide.id))
        assert list(told) == ["paused", "unpaused"]
        await bench.push(engine, REPORTED_AFTER_MS)
    work.gate.set()
    assert (await engine.result(wide.id)).status == "completed"
    assert (await engine.result(first)).status == "completed"
    assert work.called.count("quick") == 51


async def test_after_a_crash_it_is_paused_still(bench: Bench) -> None:
    """What ran then is called by the unpause, and not by the start; it waits for that over a second crash, too."""
    work = Work()
    engine = await bench.start(work.steps)
    run = await engine.trigger((await engine.create_workflow("w", TWICE)).id)
    await eventually(lambda: work.called)
    await engine.pause(run.id, "look")
    for _ in range(2):
        await bench.crash(engine)
        work.gate.set()
        engine = await bench.start(work.steps)
        await rest(engine)
        await bench.push(engine, 3600 * SECOND)
        assert work.called == ["slow"]
        pause = await pause_of(engine, run.id)
        assert pause is not None
        assert pause.brief.quiescent
    await engine.unpause(run.id)
    assert (await engine.result(run.id)).status == "completed"
    assert work.called == ["slow", "slow", "quick"]


@pytest.mark.parametrize("is_restarted", [False, True])
async def test_frozen_timers_keep_what_is_left_of_them(bench: Bench, *, is_restarted: bool) -> None:
    """Ten days later a minute's rest is a minute's rest; with no row meanwhile nothing can fire."""
    engine = await bench.start()
    sleeping = {"StartAt": "Sleep", "States": {"Sleep": {"Type": "Wait", "Seconds": 60, "End": True}}}
    run = await engine.trigger((await engine.create_workflow("w", sleeping)).id)
    await engine.pause(run.id, "look", clocks="freeze")
    if is_restarted:
        await bench.stop(engine)
        engine = await bench.start()
    await bench.push(engine, 10 * 24 * 3600 * SECOND)
    assert await engine.store.timers_of(ids.parse(run.id)) == []
    await engine.unpause(run.id)
    await bench.push(engine, 59 * SECOND)
    assert (await names(engine, run.id))[-1] == "ExecutionUnpaused"
    await bench.push(engine, SECOND)
    assert (await engine.result(run.id)).status == "completed"


async def test_a_retry_that_was_due_meanwhile_is_called_once(bench: Bench) -> None:
    """Paused and unpaused in one commit its timer is there still, and fires."""
    work = Work()
    failing = work.steps.step("bad")
    calls: list[int] = []

    @failing
    async def bad(_: Any) -> str:
        calls.append(1)
        if len(calls) == 1:
            raise ValueError("no")
        return "good"

    engine = await bench.start(work.steps)
    retry = [{"ErrorEquals": ["States.ALL"], "IntervalSeconds": 60}]
    run = await engine.trigger((await engine.create_workflow("w", calling("bad", Retry=retry))).id)
    await rest(engine)
    await asyncio.gather(engine.pause(run.id, "look"), engine.unpause(run.id))
    assert len(await engine.store.timers_of(ids.parse(run.id))) == 1
    await engine.pause(run.id, "look")
    await bench.push(engine, 3600 * SECOND)
    assert len(calls) == 1
    await engine.unpause(run.id)
    assert (await engine.result(run.id)).output == "good"


async def test_what_has_ended_or_is_not_there_is_refused(bench: Bench) -> None:
    """So is what no clock can do; to unpause what is not paused is a success."""
    engine = await bench.start()
    run = await engine.trigger((await engine.create_workflow("w", WAITING)).id)
    assert await engine.unpause(run.id) == "not paused"
    with pytest.raises(Invalid, match="clocks"):
        await engine.pause(run.id, "look", clocks="stop")  # type: ignore[arg-type]
    await engine.terminate(run.id)
    for call in (engine.pause(run.id, "look"), engine.unpause(run.id)):
        with pytest.raises(Conflict, match="terminated"):
            await call
    with pytest.raises(NotFound):
        await engine.pause("nobody", "look")


async def test_a_repeated_pause_under_a_key_is_answered_as_the_first(bench: Bench) -> None:
    """Sent again after somebody has unpaused the run, it pauses nothing."""
    engine = await bench.start()
    run = await engine.trigger((await engine.create_workflow("w", WAITING)).id)
    assert await engine.pause(run.id, "look", idempotency_key="k") == "paused"
    assert await engine.unpause(run.id, idempotency_key="l") == "unpaused"
    assert await engine.pause(run.id, "look", idempotency_key="k") == "paused"
    assert await pause_of(engine, run.id) is None


# --- by a quota -------------------------------------------------------------------------------------------------------


async def test_a_loop_is_paused_and_the_log_says_by_what(bench: Bench) -> None:
    """By the engine itself, whoever has triggered it; and it stays so over a restart, until an operator lifts it."""
    limits = Limits(run_events_max=500)
    engine = await bench.start(limits=limits)
    run = await engine.trigger((await engine.create_workflow("w", LOOP)).id)
    await rest(engine)
    await bench.stop(engine)
    engine = await bench.start(limits=limits)
    await rest(engine)
    pause = await pause_of(engine, run.id)
    assert pause is not None
    assert (pause.brief.quota, pause.by.split(":")[0], pause.clocks) == ("events", "engine", "freeze")
    assert pause.reason == "the run has 500 events: its quota (run_events_max) is used up"
    assert await engine.store.paused_counts() == {"events": 1}
    await engine.unpause(run.id)
    await rest(engine)
    assert len(await names(engine, run.id)) in range(1000, 1010)
    assert (await shown(engine))["pauses_total|events"] == 1
    assert await engine.terminate(run.id) == "terminated"


@pytest.mark.parametrize("is_restarted", [False, True])
async def test_the_bytes_of_a_log_are_known_after_a_reload(bench: Bench, *, is_restarted: bool) -> None:
    """From a snapshot and the events after it as from all events: what is counted is what is stored."""
    limits = Limits(run_bytes_max=60_000)
    engine = await bench.start(limits=limits)
    run = await engine.trigger((await engine.create_workflow("w", ASKING)).id)
    answers = 0
    while await pause_of(engine, run.id) is None:
        await engine.resume(run.id, {"text": "ü" * 100}, hold=0)
        answers += 1
        if is_restarted and answers % 20 == 0:
            await bench.stop(engine)
            engine = await bench.start(limits=limits)
    stored = [item.row for item in await engine.store.events(ids.parse(run.id))]
    sizes = [len(row.data.encode()) + len((row.payload or "").encode()) for row in stored]
    assert len(stored) > 150  # so there is a snapshot
    decided = [at for at, row in enumerate(stored) if row.type == "WaitResumed"]
    assert sum(sizes[: decided[-2]]) < 60_000 <= sum(sizes[: decided[-1]])


CHILD: dict[str, Any] = {
    "StartAt": "Sell",
    "States": {
        "Sell": {
            "Type": "Task",
            "Resource": "arn:aws:states:::states:startExecution.sync:2",
            "Parameters": {"StateMachineArn": "w", "Input": {}},
            "End": True,
        }
    },
}


async def test_a_workflow_with_too_many_open_runs_gets_no_further_one(bench: Bench) -> None:
    """A trigger is refused, a child fails its task; a repeated trigger gets its run; an end makes room."""
    engine = await bench.start(limits=Limits(workflow_open_runs_max=3))
    workflow = await engine.create_workflow("w", WAITING)
    runs = [await engine.trigger(workflow.id, process_id=f"P{number}") for number in range(3)]
    with pytest.raises(Conflict, match=r"3 runs that have not ended, and its quota \(workflow_open_runs_max\) is 3"):
        await engine.trigger(workflow.id, process_id="P3")
    assert (await engine.trigger(workflow.id, process_id="P0")).id == runs[0].id
    parent = await engine.trigger((await engine.create_workflow("p", CHILD)).id)
    result = await engine.result(parent.id)
    assert result.error == "StepFunctions.ExecutionLimitExceeded"
    assert "quota" in str(result.cause)
    await engine.terminate("P0")
    await engine.trigger(workflow.id, process_id="P3")


async def test_a_workflow_that_starts_itself_comes_to_an_end(bench: Bench) -> None:
    """Two children each, each of which starts two: the depth of children and the open runs bound it."""
    engine = await bench.start(limits=Limits(workflow_open_runs_max=40))
    again = {**CHILD["States"]["Sell"]}
    branches = [{"StartAt": name, "States": {name: again}} for name in ("Left", "Right")]
    both = {"StartAt": "Both", "States": {"Both": {"Type": "Parallel", "Branches": branches, "End": True}}}
    first = await engine.trigger((await engine.create_workflow("w", both)).id)
    result = await engine.result(first.id)
    assert result.error in {"StepFunctions.ExecutionLimitExceeded", "States.TaskFailed"}
    page = await engine.executions(limit=1000)
    assert len(page.items) in range(10, 500)
    assert {each.status for each in page.items} <= {"failed", "terminated"}
