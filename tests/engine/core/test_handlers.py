"""Retry and Catch: who handles an error, when the state is tried again, and what becomes of the error."""

from __future__ import annotations

import re

import pytest

from perdure.engine.core import events as e
from perdure.engine.core.effects import RunTask, SetTimer
from perdure.engine.testing import EXECUTION, START, due, failed, recovered, resumed, succeeded, terminated

from .checked import given, wait_id

CHARGE = {"Type": "Task", "Resource": "charge"}
ALL = {"ErrorEquals": ["States.ALL"]}
DONE = {"Type": "Succeed"}


def one(*, also=None, **fields):
    """Give a machine of one Task state, and of those that its catchers lead to."""
    others = {"Mend": {"Type": "Pass", "End": True}, **(also or {})}
    named = {catcher["Next"] for catcher in fields.get("Catch", [])} | {*(also or {})}
    reached = {name: state for name, state in others.items() if name in named}
    return {"StartAt": "A", "States": {"A": {**CHARGE, "Next": "Done", **fields}, "Done": DONE, **reached}}


def delays(run):
    """Give the milliseconds of each delay before a retry."""
    failures = [r for r in run.events if isinstance(getattr(r.event, "then", None), e.Retry)]
    return [r.event.then.due_at - r.recorded_at for r in failures]


def fail_often(run, error, times):
    """Let the step fail so often, each time as soon as it is tried again."""
    for _ in range(times):
        run.when(failed("A", error))
        if not run.state.is_over:
            run.now = max(timer.due_at for timer in run.state.timers.values())
            run.when(due())
    return run


# --- Retry -----------------------------------------------------------------------------------------------------------


def test_a_failure_that_is_retried_says_when():
    """The event has the retrier and the instant; the timer's name is the event's seq, and the next attempt is told."""
    run = given(one(Retry=[{**ALL, "IntervalSeconds": 4}]))
    run.when(failed("A", "Busy", "try later")).then(
        e.TaskFailed("A", None, "3/error", "3/cause", then=e.Retry(0, START + 4000))
    )
    run.then_is("running").then_effects(SetTimer(START + 4000))
    run.after(3999).when(due()).then_nothing().then_effects(SetTimer(START + 4000))
    run.after(1).when(due()).then(e.TaskScheduled("A", "charge", "1/input", attempt=1))
    assert run.events[-1].caused_by == 3
    run.when(succeeded("A", 1)).then(
        e.TaskSucceeded("A", "5/result", "5/result", "Done", attempt=1), "StatePassed", "ExecutionSucceeded"
    )


def test_the_key_is_the_same_over_attempts():
    """As long as the parameters are: whoever was called twice can tell that it is one payment."""
    run = given(one(Retry=[{**ALL, "IntervalSeconds": 1}], Parameters={"n.$": "$.n"}), {"n": 1})
    first = run.duty(RunTask)
    run.when(failed("A", "Busy")).after(1000).when(due())
    again = run.duty(RunTask)
    assert first.idempotency_key == again.idempotency_key == f"{EXECUTION}/A/-/1"
    assert (first.parameters, first.attempt) == ({"n": 1}, 0)
    assert (again.parameters, again.attempt) == ({"n": 1}, 1)
    assert run.event(-1) == e.TaskScheduled("A", "charge", "2/parameters", attempt=1)


KEPT = re.compile(f"{EXECUTION}/A/-/1/[0-9a-f]{{32}}")
"""The key of a call that another attempt may make with other parameters: it has a digest of them."""


def test_parameters_that_change_have_another_key():
    """The context object tells the attempt; then one key must not stand for two inputs."""
    tried = {"tried.$": "$$.State.RetryCount"}
    run = given(one(Retry=[{**ALL, "IntervalSeconds": 1}], Parameters=tried))
    first = run.duty(RunTask)
    run.when(failed("A", "Busy")).after(1000).when(due())
    second = run.duty(RunTask)
    assert [call.parameters for call in (first, second)] == [{"tried": 0}, {"tried": 1}]
    assert first.idempotency_key != second.idempotency_key
    assert all(KEPT.fullmatch(call.idempotency_key) for call in (first, second))
    assert run.event(-1) == e.TaskScheduled("A", "charge", "4/parameters", attempt=1)
    run.when(recovered(died=False)).then_nothing()
    assert run.duty(RunTask) == second


def test_parameters_that_look_at_the_context_and_stay_the_same_keep_their_key():
    """What counts is what is sent."""
    run = given(one(Retry=[{**ALL, "IntervalSeconds": 1}], Parameters={"name.$": "$$.State.Name"}))
    first = run.duty(RunTask)
    run.when(failed("A", "Busy")).after(1000).when(due())
    assert run.duty(RunTask).idempotency_key == first.idempotency_key
    assert run.event(-1) == e.TaskScheduled("A", "charge", "2/parameters", attempt=1)


def test_parameters_that_change_and_come_back_have_their_key_again():
    """An attempt with the input of an earlier one has that one's key."""
    late = {"late.$": "States.MathAdd(States.ArrayGetItem($.of, $$.State.RetryCount), 0)"}
    run = given(one(Retry=[{**ALL, "IntervalSeconds": 1, "BackoffRate": 1}], Parameters=late), {"of": [0, 1, 1, 0]})
    keys = [run.duty(RunTask).idempotency_key]
    for _ in range(3):
        run.when(failed("A", "Busy")).after(1000).when(due())
        keys.append(run.duty(RunTask).idempotency_key)
    assert keys == [keys[0], keys[1], keys[1], keys[0]]
    assert keys[0] != keys[1]


def test_parameters_that_are_equal_in_python_only_have_changed():
    """True is not 1: what is called is given what was computed."""
    arguments = {"n": "{% $states.context.State.RetryCount = 0 ? 1 : true %}"}
    run = given(one(QueryLanguage="JSONata", Arguments=arguments, Retry=[{**ALL, "IntervalSeconds": 1}]))
    first = run.duty(RunTask)
    run.when(failed("A", "Busy")).after(1000).when(due())
    assert run.duty(RunTask).parameters["n"] is True
    assert run.duty(RunTask).idempotency_key != first.idempotency_key


def test_the_delay_grows_up_to_its_limit():
    """IntervalSeconds times BackoffRate each time, at most MaxDelaySeconds."""
    run = given(one(Retry=[{**ALL, "IntervalSeconds": 2, "BackoffRate": 3, "MaxAttempts": 4, "MaxDelaySeconds": 20}]))
    fail_often(run, "Busy", 5).then_is("failed", error="Busy")
    assert delays(run) == [2000, 6000, 18_000, 20_000]


def test_the_defaults_are_those_of_the_language():
    """Three attempts after 1, 2 and 4 seconds."""
    run = fail_often(given(one(Retry=[ALL])), "Busy", 4).then_is("failed", error="Busy")
    assert delays(run) == [1000, 2000, 4000]
    assert [r.event.attempt for r in run.events if isinstance(r.event, e.TaskFailed)] == [0, 1, 2, 3]


def test_jitter_is_drawn_once_and_recorded():
    """Chance is in the event: deciding again draws the same, and the fold only copies (checked at every command)."""
    retry = [{**ALL, "IntervalSeconds": 100, "BackoffRate": 1, "MaxAttempts": 3, "JitterStrategy": "FULL"}]
    run = fail_often(given(one(Retry=retry)), "Busy", 3)
    drawn = delays(run)
    assert len(set(drawn)) == 3
    assert all(0 <= delay < 100_000 for delay in drawn)


def test_each_retrier_has_a_count_of_its_own():
    """The first one that matches decides; one that is exhausted is not helped by the next."""
    retry = [
        {"ErrorEquals": ["Busy"], "IntervalSeconds": 1, "MaxAttempts": 2},
        {"ErrorEquals": ["Broken", "Busy"], "IntervalSeconds": 10, "MaxAttempts": 1},
    ]
    run = given(one(Retry=retry))
    for error in ("Busy", "Broken", "Busy"):
        fail_often(run, error, 1)
    assert delays(run) == [1000, 10_000, 2000]
    assert run.state.frames[""].retries == (2, 1)
    assert run.state.frames[""].attempt == 3
    run.when(failed("A", "Busy")).then("TaskFailed", "ExecutionFailed").then_is("failed", error="Busy")


def test_a_retrier_that_makes_no_attempt_hides_those_behind_it():
    """MaxAttempts 0: this error is not retried."""
    retry = [{"ErrorEquals": ["Fatal"], "MaxAttempts": 0}, {**ALL, "IntervalSeconds": 1}]
    given(one(Retry=retry)).when(failed("A", "Fatal")).then_is("failed", error="Fatal")
    given(one(Retry=retry)).when(failed("A", "Other")).then_is("running")


def test_an_error_that_nobody_names_is_not_handled():
    """Neither retried nor caught."""
    run = given(one(Retry=[{"ErrorEquals": ["X"]}], Catch=[{"ErrorEquals": ["Y"], "Next": "Mend"}]))
    run.when(failed("A", "Z")).then_is("failed", error="Z")


def test_the_next_visit_begins_with_no_retries():
    """The count is of one visit of the state."""
    again = {"Type": "Choice", "Choices": [{"Variable": "$.n", "NumericEquals": 1, "Next": "A"}], "Default": "Done"}
    run = given(one(Retry=[{**ALL, "IntervalSeconds": 1, "MaxAttempts": 1}], Next="Again", also={"Again": again}))
    run.when(failed("A", "Busy")).after(1000).when(due(), succeeded("A", {"n": 1}))
    assert run.event(-1) == e.TaskScheduled("A", "charge", "5/result", visit=2)
    run.when(failed("A", "Busy")).then_is("running").after(1000).when(due(), succeeded("A", {"n": 2}))
    run.then_is("completed")


def test_a_state_that_fails_as_it_is_entered_is_retried():
    """The failure is an event of its own, and the attempts are counted."""
    retry = [{"ErrorEquals": ["States.IntrinsicFailure"], "IntervalSeconds": 1, "MaxAttempts": 1}]
    run = given(one(Retry=retry, Parameters={"x.$": "States.ArrayLength('none')"}))
    assert run.event(-1) == e.StateFailed(
        "A", "Task", "States.IntrinsicFailure", None, "2/cause", is_entry=True, then=e.Retry(0, START + 1000)
    )
    run.after(1000).when(due()).then("ExecutionFailed").then_is("failed", error="States.IntrinsicFailure")
    assert run.event(-1).entered is None


ENTRY = [{"ErrorEquals": ["States.ALL"], "IntervalSeconds": 1, "MaxAttempts": 3, "BackoffRate": 1}]


@pytest.mark.parametrize("resource", ["charge", "charge.waitForResume"])
def test_a_state_that_can_be_entered_only_at_the_second_attempt_is_entered(resource):
    """It is its first visit all the same, under a key that no other visit has."""
    reading = {"x.$": "States.ArrayGetItem(States.StringSplit('a,b', ','), States.MathAdd(-1, $$.State.RetryCount))"}
    again = {"Type": "Choice", "Choices": [{"Variable": "$.n", "NumericEquals": 1, "Next": "A"}], "Default": "Done"}
    run = given(one(Retry=ENTRY, Parameters=reading, Next="Again", Resource=resource, also={"Again": again}))
    keys = []
    for number in (1, 2):
        run.after(1000).when(due())
        scheduled = run.event(-1)
        assert (scheduled.visit, scheduled.attempt) == (number, 1)
        keys.append(run.duty(RunTask).idempotency_key)
        run.when(resumed({"n": number}) if "wait" in resource else succeeded("A", {"n": number}))
    run.then_is("completed")
    assert len(set(keys)) == 2


def test_a_wait_that_is_retried_is_another_wait():
    """Its late answer is told that the wait has expired, though the state asks again."""
    retry = [{"ErrorEquals": ["States.Timeout"], "IntervalSeconds": 1, "MaxAttempts": 1}]
    run = given(one(Resource="notify.waitForResume", TimeoutSeconds=60, Retry=retry))
    run.when(succeeded("A")).after(60_000).when(due()).then("WaitExpired")
    run.when(resumed(wait=wait_id(1))).then_refuses("WAIT_EXPIRED")
    run.after(1000).when(due()).then("WaitOpened", "TaskScheduled")
    assert (run.event(-1).wait, run.event(-1).attempt) == (wait_id(2), 1)
    run.when(resumed(wait=wait_id(1))).then_refuses("WAIT_EXPIRED")
    run.when(resumed({"ok": 1})).then_is("completed", output={"ok": 1})


def test_a_delay_outlives_the_process():
    """The timer is armed again."""
    run = given(one(Retry=[{**ALL, "IntervalSeconds": 9}])).when(failed("A", "Busy"))
    run.when(recovered()).then_nothing().then_effects(SetTimer(START + 9000))


def test_a_delay_ends_with_the_execution():
    """Nothing comes due any more."""
    run = given(one(Retry=[{**ALL, "IntervalSeconds": 9}])).when(failed("A", "Busy"))
    timer = due()(run.state)
    run.when(terminated()).after(9000).when(timer).then_nothing().then_refuses("STALE")


def test_what_a_step_gives_while_the_state_waits_to_be_retried_is_ignored():
    """It has failed; the next attempt decides."""
    run = given(one(Retry=[{**ALL, "IntervalSeconds": 9}]))
    twice = succeeded("A", "late")(run.state)
    run.when(failed("A", "Busy"), twice).then("TaskFailed", e.ResultIgnored("A", "succeeded"))
    run.after(9000).when(due(), twice).then("TaskScheduled", "ResultIgnored").when(succeeded("A", 1)).then_is(
        "completed", output=1
    )


# --- Catch -----------------------------------------------------------------------------------------------------------


def test_what_is_caught_is_the_output():
    """Without ResultPath the error output is; the event says which catcher it was, and where it leads."""
    run = given(one(Catch=[{"ErrorEquals": ["Other"], "Next": "Done"}, {**ALL, "Next": "Mend"}]), {"n": 1})
    run.when(failed("A", "NoMoney", "none")).then(
        e.TaskFailed("A", None, "3/error", "3/cause", then=e.Caught(1, "Mend", "3/output")),
        e.StatePassed("Mend", "Pass", "3/output"),
        "ExecutionSucceeded",
    )
    run.then_is("completed", output={"Error": "NoMoney", "Cause": "none"})


@pytest.mark.parametrize(
    ("fields", "output"),
    [
        ({"ResultPath": "$.error"}, {"n": 1, "error": {"Error": "NoMoney", "Cause": "none"}}),
        ({"ResultPath": None}, {"n": 1}),
        ({"ResultPath": "$"}, {"Error": "NoMoney", "Cause": "none"}),
    ],
)
def test_the_error_is_placed_into_the_input(fields, output):
    """ResultPath of the catcher, on the raw input of the state."""
    run = given(one(Catch=[{**ALL, **fields, "Next": "Mend"}]), {"n": 1})
    run.when(failed("A", "NoMoney", "none")).then_is("completed", output=output)


def test_a_catcher_sets_variables():
    """Assign sees the error output; the states that follow see what it set."""
    catch = [{**ALL, "ResultPath": None, "Assign": {"why.$": "$.Error"}, "Next": "Tell"}]
    tell = {"Type": "Pass", "Parameters": {"because.$": "$why"}, "End": True}
    run = given(one(Catch=catch, also={"Tell": tell}))
    run.when(failed("A", "NoMoney")).then_is("completed", output={"because": "NoMoney"})
    assert run.event(2).then == e.Caught(0, "Tell", "1/input", {"why": "3/assigned/why"})


def test_a_jsonata_catcher_computes_its_output():
    """From `$states.errorOutput`."""
    catch = [{**ALL, "Output": {"was": "{% $states.errorOutput.Error %}"}, "Assign": {"w": 1}, "Next": "Mend"}]
    run = given(one(QueryLanguage="JSONata", Catch=catch)).when(failed("A", "NoMoney"))
    run.then_is("completed", output={"was": "NoMoney"})


def test_a_catcher_that_cannot_be_computed_fails():
    """The failure is recorded as caught without an output, then comes the new one, which nobody handles."""
    catch = [{**ALL, "ResultPath": "$.text.below", "Next": "Mend"}]
    run = given(one(Catch=catch), {"text": "t"}).when(failed("A", "NoMoney"))
    run.then("TaskFailed", e.ExecutionFailed("States.ResultPathMatchFailure", None, "4/cause", "A"))
    assert run.event(2).then == e.Caught(0, "Mend")
    assert "(entered at the event id #2)" in run.value(run.state.cause)


def test_a_catcher_that_cannot_be_computed_fails_its_branch():
    """Which the state around it may catch."""
    bad = {**CHARGE, "Catch": [{**ALL, "ResultPath": "$.text.below", "Next": "Mend"}], "End": True}
    branch = {"StartAt": "A", "States": {"A": bad, "Mend": DONE}}
    both = {"Type": "Parallel", "Branches": [branch], "Catch": [{**ALL, "Next": "Done"}], "Next": "Done"}
    run = given({"StartAt": "Both", "States": {"Both": both, "Done": DONE}}, {"text": "t"}).when(failed("A", "NoMoney"))
    run.then("TaskFailed", "StateFailed", "StateFailed", "StatePassed", "ExecutionSucceeded").then_is("completed")
    assert run.event(4).then is None
    assert run.event(4).error == "States.ResultPathMatchFailure"


def test_a_result_that_cannot_be_used_is_caught():
    """TaskSucceeded without an output, then the failure of the state, which goes where the catcher says."""
    run = given(
        one(ResultSelector={"x.$": "States.ArrayLength('')"}, Catch=[{**ALL, "ResultPath": None, "Next": "Mend"}]),
        {"n": 1},
    )
    run.when(succeeded("A", {})).then(
        e.TaskSucceeded("A", "3/result"), "StateFailed", "StatePassed", "ExecutionSucceeded"
    )
    run.then_is("completed", output={"n": 1})


def test_a_result_that_cannot_be_used_is_retried():
    """The step is called again under the same key: it may know that it was paid."""
    run = given(one(ResultSelector={"x.$": "States.ArrayGetItem($.ok, 0)"}, Retry=[{**ALL, "IntervalSeconds": 1}]))
    run.when(succeeded("A", {"ok": []})).then("TaskSucceeded", "StateFailed").after(1000).when(due())
    assert run.duty(RunTask).idempotency_key == f"{EXECUTION}/A/-/1"
    run.when(succeeded("A", {"ok": [1]})).then_is("completed", output={"x": 1})


@pytest.mark.parametrize("name", ["States.Runtime", "States.ALL", "States.TaskFailed"])
@pytest.mark.parametrize("fields", [{"InputPath": "$.none"}, {"Parameters": {"x.$": "$.none"}}])
def test_a_runtime_error_is_neither_caught_nor_retried(name, fields):
    """States.Runtime ends the run whatever names it, a path of Parameters that finds nothing included (recorded)."""
    handlers = {"Retry": [{"ErrorEquals": [name]}], "Catch": [{"ErrorEquals": [name], "Next": "Mend"}]}
    given(one(**fields, **handlers)).then("ExecutionStarted", "ExecutionFailed").then_is(
        "failed", error="States.Runtime"
    )


def test_an_answer_that_cannot_be_used_is_caught():
    """The resume has ended the wait; its caller is told so, and the execution goes on."""
    fields = {
        "Resource": "wait_for_resume",
        "ResultSelector": {"x.$": "States.ArrayLength('')"},
        "Catch": [{**ALL, "Next": "Mend"}],
    }
    run = given(one(**fields)).when(resumed({"ok": 1}))
    run.then("WaitResumed", "StateFailed", "StatePassed", "ExecutionSucceeded").then_answers("restarted")


def test_an_error_that_the_definition_names_stands_in_the_open():
    """Its name is not business data: it is in the definition for everybody to see, in Retry or in Catch."""
    run = given(one(Retry=[{"ErrorEquals": ["Busy"]}], Catch=[{"ErrorEquals": ["Broken"], "Next": "Mend"}]))
    run.when(failed("A", "Busy")).then(e.TaskFailed("A", "Busy", then=e.Retry(0, START + 1000)))
    run.after(1000).when(due()).when(failed("A", "Broken"))
    assert run.event(4).error == "Broken"
