"""Child executions: intents that are repeated until they are acknowledged, and ends that are told both ways."""

from __future__ import annotations

import pytest

from perdure.engine.core import events as e
from perdure.engine.core.commands import AnswerTask, ChildStarted, CompleteTask, FireTimer, TaskFailure, TaskSuccess
from perdure.engine.core.effects import EndChild, FollowChild, FollowParent, StartChild, TellParent
from perdure.engine.testing import EXECUTION, START, due, failed, recovered, succeeded, terminated

from .checked import given, wait_id

START_EXECUTION = "arn:aws:states:::states:startExecution"
PARAMETERS = {"StateMachineArn": "child", "Input.$": "$"}
ALL = {"ErrorEquals": ["States.ALL"]}


def calling(pattern, **fields):
    """Give a machine that starts a child in this way."""
    state = {"Type": "Task", "Resource": START_EXECUTION + pattern, "Parameters": PARAMETERS, "End": True, **fields}
    return {"StartAt": "Sell", "States": {"Sell": state}}


def parent(seq=2, pattern="sync:2", **more):
    """Give what a child is told of the task that started it."""
    told = {"execution": EXECUTION, "scope": "", "state": "Sell", "seq": seq, "visit": 1, "attempt": 0}
    return e.Parent(**{**told, "pattern": pattern, "is_awaited": pattern.startswith("sync"), **more})


def started(seq=2, scope="", result=None):
    return ChildStarted(scope, seq, {"ExecutionArn": "the child"} if result is None else result)


def ended(outcome, seq=2, scope="", state="Sell"):
    """The child has ended with this: what a driver sends in its name."""
    return CompleteTask(scope, state, seq, 0, 1, outcome)


# --- the parent ------------------------------------------------------------------------------------------------------


def test_a_child_that_is_not_awaited_is_started_and_left():
    """The id of the child is in the event, so that every repetition starts the same one."""
    run = given(calling(""), {"n": 1})
    run.then_effects(StartChild(wait_id(1), parent(pattern=""), {"StateMachineArn": "child", "Input": {"n": 1}}))
    scheduled = run.event(1)
    assert (scheduled.child, scheduled.is_awaited, scheduled.wait) == (wait_id(1), False, None)
    run.when(started()).then("TaskSucceeded", "ExecutionSucceeded").then_effects()
    run.then_is("completed", output={"ExecutionArn": "the child"})


@pytest.mark.parametrize("pattern", [".sync", ".sync:2"])
def test_a_child_that_is_awaited_ends_the_task(pattern):
    """First it is on its way, and the parent is nothing but rows; then its end is the task's."""
    run = given(calling(pattern)).then_effects(
        StartChild(wait_id(1), parent(pattern=pattern[1:]), {"StateMachineArn": "child", "Input": {}})
    )
    assert run.event(1).is_awaited
    run.when(started()).then(e.TaskSubmitted("Sell", "3/result")).then_is("running").then_effects()
    assert run.state.is_idle
    run.when(ended(TaskSuccess({"Output": "{}"}))).then("TaskSucceeded", "ExecutionSucceeded")
    run.then_is("completed", output={"Output": "{}"})


def test_a_child_that_fails_fails_the_task():
    """Retry and Catch have their say; another attempt starts another child."""
    run = given(calling(".sync:2", Retry=[{**ALL, "IntervalSeconds": 5, "MaxAttempts": 1}])).when(started())
    run.when(ended(TaskFailure("States.TaskFailed", "the child failed"))).then("TaskFailed").after(5000).when(due())
    assert run.duty(StartChild) == StartChild(
        wait_id(2), parent(seq=5, attempt=1), {"StateMachineArn": "child", "Input": {}}
    )
    run.when(ended(TaskFailure("States.TaskFailed", None), seq=5)).then_is("failed", error="States.TaskFailed")


def test_the_end_may_come_before_the_beginning():
    """The child was quick, or the acknowledgement was lost: what comes late is stale."""
    run = given(calling(".sync:2")).when(ended(TaskSuccess(1))).then_is("completed", output=1)
    run.when(started()).then_nothing().then_refuses("STALE")


def test_an_intent_is_acknowledged_once():
    """The second one changes nothing; neither does one for another task."""
    run = given(calling(".sync:2")).when(started(seq=9)).then_nothing().then_refuses("STALE")
    run.when(started(), started()).then("TaskSubmitted").then_refuses("STALE")


@pytest.mark.parametrize("pattern", ["", ".sync:2", ".waitForTaskToken"])
def test_an_intent_is_repeated_after_a_crash(pattern):
    """The same child under the same id; starting it again is harmless."""
    token = {"Parameters": {"StateMachineArn": "child", "Input": {"token.$": "$$.Task.Token"}}}
    run = given(calling(pattern, **(token if "Token" in pattern else {})))
    intent = run.duty(StartChild)
    for died in (True, False, True, True, True):
        run.when(recovered(died=died)).then_nothing().then_effects(intent)


def test_a_child_that_runs_is_followed_after_a_crash():
    """It may have ended while nobody was there; nothing is counted against it."""
    run = given(calling(".sync:2")).when(started())
    for _ in range(6):
        run.when(recovered()).then_nothing().then_effects(FollowChild(wait_id(1), parent()))
    run.when(ended(TaskSuccess(1))).then_is("completed")


def test_a_child_is_given_up_with_the_execution():
    """An awaited one is ended; one that is not goes on."""
    given(calling(".sync:2")).when(started(), terminated()).then_effects(EndChild(wait_id(1)))
    given(calling(".sync:2")).when(terminated()).then_effects(EndChild(wait_id(1)))
    given(calling("")).when(terminated()).then_effects()


@pytest.mark.parametrize("before", [[], [started()]])
def test_a_child_that_takes_too_long_is_given_up(before):
    """The time limit of the task is the limit of waiting for it."""
    run = given(calling(".sync:2", TimeoutSeconds=60)).when(*before).after(60_000).when(due())
    run.then(e.TaskTimedOut("Sell", "task", "States.Timeout"), "ExecutionFailed").then_effects(EndChild(wait_id(1)))
    run.when(ended(TaskSuccess("late"))).then("ResultIgnored").then_is("failed", error="States.Timeout")


def test_a_child_in_a_branch_is_given_up_with_it():
    """A sibling has failed."""
    sell = {"StartAt": "Sell", "States": calling(".sync:2")["States"]}
    charge = {"StartAt": "A", "States": {"A": {"Type": "Task", "Resource": "charge", "End": True}}}
    both = {"Type": "Parallel", "Branches": [sell, charge], "End": True}
    run = given({"StartAt": "Both", "States": {"Both": both}})
    assert run.duty(StartChild).parent == parent(scope="2.0", seq=3)
    run.when(started(seq=3, scope="2.0"), failed("A", "NoMoney")).then_effects(EndChild(wait_id(1)))


# --- a child that is given a token -----------------------------------------------------------------------------------

TOKEN = {"StateMachineArn": "child", "Input": {"token.$": "$$.Task.Token"}}


def test_a_child_with_a_token_ends_the_task_by_it():
    """`.waitForTaskToken`: that the child ends is no news."""
    run = given(calling(".waitForTaskToken", Parameters=TOKEN)).then_effects("StartChild")
    run.when(started(seq=3)).then("TaskSubmitted").then_is("waiting")
    run.when(ended(TaskSuccess("ended"), seq=3)).then("ResultIgnored")
    run.when(AnswerTask(wait_id(1), TaskSuccess("told"))).then_is("completed", output="told")


def test_an_awaited_child_with_a_token_ends_the_task_by_whichever_is_first():
    """Its end cancels the token; the token's use makes its end late."""
    run = given(calling(".sync:2", Parameters=TOKEN)).then_effects("StartChild").when(started(seq=3))
    run.then("TaskSubmitted").then_is("running").when(ended(TaskSuccess("ended"), seq=3))
    run.then("TaskSucceeded", "ExecutionSucceeded").then_is("completed", output="ended")
    run.when(AnswerTask(wait_id(1), TaskSuccess("told"))).then_refuses("WAIT_EXPIRED")
    run = given(calling(".sync:2", Parameters=TOKEN)).when(started(seq=3))
    run.when(AnswerTask(wait_id(1), TaskSuccess("told"))).then_is("completed", output="told")
    run.when(ended(TaskSuccess("ended"), seq=3)).then("ResultIgnored")


def test_an_awaited_child_has_no_token_if_none_is_sent_to_it():
    """Looking at the context for something else opens no wait."""
    run = given(calling(".sync:2", Parameters={"StateMachineArn": "child", "Name.$": "$$.State.Name"}))
    assert [type(r.event).__name__ for r in run.events] == ["ExecutionStarted", "TaskScheduled"]
    assert run.event(1).wait is None
    run.then_is("running").check()


def test_an_awaited_child_with_a_token_may_take_too_long():
    """One limit for both: the wait expires, and the child is ended."""
    run = given(calling(".sync:2", Parameters=TOKEN, TimeoutSeconds=60)).when(started(seq=3)).after(60_000).when(due())
    run.then("WaitExpired", "ExecutionFailed").then_effects(EndChild(wait_id(2)))


# --- the child -------------------------------------------------------------------------------------------------------

CHARGE = {"StartAt": "A", "States": {"A": {"Type": "Task", "Resource": "charge", "End": True}}}


@pytest.mark.parametrize("end", [succeeded("A", 1), failed("A", "No"), terminated()])
def test_a_child_tells_its_parent_of_its_end(end):
    """However it ended; after that there is nothing more to tell."""
    run = given(CHARGE, parent=parent())
    assert run.event(0).parent == parent()
    run.when(end)
    assert run.effects[-1] == TellParent(parent())
    run.when(terminated()).then_effects()


def test_a_child_that_ends_at_once_tells_its_parent():
    """In its first decision."""
    given({"StartAt": "A", "States": {"A": {"Type": "Succeed"}}}, parent=parent()).then_effects(TellParent(parent()))


def test_a_child_that_nobody_awaits_tells_nobody():
    """Fire and forget."""
    run = given(CHARGE, parent=parent(pattern="")).when(recovered(died=False)).then_effects("RunTask")
    run.when(succeeded("A")).then_effects()


def test_a_child_looks_for_its_parent_after_a_crash():
    """It may have ended while nobody was there."""
    run = given(CHARGE, parent=parent()).when(recovered(died=False)).then_effects("RunTask", FollowParent(parent()))
    run.when(terminated()).then_effects("CancelTask", TellParent(parent()))
    run.when(recovered()).then_refuses("STALE")


def test_a_child_that_times_out_tells_its_parent():
    """The limit of the execution is an end like the others."""
    run = given({**CHARGE, "TimeoutSeconds": 9}, parent=parent()).after(9000).when(FireTimer(1))
    run.then("ExecutionTimedOut").then_effects("CancelTask", TellParent(parent()))
    assert run.state.ended_at == START + 9000
