"""After a restart everything that was under way is taken up again, under the same keys."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from perdure.engine import Engine
from perdure.engine.core import decide as decide_module
from perdure.engine.core.commands import Resume
from perdure.engine.core.events import WaitResumed
from perdure.engine.errors import EngineFailed, Unavailable
from perdure.engine.log.codec import new_events
from perdure.engine.runtime.processing import processor
from perdure.engine.runtime.streams.execution import ExecutionStreamType
from perdure.engine.runtime.streams.stream import HotStream
from perdure.engine.runtime.workers.recovery import Recovery
from perdure.engine.runtime.workers.tasks import Tasks
from perdure.engine.steps import Registry, StepContext

from .conftest import WAITING, Bench, eventually, rest

CHARGE: dict[str, Any] = {
    "StartAt": "Charge",
    "States": {"Charge": {"Type": "Task", "Resource": "charge", "End": True}},
}
REST: dict[str, Any] = {
    "StartAt": "Rest",
    "States": {"Rest": {"Type": "Wait", "Seconds": 3600, "End": True}},
}


class Calls:
    """A step that hangs until it is let go, and remembers who called it."""

    def __init__(self) -> None:
        self.seen: list[StepContext] = []
        self.inputs: list[Any] = []
        self.open = asyncio.Event()
        self.steps = Registry()
        self.steps.step("charge")(self.charge)

    async def charge(self, value: Any, context: StepContext) -> Any:
        self.seen.append(context)
        self.inputs.append(value)
        await self.open.wait()
        return {"ok": True}


async def names(engine: Engine, execution_id: str) -> list[str]:
    return [type(recorded.event).__name__ async for recorded in engine.events(execution_id)]


async def test_a_step_is_called_again_after_a_crash_under_the_same_key(bench: Bench) -> None:
    """The repetition carries the key and the input of the first call, and the log counts the death."""
    calls = Calls()
    engine = await bench.start(calls.steps)
    workflow = await engine.create_workflow("charge", CHARGE)
    execution = await engine.trigger(workflow.id, {"amount": 7})
    await eventually(lambda: len(calls.seen) == 1)
    await bench.crash(engine)

    calls.open.set()
    engine = await bench.start(calls.steps)
    assert (await engine.result(execution.id)).status == "completed"
    assert [context.idempotency_key for context in calls.seen] == [f"{execution.id}/Charge/-/1"] * 2
    assert calls.inputs == [{"amount": 7}] * 2
    assert await names(engine, execution.id) == [
        "ExecutionStarted",
        "TaskScheduled",
        "TaskInterrupted",
        "TaskSucceeded",
        "ExecutionSucceeded",
    ]


async def test_a_clean_stop_counts_no_death(bench: Bench) -> None:
    """A step that a clean stop cancelled is called again, and its log says nothing of it."""
    calls = Calls()
    engine = await bench.start(calls.steps)
    workflow = await engine.create_workflow("charge", CHARGE)
    execution = await engine.trigger(workflow.id)
    await eventually(lambda: len(calls.seen) == 1)
    await bench.stop(engine)

    calls.open.set()
    engine = await bench.start(calls.steps)
    assert (await engine.result(execution.id)).status == "completed"
    assert "TaskInterrupted" not in await names(engine, execution.id)


async def test_a_step_that_takes_processes_down_is_given_up_and_others_are_not(bench: Bench) -> None:
    """From the third death on suspects run one at a time; after five lone deaths the guilty one fails."""
    calls = Calls()
    poison = Registry()
    deadly = asyncio.Event()

    @poison.step("poison")
    async def explode(_value: Any) -> Any:
        deadly.set()
        await asyncio.Event().wait()

    engine = await bench.start(calls.steps.merged(poison))
    guilty_workflow = await engine.create_workflow(
        "poison", {"StartAt": "P", "States": {"P": {"Type": "Task", "Resource": "poison", "End": True}}}
    )
    innocent_workflow = await engine.create_workflow("charge", CHARGE)
    guilty = await engine.trigger(guilty_workflow.id)
    innocent = await engine.trigger(innocent_workflow.id)
    for _ in range(20):
        await eventually(deadly.is_set)
        deadly.clear()
        calls.open.set()  # an innocent step ends when it is given the time
        await bench.crash(engine)
        engine = await bench.start(calls.steps.merged(poison))
        await rest(engine)
        if (await engine.executions(workflow_id=guilty_workflow.id)).items[0].status == "failed":
            break
    result = await engine.result(guilty.id)
    assert (result.status, result.error) == ("failed", "States.TaskFailed")
    assert (await engine.result(innocent.id)).status == "completed"
    assert (await names(engine, guilty.id)).count("TaskRedispatched") == 5


async def test_timers_that_came_due_while_nobody_was_there_fire_at_start(bench: Bench) -> None:
    """An overdue timer fires right after a restart; one that is not due does not."""
    engine = await bench.start()
    workflow = await engine.create_workflow("rest", REST)
    overdue = await engine.trigger(workflow.id)
    await bench.crash(engine)
    bench.clock.push(1800_000)
    engine = await bench.start()
    later = await engine.trigger(workflow.id)
    await bench.crash(engine)
    bench.clock.push(1800_000)
    engine = await bench.start()
    assert (await engine.result(overdue.id)).status == "completed"
    await rest(engine)
    assert (await engine.executions()).items[0].id == later.id
    assert (await engine.executions()).items[0].status == "running"


async def test_timers_never_fire_early(bench: Bench) -> None:
    """A timer fires at its instant and not a millisecond before."""
    engine = await bench.start()
    workflow = await engine.create_workflow("rest", REST)
    execution = await engine.trigger(workflow.id)
    await bench.push(engine, 3600_000 - 1)
    assert (await names(engine, execution.id))[-1] == "TimerSet"
    await bench.push(engine, 1)
    assert (await names(engine, execution.id))[-1] == "ExecutionSucceeded"


async def test_two_hundred_timers_fire_once_each(bench: Bench) -> None:
    """Timers that come due at one instant each fire exactly once."""
    engine = await bench.start()
    workflow = await engine.create_workflow("rest", REST)
    executions = [await engine.trigger(workflow.id) for _ in range(200)]
    await bench.push(engine, 3600_000)
    for execution in executions:
        assert (await names(engine, execution.id)).count("TimerFired") == 1


async def test_waiting_executions_leave_memory(bench: Bench) -> None:
    """An execution that only waits, or sleeps in a timer, is rows and nothing else."""
    engine = await bench.start()
    asking = await engine.create_workflow("ask", WAITING)
    resting = await engine.create_workflow("rest", REST)
    for number in range(50):
        await engine.trigger(asking.id, {"n": number})
        await engine.trigger(resting.id)
    await rest(engine)
    assert len(engine.node.processor.hot) == 1  # the organization


async def test_more_runs_than_memory_may_hold_all_go_on(bench: Bench) -> None:
    """With room for four hot streams fifty runs are under way at once: they are read again when their steps end."""
    calls = Calls()
    engine = await bench.start(calls.steps)
    engine.node.processor.hot._limit = 4
    workflow = await engine.create_workflow("charge", CHARGE)
    executions = [await engine.trigger(workflow.id, {"n": n}) for n in range(50)]
    assert len(engine.node.processor.hot) <= 5
    calls.open.set()
    for execution in executions:
        assert (await engine.result(execution.id)).status == "completed"


async def test_a_decision_that_stops_for_breath_goes_on_after_a_crash(bench: Bench) -> None:
    """A run cut off in the middle of a long chain of states is taken up where it was."""
    states = {f"S{n}": {"Type": "Pass", "Next": f"S{n + 1}"} for n in range(600)}
    engine = await bench.start()
    workflow = await engine.create_workflow(
        "long", {"StartAt": "S0", "States": {**states, "S600": {"Type": "Succeed"}}}
    )
    execution = await engine.trigger(workflow.id)
    await bench.crash(engine)
    engine = await bench.start()
    assert (await engine.result(execution.id)).status == "completed"
    assert len(await names(engine, execution.id)) == 603


async def test_what_a_step_gives_after_the_end_is_recorded_as_ignored(bench: Bench) -> None:
    """Terminal is final: the late result changes nothing."""
    calls = Calls()
    engine = await bench.start(calls.steps)
    workflow = await engine.create_workflow("charge", CHARGE)
    execution = await engine.trigger(workflow.id, process_id="P")
    await eventually(lambda: len(calls.seen) == 1)
    assert await engine.terminate("P", "changed our mind") == "terminated"
    calls.open.set()
    await eventually(lambda: not engine.node.tasks.running)
    await rest(engine)
    assert (await names(engine, execution.id))[-2:] == ["ExecutionTerminated", "ResultIgnored"]
    result = await engine.result(execution.id)
    assert (result.status, result.cause) == ("terminated", "changed our mind")
    assert await engine.terminate("P") == "already terminated"


async def test_a_step_may_not_change_what_the_log_says(bench: Bench) -> None:
    """A step that mutates its input, or the result it gave, changes nothing that is recorded."""
    steps = Registry()
    given: list[Any] = []

    @steps.step("charge")
    async def charge(value: Any) -> Any:
        value["amount"] = 0
        result = {"items": [1]}
        given.append(result)
        return result

    @steps.step("check")
    def check(value: Any) -> Any:
        given[0]["items"].append(2)
        return value

    definition = {
        "StartAt": "Charge",
        "States": {
            "Charge": {"Type": "Task", "Resource": "charge", "ResultPath": "$.charge", "Next": "Check"},
            "Check": {"Type": "Task", "Resource": "check", "End": True},
        },
    }
    engine = await bench.start(steps)
    workflow = await engine.create_workflow("charge", definition)
    execution = await engine.trigger(workflow.id, {"amount": 7})
    result = await engine.result(execution.id)
    assert result.output == {"amount": 7, "charge": {"items": [1]}}


async def test_a_decision_that_raises_sets_one_execution_aside(bench: Bench, monkeypatch: Any) -> None:
    """A defect of ours quarantines the execution, which can still be terminated; the others go on."""
    engine = await bench.start()
    workflow = await engine.create_workflow("ask", WAITING)
    sick = await engine.trigger(workflow.id, process_id="sick")
    await engine.trigger(workflow.id, process_id="well")
    real = decide_module._DECIDE[Resume]

    def broken(state: Any, command: Any, facts: Any) -> Any:
        if facts.execution == sick.id:
            raise ZeroDivisionError
        return real(state, command, facts)

    monkeypatch.setitem(decide_module._DECIDE, Resume, broken)
    for _ in range(2):
        try:
            await engine.resume("sick", {})
        except Unavailable:
            pass
        else:
            raise AssertionError
        await rest(engine)
    assert await engine.resume("well", {}) == "restarted"
    assert (await names(engine, sick.id))[-1] == "ExecutionQuarantined"
    assert await engine.terminate("sick") == "terminated"


async def test_an_event_that_cannot_be_written_harms_nobody_else(bench: Bench, monkeypatch: Any) -> None:
    """When recording a decision raises, nothing of it is kept, that execution is set aside, and the others go on."""
    engine = await bench.start()
    workflow = await engine.create_workflow("ask", WAITING)
    sick = await engine.trigger(workflow.id, process_id="sick")
    await engine.trigger(workflow.id, process_id="well")
    real = new_events

    def broken(events: Any, random: Any) -> Any:
        if any(isinstance(recorded.event, WaitResumed) and "bad" in str(recorded.payload) for recorded in events):
            raise UnicodeError("surrogates not allowed")
        return real(events, random)

    monkeypatch.setattr(processor, "new_events", broken)
    calls = [engine.resume("sick", "bad"), engine.resume("well", {"ok": True})]
    answers = await asyncio.gather(*calls, return_exceptions=True)
    assert isinstance(answers[0], Unavailable)
    assert answers[1] == "restarted"
    await rest(engine)
    assert (await names(engine, sick.id))[-1] == "ExecutionQuarantined"


THREE: dict[str, Any] = {
    "StartAt": "All",
    "States": {
        "All": {
            "Type": "Parallel",
            "Branches": [
                {"StartAt": name, "States": {name: {"Type": "Task", "Resource": "wait_for_resume", "End": True}}}
                for name in ("A", "B", "C")
            ],
            "End": True,
        }
    },
}


@pytest.mark.parametrize("has_moved", [False, True])
async def test_a_state_that_the_log_does_not_have_is_never_built_on(
    bench: Bench, monkeypatch: Any, *, has_moved: bool
) -> None:
    """A defect while a hot state moves on, with more of the run in the same batch.

    Either it has not moved, and what follows is decided from what the batch has; or the engine stops before anything
    is written that does not follow from what is there.
    """
    engine = await bench.start()
    workflow = await engine.create_workflow("three", THREE)
    execution = await engine.trigger(workflow.id, process_id="P")
    real, moves = HotStream.move, 0

    def broken(self: HotStream, steps: Any, events: Any) -> None:
        nonlocal moves
        moves += self.kind.name == "execution"
        if moves != 2:
            real(self, steps, events)
        elif has_moved:
            real(self, steps, events)
            raise RuntimeError
        else:
            monkeypatch.setattr(ExecutionStreamType, "live_seqs", unable)
            self.prune_above = 0
            try:
                real(self, steps, events)
            finally:
                monkeypatch.undo()

    def unable(*_: Any) -> Any:
        raise RuntimeError

    monkeypatch.setattr(HotStream, "move", broken)
    calls = [engine.resume("P", {"n": name}, state=name) for name in ("A", "B", "C")]
    answers = await asyncio.gather(*calls, return_exceptions=True)

    assert moves >= 2
    if has_moved:
        assert isinstance(engine.node.processor.failure, AssertionError)
        assert all(isinstance(answer, EngineFailed | Unavailable) for answer in answers)
        await bench.crash(engine)
    else:
        assert sorted(map(str, answers))[1:] == ["restarted", "restarted"]
        await rest(engine)
        assert (await names(engine, execution.id)).count("WaitResumed") == 2


def leading_to_a_charge(**first: Any) -> dict[str, Any]:
    """A machine whose first state is this one, and whose second calls a step."""
    return {"StartAt": "First", "States": {"First": {**first, "Next": "Charge"}, **CHARGE["States"]}}


async def _time_passes(bench: Bench, engine: Engine, _execution: str) -> None:
    await bench.push(engine, 60_000)


async def _somebody_resumes(_bench: Bench, engine: Engine, execution: str) -> None:
    await engine.resume(execution, {})


async def _the_token_comes_back(_bench: Bench, engine: Engine, _execution: str) -> None:
    await engine.complete_task(TOKENS.pop(), {})


TOKENS: list[str] = []
RETRIED = [{"ErrorEquals": ["States.ALL"], "IntervalSeconds": 30}]


@pytest.mark.parametrize(
    ("first", "happens"),
    [
        ({"Type": "Wait", "Seconds": 30}, _time_passes),
        ({"Type": "Task", "Resource": "flaky", "Retry": RETRIED}, _time_passes),
        (
            {"Type": "Task", "Resource": "ask.waitForTaskToken", "HeartbeatSeconds": 30, "Retry": RETRIED}
            | {"Parameters": {"token.$": "$$.Task.Token"}, "TimeoutSeconds": 59},
            _the_token_comes_back,
        ),
        (
            {"Type": "Task", "Resource": "ask.waitForTaskToken", "HeartbeatSeconds": 30}
            | {"Parameters": {"token.$": "$$.Task.Token"}}
            | {"Catch": [{"ErrorEquals": ["States.HeartbeatTimeout"], "Next": "Charge"}]},
            _time_passes,
        ),
        ({"Type": "Task", "Resource": "wait_for_resume"}, _somebody_resumes),
    ],
    ids=["timer", "retry", "token", "heartbeat", "resume"],
)
@pytest.mark.parametrize("died", [True, False])
async def test_what_moves_on_before_its_recovery_is_not_called_twice(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, first: dict[str, Any], happens: Any, *, died: bool
) -> None:
    """Recovery is about what was scheduled before the start, however late its turn comes."""
    calls = Calls()

    @calls.steps.step("flaky")
    async def flaky(_value: Any, context: StepContext) -> Any:
        if context.attempt == 0:
            raise ValueError("not yet")
        return {}

    @calls.steps.step("ask")
    async def ask(value: Any) -> Any:
        TOKENS[:] = [value["token"]]

    engine = await bench.start(calls.steps)
    workflow = await engine.create_workflow("w", leading_to_a_charge(**first))
    execution = await engine.trigger(workflow.id)
    await rest(engine)
    await (bench.crash if died else bench.stop)(engine)

    late: list[tuple[Recovery, dict[str, Any]]] = []
    begin = Recovery.start
    with monkeypatch.context() as held:
        held.setattr(Recovery, "start", lambda recovery, **given: late.append((recovery, given)))
        engine = await Engine.start(bench.store, steps=calls.steps, clock=bench.clock)
    bench.engines.append(engine)
    await happens(bench, engine, execution.id)
    await eventually(lambda: len(calls.seen) == 1)
    ((recovery, given),) = late
    assert given["died"] == died
    begin(recovery, **given)
    await eventually(recovery.is_done.is_set)
    await rest(engine)
    assert len(calls.seen) == 1
    calls.open.set()
    assert (await engine.result(execution.id)).status == "completed"
    assert "TaskInterrupted" not in await names(engine, execution.id)


@pytest.mark.parametrize("problem", [ZeroDivisionError(), MemoryError()])
async def test_an_effect_of_a_decision_without_events_that_fails_stops_nobody(bench: Bench, problem: Exception) -> None:
    """The run is set aside, or taken up again if memory was short; who is decided in the same turn goes on."""
    calls = Calls()
    engine = await bench.start(calls.steps)
    workflow = await engine.create_workflow("w", CHARGE)
    runs = [await engine.trigger(workflow.id) for _ in range(3)]
    await eventually(lambda: len(calls.seen) == 3)
    await bench.stop(engine)
    again = Calls()
    again.open.set()
    real, failing = Tasks.run, [problem]

    def run(self: Tasks, hot: HotStream, task: Any) -> None:
        if failing:
            raise failing.pop()
        real(self, hot, task)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Tasks, "run", run)
        engine = await bench.start(again.steps)
        await bench.push(engine, 1000)
    ends = [(await names(engine, each.id))[-1] for each in runs]
    aside = int(not isinstance(problem, MemoryError))
    assert sorted(ends) == ["ExecutionQuarantined"] * aside + ["ExecutionSucceeded"] * (3 - aside)
    assert engine.node.processor.failure is None


async def test_who_sleeps_is_not_woken_by_a_start(bench: Bench) -> None:
    """Runs that only wait for an instant are not even read; those in which a step is under way beside a timer are."""
    calls = Calls()
    engine = await bench.start(calls.steps)
    sleep = (await engine.create_workflow("sleep", REST)).id
    branches = {"Type": "Parallel", "Branches": [REST, CHARGE], "End": True}
    beside = (await engine.create_workflow("beside", {"StartAt": "Both", "States": {"Both": branches}})).id
    call = {"Resource": "arn:aws:states:::states:startExecution.sync:2", "Parameters": {"StateMachineArn": "sleep"}}
    parent = {"StartAt": "Call", "States": {"Call": {"Type": "Task", **call, "End": True}}}
    asleep = [(await engine.trigger(sleep)).id for _ in range(3)]
    both = (await engine.trigger(beside)).id
    awaiting = (await engine.trigger((await engine.create_workflow("parent", parent)).id)).id
    await eventually(lambda: len(calls.seen) == 1)
    await rest(engine)
    await bench.crash(engine)

    engine = await bench.start(calls.steps)
    assert engine.metrics.recovered.values[()] == 3  # the one beside, the parent, and its child, which sleeps too
    await eventually(lambda: len(calls.seen) == 2)
    calls.open.set()
    await bench.push(engine, 3_600_000)
    for run in (*asleep, both, awaiting):
        assert (await engine.result(run)).status == "completed"
        assert (await names(engine, run)).count("TimerFired") == (0 if run == awaiting else 1)
