"""Steps that wait for a place: which clock runs, and what a restart makes of them."""

from __future__ import annotations

import pytest

from perdure.engine.core import events as e
from perdure.engine.core.commands import Beat, QueueTask, Redispatch, StartTask
from perdure.engine.core.effects import CancelTask, HoldSuspect, RunTask, SetTimer
from perdure.engine.history import states_history
from perdure.engine.testing import due, failed, recovered, resumed, succeeded, terminated
from tests.present import present

from .checked import given, wait_id


def one(state, **fields):
    return {"StartAt": "A", "States": {"A": {**state, "End": True}}, **fields}


CHARGE = one({"Type": "Task", "Resource": "charge"})
LIMITED = one({"Type": "Task", "Resource": "charge", "TimeoutSeconds": 60})
TELL = {"Type": "Task", "Resource": "notify.waitForTaskToken", "Parameters": {"token.$": "$$.Task.Token"}}
BEATING = one({**TELL, "TimeoutSeconds": 60, "HeartbeatSeconds": 20})


def queued(run, waited_ms=0):
    """Say that the only step of a run waits, for so long already."""
    return run.when(QueueTask("", run.state.task("").seq, run.now - waited_ms))


def started(state):
    return StartTask("", state.task("").seq)


def test_a_step_that_is_never_called_does_not_time_out():
    """Its time limit stands still from when it began to wait for a place, and goes on when it has one."""
    run = given(LIMITED).after(250)
    queued(run, 200).then(e.TaskQueued("A", left_ms=59_950)).then_effects()
    assert run.events[-1].caused_by == 2
    assert not len(run.state.timers)
    run.after(10**9).when(started).then(e.TaskStarted("A", due_at=run.now + 59_950))
    run.then_effects(SetTimer(run.now + 59_950), "RunTask")
    assert not run.duty(RunTask).is_queued
    run.after(59_950).when(due()).then("TaskTimedOut", "ExecutionFailed").then_effects(CancelTask(2))


def test_a_step_without_a_limit_has_none_after_it_waited():
    """It is recorded all the same that it was queued, and when it started."""
    run = queued(given(CHARGE)).then(e.TaskQueued("A"))
    run.when(started).then(e.TaskStarted("A")).then_effects("RunTask")
    run.when(succeeded("A", 1)).then_is("completed", output=1)


def test_the_limits_of_a_wait_stand_still_with_its_step():
    """Nobody has its token yet: neither the end nor the next heartbeat comes nearer."""
    run = queued(given(BEATING)).then(e.TaskQueued("A", 60_000, 20_000))
    assert run.state.waits[wait_id(1)].due_at is None
    run.after(10**9).when(started).then(e.TaskStarted("A", run.now + 60_000, 20_000, run.now + 20_000))
    run.then_effects(SetTimer(run.now + 20_000), "RunTask")
    assert run.state.waits[wait_id(1)].due_at == run.now + 20_000
    run.after(19_999).when(succeeded("A"), Beat(wait_id(1))).then("TaskSubmitted", "TaskHeartbeat")
    run.after(20_000).when(due()).then(e.WaitExpired("A", wait_id(1), "heartbeat", "States.Timeout"), "ExecutionFailed")


def test_an_answer_ends_a_task_whose_step_still_waits():
    """The step is let go, and is not called when it would be its turn."""
    run = queued(given(one({"Type": "Task", "Resource": "notify.waitForResume", "TimeoutSeconds": 9})))
    turn = StartTask("", 3)
    run.when(resumed({"ok": 1})).then_is("completed").when(turn).then_nothing().then_refuses("STALE")


def test_only_what_is_called_now_can_be_queued():
    """Not twice, not after the end, not a child; and only what is queued can be started."""
    run = given(CHARGE)
    run.when(started).then_nothing().then_refuses("STALE")
    queued(run).when(QueueTask("", 2, 0)).then_nothing().then_refuses("STALE")
    run.when(QueueTask("", 9, 0)).then_refuses("STALE").when(StartTask("", 9)).then_refuses("STALE")
    run.when(terminated(), QueueTask("", 2, 0)).then_refuses("STALE").when(StartTask("", 2)).then_refuses("STALE")
    child = {
        "Type": "Task",
        "Resource": "arn:aws:states:::states:startExecution",
        "Parameters": {"StateMachineArn": "c"},
    }
    queued(given(one(child))).then_nothing().then_refuses("STALE")


def test_an_attempt_begins_with_a_limit_of_its_own():
    """That the attempt before was queued is forgotten."""
    retry = [{"ErrorEquals": ["States.ALL"], "IntervalSeconds": 1}]
    run = queued(given(one({"Type": "Task", "Resource": "charge", "TimeoutSeconds": 60, "Retry": retry})))
    run.when(started).when(failed("A", "Down")).after(1000).when(due()).then("TaskScheduled")
    assert run.event(-1).due_at == run.now + 60_000
    assert run.state.task("").queued is None


@pytest.mark.parametrize("died", [True, False])
def test_after_a_restart_a_queued_step_waits_on(died):
    """It did not run, so no death is held against it; and it starts when it is its turn."""
    run = queued(given(LIMITED))
    for _ in range(5):
        run.when(recovered(died=died)).then_nothing().then_effects("RunTask")
    assert run.duty(RunTask).is_queued
    run.when(started).then("TaskStarted").when(recovered()).then(e.TaskInterrupted("A", 1))


def test_a_suspect_that_only_waited_for_a_place_is_held_again():
    """With the deaths that it had."""
    run = given(CHARGE).when(recovered(), recovered(), recovered(), Redispatch(""))
    queued(run).when(recovered()).then(e.TaskInterrupted("A", 3, 0, is_held=True)).then_effects(
        HoldSuspect("", "A", 2, 3, 0)
    )
    run.when(started).then_nothing().then_refuses("STALE")
    run.when(QueueTask("", 2, 0)).then_nothing().then_refuses("STALE")
    run.when(Redispatch("")).then_effects("RunTask").when(started).then("TaskStarted")
    run.when(succeeded("A")).then_is("completed")


# --- as it is told -------------------------------------------------------------------------------------------------


def told(run):
    """The history, without details."""
    return [(entry["type"], entry["previousEventId"]) for entry in states_history(run.events)]


def test_a_history_tells_the_start_when_it_was():
    """`TaskStarted` stands where the step was called; of one that waits still there is none."""
    state = {"Type": "Task", "Resource": "charge", "End": True}
    run = given(
        {
            "StartAt": "M",
            "States": {"M": {"Type": "Map", "ItemProcessor": {"StartAt": "A", "States": {"A": state}}, "End": True}},
        },
        [1, 2],
    )
    seqs = [present(run.state.task(scope)).seq for scope in ("2.0", "2.1")]
    run.when(QueueTask("2.1", seqs[1], run.now), succeeded("A", 1, scope="2.0"))
    assert [name for name, _ in told(run)].count("TaskStarted") == 1
    run.when(StartTask("2.1", seqs[1]))
    names = [name for name, _ in told(run)]
    assert names[-1] == "TaskStarted"
    assert names.index("TaskScheduled", names.index("TaskScheduled") + 1) + 1 == told(run)[-1][1]
