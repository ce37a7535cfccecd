"""Parallel: branches side by side, their outputs in order, and a failure that takes the siblings with it."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from perdure.engine.core import events as e
from perdure.engine.core.commands import Advance
from perdure.engine.core.decide import decide
from perdure.engine.core.decision import Need
from perdure.engine.core.effects import CancelTask, Continue, EndChild, RunTask
from perdure.engine.core.state import TOP
from perdure.engine.testing import EXECUTION, START, due, failed, recovered, resumed, succeeded, terminated

from .checked import given, wait_id
from .invariants import nested_scopes

CHARGE = {"Type": "Task", "Resource": "charge", "End": True}
DONE = {"Type": "Succeed"}
ALL = {"ErrorEquals": ["States.ALL"]}


def branch(name, state=CHARGE, **others):
    """Give a branch that begins with a state of that name."""
    return {"StartAt": name, "States": {name: state, **others}}


def parallel(*branches, **fields):
    """Give a Parallel state that leads to Done."""
    return {"Type": "Parallel", "Branches": list(branches), "Next": "Done", **fields}


def machine(first, **others):
    return {"StartAt": "Both", "States": {"Both": first, "Done": DONE, **others}}


AB = machine(parallel(branch("A"), branch("B")))


def test_all_branches_begin_with_the_same_input():
    """One event says so, and each of them calls its step in a scope of its own."""
    run = given(AB, {"n": 1})
    assert [r.event for r in run.events[1:]] == [
        e.BranchesStarted("Both", "1/input", ("A", "B")),
        e.TaskScheduled("A", "charge", "1/input", scope="2.0"),
        e.TaskScheduled("B", "charge", "1/input", scope="2.1"),
    ]
    assert [effect.idempotency_key for effect in run.calls] == [
        f"{EXECUTION}/A/Both:1:0/1",
        f"{EXECUTION}/B/Both:1:1/1",
    ]
    run.then_is("running").check()


@pytest.mark.parametrize("order", ["AB", "BA"])
def test_the_outputs_stand_in_the_order_of_the_branches(order):
    """Whichever ends first; the branch that ended is gone, the result is written once and is the output."""
    run = given(AB)
    run.when(succeeded(order[0], order[0])).then(
        e.TaskSucceeded(order[0], "5/result", "5/result", scope=run_scope(order[0]))
    )
    assert len(run.state.frames) == 2
    assert run.state.output is None
    run.when(succeeded(order[1], order[1])).then(
        "TaskSucceeded",
        e.StateExited("Both", "Parallel", "7/result", "7/result", "Done"),
        "StatePassed",
        "ExecutionSucceeded",
    )
    run.then_is("completed", output=["A", "B"])
    assert run.events[6].payload == {"result": ["A", "B"]}
    assert run.events[6].caused_by == 2


def run_scope(name):
    return f"2.{'AB'.index(name)}"


def test_the_input_of_the_branches_may_be_made():
    """Parameters are written once, for all of them; ResultSelector and ResultPath place the result."""
    run = given(
        machine(
            parallel(
                branch("A"),
                branch("B"),
                Parameters={"k.$": "$.n"},
                ResultSelector={"first.$": "$[0]"},
                ResultPath="$.r",
            )
        ),
        {"n": 1},
    )
    assert run.events[1].payload == {"input": {"k": 1}}
    run.when(succeeded("A", "a"), succeeded("B", "b")).then_is("completed", output={"n": 1, "r": {"first": "a"}})


def test_branches_that_need_nobody_end_in_one_decision():
    """Also if they have several states, and the Parallel state is the last one."""
    passes = branch("P", {"Type": "Pass", "Result": 1, "Next": "Q"}, Q={"Type": "Pass", "Result": 2, "End": True})
    given({"StartAt": "Both", "States": {"Both": {"Type": "Parallel", "Branches": [passes], "End": True}}}).then_is(
        "completed", output=[2]
    ).check()


def test_a_failure_fails_the_state_and_its_siblings_are_cancelled():
    """Their steps are let go, their waits cancelled, their timers void; what they give later is ignored."""
    pause = {"Type": "Wait", "Seconds": 60, "End": True}
    ask = {"Type": "Task", "Resource": "wait_for_resume", "End": True}
    run = given(machine(parallel(branch("A"), branch("B"), branch("Ask", ask), branch("Pause", pause))))
    late = succeeded("B", 1)(run.state)
    run.when(failed("A", "NoMoney", "none")).then(
        e.TaskFailed("A", None, "7/error", "7/cause", scope="2.0"),
        e.StateFailed("Both", "Parallel", None, "7/error", "7/cause"),
        e.ExecutionFailed(None, "7/error", "7/cause", "Both"),
    )
    run.then_is("failed", error="NoMoney").then_effects(CancelTask(4))
    assert run.value(run.state.cause) == "none"
    run.when(late).then(e.ResultIgnored("B", "succeeded", scope="2.1"))
    run.when(resumed(state="Ask")).then_refuses("WAIT_EXPIRED")


def test_a_failure_is_caught_by_the_parallel_state():
    """The execution goes on with the error, placed into the state's own input; variables can be set from it."""
    catch = [{**ALL, "ResultPath": "$.error", "Assign": {"why.$": "$.Error"}, "Next": "Mend"}]
    mend = {"Type": "Pass", "Parameters": {"all.$": "$", "why.$": "$why"}, "End": True}
    run = given(machine(parallel(branch("A"), branch("B"), Catch=catch), Mend=mend), {"n": 1})
    run.when(failed("A", "NoMoney", "none")).then("TaskFailed", "StateFailed", "StatePassed", "ExecutionSucceeded")
    error = {"Error": "NoMoney", "Cause": "none"}
    run.then_is("completed", output={"all": {"n": 1, "error": error}, "why": "NoMoney"})
    assert run.event(5).then == e.Caught(0, "Mend", "6/output", {"why": "6/assigned/why"})


def test_a_failure_is_retried_with_new_branches():
    """All of them begin anew, in other scopes, so that nothing late is taken for news; the attempt is told."""
    run = given(machine(parallel(branch("A"), branch("B"), Retry=[{**ALL, "IntervalSeconds": 5, "MaxAttempts": 1}])))
    late = succeeded("B", "old")(run.state)
    run.when(succeeded("A", 1), failed("B", "Busy"))
    assert run.event(-1).then == e.Retry(0, START + 5000)
    assert (run.state.frames[TOP].state, len(run.state.frames), len(run.state.forks)) == ("Both", 1, 0)
    run.after(5000).when(due()).then(
        e.BranchesStarted("Both", "1/input", ("A", "B"), attempt=1), "TaskScheduled", "TaskScheduled"
    )
    assert [effect.scope for effect in run.calls] == ["8.0", "8.1"]
    run.when(late).then("ResultIgnored").when(succeeded("A", 3), succeeded("B", 4)).then_is("completed", output=[3, 4])


def test_retries_that_are_exhausted_leave_it_to_the_catcher():
    """First every retrier has its say, then the catchers."""
    fields = {"Retry": [{**ALL, "IntervalSeconds": 1, "MaxAttempts": 2}], "Catch": [{**ALL, "Next": "Done"}]}
    run = given(machine(parallel(branch("A"), **fields)))
    run.when(failed("A", "1")).after(1000).when(due(), failed("A", "2")).after(2000).when(due(), failed("A", "3"))
    run.then("BranchesStarted", "TaskScheduled", "TaskFailed", "StateFailed", "StatePassed", "ExecutionSucceeded")
    run.then_is("completed", output={"Error": "3", "Cause": None})


def test_a_branch_that_catches_its_failure_spares_its_siblings():
    """Only what nothing in the branch saves fails the Parallel state."""
    saved = {**CHARGE, "Catch": [{**ALL, "ResultPath": None, "Next": "Rest"}]}
    run = given(
        machine(parallel(branch("A", saved, Rest={"Type": "Pass", "Result": "saved", "End": True}), branch("B")))
    )
    run.when(failed("A", "NoMoney")).then("TaskFailed", "StatePassed").then_is("running").then_effects()
    run.when(succeeded("B", "b")).then_is("completed", output=["saved", "b"])


def test_a_fail_state_in_a_branch_fails_it_before_its_siblings_begin():
    """Ends come first: what would be cancelled at once is not called."""
    run = given(machine(parallel(branch("F", {"Type": "Fail", "Error": "Bad", "Cause": "c"}), branch("B"))))
    assert [type(r.event).__name__ for r in run.events[1:]] == [
        "BranchesStarted",
        "StateFailed",
        "StateFailed",
        "ExecutionFailed",
    ]
    assert run.event(2) == e.StateFailed("F", "Fail", "Bad", None, "3/cause", is_entry=True, scope="2.0")
    run.then_effects().then_is("failed", error="Bad").check()


def test_what_is_cancelled_as_it_begins_is_not_called():
    """Step and child were scheduled in the very decision that gives them up, and the execution goes on."""
    child = {
        "Type": "Task",
        "Resource": "arn:aws:states:::states:startExecution.sync:2",
        "Parameters": {"StateMachineArn": "child"},
        "End": True,
    }
    branches = [branch("A"), branch("C", child), branch("F", {"Type": "Fail", "Error": "Bad"})]
    rest = {"Type": "Task", "Resource": "charge", "End": True}
    run = given(machine(parallel(*branches, Catch=[{**ALL, "Next": "Rest"}]), Rest=rest)).then_is("running")
    run.then_effects(CancelTask(3), EndChild(wait_id(1)), "RunTask")
    assert isinstance(run.effects[-1], RunTask)
    assert run.effects[-1].state == "Rest"


NESTED = machine(
    parallel(
        branch(
            "Outer",
            parallel(branch("Mid", parallel(branch("In"), branch("In2"), Next="M"), M=DONE), branch("Mid2"), Next="O"),
            O=DONE,
        )
    )
)
"""Three deep."""


def test_three_levels_end_from_the_inside():
    """Each level gives the list of its branches' outputs to the one around it."""
    run = given(NESTED)
    assert run.state.scopes() == [TOP, "2.0", "3.0", "3.1", "4.0", "4.1"]
    assert nested_scopes(run.state, "2.0") == {"3.0", "3.1", "4.0", "4.1"}
    run.when(succeeded("In2", 2), succeeded("Mid2", 3), succeeded("In", 1)).then_is("completed", output=[[[1, 2], 3]])


def test_three_levels_fail_from_the_inside_and_nothing_stays():
    """A failure that nobody handles goes outward level by level, and each cancels what is below it."""
    run = given(NESTED)
    run.when(failed("In", "NoMoney")).then("TaskFailed", *["StateFailed"] * 3, "ExecutionFailed")
    assert [run.event(at).state for at in range(-5, 0)] == ["In", "Mid", "Outer", "Both", "Both"]
    run.then_effects(CancelTask(7), CancelTask(5)).then_is("failed", error="NoMoney")


def test_a_level_in_the_middle_may_handle_what_comes_from_below():
    """The levels around it do not notice."""
    inner = parallel(branch("In"), branch("In2"), Next="M", Catch=[{**ALL, "Next": "M"}])
    run = given(
        machine(parallel(branch("Mid", inner, M={"Type": "Pass", "Result": "mended", "End": True}), branch("B")))
    )
    run.when(failed("In2", "NoMoney")).then("TaskFailed", "StateFailed", "StatePassed").then_effects(CancelTask(5))
    run.when(succeeded("B", 1)).then_is("completed", output=["mended", 1])


def test_a_termination_ends_every_level():
    """All steps are let go, and nothing is left."""
    given(NESTED).when(terminated()).then("ExecutionTerminated").then_effects(*map(CancelTask, (5, 6, 7)))


def test_nested_tasks_are_recovered():
    """All of them, wherever they are, under their keys."""
    run = given(NESTED)
    run.when(recovered(died=False)).then_nothing().then_effects("RunTask", "RunTask", "RunTask")
    assert {effect.idempotency_key for effect in run.calls} == {
        f"{EXECUTION}/{n}/{s}/1"
        for n, s in (
            ("Mid2", "Both:1:0:Outer:1:1"),
            ("In", "Both:1:0:Outer:1:0:Mid:1:0"),
            ("In2", "Both:1:0:Outer:1:0:Mid:1:1"),
        )
    }


def test_a_result_that_cannot_be_placed_is_recorded_all_the_same():
    """StateExited with no output, then the failure, which may be caught."""
    run = given(machine(parallel(branch("A"), OutputPath="$.none")))
    run.when(succeeded("A", 1)).then("TaskSucceeded", e.StateExited("Both", "Parallel", "5/result"), "ExecutionFailed")
    run.then_is("failed", error="States.Runtime")
    selected = parallel(branch("A"), ResultSelector={"x.$": "States.ArrayLength('')"}, Catch=[{**ALL, "Next": "Done"}])
    run = given(machine(selected)).when(succeeded("A", 1))
    run.then("TaskSucceeded", "StateExited", "StateFailed", "StatePassed", "ExecutionSucceeded")
    assert not run.event(5).is_entry


def test_a_result_that_is_too_large_fails_the_state():
    """Each output fits, all of them together do not; the error is caught as every other is."""
    half = "x" * 600_000
    run = given(AB).when(succeeded("A", half), succeeded("B", half))
    run.then("TaskSucceeded", "TaskSucceeded", "ExecutionFailed").then_is("failed", error="States.DataLimitExceeded")
    assert run.value(run.state.cause) == (
        "The state/task 'Both' returned a result with a size exceeding the maximum number of bytes service limit."
    )
    catching = machine(parallel(branch("A"), branch("B"), Catch=[{**ALL, "Next": "Done"}]))
    run = given(catching).when(succeeded("A", half), succeeded("B", half))
    run.then("TaskSucceeded", "TaskSucceeded", "StateFailed", "StatePassed", "ExecutionSucceeded")


def test_what_is_missing_is_asked_for_at_once():
    """The outputs are not in the state; when the last branch ends, all are loaded together."""
    run = given(machine(parallel(*map(branch, "ABCD"))))
    run.when(succeeded("A", 1), succeeded("B", 2), succeeded("C", 3))
    facts = run._facts()
    command = succeeded("D", 4)(run.state)
    assert decide(run.state, command, replace(facts, payloads={})) == Need(seqs=(1,))
    assert decide(run.state, command, replace(facts, payloads={1: facts.payloads[1]})) == Need(seqs=(7, 8, 9))
    loaded = {seq: facts.payloads[seq] for seq in (1, 7, 8, 9)}
    assert decide(run.state, command, replace(facts, payloads=loaded)) == decide(run.state, command, facts)


def test_a_loop_in_one_branch_starves_no_other():
    """They take turns, state by state; the decision pauses, and the sibling's step has been called long before."""
    spin = branch("S", {"Type": "Pass", "Next": "T"}, T={"Type": "Pass", "Next": "S"})
    chain = branch("P", {"Type": "Pass", "Next": "Q"}, Q={"Type": "Pass", "Next": "A"}, A=CHARGE)
    run = given(machine(parallel(spin, chain))).then_effects("RunTask", Continue())
    scheduled = next(r.seq for r in run.events if isinstance(r.event, e.TaskScheduled))
    assert scheduled < 10
    run.when(Advance()).then_effects(Continue())
    assert len(run.events) > 500
    run.when(succeeded("A", 1)).then_is("running").then_effects(Continue())
    run.when(terminated()).then_is("terminated")


def test_a_failure_is_heard_before_iterations_begin():
    """What would be cancelled at once is not begun, though the iterations came first."""
    each = {"StartAt": "Each", "States": {"Each": CHARGE}}
    mapping = branch("M", {"Type": "Map", "ItemsPath": "$.items", "ItemProcessor": each, "End": True})
    run = given(machine(parallel(branch("A"), mapping)), {"items": [0] * 200})
    assert run.effects[-1] == Continue()
    run.when(failed("A", "NoMoney")).then("TaskFailed", "StateFailed", "ExecutionFailed")


def test_a_failure_while_a_sibling_spins_is_heard():
    """The spinning branch ends with the others."""
    spin = branch("S", {"Type": "Pass", "Next": "T"}, T={"Type": "Pass", "Next": "S"})
    run = given(machine(parallel(spin, branch("A")))).when(failed("A", "NoMoney"))
    run.then("TaskFailed", "StateFailed", "ExecutionFailed").then_is("failed", error="NoMoney")
