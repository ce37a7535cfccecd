"""Variables: what Assign sets, who sees it, and that their values stand in the log only."""

from __future__ import annotations

from msgspec.structs import replace

from perdure.engine.core import events as e
from perdure.engine.core.decide import decide
from perdure.engine.core.decision import Need
from perdure.engine.core.snapshots import encode_state
from perdure.engine.testing import due, failed, resumed, succeeded

from .checked import given

CHARGE = {"Type": "Task", "Resource": "charge"}
SEE = {"Type": "Pass", "Parameters": {"v.$": "$v"}, "End": True}


def machine(**states):
    return {"StartAt": next(iter(states)), "States": states}


def test_a_variable_is_set_by_a_state_and_seen_by_the_next():
    """The event says so: a computed value is payload, one that stands there already is a reference."""
    first = {"Type": "Pass", "Assign": {"v": 5, "all.$": "$"}, "Next": "See"}
    run = given(machine(First=first, See=SEE), {"n": 1}).then_is("completed", output={"v": 5}).check()
    assert run.event(1) == e.StatePassed("First", "Pass", "1/input", "See", {"v": "2/assigned/v", "all": "1/input"})
    assert run.events[1].payload == {"assigned": {"v": 5}}


def test_what_is_assigned_holds_from_the_next_state_on():
    """The state's own output sees the variables as they were."""
    again = {
        "Type": "Pass",
        "QueryLanguage": "JSONata",
        "Assign": {"v": "{% $v + 1 %}"},
        "Output": "{% $v %}",
        "Next": "See",
    }
    run = given(machine(First={"Type": "Pass", "Assign": {"v": 1}, "Next": "Again"}, Again=again, See=SEE))
    assert run.value(run.event(2).output) == 1
    run.then_is("completed", output={"v": 2})


def test_every_kind_of_state_assigns_as_it_is_left():
    """A result, an answer, the hour, a choice: the variable outlives what comes between."""
    run = given(
        machine(
            Call={**CHARGE, "Assign": {"a.$": "$.n"}, "Next": "Ask"},
            Ask={"Type": "Task", "Resource": "wait_for_resume", "Assign": {"b.$": "$.n"}, "Next": "Pause"},
            Pause={"Type": "Wait", "Seconds": 1, "Assign": {"c": 3}, "Next": "Which"},
            Which={
                "Type": "Choice",
                "Choices": [{"Variable": "$b", "NumericEquals": 2, "Assign": {"d": 4}, "Next": "All"}],
                "Default": "All",
                "Assign": {"d": 0},
            },
            All={"Type": "Pass", "Parameters": {"a.$": "$a", "b.$": "$b", "c.$": "$c", "d.$": "$d"}, "End": True},
        )
    )
    run.when(succeeded("Call", {"n": 1}), resumed({"n": 2})).after(1000).when(due())
    run.then_is("completed", output={"a": 1, "b": 2, "c": 3, "d": 4})


def test_a_failure_assigns_nothing():
    """Neither does a result that cannot be used."""
    catch = [{"ErrorEquals": ["States.ALL"], "ResultPath": None, "Next": "See"}]
    bad = {
        **CHARGE,
        "ResultSelector": {"x.$": "States.ArrayLength('')"},
        "Assign": {"v": 2},
        "Catch": catch,
        "Next": "See",
    }
    run = given(machine(First={"Type": "Pass", "Assign": {"v": 1}, "Next": "Bad"}, Bad=bad, See=SEE))
    run.when(succeeded("Bad", {})).then_is("completed", output={"v": 1})
    run = given(machine(First={"Type": "Pass", "Assign": {"v": 1}, "Next": "Bad"}, Bad=bad, See=SEE))
    run.when(failed("Bad", "No")).then_is("completed", output={"v": 1})


def test_a_retry_keeps_the_variables():
    """They are the scope's."""
    retry = [{"ErrorEquals": ["States.ALL"], "IntervalSeconds": 1}]
    call = {**CHARGE, "Parameters": {"v.$": "$v"}, "Retry": retry, "Next": "See"}
    run = given(machine(First={"Type": "Pass", "Assign": {"v": 1}, "Next": "Call"}, Call=call, See=SEE))
    run.when(failed("Call", "Busy")).after(1000).when(due(), succeeded("Call")).then_is("completed", output={"v": 1})


def test_a_branch_sees_the_variables_around_it():
    """Three levels up as well; and its own are gone with it."""
    own = {"Type": "Pass", "Assign": {"w": 2}, "Next": "See"}
    see = {"Type": "Pass", "Parameters": {"v.$": "$v", "w.$": "$w"}, "End": True}
    inner = {"Type": "Parallel", "Branches": [machine(Own=own, See=see)], "End": True}
    each = {
        "Type": "Map",
        "ItemProcessor": machine(Inner=inner),
        "ResultPath": "$.r",
        "ItemsPath": "$.l",
        "Next": "Last",
    }
    first = {"Type": "Pass", "Assign": {"v": 1}, "Next": "Each"}
    last = {"Type": "Pass", "Parameters": {"r.$": "$.r", "w.$": "$w"}, "End": True}
    run = given(machine(First=first, Each=each, Last=last), {"l": [0, 0]}).check()
    left = [r.event for r in run.events if isinstance(r.event, e.StateExited)]
    assert run.value(left[-1].result) == [[{"v": 1, "w": 2}]] * 2
    run.then_is("failed")
    assert "$w" in run.value(run.state.cause)


def test_branches_do_not_see_each_other_s_variables():
    """Each has its own of a name."""
    branches = [
        {
            "StartAt": f"Set{n}",
            "States": {f"Set{n}": {"Type": "Pass", "Assign": {"v": n}, "Next": f"See{n}"}, f"See{n}": SEE},
        }
        for n in (1, 2)
    ]
    both = {"Type": "Parallel", "Branches": branches, "End": True}
    given(machine(Both=both)).then_is("completed", output=[{"v": 1}, {"v": 2}]).check()


def test_a_map_assigns_from_its_result():
    """As it is left, like every state."""
    double = {"Type": "Pass", "QueryLanguage": "JSONata", "Output": "{% $states.input * 2 %}", "End": True}
    each = {"Type": "Map", "ItemProcessor": machine(Double=double), "Assign": {"v.$": "$"}, "Next": "See"}
    run = given(machine(Each=each, See=SEE), [1, 2]).then_is("completed", output={"v": [2, 4]}).check()
    left = next(r.event for r in run.events if isinstance(r.event, e.StateExited))
    assert left.assigned == {"v": f"{run.events[-3].seq}/assigned/v"}


def test_the_state_keeps_no_value():
    """References only, so that an erasure needs to take nothing out of a snapshot; what is needed is asked for."""
    first = {"Type": "Pass", "Assign": {"v": "s3cret", "w.$": "$.x"}, "Next": "Call"}
    call = {**CHARGE, "ResultSelector": {"v.$": "$v", "w.$": "$w"}, "End": True}
    run = given(machine(First=first, Call=call), {"x": "s3cret"})
    assert b"s3cret" not in encode_state(run.state)
    assert not any("s3cret" in row.data for row in run.rows)
    facts = run._facts()
    assert decide(run.state, succeeded("Call")(run.state), replace(facts, payloads={1: facts.payloads[1]})) == Need(
        (2,)
    )
    run.when(succeeded("Call")).then_is("completed", output={"v": "s3cret", "w": "s3cret"})


def test_a_variable_that_is_the_input_is_not_written_again():
    """A reference suffices; the event has no payload."""
    run = given(machine(First={"Type": "Pass", "Assign": {"v.$": "$"}, "Next": "See"}, See=SEE), {"n": 1})
    assert (run.event(1).assigned, run.events[1].payload) == ({"v": "1/input"}, None)
    run.then_is("completed", output={"v": {"n": 1}}).check()
