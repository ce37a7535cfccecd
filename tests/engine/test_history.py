"""What an execution's events tell: the vocabulary of Step Functions, the two logs, outlines and schemas."""

import argparse
import importlib.util
import itertools
import json
import pathlib
from typing import Any

import msgspec
import pytest
from hypothesis import given as for_all
from hypothesis import strategies as st
from msgspec.structs import replace

from perdure.engine import testing
from perdure.engine.core import commands as c
from perdure.engine.core import events as e
from perdure.engine.core.refs import ref
from perdure.engine.core.vocabulary import EXECUTION_EVENTS
from perdure.engine.history import condensed, event_log, outline, schema_of, states_history
from perdure.engine.history.handlers import BESIDE, HANDLERS
from perdure.engine.history.logs import REFERENCES, VALUE_BYTES_MAX, cut
from perdure.engine.testing import START, due, failed, given, simulate, succeeded
from tests.present import present

CHARGE = {"Type": "Task", "Resource": "charge", "ResultPath": "$.charge"}
LOOP: dict[str, Any] = {
    "StartAt": "Charge",
    "States": {
        "Charge": {**CHARGE, "Next": "Enough"},
        "Enough": {
            "Type": "Choice",
            "Choices": [{"Variable": "$.charge.done", "BooleanEquals": True, "Next": "Done"}],
            "Default": "Charge",
        },
        "Done": {"Type": "Succeed"},
    },
}


def one(state, **more):
    """Give a machine with one state, and `more` after it."""
    return {"StartAt": "A", "States": {"A": state, **more}}


def types(history):
    return [event["type"] for event in history]


def erased(events):
    """Take all business data away, as an erasure does."""
    return [replace(recorded, payload=None) for recorded in events]


# --- the vocabulary of Step Functions ------------------------------------------------------------------------


def test_a_run_reads_as_in_step_functions():
    """Each of our events becomes the ones that AWS would have recorded, with their details."""
    run = given(one({**CHARGE, "Next": "B"}, B={"Type": "Pass", "End": True}), {"amount": 1})
    run.when(succeeded("A", {"ok": True}))
    after = {"amount": 1, "charge": {"ok": True}}
    resource = {"resourceType": "perdure", "resource": "charge"}
    assert states_history(run.events) == [
        said(1, 0, "ExecutionStarted", input={"amount": 1}, roleArn=""),
        said(2, 0, "TaskStateEntered", name="A", input={"amount": 1}),
        said(3, 2, "TaskScheduled", **resource, region="local", parameters={"amount": 1}),
        said(4, 3, "TaskStarted", **resource),
        said(5, 4, "TaskSucceeded", **resource, output={"ok": True}),
        said(6, 5, "TaskStateExited", name="A", output=after),
        said(7, 6, "PassStateEntered", name="B", input=after),
        said(8, 7, "PassStateExited", name="B", output=after),
        said(9, 8, "ExecutionSucceeded", output=after),
    ]


def said(number, previous, kind, /, **details):
    timestamp = "2025-06-15T15:06:40.000Z"
    return {"id": number, "type": kind, "timestamp": timestamp, "previousEventId": previous, "details": details}


@pytest.mark.parametrize(
    ("resource", "scheduled"),
    [
        ("arn:aws:states:::sqs:sendMessage", {"resourceType": "sqs", "resource": "sendMessage"}),
        ("arn:aws:states:::http:invoke", {"resourceType": "http", "resource": "invoke"}),
        ("mail.send", {"resourceType": "perdure", "resource": "mail.send"}),
    ],
)
def test_an_integration_is_named_in_two_parts(resource, scheduled):
    """The service is the resourceType, the action the resource; a step of ours is an action of ours."""
    history = states_history(given(one({"Type": "Task", "Resource": resource, "End": True})).events)
    assert history[2]["details"] == {**scheduled, "region": "local", "parameters": {}}
    assert history[3]["details"] == scheduled


def test_a_lambda_function_has_words_of_its_own():
    """A task whose resource is a function's ARN is scheduled, started and ended as LambdaFunction…."""
    arn = "arn:aws:lambda:eu-west-1:1:function:charge"
    definition = one({"Type": "Task", "Resource": arn, "End": True})
    good = states_history(given(definition, {"n": 1}).when(succeeded("A", 2)).events)
    assert good[2] == said(3, 2, "LambdaFunctionScheduled", resource=arn, input={"n": 1})
    assert types(good)[3:5] == ["LambdaFunctionStarted", "LambdaFunctionSucceeded"]
    bad = states_history(given(definition).when(failed("A", "Boom", "it broke")).events)
    assert bad[4] == said(5, 4, "LambdaFunctionFailed", error="Boom", cause="it broke")


@pytest.mark.parametrize("state", ["Fail", "Wait", "Choice", "Succeed"])
def test_every_state_is_entered_under_its_type(state):
    """A state that takes time, or ends the run, is entered and, unless it fails, exited."""
    shapes: dict[str, tuple[dict[str, Any], list[str]]] = {
        "Fail": ({"Type": "Fail", "Error": "No"}, ["FailStateEntered", "ExecutionFailed"]),
        "Wait": ({"Type": "Wait", "Seconds": 1, "End": True}, ["WaitStateEntered", "WaitStateExited"]),
        "Choice": (
            {"Type": "Choice", "Choices": [], "Default": "B"},
            ["ChoiceStateEntered", "ChoiceStateExited", "SucceedStateEntered", "SucceedStateExited"],
        ),
        "Succeed": ({"Type": "Succeed"}, ["SucceedStateEntered", "SucceedStateExited"]),
    }
    source, expected = shapes[state]
    if state == "Choice":
        source["Choices"] = [{"Variable": "$.x", "IsPresent": True, "Next": "B"}]
    run = given(one(source, **({"B": {"Type": "Succeed"}} if state == "Choice" else {})))
    if state == "Wait":
        run.after(1000).when(due())
    ending = [] if state == "Fail" else ["ExecutionSucceeded"]
    assert types(states_history(run.events)) == ["ExecutionStarted", *expected, *ending]


def test_a_bare_wait_reads_as_a_task_that_waits_for_its_token():
    """It is scheduled, started, submitted, and succeeds with what the resume brings."""
    definition = one({"Type": "Task", "Resource": "wait_for_resume", "End": True})
    run = given(definition, {"invoice": 7}).when(c.Resume({"approved": True}))
    history = states_history(run.events)
    assert types(history)[1:-1] == [
        "TaskStateEntered",
        "TaskScheduled",
        "TaskStarted",
        "TaskSubmitted",
        "TaskSucceeded",
        "TaskStateExited",
    ]
    assert history[2]["details"]["parameters"] == {"invoice": 7}
    assert history[5]["details"]["output"] == {"approved": True}


@pytest.mark.parametrize("resource", ["ask.waitForResume", "arn:aws:lambda:eu-west-1:1:function:ask.waitForResume"])
def test_a_step_that_waits_for_its_answer_is_submitted_when_it_returns(resource):
    """The step's own result stands in TaskSubmitted, the resume's payload in TaskSucceeded."""
    definition = one({"Type": "Task", "Resource": resource, "End": True})
    run = given(definition).when(succeeded("A", {"sent": 1})).when(c.Resume({"approved": True}))
    history = states_history(run.events)
    assert types(history)[1:-1] == [
        "TaskStateEntered",
        "TaskScheduled",
        "TaskStarted",
        "TaskSubmitted",
        "TaskSucceeded",
        "TaskStateExited",
    ]
    assert history[4]["details"]["output"] == {"sent": 1}
    assert history[4]["details"]["resource"].endswith(".waitForResume")


def test_a_terminated_run_was_aborted():
    """What terminates it becomes ExecutionAborted with the reason, and no state is exited."""
    run = given(one({"Type": "Wait", "Seconds": 1, "End": True})).when(c.Terminate("enough"))
    assert states_history(run.events)[2:] == [said(3, 0, "ExecutionAborted", cause="enough")]


def test_every_event_of_the_history_has_its_time():
    """That of the event that it comes from; a step is started when it is scheduled, however late that is told."""
    run = given(one({**CHARGE, "Next": "B"}, B={"Type": "Wait", "Seconds": 5, "End": True}))
    run.after(1500).when(succeeded("A", 1)).after(5000).when(due())
    times = [(event["type"], event["timestamp"][17:-1]) for event in states_history(run.events)]
    assert times == [
        ("ExecutionStarted", "40.000"),
        ("TaskStateEntered", "40.000"),
        ("TaskScheduled", "40.000"),
        ("TaskStarted", "40.000"),
        ("TaskSucceeded", "41.500"),
        ("TaskStateExited", "41.500"),
        ("WaitStateEntered", "41.500"),
        ("WaitStateExited", "46.500"),
        ("ExecutionSucceeded", "46.500"),
    ]


def test_what_ends_with_others_is_cancelled():
    """The other branches of one that fails, and what is open when a run is terminated; what failed itself is not."""
    branch = {"StartAt": "Ask", "States": {"Ask": {"Type": "Task", "Resource": "wait_for_resume", "End": True}}}
    fails = {"StartAt": "Charge", "States": {"Charge": {**CHARGE, "End": True}}}
    both = {"Type": "Parallel", "Branches": [branch, fails], "End": True}
    run = given(one(both)).when(failed("Charge", "Boom"))
    cancelled = {step["state"]: step.get("cancelled") for step in condensed(run.events)["steps"]}
    assert cancelled == {"A": None, "Ask": True, "Charge": None}
    run = given(one(both)).when(c.Terminate("enough"))
    assert [step.get("cancelled") for step in condensed(run.events)["steps"]] == [True, True, True]
    assert all("cancelled" not in step for step in condensed(given(one(both)).events)["steps"])


def test_what_stands_beside_the_course_is_not_told():
    """Refusals, ignored results and repeated dispatches have no words in that vocabulary."""
    run = given(one({**CHARGE, "End": True})).when(c.Refuse("trigger", "no"), c.Recover(died=True))
    assert [type(item.event).__name__ for item in run.events][2:] == ["CommandRefused", "TaskInterrupted"]
    assert types(states_history(run.events)) == [
        "ExecutionStarted",
        "TaskStateEntered",
        "TaskScheduled",
        "TaskStarted",
    ]


def test_an_output_that_cannot_be_computed_leaves_the_state_unexited():
    """The result is told, then the end; the state that failed on entry is told as entered."""
    broken = one({"Type": "Task", "Resource": "charge", "ResultSelector": {"x.$": "$.none"}, "End": True})
    run = given(broken).when(succeeded("A", {}))
    assert types(states_history(run.events))[-2:] == ["TaskSucceeded", "ExecutionFailed"]
    entry = given(one({"Type": "Pass", "Parameters": {"x.$": "$.none"}, "End": True}))
    assert types(states_history(entry.events)) == ["ExecutionStarted", "PassStateEntered", "ExecutionFailed"]


def test_every_event_of_an_execution_has_its_place():
    """A new type of event must say whether it is a part of the timeline or stands beside it."""
    assert HANDLERS.keys() | BESIDE == set(EXECUTION_EVENTS)
    assert not HANDLERS.keys() & BESIDE


# --- the recorded executions ---------------------------------------------------------------------------------

CONFORMANCE = pathlib.Path(__file__).resolve().parents[2].parent / "shared" / "conformance"
HAS_CASES = (CONFORMANCE / "run_asl.py").exists()
NOT_OURS = {"region", "roleArn"}
# What a simulated run cannot give, or our log does not have.
NOT_SIMULATED = {("TaskSubmitted", "output"), ("ActivityScheduled", "resource")}
NOT_LOGGED = {"taskCredentials"}
# There is no activity that could have been deleted.
NOT_RUN = {"activities/test_activities.py::TestActivities::test_activity_task_on_deleted"}


def recorded_cases():
    if not HAS_CASES:
        return None, []
    spec = present(importlib.util.spec_from_file_location("run_asl", CONFORMANCE / "run_asl.py"))
    module = importlib.util.module_from_spec(spec)
    present(spec.loader).exec_module(module)
    options = argparse.Namespace(kind="execution", include_distributed=False, only="", core=False)
    cases = [case for case in module.load(CONFORMANCE / "asl", "execution") if module.is_chosen(case, options)]
    return module, [case for case in cases if case["expected"].get("events") and case["id"] not in NOT_RUN]


run_asl, CASES = recorded_cases()


@pytest.mark.skipif(not HAS_CASES, reason="the recorded cases are not beside this checkout")
def test_the_recorded_cases_are_there():
    """A filter that selects nothing would prove nothing."""
    assert len(CASES) >= 258


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["id"])
def test_a_history_is_the_recorded_one(case):
    """Types and order, previous ids and details of every event agree with what AWS recorded."""
    history = simulate(
        case["definition"], case["input"], tasks=run_asl.answers(case, testing, []), context=case["context"]
    ).history
    recorded = case["expected"]["events"]
    if "event-ids-normalised" in case["flags"]:
        assert sorted(set_apart(types(history), recorded)) == sorted(set_apart(types(recorded), recorded))
        return
    assert types(history) == types(recorded)
    assert [event["id"] for event in history] == [event["id"] for event in recorded]
    assert chained(history) == chained(recorded)
    for got, want in zip(history, recorded, strict=True):
        compare_details(case, got, want)


def set_apart(names, recorded):
    """Give what such a recording can show: its recorder cut out how each Parallel state ended, but not the number."""
    cut = {"ParallelStateSucceeded", "ParallelStateFailed"} if "ParallelStateExited" in types(recorded) else set()
    return [name for name in names if name not in cut]


def chained(history):
    """Give the previous ids; of several events of a type in a row in any order, as AWS handles them at once."""
    runs = itertools.groupby(history, key=lambda event: event["type"])
    return [sorted(event["previousEventId"] for event in run) for _, run in runs]


def compare_details(case, got, want):
    details = {name: value for name, value in (want.get("details") or {}).items() if name not in NOT_LOGGED}
    assert got["details"].keys() == details.keys()
    if case["expected"].get("volatile") or "extended_input" in case["id"]:  # the latter: older than RedriveCount
        return
    for name in details.keys() - NOT_OURS:
        if (got["type"], name) not in NOT_SIMULATED:
            wanted = details[name]
            if name == "assignedVariables":
                wanted = {variable: read(value) for variable, value in wanted.items()}
            assert run_asl.same(read(got["details"][name]), read(wanted)), name


def read(value):
    """Give a value that may stand as its JSON text: the recorder read some."""
    try:
        return json.loads(value)
    except (TypeError, ValueError):
        return value


# --- the log of events ---------------------------------------------------------------------------------------


def test_an_event_is_shown_with_its_data_and_its_payload():
    """Beside seq, type, time and actor stand the data that differ from the default, and the payload."""
    run = given(one({**CHARGE, "End": True}), {"amount": 1}, process_id="INV-7").after(5)
    run.when(succeeded("A", {"ok": True}))
    log = event_log(run.events, total=4)
    assert (log["count"], log["truncated"]) == (4, False)
    started, scheduled, done, ended = log["events"]
    assert {name: started[name] for name in ("seq", "type", "at", "actor", "input", "process_id", "start_at")} == {
        "seq": 1,
        "type": "ExecutionStarted",
        "at": START,
        "actor": "key:test",
        "input": {"amount": 1},
        "process_id": "INV-7",
        "start_at": "A",
    }
    assert scheduled == {
        "seq": 2,
        "type": "TaskScheduled",
        "at": START,
        "actor": "key:test",
        "state": "A",
        "resource": "charge",
        "parameters_ref": "1/input",
    }
    assert done["result"] == {"ok": True}
    assert done["output"] == {"amount": 1, "charge": {"ok": True}}
    assert done["at"] == START + 5
    assert (ended["type"], ended["output_ref"]) == ("ExecutionSucceeded", "3/output")


def test_a_failure_is_shown_by_name_and_cause():
    """A name that is business data stands in the payload, and later events refer to it."""
    run = given(one({**CHARGE, "End": True})).when(failed("A", "CardDeclined", "no money"))
    *_, told, ended = event_log(run.events, total=4)["events"]
    assert (told["error"], told["cause"]) == ("CardDeclined", "no money")
    assert (ended["error_ref"], ended["cause_ref"]) == ("3/error", "3/cause")


def test_the_last_events_of_a_long_log_are_a_truncated_log():
    """The count is that of all events, however many of them are shown."""
    run = given(LOOP).when(succeeded("Charge", {"done": True}))
    log = event_log(run.events[-2:], total=len(run.events))
    assert (log["count"], log["truncated"], len(log["events"])) == (len(run.events), True, 2)


def test_no_member_hides_what_an_event_is():
    """The type of a state that was passed does not stand in the place of the event's own."""
    passed = event_log(given(one({"Type": "Succeed"})).events, total=3)["events"][1]
    assert (passed["type"], passed["state"], passed["state_type"]) == ("StatePassed", "A", "Succeed")
    names = {field.name for cls in EXECUTION_EVENTS for field in msgspec.structs.fields(cls)}
    assert not names & {"seq", "at", "actor", "state_type"}


def test_references_are_known_as_such():
    """Every member that an event declares as a reference is in the table, and nothing else is."""
    declared = {
        name
        for cls in EXECUTION_EVENTS
        for name, annotation in cls.__annotations__.items()
        if str(annotation).split(" ")[0] == "Ref"
    }
    assert declared == REFERENCES


@for_all(st.integers(min_value=0, max_value=1100), st.sampled_from(["a", "é", "€", "𝄞"]))
def test_a_value_is_cut_between_characters(length, character):
    """Up to 1,024 bytes of JSON text a value is shown; of more, the beginning, its size and a mark."""
    value = {"text": character * length}
    encoded = json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
    shown = cut(value)
    if len(encoded) <= VALUE_BYTES_MAX:
        assert shown == value
    else:
        assert (shown["truncated"], shown["bytes"]) == (True, len(encoded))
        assert encoded.decode().startswith(shown["preview"])
        assert VALUE_BYTES_MAX - 4 < len(shown["preview"].encode()) <= VALUE_BYTES_MAX


# --- the log of steps ----------------------------------------------------------------------------------------


def test_a_step_for_each_entry_of_a_state():
    """A state that is entered twice has two steps, each with its own input, output and times."""
    run = given(LOOP, {"n": 1}).after(10).when(succeeded("Charge", {"done": False}))
    run.after(10).when(succeeded("Charge", {"done": True}))
    log = condensed(run.events)
    assert (log["count"], log["truncated"]) == (5, False)
    assert [step["state"] for step in log["steps"]] == ["Charge", "Enough", "Charge", "Enough", "Done"]
    assert log["steps"][2] == {
        "state": "Charge",
        "entered_on": START + 10,
        "exited_on": START + 20,
        "input": {"n": 1, "charge": {"done": False}},
        "output": {"n": 1, "charge": {"done": True}},
        "attempts": 1,
    }


def test_an_open_state_has_no_exit_yet():
    """Where a run is, its last step has an entry and an input only."""
    (step,) = condensed(given(one({"Type": "Task", "Resource": "wait_for_resume", "End": True})).events)["steps"]
    assert (step["entered_on"], step["exited_on"], step["input"], step["output"]) == (START, None, {}, None)


def test_a_step_that_failed_says_why():
    """Its error has the name and the cause, whether a step failed, the state itself, or its output."""
    task = given(one({**CHARGE, "End": True})).when(failed("A", "Boom", "it broke"))
    (step,) = condensed(task.events)["steps"]
    assert (step["error"], step["cause"], step["output"]) == ("Boom", "it broke", None)
    (step,) = condensed(given(one({"Type": "Fail"})).events)["steps"]
    assert step["error"] is None
    assert "cause" not in step
    entry = given(one({"Type": "Pass", "Parameters": {"x.$": "$.none"}, "End": True}))
    (step,) = condensed(entry.events)["steps"]
    assert step["error"] == "States.Runtime"


def test_a_terminated_run_left_its_last_state_without_output():
    """The step ends when the run does, with neither output nor error."""
    run = given(one({"Type": "Wait", "Seconds": 9, "End": True})).after(7).when(c.Terminate("enough"))
    (step,) = condensed(run.events)["steps"]
    assert (step["exited_on"], step["output"], "error" in step) == (START + 7, None, False)


def test_what_a_gap_swallowed_is_null():
    """Of a visit that began in the gap only the end is known; of one that ended in it, only the beginning."""
    run = given(LOOP, {"n": 1})
    for _ in range(3):
        run.after(10).when(succeeded("Charge", {"done": False}))
    run.when(succeeded("Charge", {"done": True}))
    scheduled = [item.seq for item in run.events if isinstance(item.event, e.TaskScheduled)]
    kept = [item for item in run.events if item.seq <= 2 or item.seq > scheduled[2]]
    log = condensed(kept)
    assert log["truncated"] is True
    first, second, *_ = log["steps"]
    assert (first["state"], first["entered_on"], first["exited_on"]) == ("Charge", START, None)
    assert (second["state"], second["entered_on"], second["input"]) == ("Charge", None, None)
    assert second["exited_on"] == START + 30
    assert log["steps"][-1]["output"] == {"n": 1, "charge": {"done": True}}


def test_a_visit_that_outlasts_the_gap_stays_whole():
    """A wait that was refused a thousand times is one step, resumed by its own event."""
    run = given(one({"Type": "Task", "Resource": "wait_for_resume", "End": True}))
    run.when(*[c.Refuse("trigger", "no")] * 40).after(9).when(c.Resume({"approved": True}))
    kept = [item for item in run.events if item.seq <= 3 or item.seq > 20]
    (step,) = condensed(kept)["steps"]
    assert (step["entered_on"], step["exited_on"], step["output"]) == (START, START + 9, {"approved": True})


@st.composite
def runs(draw):
    """Runs through a loop with every kind of state, ended or not."""
    definition = {
        "StartAt": "Charge",
        "States": {
            **LOOP["States"],
            "Charge": {**CHARGE, "Next": "Nap"},
            "Nap": {"Type": "Wait", "Seconds": 1, "Next": "Ask"},
            "Ask": {"Type": "Task", "Resource": "ask.waitForResume", "ResultPath": "$.answer", "Next": "Note"},
            "Note": {"Type": "Pass", "Next": "Enough"},
        },
    }
    run = given(definition, {"n": draw(st.integers())})
    for _ in range(draw(st.integers(0, 3))):
        if draw(st.booleans()):
            run.when(c.Refuse("trigger", "no"))
        run.after(5).when(succeeded("Charge", {"done": draw(st.booleans())}))
        run.after(1000).when(due())
        run.when(succeeded("Ask", {"sent": True}), c.Resume({"approved": True}))
        if run.state.is_over:
            return run
    ending = draw(st.sampled_from([None, failed("Charge", "Boom", "why"), c.Terminate("enough")]))
    return run if ending is None else run.when(ending)


@for_all(runs())
def test_the_logs_agree_with_the_log(run):
    """The last step is the state the run is in, and every number of a history follows the one before."""
    steps = condensed(run.events)["steps"]
    assert steps[-1]["state"] == run.state.current
    assert (steps[-1]["exited_on"] is None) == (not run.state.is_over)
    history = states_history(run.events)
    assert [event["id"] for event in history] == list(range(1, len(history) + 1))
    assert all(event["previousEventId"] < event["id"] for event in history)
    entered = [event["details"]["name"] for event in history if event["type"].endswith("StateEntered")]
    assert entered == [step["state"] for step in steps]


@for_all(runs())
def test_erased_payloads_change_values_only(run):
    """Without business data the same events, steps and times are told, with null where values stood."""
    bare = erased(run.events)
    assert types(states_history(bare)) == types(states_history(run.events))
    assert event_log(bare, total=len(bare))["count"] == len(run.events)
    for step, full in zip(condensed(bare)["steps"], condensed(run.events)["steps"], strict=True):
        assert (step["state"], step["entered_on"], step["exited_on"]) == tuple(
            full[name] for name in ("state", "entered_on", "exited_on")
        )
        assert (step["input"], step["output"]) == (None, None)


@for_all(runs(), st.data())
def test_any_gap_is_survived(run, data):
    """Whatever is missing, the rest is told, in order, and the log says that it is not whole."""
    start = data.draw(st.integers(1, len(run.events)))
    end = data.draw(st.integers(start, len(run.events)))
    kept = run.events[: start - 1] + run.events[end:]
    log = condensed(kept)
    assert log["truncated"] == (end < len(run.events))
    assert states_history(kept) is not None
    known = [step["entered_on"] for step in log["steps"] if step["entered_on"] is not None]
    assert known == sorted(known)
    whole = condensed(run.events)["steps"]
    complete = [step for step in log["steps"] if None not in (step["entered_on"], step["input"], step["output"])]
    assert all(step in whole for step in complete)


def test_a_reference_into_the_unknown_is_null():
    """A damaged or foreign reference shows nothing and breaks nothing."""
    start, *_ = given(one({"Type": "Succeed"})).events
    passed = replace(start, seq=2, event=e.StatePassed("A", "Succeed", ref(1, "nowhere")))
    assert condensed([start, passed])["steps"][0]["output"] is None


# --- outlines and schemas ------------------------------------------------------------------------------------


def test_an_outline_has_the_steps_and_where_they_lead():
    """Steps keep their own fields; choices are labelled with their condition, catches with their errors."""
    definition = one(
        {"Type": "Task", "Resource": "charge", "Next": "B", "Catch": [{"ErrorEquals": ["X", "Y"], "Next": "C"}]},
        B={
            "Type": "Choice",
            "Choices": [
                {"Variable": "$.n", "NumericGreaterThan": 100, "Next": "C"},
                {"Not": {"Variable": "$.s", "StringEquals": "a"}, "Next": "C"},
                {
                    "And": [
                        {"Variable": "$.a", "IsPresent": True},
                        {"Or": [{"Variable": "$.b", "IsNull": True}, {"Variable": "$.c", "IsNull": False}]},
                    ],
                    "Next": "A",
                },
                {"Condition": "{% $x > 1 %}", "Next": "C"},
            ],
            "Default": "C",
        },
        C={"Type": "Fail", "Error": "No"},
    )
    found = outline(definition)
    assert found["workflow_steps"][2] == {"name": "C", "type": "Fail", "Error": "No"}
    assert [step["name"] for step in found["workflow_steps"]] == ["A", "B", "C"]
    assert found["workflow_connections"] == [
        {"from": "A", "to": "B", "kind": "next"},
        {"from": "A", "to": "C", "kind": "catch", "label": "X, Y"},
        {"from": "B", "to": "C", "kind": "choice", "label": "$.n NumericGreaterThan 100"},
        {"from": "B", "to": "C", "kind": "choice", "label": 'not ($.s StringEquals "a")'},
        {
            "from": "B",
            "to": "A",
            "kind": "choice",
            "label": "($.a IsPresent true) and (($.b IsNull true) or ($.c IsNull false))",
        },
        {"from": "B", "to": "C", "kind": "choice", "label": "{% $x > 1 %}"},
        {"from": "B", "to": "C", "kind": "default"},
    ]


def test_an_outline_goes_into_branches_and_iterations():
    """Their states come after the one that runs them, and name it; their connections come after the others."""
    inner = {"StartAt": "B", "States": {"B": {"Type": "Pass", "Next": "C"}, "C": {"Type": "Succeed"}}}
    found = outline(one({"Type": "Map", "ItemProcessor": inner, "Next": "D"}, D={"Type": "Succeed"}))
    assert [(step["name"], step.get("within")) for step in found["workflow_steps"]] == [
        *[("A", None), ("B", "A"), ("C", "A"), ("D", None)],
    ]
    assert [(item["from"], item["to"]) for item in found["workflow_connections"]] == [("A", "D"), ("B", "C")]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=20,
)
TYPES = {
    "object": lambda value: isinstance(value, dict),
    "array": lambda value: isinstance(value, list),
    "string": lambda value: isinstance(value, str),
    "integer": lambda value: isinstance(value, int) and not isinstance(value, bool),
    "number": lambda value: isinstance(value, int | float) and not isinstance(value, bool),
    "boolean": lambda value: isinstance(value, bool),
    "null": lambda value: value is None,
}


def is_valid(value, schema):
    """Judge a value by the keywords that are inferred (JSON Schema 2020-12)."""
    wanted = schema.get("type", list(TYPES))
    if not any(TYPES[name](value) for name in ([wanted] if isinstance(wanted, str) else wanted)):
        return False
    if isinstance(value, dict):
        members = schema.get("properties", {})
        return set(schema.get("required", ())) <= value.keys() and all(
            is_valid(value[name], members[name]) for name in value if name in members
        )
    return not isinstance(value, list) or all(is_valid(item, schema.get("items", {})) for item in value)


@for_all(JSON)
def test_a_value_fits_the_schema_inferred_from_it(value):
    """Whatever the example was, it is valid."""
    schema = schema_of(value)
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert is_valid(value, schema)


def test_items_share_one_schema():
    """What every item has is required, what some have is allowed; types are united, integers being numbers."""
    found = schema_of({"lines": [{"n": 1, "s": "x"}, {"n": 2.5}, None]})
    assert found["required"] == ["lines"]
    assert found["properties"]["lines"]["items"] == {
        "type": ["object", "null"],
        "properties": {"n": {"type": "number"}, "s": {"type": "string"}},
        "required": ["n"],
    }
    assert schema_of([]) == {"$schema": found["$schema"], "type": "array"}
