"""What the history tells of branches and iterations, of failures, retries and limits of time."""

import re

import pytest
from hypothesis import given as for_all
from hypothesis import strategies as st
from msgspec.structs import replace

from perdure.engine.core import commands as c
from perdure.engine.core import events as e
from perdure.engine.history import condensed, event_log, states_history
from perdure.engine.history.handlers import follow
from perdure.engine.testing import START, Failed, Succeeded, Unanswered, due, failed, given, simulate, succeeded

TASK = {"Type": "Task", "Resource": "charge", "End": True}
PASS = {"Type": "Pass", "End": True}
RETRY = [{"ErrorEquals": ["States.ALL"], "IntervalSeconds": 2, "MaxAttempts": 1}]
ENTERED = re.compile(r"executing the state '(\w+)' \(entered at the event id #(\d+)\)")
CATCH = [{"ErrorEquals": ["States.ALL"], "Next": "Saved"}]


def machine(**states):
    """Give a machine that begins with the first of these states."""
    return {"StartAt": next(iter(states)), "States": states}


def parallel(*branches, **more):
    return {"Type": "Parallel", "Branches": [machine(**branch) for branch in branches], "End": True, **more}


def mapped(more=None, **states):
    return {"Type": "Map", "ItemProcessor": machine(**states), "End": True, **(more or {})}


def types(history):
    return [event["type"] for event in history]


def told(run):
    """Give the history between the start and the end as (type, previous id)."""
    return [(event["type"], event["previousEventId"]) for event in states_history(run.events)][1:]


# --- branches and iterations ---------------------------------------------------------------------------------


def test_branches_are_chained_each_for_itself():
    """Each branch follows the start of the Parallel state, and what comes after it follows the last one's end.

    So does the exit, and not the success: in a recorded history the exit is number 13, and follows number 11
    (scenarios/test_base_scenarios, test_parallel_state_order; its recorder left number 12 out).
    """
    run = given(machine(Both=parallel({"One": PASS}, {"Two": PASS})))
    assert told(run) == [
        ("ParallelStateEntered", 0),
        ("ParallelStateStarted", 2),
        ("PassStateEntered", 3),
        ("PassStateExited", 4),
        ("PassStateEntered", 3),
        ("PassStateExited", 6),
        ("ParallelStateSucceeded", 7),
        ("ParallelStateExited", 7),
        ("ExecutionSucceeded", 9),
    ]


def test_an_iteration_follows_the_one_that_made_room_for_it():
    """With a limit, later iterations are chained to the ends of earlier ones, in the order of these."""
    run = given(machine(Each=mapped({"MaxConcurrency": 2}, Charge=TASK)), [1, 2, 3])
    run.when(succeeded("Charge", scope="2.1"))
    ended = types(states_history(run.events)).index("MapIterationSucceeded") + 1
    *_, started, entered, scheduled, begun = told(run)
    assert started == ("MapIterationStarted", ended - 1)
    assert [entered[0], scheduled[0], begun[0]] == ["TaskStateEntered", "TaskScheduled", "TaskStarted"]
    starts = [event for event in states_history(run.events) if event["type"] == "MapIterationStarted"]
    assert [(item["details"]["index"], item["previousEventId"]) for item in starts[:2]] == [(0, 3), (1, 3)]


def test_what_is_scheduled_in_one_go_is_started_after_it():
    """Tasks of several branches are all scheduled before the first one is said to have been started."""
    definition = machine(Both=parallel({"One": TASK}, {"Two": {**TASK, "Resource": "wait_for_resume"}}))
    run = given(definition)
    assert types(states_history(run.events))[3:] == [
        *["TaskStateEntered", "TaskScheduled"] * 2,
        *["TaskStarted", "TaskStarted", "TaskSubmitted"],
    ]
    run.when(succeeded("One"))
    assert types(states_history(run.events))[10:] == ["TaskSucceeded", "TaskStateExited"]


def test_what_was_given_up_in_the_same_go_has_not_been_started():
    """A task whose sibling fails at once was never called."""
    run = given(machine(Both=parallel({"One": TASK}, {"Two": {"Type": "Fail", "Error": "No"}})))
    assert told(run)[2:] == [
        ("TaskStateEntered", 3),
        ("TaskScheduled", 4),
        ("FailStateEntered", 3),
        ("TaskStateAborted", 6),
        ("ParallelStateFailed", 6),
        ("ExecutionFailed", 8),
    ]


def test_an_empty_map_is_started_and_succeeds():
    """Without items both follow the start."""
    run = given(machine(Each=mapped(One=PASS)), [])
    assert told(run) == [
        ("MapStateEntered", 0),
        ("MapStateStarted", 2),
        ("MapStateSucceeded", 3),
        ("MapStateExited", 3),
        ("ExecutionSucceeded", 5),
    ]


# --- failures ------------------------------------------------------------------------------------------------


def onward(state, following):
    """Give a state that is followed by another one."""
    return {name: value for name, value in state.items() if name != "End"} | {"Next": following}


@pytest.mark.parametrize("concurrency", [0, 1, 2])
def test_a_cause_names_the_number_of_the_entry(concurrency):
    """After a Map and a Parallel with tasks, retries and what was given up; and within them, for each iteration."""
    lost = {**TASK, "QueryLanguage": "JSONata", "Output": "{% $states.result.a.b.c %}", "Retry": RETRY}
    each = mapped({"MaxConcurrency": concurrency}, Charge={**lost, "Catch": CATCH}, Saved=PASS)
    nap = {"Type": "Wait", "Seconds": 1, "Next": "Two"}
    both = parallel({"One": TASK}, {"Nap": nap, "Two": TASK}, ResultSelector={})
    broken = {**PASS, "QueryLanguage": "JSONata", "Output": "{% $states.input.a %}"}
    caught = {"ErrorEquals": ["States.ALL"], "Next": "Last", "ResultPath": "$.caught"}
    fails = parallel({"Called": TASK}, {"Broken": broken}, Catch=[caught], Parameters={})
    last = {"Type": "Fail", "ErrorPath": "$.nope"}
    definition = machine(Each=onward(each, "Both"), Both=onward(both, "Fails"), Fails=fails, Last=last)
    run = simulate(definition, [1, 2, 3], tasks=lambda _: Succeeded({"n": 1}))
    assert run.error == "States.Runtime"
    named = [match for event in run.history for match in ENTERED.findall(str(event["details"].get("cause")))]
    named += [match for event in run.history for match in ENTERED.findall(str(event["details"].get("output")))]
    assert {name for name, _ in named} == {"Charge", "Broken", "Last"}
    for name, number in named:
        entered = run.history[int(number) - 1]
        assert (entered["type"][-12:], entered["details"]["name"]) == ("StateEntered", name)
    assert len({number for name, number in named if name == "Charge"}) == 3


def test_a_failure_gives_up_what_runs_beside_it():
    """The iteration failed, its task was aborted, the others were aborted each with the states that it was in."""
    inner = parallel({"Nap": {"Type": "Wait", "Seconds": 9, "End": True}}, {"Two": TASK})
    each = mapped(Which={"Type": "Choice", "Choices": [{"Variable": "$", "NumericEquals": 1, "Next": "Charge"}],
                         "Default": "Both"}, Charge=TASK, Both=inner)  # fmt: skip
    run = given(machine(Each=each), [1, 2])
    run.when(failed("Charge", "Boom"))
    history = states_history(run.events)
    told = types(history)[types(history).index("TaskFailed") :]
    assert told == [
        "TaskFailed",
        "MapIterationFailed",
        "TaskStateAborted",
        "MapIterationAborted",
        "ParallelStateAborted",
        "WaitStateAborted",
        "TaskStateAborted",
        "MapStateFailed",
        "ExecutionFailed",
    ]
    steps = {step["state"]: step for step in condensed(run.events)["steps"]}
    assert steps["Nap"]["exited_on"] == START
    assert steps["Nap"]["output"] is None
    assert steps["Charge"]["error"] == steps["Each"]["error"] == "Boom"


def test_a_failure_that_is_tolerated_ends_its_iteration_only():
    """The next iteration follows what failed, and the Map state succeeds."""
    each = mapped({"MaxConcurrency": 1, "ToleratedFailureCount": 1}, Charge=TASK)
    run = given(machine(Each=each), [1, 2]).when(failed("Charge", "Boom")).when(succeeded("Charge", 5))
    assert told(run)[6:] == [
        ("TaskFailed", 7),
        ("MapIterationFailed", 8),
        ("TaskStateAborted", 8),
        ("MapIterationStarted", 8),
        ("TaskStateEntered", 11),
        ("TaskScheduled", 12),
        ("TaskStarted", 13),
        ("TaskSucceeded", 14),
        ("TaskStateExited", 15),
        ("MapIterationSucceeded", 16),
        ("MapStateSucceeded", 17),
        ("MapStateExited", 17),
        ("ExecutionSucceeded", 19),
    ]


def test_a_caught_failure_of_branches_shows_the_catchers_output():
    """The Parallel state failed, and was left with what its catcher gives."""
    both = parallel({"One": TASK}, {"Two": TASK}, Catch=CATCH)
    run = given(machine(Both=both, Saved=PASS)).when(failed("One", "Boom"))
    history = states_history(run.events)
    names = types(history)
    at = names.index("TaskFailed")
    assert names[at:] == [
        *["TaskFailed", "TaskStateAborted", "TaskStateAborted", "ParallelStateFailed", "ParallelStateExited"],
        *["PassStateEntered", "PassStateExited", "ExecutionSucceeded"],
    ]
    assert history[at + 4]["details"]["output"] == {"Error": "Boom", "Cause": None}
    steps = {step["state"]: step for step in condensed(run.events)["steps"]}
    assert steps["Both"]["output"] == history[at + 4]["details"]["output"]
    assert steps["Both"]["error"] == "Boom"


def test_branches_that_are_tried_again_are_started_again():
    """The state is entered once, and does not fail in between; its step counts both attempts."""
    run = given(machine(Both=parallel({"One": TASK}, Retry=RETRY))).when(failed("One", "Boom", "why"))
    assert condensed(run.events)["steps"][0]["retries"] == [
        {"failed_on": START, "retry_on": START + 2000, "error": "Boom", "cause": "why"}
    ]
    run.after(2000).when(due()).when(succeeded("One", 1))
    names = types(states_history(run.events))
    assert names.count("ParallelStateEntered") == 1
    assert names.count("ParallelStateStarted") == 2
    assert "ParallelStateFailed" not in names
    both, first, second = condensed(run.events)["steps"]
    assert (both["attempts"], "error" in both, both["exited_on"]) == (2, False, START + 2000)
    assert (first["error"], "error" in second) == ("Boom", False)
    assert first["scope"] != second["scope"]
    assert first["within"] == second["within"] == [{"state": "Both", "index": 0}]


def test_a_task_that_is_tried_again_is_scheduled_again():
    """Of a retry nothing but the next attempt is told, and no state is aborted."""
    run = given(machine(A={**TASK, "Retry": RETRY})).when(failed("A", "Boom"))
    (step,) = condensed(run.events)["steps"]
    assert (step["attempts"], step["exited_on"], "error" in step) == (1, None, False)
    assert step["retries"] == [{"failed_on": START, "retry_on": START + 2000, "error": "Boom"}]
    run.after(2000).when(due()).when(failed("A", "Bang"))
    assert [name for name, _ in told(run)] == [
        "TaskStateEntered",
        *["TaskScheduled", "TaskStarted", "TaskFailed"] * 2,
        "ExecutionFailed",
    ]
    (step,) = condensed(run.events)["steps"]
    assert (step["attempts"], step["error"], step["exited_on"]) == (2, "Bang", START + 2000)


def test_a_wait_that_is_tried_again_goes_on_with_its_visit():
    """Another wait is opened in the same visit."""
    wait = {**TASK, "Resource": "wait_for_resume", "TimeoutSeconds": 5, "Retry": RETRY}
    run = given(machine(A=wait)).after(5000).when(due()).after(2000).when(due()).when(c.Resume({}))
    assert [name for name, _ in told(run)] == [
        "TaskStateEntered",
        *["TaskScheduled", "TaskStarted", "TaskSubmitted", "TaskTimedOut"],
        *["TaskScheduled", "TaskStarted", "TaskSubmitted", "TaskSucceeded"],
        *["TaskStateExited", "ExecutionSucceeded"],
    ]
    (step,) = condensed(run.events)["steps"]
    assert (step["attempts"], step["retries"][0]["error"]) == (2, "States.Timeout")


# --- evaluation ----------------------------------------------------------------------------------------------

WRONG = {"QueryLanguage": "JSONata", "Output": "{% $error('no') %}"}


def test_an_expression_that_fails_is_told_where_it_stands():
    """EvaluationFailed names state and field; it follows what the entry follows, or the last event after that."""
    passed = states_history(given(machine(A={**PASS, **WRONG})).events)
    assert types(passed)[1:] == ["PassStateEntered", "EvaluationFailed", "ExecutionFailed"]
    assert passed[2]["details"]["state"] == "A"
    assert passed[2]["details"]["location"] == "Output"
    assert passed[2]["details"]["error"] == "States.QueryEvaluationError"
    assert (passed[2]["previousEventId"], passed[3]["previousEventId"]) == (0, 3)
    task = given(machine(A={**TASK, **WRONG})).when(succeeded("A", 1))
    assert told(task)[-3:] == [("TaskSucceeded", 4), ("EvaluationFailed", 5), ("ExecutionFailed", 6)]


def test_an_expression_that_fails_in_an_iteration_is_told_once():
    """The Map state around it fails by the same error, and is not said to have evaluated anything."""
    run = given(machine(Each=mapped(A={**PASS, **WRONG})), [1])
    names = [name for name, _ in told(run)]
    assert names[-5:] == [
        *["PassStateEntered", "EvaluationFailed", "MapIterationFailed", "MapStateFailed", "ExecutionFailed"],
    ]


def test_an_erased_cause_names_no_field():
    """Without the cause the location is null."""
    events = [replace(item, payload=None) for item in given(machine(A={**PASS, **WRONG})).events]
    assert states_history(events)[2]["details"] == {
        "error": "States.QueryEvaluationError",
        "location": None,
        "state": "A",
    }


@pytest.mark.parametrize(
    ("field", "expected"),
    [
        ({"ItemsPath": "$.none"}, ["ExecutionFailed"]),
        ({"ItemSelector": {"x.$": "$.none"}}, ["MapStateStarted", "ExecutionFailed"]),
        (
            {"ItemSelector": {"x.$": "States.ArrayLength('')"}},
            ["MapStateStarted", "MapStateFailed", "ExecutionFailed"],
        ),
        ({"QueryLanguage": "JSONata"}, ["EvaluationFailed", "MapStateFailed", "ExecutionFailed"]),
    ],
)
def test_a_map_that_fails_by_itself(field, expected):
    """States.Runtime ends the execution without a word on the state; by any other error the state itself fails."""
    run = given(machine(Each=mapped(field, A=PASS)), True if "QueryLanguage" in field else [1])
    assert [name for name, _ in told(run)] == ["MapStateEntered", *expected]


def test_a_catcher_that_fails_is_told_after_what_it_caught():
    """The failure of its expression follows that of the task, and ends the execution."""
    catch = [{"ErrorEquals": ["States.ALL"], "Next": "Saved", "Output": "{% $error('no') %}"}]
    run = given(machine(A={**TASK, "QueryLanguage": "JSONata", "Catch": catch}, Saved=PASS)).when(failed("A", "Boom"))
    assert [name for name, _ in told(run)][-3:] == ["TaskFailed", "EvaluationFailed", "ExecutionFailed"]


# --- limits of time ------------------------------------------------------------------------------------------


def test_what_comes_due_at_one_instant_has_timed_out_together():
    """AWS tells all of them; one that is due later was aborted only."""
    slow = {**TASK, "TimeoutSeconds": 9}
    both = parallel({"One": {**TASK, "TimeoutSeconds": 5}}, {"Two": {**TASK, "TimeoutSeconds": 5}}, {"Three": slow})
    run = given(machine(Both=both)).after(5000).when(due("2.0"))
    names = [name for name, _ in told(run)]
    assert names[names.index("TaskTimedOut") :] == [
        *["TaskTimedOut"] * 2,
        *["TaskStateAborted"] * 3,
        *["ParallelStateFailed", "ExecutionFailed"],
    ]


def test_a_heartbeat_puts_the_time_limit_off():
    """Who was heard of lately has not timed out beside the one that was not."""
    beating = {**TASK, "Resource": "ask.waitForTaskToken", "HeartbeatSeconds": 5}
    run = given(machine(Both=parallel({"One": beating}, {"Two": beating})))
    run.after(3000).when(c.Beat("wait-2")).after(2000).when(due("2.0"))
    names = [name for name, _ in told(run)]
    assert names.count("TaskTimedOut") == 1
    assert [e.TaskHeartbeat in [type(item.event) for item in run.events], "TaskHeartbeat" in names] == [True, False]


def test_the_limits_of_a_task_are_told_in_seconds():
    """A task without a limit of its own shows none, even if its heartbeat has made one necessary."""
    beating = {**TASK, "Resource": "ask.waitForTaskToken", "HeartbeatSeconds": 5}
    details = states_history(given(machine(A=beating)).events)[2]["details"]
    assert (details["heartbeatInSeconds"], "timeoutInSeconds" in details) == (5, False)
    limited = states_history(given(machine(A={**TASK, "TimeoutSeconds": 7})).events)[2]["details"]
    assert (limited["timeoutInSeconds"], "heartbeatInSeconds" in limited) == (7, False)


def test_a_function_that_takes_too_long_has_its_own_word():
    """A Lambda function times out as LambdaFunctionTimedOut, an activity is scheduled as one."""
    arn = "arn:aws:lambda:eu-west-1:1:function:charge"
    run = given(machine(A={**TASK, "Resource": arn, "TimeoutSeconds": 5})).after(5000).when(due())
    assert [name for name, _ in told(run)][-2:] == ["LambdaFunctionTimedOut", "ExecutionFailed"]
    activity = given(machine(A={**TASK, "Resource": "arn:aws:states:eu-west-1:1:activity:a"}), 7).when(
        failed("A", "No")
    )
    history = states_history(activity.events)
    assert types(history)[2:5] == ["ActivityScheduled", "ActivityStarted", "ActivityFailed"]
    assert history[2]["details"] == {"resource": "arn:aws:states:eu-west-1:1:activity:a", "input": 7}


def test_an_execution_that_takes_too_long_has_timed_out():
    """Its open steps end with it."""
    definition = {**machine(Both=parallel({"A": {"Type": "Wait", "Seconds": 99, "End": True}})), "TimeoutSeconds": 5}
    run = given(definition).after(5000).when(c.FireTimer(1))
    assert told(run)[-1] == ("ExecutionTimedOut", 0)
    assert [step["exited_on"] for step in condensed(run.events)["steps"]] == [START + 5000] * 2


# --- the logs ------------------------------------------------------------------------------------------------


def test_a_step_within_others_says_where():
    """An iteration's step names the states around it, outermost first, with the index in each."""
    run = given(machine(Each=mapped(Both=parallel({"One": PASS}, {"Two": PASS}))), [1, 2])
    steps = [step for step in condensed(run.events)["steps"] if step["state"] == "Two"]
    assert [step["within"] for step in steps] == [
        [{"state": "Each", "index": index}, {"state": "Both", "index": 1}] for index in (0, 1)
    ]
    assert "scope" not in condensed(run.events)["steps"][0]


def test_the_log_of_events_shows_what_follows_a_failure():
    """A retry has its retrier and due time, a catch its catcher, the next state, and where its output stands."""
    task = {**TASK, "Retry": RETRY, "Catch": CATCH}
    run = given(machine(A=task, Saved=PASS)).when(failed("A", "Boom")).after(2000).when(due()).when(failed("A", "Boom"))
    shown = [item for item in event_log(run.events, total=9)["events"] if item["type"] == "TaskFailed"]
    assert shown[0]["then"] == {"kind": "retry", "retrier": 0, "due_at": START + 2000}
    assert shown[1]["then"] == {"kind": "catch", "catcher": 0, "next": "Saved"}
    assert shown[1]["output"] == {"Error": "Boom", "Cause": None}


def test_the_log_of_events_shows_variables_and_items():
    """Values of the payload are shown, those of other events are references."""
    assign = {"Type": "Pass", "Assign": {"all.$": "$", "one": 1}, "Next": "Each"}
    run = given(machine(A=assign, Each=mapped(B=PASS)), [7])
    shown = event_log(run.events, total=9)["events"]
    assert (shown[1]["assigned"], shown[1]["assigned_ref"]) == ({"one": 1}, {"all": "1/input"})
    assert (shown[2]["items_ref"], shown[2]["count"]) == ("1/input", 1)
    both = event_log(given(machine(Both=parallel({"One": PASS}, {"Two": PASS}))).events, total=9)["events"][1]
    assert list(both["start_at"]) == ["One", "Two"]
    exited = states_history(run.events)[2]["details"]
    assert exited["assignedVariables"] == {"all": [7], "one": 1}


# --- gaps ----------------------------------------------------------------------------------------------------


def test_a_map_longer_than_its_log_keeps_what_is_known():
    """The state that was entered before the gap is left after it; the iterations in between are not aborted."""
    run = given(machine(Each=mapped({"MaxConcurrency": 1}, A=PASS)), list(range(20)))
    kept = [item for item in run.events if item.seq <= 7 or item.seq > 30]
    log = condensed(kept)
    assert log["truncated"] is True
    (each,) = [step for step in log["steps"] if step["state"] == "Each"]
    assert each["output"] == list(range(20))
    assert not [name for name in types(states_history(kept)) if name.endswith("Aborted")]


def test_iterations_of_a_map_whose_beginning_is_lost_are_told():
    """Their own events name the state; nothing is made up about its beginning."""
    run = given(machine(Each=mapped({"MaxConcurrency": 1}, A=PASS)), [1, 2])
    lost = next(item.seq for item in run.events if isinstance(item.event, e.MapStarted))
    kept = [item for item in run.events if item.seq != lost]
    names = types(states_history(kept))
    assert names[1:5] == ["MapIterationStarted", "PassStateEntered", "PassStateExited", "MapIterationSucceeded"]
    assert "MapStateEntered" not in names
    assert condensed(kept)["steps"][0]["within"] == [{"state": "Each", "index": 0}]


@st.composite
def runs(draw):
    """Runs through nested branches and iterations that fail, are tried again and caught, or not."""
    charge = {**TASK, "Retry": RETRY, "TimeoutSeconds": draw(st.sampled_from([1, 60]))}
    inner = parallel({"Nap": {"Type": "Wait", "Seconds": 1, "Next": "One"}, "One": PASS}, {"Charge": charge})
    limits = {"MaxConcurrency": draw(st.integers(0, 2)), "ToleratedFailureCount": draw(st.integers(0, 2))}
    each = mapped(limits, First={"Type": "Pass", "Next": "Both"}, Both=inner)
    more = draw(st.sampled_from([{}, {"Retry": RETRY}, {"Catch": CATCH}]))
    outcomes = st.sampled_from([Succeeded(1), Succeeded(2), Failed("Boom", "why"), Unanswered()])
    answers = draw(st.lists(outcomes, min_size=12, max_size=12))
    definition = machine(Each={**each, **more}, **({"Saved": PASS} if "Catch" in more else {}))
    return simulate(definition, [1, 2, 3], tasks=lambda _: answers.pop() if answers else Succeeded(0)).events


@for_all(runs(), st.data())
def test_nested_runs_survive_gaps_and_erasure(events, data):
    """Every event follows an earlier one, every step has an end, and with a part of the log the rest is told."""
    history = states_history(events)
    assert [event["id"] for event in history] == list(range(1, len(history) + 1))
    assert all(event["previousEventId"] < event["id"] for event in history)
    whole = condensed(events)["steps"]
    assert all(step["exited_on"] is not None for step in whole)
    starts, ends = types(history).count("MapIterationStarted"), ("Succeeded", "Failed", "Aborted")
    assert starts == sum(types(history).count(f"MapIteration{word}") for word in ends)
    assert types(states_history([replace(item, payload=None) for item in events])) == types(history)
    start = data.draw(st.integers(0, len(events)))
    end = data.draw(st.integers(start, len(events)))
    kept = events[:start] + events[end:]
    assert states_history(kept) is not None
    known = [step["entered_on"] for step in condensed(kept)["steps"] if step["entered_on"] is not None]
    assert known == sorted(known)


def test_a_long_map_costs_what_its_events_cost():
    """Nothing is gone through again for each iteration: the entries are a fixed number for each."""
    run = given(machine(Each=mapped({"MaxConcurrency": 1}, A=PASS)), list(range(60)))
    while not run.state.is_over:
        run.when(c.Advance())
    timeline = follow(run.events)
    assert len(timeline.entries) == 60 * 4 + 6
