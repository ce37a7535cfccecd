"""One state by itself: users try out what a state makes of an input."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from perdure.engine import testing
from perdure.engine.language import DefinitionError
from perdure.engine.testing import Failed, Succeeded, test_state
from perdure.engine.testing.state import NoSuchState

ROOT = Path(__file__).parent.parent.parent
CASES = ROOT.parent / "shared" / "conformance" / "asl" / "test_state.jsonl"

CHARGE: dict[str, Any] = {
    "Type": "Task",
    "Resource": "charge",
    "Parameters": {"sum.$": "$.amount", "who.$": "$customer"},
    "ResultSelector": {"id.$": "$.receipt"},
    "ResultPath": "$.charged",
    "Assign": {"last.$": "$.id"},
    "Retry": [
        {"ErrorEquals": ["Bank.Busy"], "IntervalSeconds": 3, "MaxAttempts": 2},
        {"ErrorEquals": ["States.ALL"], "MaxAttempts": 1},
    ],
    "Catch": [{"ErrorEquals": ["States.ALL"], "ResultPath": "$.problem", "Next": "Apologize"}],
    "Next": "Ship",
}
INPUT = {"amount": 7}


def tried(**more: Any) -> testing.StateOutcome:
    """The charging state, tried out."""
    return test_state(CHARGE, INPUT, variables={"customer": "ACME"}, **more)


def test_a_task_leaves_with_what_its_step_gives():
    """Output, variables and next state, and the data after every step on the way."""
    outcome = tried(result=Succeeded({"receipt": 5, "more": 1}))
    assert (outcome.status, outcome.next_state) == ("SUCCEEDED", "Ship")
    assert outcome.output == {"amount": 7, "charged": {"id": 5}}
    assert outcome.assigned == {"last": 5}
    assert outcome.inspection == {
        "input": INPUT,
        "variables": {"customer": "ACME"},
        "afterInputPath": INPUT,
        "afterParameters": {"sum": 7, "who": "ACME"},
        "result": {"receipt": 5, "more": 1},
        "afterResultSelector": {"id": 5},
        "afterResultPath": {"amount": 7, "charged": {"id": 5}},
    }


@pytest.mark.parametrize(("retries", "delay"), [(0, 3000), (1, 6000)])
def test_a_retrier_that_has_attempts_left_tries_again(retries: int, delay: int):
    """It is retriable, and the delay is that of the attempt."""
    outcome = tried(result=Failed("Bank.Busy", "come back"), retry_count=retries)
    assert (outcome.status, outcome.retry_delay_ms) == ("RETRIABLE", delay)
    assert (outcome.error, outcome.cause, outcome.next_state) == ("Bank.Busy", "come back", None)


def test_a_catcher_takes_over_when_the_retries_are_used_up():
    """It is caught, and the output holds the error."""
    outcome = tried(result=Failed("Bank.Busy", "come back"), retry_count=2)
    assert (outcome.status, outcome.next_state) == ("CAUGHT_ERROR", "Apologize")
    assert outcome.output == {"amount": 7, "problem": {"Error": "Bank.Busy", "Cause": "come back"}}


def test_without_handlers_a_failure_is_one():
    """The state fails with the step's error; an input that does not fit is an error of its own."""
    plain = {name: value for name, value in CHARGE.items() if name not in ("Retry", "Catch")}
    failed = test_state(plain, INPUT, variables={"customer": "A"}, result=Failed("Bank.Busy"))
    assert (failed.status, failed.error, failed.output) == ("FAILED", "Bank.Busy", None)
    unfit = test_state(plain, {}, variables={"customer": "A"}, result=Succeeded({"receipt": 5}))
    assert (unfit.status, unfit.output) == ("FAILED", None)
    assert unfit.error is not None
    again = test_state(plain, {}, variables={"customer": "A"}, result=Succeeded({"receipt": 5}), retry_count=1)
    assert unfit.cause == again.cause
    assert str(unfit.cause).startswith(
        "An error occurred while executing the state 'StateName' (entered at the event id #2). "
    )
    assert "$.amount" in (unfit.cause or "")


FAN: dict[str, Any] = {"StartAt": "In", "States": {"In": {"Type": "Pass", "End": True}}}


@pytest.mark.parametrize(
    "state",
    [{"Type": "Parallel", "Branches": [FAN], "End": True}, {"Type": "Map", "ItemProcessor": FAN, "End": True}],
    ids=["Parallel", "Map"],
)
def test_a_fork_is_given_the_list_of_its_outputs(state: dict[str, Any]):
    """Its branches are not run; a failure is one of them."""
    assert test_state(state, [1, 2], result=Succeeded(["a", "b"])).output == ["a", "b"]
    assert test_state(state, [1, 2], result=Failed("Worse")).error == "Worse"
    with pytest.raises(ValueError, match="list of the outputs"):
        test_state(state, [1, 2], result=Succeeded("a"))


def test_a_wait_says_until_when():
    """It is left at once, with the instant at which it would have been."""
    outcome = test_state({"Type": "Wait", "Seconds": 60, "Next": "On"}, {"a": 1})
    assert (outcome.status, outcome.next_state, outcome.output) == ("SUCCEEDED", "On", {"a": 1})
    assert outcome.due_at == testing.START + 60_000


@pytest.mark.parametrize("resource", ["ask.waitForResume", "ask.waitForTaskToken", "wait_for_resume"])
def test_a_wait_for_somebody_is_given_the_answer(resource: str):
    """Of a task that waits for an answer, the result is the answer."""
    outcome = test_state({"Type": "Task", "Resource": resource, "End": True}, {}, result=Succeeded({"yes": True}))
    assert (outcome.status, outcome.output) == ("SUCCEEDED", {"yes": True})


def test_a_state_of_a_machine_is_found_wherever_it_is():
    """Nested ones too, with the query language that they inherit; the rest of the machine is not entered."""
    inner = {
        "StartAt": "Deep",
        "States": {"Deep": {"Type": "Pass", "Output": "{% $states.input.n + $k %}", "End": True}},
    }
    machine = {
        "QueryLanguage": "JSONata",
        "StartAt": "Each",
        "States": {
            "Each": {"Type": "Map", "Items": [1], "ItemProcessor": inner, "Next": "Bad"},
            "Bad": {"Type": "Fail"},
        },
    }
    assert test_state(machine, {"n": 1}, state="Deep", variables={"k": 2}).output == 3
    with pytest.raises(NoSuchState, match="'Depe'"):
        test_state(machine, {}, state="Depe")


def test_the_context_object_can_be_given():
    """The whole of it; without one a state sees that of a run of its own."""
    state = {"Type": "Pass", "Parameters": {"at.$": "$$.Execution.Name"}, "End": True}
    assert test_state(state, {}, context={"Execution": {"Name": "mine"}}).output == {"at": "mine"}
    assert set(test_state(state, {}).output) == {"at"}


def test_what_cannot_be_tried():
    """A definition with problems, a machine without a name, and a result that the state takes none of."""
    with pytest.raises(DefinitionError):
        test_state({"Type": "Task", "End": True}, {}, result=Succeeded(1))
    with pytest.raises(DefinitionError, match="name one of its states"):
        test_state(FAN, {})
    with pytest.raises(ValueError, match="takes none"):
        test_state({"Type": "Succeed"}, {}, result=Succeeded(1))


@pytest.mark.parametrize(
    ("state", "step", "data"),
    [
        (CHARGE, "afterParameters", {"sum": 7, "who": "ACME"}),
        ({"Type": "Task", "Resource": "wait_for_resume", "InputPath": "$.amount", "End": True}, "afterInputPath", 7),
        ({"Type": "Parallel", "Branches": [FAN], "Parameters": {"x": 1}, "End": True}, "afterParameters", {"x": 1}),
        ({"Type": "Map", "ItemProcessor": FAN, "ItemsPath": "$.list", "End": True}, "afterInputPath", None),
    ],
    ids=["Task", "wait", "Parallel", "Map"],
)
def test_without_a_result_only_the_input_is_processed(state: dict[str, Any], step: str, data: Any):
    """The status says that it takes a result to go on; what is wrong with the input is a failure as ever, or caught."""
    given = {"amount": 7, "list": []}
    outcome = test_state(state, given, variables={"customer": "ACME"})
    assert (outcome.status, outcome.output, outcome.error) == ("NEEDS_RESULT", None, None)
    assert outcome.inspection[step] == (given if data is None else data)
    lost = test_state({**state, "InputPath": "$.none"}, given)
    assert (lost.status, lost.error) == ("FAILED", "States.Runtime")
    broken = {"QueryLanguage": "JSONata", "Type": "Task", "Resource": "r", "Arguments": "{% $nope %}", "End": True}
    caught = test_state({**broken, "Catch": [{"ErrorEquals": ["States.ALL"], "Next": "On"}]}, given)
    assert (caught.status, caught.error, caught.next_state) == ("CAUGHT_ERROR", "States.QueryEvaluationError", "On")


def test_no_input_is_an_empty_object():
    """As with AWS; null stands for none."""
    state = {"Type": "Pass", "Parameters": {"seen.$": "$"}, "End": True}
    assert test_state(state).output == test_state(state, None).output == {"seen": {}}
    assert test_state(state, False).output == {"seen": False}


def test_a_trial_can_be_repeated():
    """Chance is the same every time."""
    state = {"Type": "Pass", "Parameters": {"id.$": "States.UUID()"}, "End": True}
    assert test_state(state, {}).output == test_state(state, {}).output


@pytest.mark.skipif(not CASES.exists(), reason="the recorded cases are not here")
def test_what_aws_recorded_between_the_steps():
    """Where AWS recorded the data between the steps, ours is the same under the same names."""
    compared = 0
    for line in filter(None, CASES.read_text().split("\n")):
        case = json.loads(line)
        wanted = case["expected"].get("inspection_data") or {}
        if case.get("mock") or case["expected"].get("exception") or case.get("state_configuration"):
            continue
        if any(need.startswith("aws-sdk") for need in case["needs"]) or case["expected"]["status"] != "SUCCEEDED":
            continue
        found = test_state(
            case["definition"], case["input"], state=case.get("state_name"), variables=case.get("variables")
        ).inspection
        for name in ("input", "afterInputPath", "afterParameters", "afterResultSelector", "afterResultPath"):
            if name in wanted:
                assert found[name] == wanted[name], (case["id"], name)
                compared += 1
    assert compared > 20
