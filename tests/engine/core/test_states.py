"""Each type of state: what its entry and its leaving write, in the middle and at the end, and how it fails."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from perdure.engine.core import events as e
from perdure.engine.core.effects import RunTask, SetTimer
from perdure.engine.testing import EXECUTION, START, due, failed, resumed, succeeded

from .checked import given, wait_id

CHARGE = {"Type": "Task", "Resource": "charge"}
ASK = {"Type": "Task", "Resource": "wait_for_resume"}
END = {"Type": "Succeed"}
RUNTIME = "States.Runtime"


def machine(first, **others):
    """Give a machine that starts at A; a state without a way on ends there."""
    states = {"A": first, **others}
    onward = {"Pass", "Task", "Wait"}
    return {
        "StartAt": "A",
        "States": {
            name: {**state, "End": True} if state["Type"] in onward and "Next" not in state else state
            for name, state in states.items()
        },
    }


def names(run):
    return [type(recorded.event).__name__ for recorded in run.events]


# --- the beginning -------------------------------------------------------------------------------------------------


def test_a_trigger_starts_the_execution_and_answers_with_its_id():
    """The first event names the definition and everything that an auditor needs; the input is its payload."""
    run = given(machine({"Type": "Succeed"}), {"amount": 1})
    run.then_answers(EXECUTION).then_is("completed", output={"amount": 1}).check()
    started = run.events[0]
    assert started.event == e.ExecutionStarted(
        kind="execution",
        workspace=run.state.workspace,
        workflow=run.state.workflow,
        workflow_version=1,
        definition_sha256="0" * 64,
        trigger="REQUEST",
        start_at="A",
        input="1/input",
    )
    assert started.payload == {"input": {"amount": 1}}
    assert started.caused_by is None


def test_a_process_id_is_business_data():
    """It stands in the payload of the first event, beside the input."""
    run = given(machine({"Type": "Succeed"}), {}, process_id="INV-7").check()
    assert run.events[0].payload == {"input": {}, "process_id": "INV-7"}


def test_every_event_of_a_decision_names_the_one_before_it_as_its_cause():
    """What a decision says is one chain of causes, which begins with what the command is about."""
    run = given(machine({**CHARGE, "Next": "B"}, B={"Type": "Pass"}))
    run.when(succeeded("A"))
    assert [(r.seq, r.caused_by) for r in run.events] == [(1, None), (2, 1), (3, 2), (4, 3), (5, 4)]


# --- Pass, Choice, Succeed, Fail -----------------------------------------------------------------------------------


def test_a_pass_in_the_middle_is_one_event():
    """Its output is written once; where it equals the input there is a reference only."""
    run = given(machine({"Type": "Pass", "Next": "B"}, B={"Type": "Pass", "Result": 7, "Next": "C"}, C=END), {"x": 1})
    run.then_is("completed", output=7).check()
    assert [r.event for r in run.events[1:]] == [
        e.StatePassed("A", "Pass", "1/input", "B"),
        e.StatePassed("B", "Pass", "3/output", "C"),
        e.StatePassed("C", "Succeed", "3/output"),
        e.ExecutionSucceeded("3/output"),
    ]
    assert [r.payload for r in run.events[1:]] == [None, {"output": 7}, None, None]


def test_a_pass_at_the_end_ends_the_execution():
    """Its output is the execution's."""
    run = given(machine({"Type": "Pass", "Parameters": {"y.$": "$.x"}}), {"x": 1})
    run.then_is("completed", output={"y": 1}).check()
    assert run.event(-2) == e.StatePassed("A", "Pass", "2/output")


def test_a_choice_goes_where_its_rule_says():
    """The event tells the way that was taken, and by which rule, so that no replay evaluates one."""
    choice = {
        "Type": "Choice",
        "Choices": [{"Variable": "$.x", "NumericGreaterThan": 5, "Next": "B"}],
        "Default": "C",
    }
    for x, chosen, rule in ((9, "B", 0), (1, "C", None)):
        run = given(machine(choice, B=END, C=END), {"x": x}).check()
        assert run.event(1) == e.StatePassed("A", "Choice", "1/input", chosen, rule=rule)


def test_a_succeed_filters_the_output():
    """OutputPath holds at the end, too."""
    run = given(machine({"Type": "Succeed", "OutputPath": "$.x"}), {"x": [1]})
    run.then_is("completed", output=[1]).check()


def test_a_fail_ends_the_execution_with_the_definition_s_error():
    """An error name that stands in the definition is no business data; its cause is payload all the same."""
    run = given(machine({"Type": "Fail", "Error": "Overdrawn", "Cause": "no money"}))
    run.then_is("failed", error="Overdrawn", output=None).check()
    assert run.event(-1) == e.ExecutionFailed("Overdrawn", None, "2/cause", "A", "Fail")
    assert run.events[-1].payload == {"cause": "no money"}


def test_a_fail_without_a_word_ends_the_execution_all_the_same():
    """Error and Cause may both be left out."""
    run = given(machine({"Type": "Pass", "Next": "B"}, B={"Type": "Fail"}))
    run.then_is("failed", error=None).check()
    assert run.event(-1) == e.ExecutionFailed(state="B", entered="Fail")
    assert run.events[-1].payload is None


def test_the_error_that_a_path_finds_is_business_data():
    """What ErrorPath finds stands in the payload."""
    run = given(machine({"Type": "Fail", "ErrorPath": "$.e", "CausePath": "$.c"}), {"e": "Secret", "c": "why"})
    run.then_is("failed", error="Secret").check()
    assert run.event(-1) == e.ExecutionFailed(None, "2/error", "2/cause", "A", "Fail")
    assert run.events[-1].payload == {"error": "Secret", "cause": "why"}


@pytest.mark.parametrize(
    ("state", "error"),
    [
        ({"Type": "Pass", "InputPath": "$.none"}, RUNTIME),
        ({"Type": "Pass", "Parameters": {"x.$": "$.none"}}, RUNTIME),
        ({"Type": "Pass", "Parameters": {"x.$": "$$.none"}}, RUNTIME),
        ({"Type": "Pass", "OutputPath": "$.none"}, RUNTIME),
        ({"Type": "Pass", "Result": 1, "ResultPath": "$.text.below"}, "States.ResultPathMatchFailure"),
        ({"Type": "Succeed", "InputPath": "$.none"}, RUNTIME),
        ({"Type": "Succeed", "OutputPath": "$.none"}, RUNTIME),
        ({"Type": "Wait", "SecondsPath": "$.none"}, RUNTIME),
        ({"Type": "Wait", "SecondsPath": "$.text"}, RUNTIME),
        ({"Type": "Wait", "Seconds": 1, "InputPath": "$.none"}, RUNTIME),
        ({"Type": "Wait", "Timestamp": "2200-01-01T00:00:00Z"}, RUNTIME),
        ({"Type": "Fail", "ErrorPath": "$.none"}, RUNTIME),
        ({**CHARGE, "InputPath": "$.none"}, RUNTIME),
        ({**CHARGE, "Parameters": {"x.$": "$.none"}}, RUNTIME),
        ({**ASK, "InputPath": "$.none"}, RUNTIME),
        ({"Type": "Task", "Resource": "charge.waitForResume", "InputPath": "$.none"}, RUNTIME),
    ],
)
def test_a_state_whose_entry_fails_leaves_the_failure_only(state, error):
    """The one event says which state it was, and of which type; no step is called, no wait opened, no timer set."""
    run = given(machine(state), {"text": "t"})
    run.then_effects().then_is("failed", error=error, output=None).check()
    assert names(run) == ["ExecutionStarted", "ExecutionFailed"]
    failure = run.event(-1)
    assert (failure.state, failure.entered) == ("A", state["Type"])
    where = "An error occurred while executing the state 'A' (entered at the event id #2). "
    assert run.value(failure.cause).startswith(where)


def test_a_choice_that_finds_no_way_fails():
    """No rule matches, and there is no Default."""
    choice = {"Type": "Choice", "Choices": [{"Variable": "$.x", "IsPresent": True, "Next": "B"}]}
    given(machine(choice, B=END)).then_is("failed", error="States.NoChoiceMatched").check()


def test_an_entry_that_fails_in_the_middle_keeps_what_was_before_it():
    """The events of the states before it stand; only the failing one has none."""
    run = given(machine({"Type": "Pass", "Next": "B"}, B={"Type": "Pass", "InputPath": "$.none"})).check()
    assert names(run) == ["ExecutionStarted", "StatePassed", "ExecutionFailed"]


# --- Wait ----------------------------------------------------------------------------------------------------------


def test_a_wait_sets_a_timer_and_goes_on_when_it_is_due():
    """The due instant is in the log; the effect arms the timer."""
    run = given(machine({"Type": "Wait", "Seconds": 60, "Next": "B"}, B=END), {"x": 1})
    run.then_is("running").then_effects(SetTimer(START + 60_000))
    assert run.event(-1) == e.TimerSet("A", START + 60_000)
    run.after(60_000).when(due()).then(
        e.TimerFired("A", 2, "1/input", "B"), "StatePassed", "ExecutionSucceeded"
    ).then_is("completed", output={"x": 1})
    assert run.events[2].caused_by == 2


def test_a_wait_at_the_end_ends_the_execution():
    """Its filtered input is the output."""
    run = given(machine({"Type": "Wait", "Seconds": 1, "InputPath": "$.x"}), {"x": {"y": 2}})
    run.after(5000).when(due()).then("TimerFired", "ExecutionSucceeded").then_is("completed", output={"y": 2})


def test_a_timer_never_fires_early_and_never_twice():
    """Not a millisecond before it is due: it is set again; and once it has fired, nothing happens."""
    run = given(machine({"Type": "Wait", "Seconds": 1, "Next": "B"}, B={"Type": "Wait", "Seconds": 1}))
    first = due()(run.state)
    run.after(999).when(first).then_nothing().then_effects(SetTimer(START + 1000))
    run.after(1).when(first).then("TimerFired", "TimerSet")
    run.after(5000).when(first).then_nothing().then_refuses("STALE")
    run.when(due()).then("TimerFired", "ExecutionSucceeded")
    run.when(first).then_nothing().then_refuses("STALE")


def test_a_timer_that_fires_is_recorded_even_if_its_state_then_fails():
    """TimerFired with no output, and then the failure."""
    run = given(machine({"Type": "Wait", "Seconds": 1, "OutputPath": "$.none"}))
    run.after(1000).when(due()).then(e.TimerFired("A", 2), "ExecutionFailed").then_is("failed", error=RUNTIME)
    assert run.event(-1).state == "A"
    assert run.event(-1).entered is None


# --- Task ----------------------------------------------------------------------------------------------------------


def test_a_task_calls_its_step_with_its_parameters_under_a_key():
    """The effect carries all that the call needs; the key names execution, state, iteration and visit."""
    run = given(machine({**CHARGE, "Parameters": {"n.$": "$.x"}}), {"x": 1})
    run.then_effects(
        RunTask(
            scope="",
            state="A",
            seq=2,
            attempt=0,
            visit=1,
            resource="charge",
            parameters={"n": 1},
            idempotency_key=f"{EXECUTION}/A/-/1",
        )
    ).then_is("running")
    assert run.event(-1) == e.TaskScheduled("A", "charge", "2/parameters")
    assert run.events[-1].payload == {"parameters": {"n": 1}}


def test_a_state_s_name_is_encoded_in_the_key():
    """The parts of a key stay apart, whatever a state is called."""
    run = given({"StartAt": "a/b ü", "States": {"a/b ü": {**CHARGE, "End": True}}})
    assert run.calls[0].idempotency_key == f"{EXECUTION}/a%2Fb%20%C3%BC/-/1"


def test_a_result_is_the_output_and_is_written_once():
    """Without ResultPath the output is the result, and refers to it."""
    run = given(machine({**CHARGE, "Next": "B"}, B=CHARGE), {"x": 1})
    run.when(succeeded("A", {"ok": True})).then(
        e.TaskSucceeded("A", "3/result", "3/result", "B"), e.TaskScheduled("B", "charge", "3/result")
    )
    assert run.events[2].payload == {"result": {"ok": True}}
    assert run.events[2].caused_by == 2
    run.when(succeeded("B", 5)).then(e.TaskSucceeded("B", "5/result", "5/result"), "ExecutionSucceeded")
    run.then_is("completed", output=5).then_effects()


def test_a_result_and_another_output_are_both_written():
    """The log keeps what the step gave beside what the state made of it."""
    run = given(machine({**CHARGE, "ResultPath": "$.r"}), {"x": 1})
    run.when(succeeded("A", 2)).then_is("completed", output={"x": 1, "r": 2})
    assert run.events[2].payload == {"result": 2, "output": {"x": 1, "r": 2}}
    assert run.event(2) == e.TaskSucceeded("A", "3/result", "3/output")


def test_a_discarded_result_is_written_all_the_same():
    """The output is the input, by reference; what the step said is in the log."""
    run = given(machine({**CHARGE, "ResultPath": None}), {"x": 1})
    run.when(succeeded("A", "said")).then(e.TaskSucceeded("A", "3/result", "1/input"), "ExecutionSucceeded")
    assert run.events[2].payload == {"result": "said"}


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ({"OutputPath": "$.none"}, RUNTIME),
        ({"ResultSelector": {"x.$": "$.none"}}, RUNTIME),
        ({"ResultPath": "$.text.below"}, "States.ResultPathMatchFailure"),
    ],
)
def test_a_result_is_recorded_even_if_no_output_can_be_made_of_it(fields, error):
    """TaskSucceeded with no output, and then the failure of the execution, of which it is the cause."""
    run = given(machine({**CHARGE, **fields, "Next": "B"}, B=END), {"text": "t"})
    run.when(succeeded("A", {"paid": 3})).then(e.TaskSucceeded("A", "3/result"), "ExecutionFailed")
    run.then_is("failed", error=error, output=None).then_effects()
    assert run.events[2].payload == {"result": {"paid": 3}}
    assert (run.events[3].caused_by, run.event(3).state, run.event(3).entered) == (3, "A", None)
    where = "An error occurred while executing the state 'A' (entered at the event id #2). "
    assert run.value(run.state.cause).startswith(where)


def test_a_task_that_fails_fails_the_execution():
    """Both events point to one cause, which is written once; an unknown error name is business data."""
    run = given(machine(CHARGE))
    run.when(failed("A", "CardStolen", "reported on Monday")).then(
        e.TaskFailed("A", None, "3/error", "3/cause"), e.ExecutionFailed(None, "3/error", "3/cause", "A")
    )
    run.then_is("failed", error="CardStolen", output=None).then_effects()
    assert [r.payload for r in run.events[2:]] == [{"error": "CardStolen", "cause": "reported on Monday"}, None]


@pytest.mark.parametrize("error", ["States.TaskFailed", "Overdrawn", None])
def test_a_failure_s_name_is_open_if_everybody_may_know_it(error):
    """Reserved names, and those literal in the definition, stand in `data`; so does that there is none."""
    choice = {"Type": "Choice", "Choices": [{"Variable": "$.r", "IsPresent": True, "Next": "C"}], "Default": "D"}
    run = given(machine({**CHARGE, "Next": "B"}, B=choice, C=END, D={"Type": "Fail", "Error": "Overdrawn"}))
    run.when(failed("A", error)).then(e.TaskFailed("A", error), e.ExecutionFailed(error, state="A"))
    assert run.events[2].payload is None


def test_a_state_that_is_entered_again_is_visited_again():
    """The visit is counted in the log and stands in the key, so that no two calls share one."""
    again = {"Type": "Choice", "Choices": [{"Variable": "$.more", "BooleanEquals": True, "Next": "A"}], "Default": "C"}
    run = given(machine({**CHARGE, "Next": "B"}, B=again, C=END))
    run.when(succeeded("A", {"more": True})).then("TaskSucceeded", "StatePassed", "TaskScheduled")
    assert run.event(-1).visit == 2
    assert run.calls[0].idempotency_key == f"{EXECUTION}/A/-/2"
    run.when(succeeded("A", {"more": False})).then_is("completed")


def test_a_result_that_comes_twice_counts_once():
    """The second one is recorded as ignored, under the attempt and the visit that it is about."""
    run = given(machine({**CHARGE, "Next": "B"}, B=CHARGE))
    twice = succeeded("A", 1)(run.state)
    run.when(twice, twice).then(
        "TaskSucceeded", "TaskScheduled", e.ResultIgnored("A", "succeeded", 0, 1)
    ).then_effects()
    assert run.events[-1].payload == {"result": 1}
    assert run.events[-1].caused_by == 2
    run.when(succeeded("B")).then_is("completed")


def test_a_failure_that_comes_too_late_changes_nothing():
    """What was done is done; the error is kept for who wants to know."""
    run = given(machine(CHARGE))
    late = failed("A", "TooLate", "slow")(run.state)
    run.when(succeeded("A", 1)).then_is("completed", output=1)
    run.when(late).then(e.ResultIgnored("A", "failed")).then_is("completed", output=1)
    assert run.events[-1].payload == {"error": "TooLate", "cause": "slow"}


# --- a mere wait ---------------------------------------------------------------------------------------------------


def test_a_wait_for_resume_opens_a_wait_and_calls_nobody():
    """The execution waits, and is nothing but rows."""
    run = given(machine({**ASK, "Parameters": {"q": "ok?"}, "Next": "B"}, B=END))
    run.then_is("waiting").then_effects()
    assert run.event(-1) == e.WaitOpened("A", wait_id(1), "wait_for_resume", "2/parameters")
    assert run.events[-1].payload == {"parameters": {"q": "ok?"}}


def test_the_payload_of_the_resume_is_the_result():
    """It goes the way of every result: selected, placed, filtered."""
    run = given(machine({**ASK, "ResultPath": "$.answer", "Next": "B"}, B=CHARGE), {"n": 1})
    answer = {"source": "SAP", "ok": True}
    run.when(resumed(answer)).then(e.WaitResumed("A", wait_id(1), "3/result", "3/output", "B"), "TaskScheduled")
    run.then_answers("restarted").then_is("running")
    assert run.events[2].payload == {"result": answer, "output": {"n": 1, "answer": answer}}
    assert run.events[2].caused_by == 2
    assert run.calls[0].parameters == {"n": 1, "answer": answer}


def test_a_wait_at_the_end_ends_with_the_answer():
    """The payload is the execution's output."""
    run = given(machine(ASK)).when(resumed({"ok": 1}))
    run.then(e.WaitResumed("A", wait_id(1), "3/result", "3/result"), "ExecutionSucceeded")
    run.then_is("completed", output={"ok": 1})


def test_a_resume_is_recorded_even_if_no_output_can_be_made_of_it():
    """It has ended the wait, so its caller is told so; then the execution fails."""
    run = given(machine({**ASK, "OutputPath": "$.none"})).when(resumed({"ok": 1}))
    run.then(e.WaitResumed("A", wait_id(1), "3/result"), "ExecutionFailed").then_answers("restarted")
    run.then_is("failed", error=RUNTIME, output=None)
    run.when(resumed({"ok": 2})).then_nothing().then_answers("already restarted")


# --- the context object --------------------------------------------------------------------------------------------


def context_of(run_input, **given_more):
    everything = {"Type": "Pass", "Parameters": {"all.$": "$$"}}
    run = given({"StartAt": "A", "States": {"A": {**everything, "End": True}}}, run_input, **given_more).check()
    return run.value(run.state.output)["all"]


def test_the_context_object_names_the_execution_and_the_state():
    """`$$` gives ids, the input, the instants and the names."""
    context = context_of({"x": 1})
    assert context == {
        "Execution": {
            "Id": EXECUTION,
            "Input": {"x": 1},
            "Name": EXECUTION,
            "RedriveCount": 0,
            "RoleArn": "",
            "StartTime": "2025-06-15T15:06:40.000Z",
        },
        "State": {"Name": "A", "EnteredTime": "2025-06-15T15:06:40.000Z"},
        "StateMachine": context["StateMachine"],
    }


def test_the_execution_s_name_is_the_process_id_if_one_was_chosen():
    """Without one it is the execution's id, which is then the process id."""
    assert context_of({}, process_id="INV-7")["Execution"]["Name"] == "INV-7"


def test_the_names_may_be_given_from_outside(monkeypatch):
    """A simulation reproduces what was recorded elsewhere."""
    run = given(
        machine({**CHARGE, "ResultSelector": {"name.$": "$$.Execution.Name", "role.$": "$$.Execution.RoleArn"}})
    )
    facts = run._facts
    monkeypatch.setattr(run, "_facts", lambda: replace(facts(), names={"execution_name": "N", "role_arn": "R"}))
    run.when(succeeded("A")).then_is("completed", output={"name": "N", "role": "R"})


def test_a_retry_is_counted_in_the_context():
    """The first attempt has a count of 0; the parameters may look at it, and so may what is made of the result."""
    retry = [{"ErrorEquals": ["States.ALL"], "IntervalSeconds": 1}]
    tried = {"tried.$": "$$.State.RetryCount"}
    run = given(machine({**CHARGE, "Parameters": tried, "ResultSelector": tried, "Retry": retry}))
    run.when(failed("A", "Busy")).after(1000).when(due()).then("TaskScheduled")
    assert [r.payload for r in run.events if isinstance(r.event, e.TaskScheduled)] == [
        {"parameters": {"tried": 0}},
        {"parameters": {"tried": 1}},
    ]
    run.when(succeeded("A")).then(e.TaskSucceeded("A", "5/result", "5/output", attempt=1), "ExecutionSucceeded")
    assert run.events[4].payload == {"result": None, "output": {"tried": 1}}


@pytest.mark.parametrize("resource", ["wait_for_resume", "charge.waitForResume"])
def test_a_state_that_waits_sees_the_wait_s_id(resource):
    """It may be sent to who shall answer, and is still there when the answer is selected."""
    run = given(
        machine(
            {
                "Type": "Task",
                "Resource": resource,
                "Parameters": {"reply_to.$": "$$.State.WaitId"},
                "ResultSelector": {"was.$": "$$.State.WaitId"},
            }
        )
    )
    assert run.value(run.event(1).parameters) == {"reply_to": wait_id(1)}
    run.when(resumed({})).then_is("completed", output={"was": wait_id(1)})


def test_the_context_is_seen_by_paths_in_every_type_of_state():
    """Choice, Wait, Succeed and Fail read it as Pass and Task do."""
    name = "$$.Execution.Name"
    rule = {"Variable": name, "StringEquals": "P", "Next": "B"}
    run = given(
        machine(
            {"Type": "Choice", "Choices": [rule]},
            B={"Type": "Wait", "TimestampPath": "$$.State.EnteredTime", "InputPath": "$$.State", "Next": "C"},
            C={"Type": "Fail", "ErrorPath": name, "CausePath": "$.Name"},
        ),
        process_id="P",
    )
    run.when(due()).then("TimerFired", "ExecutionFailed").then_is("failed", error="P")
    assert run.value(run.state.cause) == "B"
