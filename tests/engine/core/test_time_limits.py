"""Time limits, heartbeats and task tokens: what ends a state that nobody ends."""

from __future__ import annotations

import base64
import hashlib

import pytest

from perdure.engine.core import events as e
from perdure.engine.core.commands import AnswerTask, Beat, FireTimer, Resume, TaskFailure, TaskSuccess
from perdure.engine.core.decide import decide
from perdure.engine.core.decide.call import TIMEOUT_MAX_MS, token_digest, wait_of_token
from perdure.engine.core.decision import Need
from perdure.engine.core.effects import CancelTask, RunTask, SetTimer
from perdure.engine.core.state import EXECUTION_TIMER
from perdure.engine.testing import START, due, failed, recovered, resumed, succeeded, terminated

from .checked import given, wait_id

CHARGE = {"Type": "Task", "Resource": "charge"}
ASK = {"Type": "Task", "Resource": "wait_for_resume"}
TELL = {"Type": "Task", "Resource": "notify.waitForResume"}
TOKEN = {"Type": "Task", "Resource": "notify.waitForTaskToken", "Parameters": {"token.$": "$$.Task.Token"}}
ALL = {"ErrorEquals": ["States.ALL"]}
MEND = {"Mend": {"Type": "Pass", "End": True}}
WHOLE = FireTimer(EXECUTION_TIMER)


def one(state, *, also=None, **fields):
    return {"StartAt": "A", "States": {"A": {**state, "End": True}, **(also or {})}, **fields}


# --- of a task -------------------------------------------------------------------------------------------------------


def test_a_step_that_takes_too_long_is_timed_out():
    """The event of its call says when; then the step is let go, and what it gives is ignored."""
    run = given(one({**CHARGE, "TimeoutSeconds": 60}))
    assert run.event(1) == e.TaskScheduled("A", "charge", "1/input", due_at=START + 60_000)
    run.then_effects(SetTimer(START + 60_000), "RunTask")
    late = succeeded("A", 1)(run.state)
    run.after(60_000).when(due()).then(
        e.TaskTimedOut("A", "task", "States.Timeout"), e.ExecutionFailed("States.Timeout", state="A")
    )
    run.then_effects(CancelTask(2)).then_is("failed", error="States.Timeout")
    run.when(late).then("ResultIgnored")


def test_a_step_that_is_in_time_has_no_limit_any_more():
    """The timer goes with it."""
    first = {**CHARGE, "TimeoutSeconds": 60, "Next": "B"}
    run = given({"StartAt": "A", "States": {"A": first, "B": {**CHARGE, "End": True}}})
    limit = due()(run.state)
    run.when(succeeded("A")).after(60_000).when(limit).then_nothing().then_refuses("STALE")


def test_a_time_out_can_be_retried_and_caught():
    """Each attempt has its own limit."""
    fields = {"Retry": [{"ErrorEquals": ["States.Timeout"], "IntervalSeconds": 1, "MaxAttempts": 1}]}
    run = given(one({**CHARGE, "TimeoutSeconds": 9, **fields, "Catch": [{**ALL, "Next": "Mend"}]}, also=MEND))
    run.after(9000).when(due()).then(e.TaskTimedOut("A", "task", "States.Timeout", then=e.Retry(0, START + 10_000)))
    run.then_effects(CancelTask(2), SetTimer(START + 10_000))
    run.after(1000).when(due()).then("TaskScheduled")
    assert run.event(-1).due_at == START + 19_000
    run.after(9000).when(due()).then("TaskTimedOut", "StatePassed", "ExecutionSucceeded")
    run.then_is("completed", output={"Error": "States.Timeout", "Cause": ""})


def test_a_limit_is_computed_from_the_input():
    """TimeoutSecondsPath; what is no number of seconds fails the state."""
    run = given(one({**CHARGE, "TimeoutSecondsPath": "$.s"}), {"s": 5})
    assert run.event(1).due_at == START + 5000
    given(one({**CHARGE, "TimeoutSecondsPath": "$.s"}), {"s": "x"}).then_is("failed", error="States.Runtime")


def test_a_limit_goes_on_while_nobody_is_there():
    """After a crash the timer is armed again, and a limit that has passed is one."""
    run = given(one({**CHARGE, "TimeoutSeconds": 60})).after(10**9)
    run.when(recovered()).then("TaskInterrupted").then_effects("RunTask", SetTimer(START + 60_000))
    run.when(due()).then("TaskTimedOut", "ExecutionFailed")


def test_a_limit_counts_from_the_clock_and_not_from_the_log():
    """When the clock was set back, an hour is not added to a minute."""
    run = given(
        {"StartAt": "P", "States": {"P": {**CHARGE, "Next": "A"}, "A": {**CHARGE, "TimeoutSeconds": 60, "End": True}}}
    )
    run.after(-3_600_000).when(succeeded("P"))
    assert run.event(-1).due_at == run.now + 60_000


def test_a_heartbeat_of_a_step_is_not_needed():
    """It runs in this process, whose life is watched otherwise."""
    run = given(one({**CHARGE, "TimeoutSeconds": 60, "HeartbeatSeconds": 5}))
    assert run.state.timers[2].heartbeat_ms is None


# --- of a wait -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("before", [[], [succeeded("A", "sent")]])
def test_a_wait_that_nobody_ends_expires(before):
    """Whether or not its step has returned; late answers are told so."""
    run = given(one({**TELL, "TimeoutSeconds": 60})).when(*before).after(60_000)
    run.when(due()).then(
        e.WaitExpired("A", wait_id(1), "task", "States.Timeout"), e.ExecutionFailed("States.Timeout", state="A")
    )
    run.then_effects(*([] if before else [CancelTask(3)])).then_is("failed", error="States.Timeout")
    run.when(resumed()).then("CommandRefused").then_refuses("WAIT_EXPIRED")


@pytest.mark.parametrize("named", [{}, {"wait": wait_id(1)}, {"state": "A"}])
def test_an_answer_to_an_expired_wait_is_refused_while_the_run_goes_on(named):
    """The catcher has led elsewhere."""
    definition = one(
        {**ASK, "TimeoutSeconds": 60, "Catch": [{**ALL, "Next": "Rest"}]}, also={"Rest": {**CHARGE, "End": True}}
    )
    run = given(definition).after(60_000).when(due()).then("WaitExpired", "TaskScheduled").then_is("running")
    run.when(Resume({}, may_hold=True, **named)).then("CommandRefused").then_refuses("WAIT_EXPIRED")
    assert "expired" in run.refused.message


def test_a_wait_that_is_answered_in_time_does_not_expire():
    """Its timer goes with it."""
    run = given(one({**ASK, "TimeoutSeconds": 60}))
    assert run.event(1).due_at == START + 60_000
    run.then_effects(SetTimer(START + 60_000)).then_is("waiting")
    limit = due()(run.state)
    run.when(resumed(1)).then_is("completed", output=1).after(60_000).when(limit).then_refuses("STALE")


# --- of the execution ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("state", "given_up"),
    [(CHARGE, [CancelTask(2)]), (ASK, []), ({"Type": "Wait", "Seconds": 9999}, []), (TELL, [CancelTask(3)])],
)
def test_an_execution_that_takes_too_long_is_timed_out(state, given_up):
    """Wherever it is, also while it waits; everything in it ends."""
    run = given(one(state, TimeoutSeconds=100))
    assert run.event(0).due_at == START + 100_000
    assert SetTimer(START + 100_000) in run.effects
    run.after(100_000).when(WHOLE).then(e.ExecutionTimedOut()).then_effects(*given_up)
    run.then_is("timed_out", error="States.Timeout", output=None)
    run.when(terminated()).then_refuses("CONFLICT").when(WHOLE).then_refuses("STALE")


def test_an_execution_s_limit_cannot_be_caught():
    """It is the end, and no state's failure."""
    run = given(one({**CHARGE, "Catch": [{**ALL, "Next": "Mend"}]}, also=MEND, TimeoutSeconds=10))
    run.after(9999).when(WHOLE).then_nothing().then_effects(SetTimer(START + 10_000))
    run.after(1).when(WHOLE).then("ExecutionTimedOut").then_is("timed_out")


def test_an_execution_that_ends_in_time_has_no_limit_any_more():
    """Nothing comes due after the end."""
    given(one(CHARGE, TimeoutSeconds=10)).when(succeeded("A")).after(10_000).when(WHOLE).then_refuses("STALE")


# --- task tokens -----------------------------------------------------------------------------------------------------


def token_of(run):
    return run.duty(RunTask).parameters["token"]


def test_a_token_names_its_wait_and_is_kept_as_a_digest():
    """Whoever reads `data` cannot use it; its random part is new for each."""
    run = given(one(TOKEN))
    token = token_of(run)
    assert wait_of_token(token) == wait_id(1)
    assert len(token) == len(wait_id(1)) + 1 + 43
    assert run.event(1).token_sha256 == token_digest(token) == hashlib.sha256(token.encode()).hexdigest()
    assert token.encode() not in b"".join(row.data.encode() for row in run.rows)
    assert token_of(given(one({**TOKEN, "ResultPath": "$.x"}))) == token, "chance is passed in"


@pytest.mark.parametrize("before", [[], [succeeded("A", "sent")]])
def test_the_holder_of_a_token_gives_the_result(before):
    """Before or after the step has returned."""
    run = given(one(TOKEN)).when(*before).when(AnswerTask(wait_id(1), TaskSuccess({"ok": 1})))
    run.then("WaitResumed", "ExecutionSucceeded").then_answers("completed").then_is("completed", output={"ok": 1})
    assert run.events[-2].caused_by == 2


def test_the_holder_of_a_token_says_that_the_task_failed():
    """Retry and Catch have their say, as for every failure."""
    run = given(one({**TOKEN, "Catch": [{**ALL, "Next": "Mend"}]}, also=MEND)).when(succeeded("A"))
    run.when(AnswerTask(wait_id(1), TaskFailure("NoMoney", "none"))).then(
        "TaskFailed", "StatePassed", "ExecutionSucceeded"
    )
    run.then_answers({"message": "completed", "then": {"kind": "catch", "next": "Mend"}})
    run.then_is("completed", output={"Error": "NoMoney", "Cause": "none"})
    run = given(one(TOKEN)).when(AnswerTask(wait_id(1), TaskFailure(None, None)))
    run.then("TaskFailed", "ExecutionFailed").then_is("failed", error=None)
    assert run.state.cause is None


@pytest.mark.parametrize("first", [TaskSuccess(1), TaskFailure("No", None)])
def test_a_token_is_good_for_one_answer(first):
    """The second one is told so, whatever either of them says."""
    run = given(one(TOKEN)).when(AnswerTask(wait_id(1), first))
    is_good = isinstance(first, TaskSuccess)
    run.then_answers("completed" if is_good else {"message": "completed", "then": {"kind": "end"}})
    for outcome in (TaskSuccess(2), TaskFailure("No", None)):
        run.when(AnswerTask(wait_id(1), outcome)).then("CommandRefused").then_refuses("CONFLICT")
    run.when(Beat(wait_id(1))).then(e.CommandRefused("heartbeat", "CONFLICT", 3)).then_refuses("CONFLICT")
    run.then_is("completed" if is_good else "failed")


def test_a_resume_of_a_wait_whose_token_failed_is_late():
    """No resume has ended it, so none has won; the refusal says how it ended."""
    run = given(one(TOKEN)).when(AnswerTask(wait_id(1), TaskFailure("No", None)), resumed(wait=wait_id(1)))
    run.then_refuses("WAIT_EXPIRED")
    assert "failed" in run.refused.message


def test_a_used_token_of_an_earlier_visit_is_still_used():
    """The state asks again under another token; how the earlier one ended is looked up."""
    run = given(one({**TOKEN, "Retry": [{**ALL, "IntervalSeconds": 1, "BackoffRate": 1}]}))
    run.when(AnswerTask(wait_id(1), TaskFailure("No", None))).after(1000).when(due())
    run.when(AnswerTask(wait_id(2), TaskFailure("No", None))).after(1000).when(due())
    for wait in (1, 2):
        run.when(AnswerTask(wait_id(wait), TaskSuccess(1))).then_refuses("CONFLICT")
    run.when(AnswerTask(wait_id(3), TaskSuccess(1))).then_is("completed", output=1)


def test_a_token_whose_wait_is_over_is_refused():
    """It expired, or was cancelled with its scope; an unknown one names no task."""
    run = given(one({**TOKEN, "TimeoutSeconds": 5})).after(5000).when(due(), AnswerTask(wait_id(1), TaskSuccess(1)))
    run.then_refuses("WAIT_EXPIRED")
    assert "expired" in run.refused.message
    run = given(one(TOKEN)).when(failed("A", "NoMail"), Beat(wait_id(1))).then_refuses("WAIT_EXPIRED")
    assert "cancelled" in run.refused.message
    run.when(AnswerTask(wait_id(9), TaskSuccess(1))).then_refuses("NOT_FOUND")
    run = given(one(TOKEN)).when(terminated(), AnswerTask(wait_id(1), TaskSuccess(1))).then_refuses("CONFLICT")
    assert "terminated" in run.refused.message


def test_a_token_of_an_older_wait_is_looked_up():
    """The state remembers the last wait of each state of the definition."""
    run = given(one(TOKEN))
    facts = run._facts()
    for command in (AnswerTask(wait_id(7), TaskSuccess(1)), Beat(wait_id(7))):
        assert decide(run.state, command, facts) == Need(waits=(wait_id(7),))


def test_a_token_may_be_resumed_like_every_wait():
    """The wait's id does it as well."""
    given(one(TOKEN)).when(resumed({"ok": 1})).then_is("completed", output={"ok": 1})


def test_an_answer_that_comes_while_the_step_still_runs_makes_its_result_late():
    """It is recorded as ignored."""
    run = given(one(TOKEN))
    late = succeeded("A", "sent")(run.state)
    run.when(AnswerTask(wait_id(1), TaskSuccess(1)), late).then("WaitResumed", "ExecutionSucceeded", "ResultIgnored")


# --- heartbeats ------------------------------------------------------------------------------------------------------

BEATING = {**TOKEN, "TimeoutSeconds": 60, "HeartbeatSeconds": 20}


def test_a_heartbeat_moves_the_limit():
    """By HeartbeatSeconds from now; the wait shows it, and the old instant finds nothing due."""
    run = given(one(BEATING)).then_effects(SetTimer(START + 20_000), "RunTask")
    opened = run.event(1)
    assert (opened.due_at, opened.heartbeat_ms, opened.heartbeat_due_at) == (START + 60_000, 20_000, START + 20_000)
    run.after(15_000).when(Beat(wait_id(1))).then(e.TaskHeartbeat("A", wait_id(1), START + 35_000)).then_answers(
        "alive"
    )
    run.then_effects(SetTimer(START + 35_000))
    assert run.state.waits[wait_id(1)].due_at == START + 35_000
    run.after(5000).when(due()).then_nothing().then_effects(SetTimer(START + 35_000))


def test_a_heartbeat_never_moves_the_limit_beyond_the_end():
    """TimeoutSeconds holds for those who are alive, too."""
    run = given(one(BEATING)).when(succeeded("A"))
    for _ in range(5):
        run.after(11_000).when(Beat(wait_id(1))).then_answers("alive")
    assert run.event(-1).due_at == START + 60_000
    run.after(5000).when(due()).then(e.WaitExpired("A", wait_id(1), "task", "States.Timeout"), "ExecutionFailed")


def test_a_heartbeat_that_is_missed_ends_the_task():
    """The event says which limit it was; the error is States.Timeout, as AWS reports it."""
    run = given(one(BEATING)).when(succeeded("A")).then_is("waiting").after(20_000).when(due())
    run.then(e.WaitExpired("A", wait_id(1), "heartbeat", "States.Timeout"), "ExecutionFailed")
    run.then_is("failed", error="States.Timeout")


@pytest.mark.parametrize("name", ["States.HeartbeatTimeout", "States.Timeout", "States.ALL"])
def test_a_missed_heartbeat_goes_by_two_names(name):
    """A catcher may name it by either; a time limit has one of them only."""
    catching = {**BEATING, "Catch": [{"ErrorEquals": [name], "Next": "Mend"}]}
    given(one(catching, also=MEND)).after(20_000).when(due()).then_is("completed")
    run = (
        given(one({**catching, "HeartbeatSeconds": 59}, also=MEND))
        .after(58_000)
        .when(Beat(wait_id(1)))
        .after(2000)
        .when(due())
    )
    run.then_is("failed" if name == "States.HeartbeatTimeout" else "completed")


def test_a_heartbeat_without_a_limit_changes_nothing():
    """There is nothing to move: of no limit, and of one without heartbeats."""
    for state in (TOKEN, {**TOKEN, "TimeoutSeconds": 60}):
        given(one(state)).when(Beat(wait_id(1))).then_nothing().then_answers("alive")


def test_heartbeats_alone_have_the_longest_limit():
    """A task with HeartbeatSeconds and no TimeoutSeconds may beat for three years."""
    run = given(one({**TOKEN, "HeartbeatSeconds": 20}))
    assert run.event(1).due_at == START + TIMEOUT_MAX_MS
    run.after(20_000).when(due()).then("WaitExpired", "ExecutionFailed")


def test_a_heartbeat_outlives_the_process():
    """The moved limit is armed again."""
    run = given(one(BEATING)).when(succeeded("A")).after(5000).when(Beat(wait_id(1)), recovered())
    run.then_effects(SetTimer(START + 25_000))


# --- a clock that was ahead ------------------------------------------------------------------------------------------

DAY_MS = 86_400_000


def ahead_for_a_moment(run):
    """Let something be recorded while the clock is a day ahead, and set it back."""
    run.after(DAY_MS).when(Resume({}, state="Nowhere")).then("CommandRefused").after(-DAY_MS)


def asking_first(**state):
    """Give a run that waits for a resume before it comes to this state, and was recorded ahead of time meanwhile."""
    states = {"Ask": {**ASK, "Next": "A"}, "A": {"End": True, **state}}
    run = given({"StartAt": "Ask", "States": states})
    ahead_for_a_moment(run)
    return run.when(resumed())


def test_a_heartbeat_is_due_by_the_clock_and_not_by_the_log():
    """The event that opens the wait says when, counted from the clock as every limit is."""
    run = asking_first(**BEATING)
    opened = next(r.event for r in reversed(run.events) if isinstance(r.event, e.WaitOpened))
    assert (opened.heartbeat_due_at, opened.due_at) == (START + 20_000, START + 60_000)
    assert SetTimer(START + 20_000) in run.effects
    run.when(succeeded("A")).after(20_000).when(due())
    run.then(e.WaitExpired("A", wait_id(2), "heartbeat", "States.Timeout"), "ExecutionFailed")


def test_a_heartbeat_moves_the_limit_by_the_clock_and_not_by_the_log():
    """Whoever falls silent after it is missed in time."""
    run = given(one(BEATING)).when(succeeded("A"))
    ahead_for_a_moment(run)
    run.after(15_000).when(Beat(wait_id(1))).then(e.TaskHeartbeat("A", wait_id(1), START + 35_000))
    run.after(20_000).when(due()).then("WaitExpired", "ExecutionFailed")


def test_the_hour_that_an_expression_reads_is_the_clock_s():
    """A Wait state until five seconds from now takes five seconds."""
    until = "{% $fromMillis($millis() + 5000) %}"
    run = asking_first(Type="Wait", QueryLanguage="JSONata", Timestamp=until)
    assert run.event(-1) == e.TimerSet("A", START + 5000)


# --- in branches -----------------------------------------------------------------------------------------------------


def test_the_limit_of_one_branch_is_its_own():
    """It fails the branch, and leaves the other if the branch handles it."""
    saved = {**CHARGE, "TimeoutSeconds": 5, "Catch": [{**ALL, "Next": "Mend"}], "End": True}
    branches = [
        {"StartAt": "A", "States": {"A": saved, **MEND}},
        {"StartAt": "B", "States": {"B": {**ASK, "TimeoutSeconds": 9, "End": True}}},
    ]
    run = given({"StartAt": "Both", "States": {"Both": {"Type": "Parallel", "Branches": branches, "End": True}}})
    run.after(5000).when(due("2.0")).then("TaskTimedOut", "StatePassed").then_is("waiting")
    run.after(4000).when(due("2.1")).then("WaitExpired", "StateFailed", "ExecutionFailed")
    run.then_is("failed", error="States.Timeout")


def test_a_step_that_still_runs_is_given_up_when_its_token_says_that_it_failed():
    """Or another attempt might run beside it; with a success it may end what it does."""
    run = given({"StartAt": "A", "States": {"A": {**TOKEN, "Retry": [{"ErrorEquals": ["States.ALL"]}], "End": True}}})
    run.when(AnswerTask(wait_id(1), TaskFailure("No", None)))
    assert CancelTask(run.events[2].seq) in run.effects
    again = given({"StartAt": "A", "States": {"A": {**TOKEN, "End": True}}})
    again.when(AnswerTask(wait_id(1), TaskSuccess(1))).then_is("completed")
    assert not [effect for effect in again.effects if isinstance(effect, CancelTask)]


def test_a_wait_for_a_resume_can_hand_out_a_token_for_its_heartbeats():
    """If its parameters ask for one; without it nobody could send a heartbeat."""
    asking = {"Type": "Task", "Resource": "notify.waitForResume", "HeartbeatSeconds": 60, "End": True}
    run = given({"StartAt": "A", "States": {"A": {**asking, "Parameters": {"token.$": "$$.Task.Token"}}}})
    opened = run.event(1)
    assert opened.token_sha256 == token_digest(token_of(run))
    run.after(59_000).when(Beat(wait_id(1))).then(e.TaskHeartbeat("A", wait_id(1), run.now + 60_000))
    run.when(resumed({"ok": True})).then_is("completed")
    plain = given({"StartAt": "A", "States": {"A": {**asking, "Parameters": {"name.$": "$$.State.Name"}}}})
    assert plain.event(1).token_sha256 is None


def test_a_token_that_was_changed_on_its_way_is_a_token_still():
    """A definition may encode it; who decodes it can answer."""
    encoded = {"Type": "Task", "Resource": "notify.waitForTaskToken", "End": True}
    encoded["Parameters"] = {"token.$": "States.Base64Encode($$.Task.Token)"}
    run = given({"StartAt": "A", "States": {"A": encoded}})
    token = base64.b64decode(run.duty(RunTask).parameters["token"]).decode()
    assert run.event(1).token_sha256 == token_digest(token)
