"""Map: an iteration for each item, so many at once as is allowed, and outputs that stand in the log only."""

from __future__ import annotations

import itertools
import sys

from msgspec.structs import replace

from perdure.engine.core import events as e
from perdure.engine.core.commands import Advance, CompleteTask, TaskSuccess
from perdure.engine.core.decide import decide
from perdure.engine.core.decision import Decision, Need
from perdure.engine.core.effects import CancelTask, Continue
from perdure.engine.core.snapshots import encode_state
from perdure.engine.testing import EXECUTION, START, Scenario, due, failed, succeeded

from .checked import given

CHARGE = {"Type": "Task", "Resource": "charge", "End": True}
ALL = {"ErrorEquals": ["States.ALL"]}
DONE = {"Type": "Succeed"}


def machine(each=CHARGE, *, others=None, **fields):
    """Give a machine that maps over its input, or over what ItemsPath says."""
    processor = {"StartAt": "Each", "States": {"Each": each, **(others or {})}}
    state = {"Type": "Map", "ItemProcessor": processor, "Next": "Done", **fields}
    return {"StartAt": "M", "States": {"M": state, "Done": DONE}}


def called(run):
    """Give the parameters of the steps that were called, in order."""
    return [run.value(r.event.parameters) for r in run.events if isinstance(r.event, e.TaskScheduled)]


# --- beginning and ending --------------------------------------------------------------------------------------------


def test_each_item_has_an_iteration():
    """One event says how many there are and where; each iteration is an event, and its item a reference."""
    run = given(machine(), ["a", "b"])
    assert [r.event for r in run.events[1:]] == [
        e.MapStarted("M", "1/input", 2, "Each"),
        e.IterationStarted("M", 0, "1/input/0", "2.0"),
        e.IterationStarted("M", 1, "1/input/1", "2.1"),
        e.TaskScheduled("Each", "charge", "1/input/0", scope="2.0"),
        e.TaskScheduled("Each", "charge", "1/input/1", scope="2.1"),
    ]
    assert [r.payload for r in run.events[1:]] == [None] * 5
    assert [r.caused_by for r in run.events[2:4]] == [2, 2]
    assert [effect.idempotency_key for effect in run.calls] == [f"{EXECUTION}/Each/M:1:{n}/1" for n in (0, 1)]


def test_the_outputs_stand_in_the_order_of_the_items():
    """Whichever ends first."""
    run = given(machine(), ["a", "b", "c"])
    run.when(succeeded("Each", 2, scope="2.2"), succeeded("Each", 0, scope="2.0")).then_is("running", output=None)
    run.when(succeeded("Each", 1, scope="2.1"))
    run.then(
        "TaskSucceeded",
        e.StateExited("M", "Map", "12/result", "12/result", "Done"),
        "StatePassed",
        "ExecutionSucceeded",
    )
    run.then_is("completed", output=[0, 1, 2])


def test_of_nothing_nothing_is_made():
    """No iteration begins, and the result is an empty list."""
    run = given(machine(), []).then_is("completed", output=[]).check()
    assert [type(r.event).__name__ for r in run.events[1:]] == [
        "MapStarted",
        "StateExited",
        "StatePassed",
        "ExecutionSucceeded",
    ]


def test_the_items_may_stand_in_the_input():
    """They are referred to where they are, however deep; ResultPath places the result beside them."""
    run = given(machine(ItemsPath="$.order.lines", ResultPath="$.paid"), {"order": {"lines": [7]}})
    assert run.event(1).items == "1/input/order/lines"
    assert run.event(2).input == "1/input/order/lines/0"
    run.when(succeeded("Each", "ok")).then_is("completed", output={"order": {"lines": [7]}, "paid": ["ok"]})


def test_the_items_may_be_an_earlier_output():
    """A reference again: they are written once, by the state that made them."""
    each = {"Type": "Map", "ItemProcessor": {"StartAt": "Each", "States": {"Each": CHARGE}}, "End": True}
    run = given({"StartAt": "P", "States": {"P": {"Type": "Pass", "Result": [5], "Next": "M"}, "M": each}})
    assert run.event(2).items == "2/output"
    assert run.events[2].payload is None
    assert called(run) == [5]


def test_items_that_are_computed_are_written_once():
    """JSONata's Items; an iteration refers to its own."""
    processor = {"StartAt": "Each", "States": {"Each": {"Type": "Task", "Resource": "charge", "End": True}}}
    state = {
        "Type": "Map",
        "QueryLanguage": "JSONata",
        "Items": "{% [1, 2] %}",
        "ItemProcessor": processor,
        "End": True,
    }
    run = given({"StartAt": "M", "States": {"M": state}})
    assert run.event(1).items == "2/items"
    assert run.events[1].payload == {"items": [1, 2]}
    assert called(run) == [1, 2]


def test_the_input_of_an_iteration_may_be_made():
    """ItemSelector sees the item, its index and the Map's own input; what it makes is payload."""
    selector = {"item.$": "$$.Map.Item.Value", "at.$": "$$.Map.Item.Index", "of.$": "$.name"}
    run = given(machine(ItemsPath="$.items", ItemSelector=selector), {"name": "N", "items": ["a", "b"]})
    assert called(run) == [{"item": "a", "at": 0, "of": "N"}, {"item": "b", "at": 1, "of": "N"}]
    assert run.event(2).input == "3/input"


def test_an_item_that_is_selected_as_it_is_stays_a_reference():
    """What is the very item is not written again."""
    run = given(machine(ItemSelector={"v.$": "$$.Map.Item.Value"}, ItemsPath="$.items"), {"items": [[1], [2]]})
    assert called(run) == [{"v": [1]}, {"v": [2]}]
    jsonata = {"StartAt": "Each", "States": {"Each": CHARGE}}
    state = {
        "Type": "Map",
        "QueryLanguage": "JSONata",
        "Items": "{% $states.input.items %}",
        "ItemSelector": "{% $states.context.Map.Item.Value %}",
        "ItemProcessor": jsonata,
        "End": True,
    }
    run = given({"StartAt": "M", "States": {"M": state}}, {"items": ["a"]})
    assert called(run) == ["a"]


def test_a_nested_iteration_sees_the_innermost_item():
    """And a Parallel state in between does not hide it."""
    see = {"Type": "Pass", "Parameters": {"v.$": "$$.Map.Item.Value", "n.$": "$$.Map.Item.Index"}, "End": True}
    both = {"Type": "Parallel", "Branches": [{"StartAt": "See", "States": {"See": see}}], "End": True}
    inner = {"Type": "Map", "ItemProcessor": {"StartAt": "Both", "States": {"Both": both}}, "End": True}
    run = given(machine(inner), [["a", "b"], ["c"]])
    run.then_is("completed", output=[[[{"v": "a", "n": 0}], [{"v": "b", "n": 1}]], [[{"v": "c", "n": 0}]]]).check()


def test_what_is_no_list_is_not_mapped():
    """The state fails as it is entered."""
    run = given(machine(ItemsPath="$.n"), {"n": 1}).then_is("failed", error="States.Runtime").check()
    assert run.event(-1).entered == "Map"


# --- how many at once ------------------------------------------------------------------------------------------------


def test_no_more_run_at_once_than_are_allowed():
    """The next one begins when one has ended, in the order of the items."""
    run = given(machine(MaxConcurrency=2), list("abcd"))
    assert called(run) == ["a", "b"]
    run.when(succeeded("Each", "B", scope="2.1")).then("TaskSucceeded", "IterationStarted", "TaskScheduled")
    assert called(run)[-1] == "c"
    run.when(succeeded("Each", "A", scope="2.0")).when(succeeded("Each", "D", scope="2.3"))
    run.then("TaskSucceeded").when(succeeded("Each", "C")).then_is("completed", output=["A", "B", "C", "D"])


def test_one_at_a_time_is_a_loop():
    """MaxConcurrency 1."""
    run = given(machine(MaxConcurrency=1), [1, 2, 3])
    for number in (1, 2, 3):
        assert called(run)[-1] == number
        run.when(succeeded("Each", number))
    run.then_is("completed", output=[1, 2, 3])


def test_iterations_begin_some_way_ahead():
    """Forty are begun, then their states are entered, as AWS does it; a decision's length is bounded."""
    run = given(machine(), list(range(140)))
    names = [type(r.event).__name__ for r in run.events[2:]]
    assert names[:43] == [*["IterationStarted"] * 40, "TaskScheduled", "IterationStarted", "TaskScheduled"]
    assert (len(names), run.effects[-1]) == (255, Continue())
    run.when(Advance())
    assert called(run) == list(range(140))


def test_an_iteration_that_spins_starves_no_other():
    """The other iterations begin and are called."""
    choice = {"Type": "Choice", "Choices": [{"Variable": "$", "IsString": True, "Next": "S"}], "Default": "Call"}
    others = {"S": {"Type": "Pass", "Next": "T"}, "T": {"Type": "Pass", "Next": "S"}, "Call": CHARGE}
    run = given(machine(choice, others=others), ["spin", *range(60)])
    run.when(Advance(), Advance())
    assert called(run) == list(range(60))
    assert run.effects[-1] == Continue()


# --- failures --------------------------------------------------------------------------------------------------------


def test_one_failure_fails_the_state():
    """The others are cancelled, and those that had not begun never do."""
    run = given(machine(MaxConcurrency=2), list("abcd"))
    run.when(failed("Each", "NoMoney", scope="2.1")).then(
        "TaskFailed", e.StateFailed("M", "Map", None, "7/error"), e.ExecutionFailed(None, "7/error", None, "M")
    )
    run.then_effects(CancelTask(5)).then_is("failed", error="NoMoney")


def test_a_failure_may_be_tolerated():
    """So many may fail; of those nothing stands in the result."""
    run = given(machine(ToleratedFailureCount=1), list("abc"))
    run.when(failed("Each", "NoMoney", scope="2.1")).then("TaskFailed").then_is("running")
    run.when(succeeded("Each", "A", scope="2.0"), succeeded("Each", "C", scope="2.2"))
    run.then_is("completed", output=["A", "C"])


def test_one_failure_too_many_fails_the_state():
    """The last one gives error and cause."""
    run = given(machine(ToleratedFailurePercentage=34), list("abc"))
    assert run.event(1).tolerated == 1
    run.when(failed("Each", "First", scope="2.0"), failed("Each", "Second", scope="2.1")).then_effects(CancelTask(8))
    run.then_is("failed", error="Second")


def test_the_whole_may_be_retried():
    """All items again, in new scopes."""
    run = given(machine(Retry=[{**ALL, "IntervalSeconds": 3, "MaxAttempts": 1}]), ["a", "b"])
    run.when(succeeded("Each", "A", scope="2.0"), failed("Each", "Busy", scope="2.1"))
    assert run.event(-1).then == e.Retry(0, START + 3000)
    run.after(3000).when(due()).then(
        e.MapStarted("M", "1/input", 2, "Each", attempt=1), *["IterationStarted"] * 2, *["TaskScheduled"] * 2
    )
    assert [effect.scope for effect in run.calls] == ["10.0", "10.1"]


def test_an_iteration_that_cannot_begin_fails_the_state():
    """ItemSelector fails for the second item: the step of the first one is let go, once."""
    selector = {"v.$": "States.ArrayGetItem($.list, $$.Map.Item.Index)"}
    fields = {"ItemsPath": "$.items", "ItemSelector": selector, "MaxConcurrency": 1}
    run = given(machine(**fields), {"items": [1, 2], "list": [7]})
    assert called(run) == [{"v": 7}]
    run.when(succeeded("Each", 1)).then("TaskSucceeded", "ExecutionFailed").then_is("failed")
    run = given(machine(**{**fields, "MaxConcurrency": 2}), {"items": [1, 2], "list": [7]})
    run.then_is("failed").then_effects().check()
    caught = {**fields, "MaxConcurrency": 2, "Catch": [{**ALL, "Next": "Done"}]}
    given(machine(**caught), {"items": [1, 2], "list": [7]}).then_is("completed").check()


def test_the_step_of_an_iteration_is_let_go_once_when_the_next_one_cannot_begin():
    """Also if the state's failure is the execution's."""
    each = {"StartAt": "Each", "States": {"Each": CHARGE}}
    selector = {"v.$": "States.ArrayGetItem($.list, $$.Map.Item.Index)"}
    state = {
        "Type": "Map",
        "ItemsPath": "$.items",
        "ItemSelector": selector,
        "MaxConcurrency": 2,
        "ItemProcessor": each,
    }
    run = given({"StartAt": "M", "States": {"M": {**state, "End": True}}}, {"items": [1, 2, 3], "list": [7, 8]})
    run.when(succeeded("Each", 1, scope="2.0")).then("TaskSucceeded", "ExecutionFailed").then_effects(CancelTask(6))


# --- very many -------------------------------------------------------------------------------------------------------


class Quick(Scenario):
    """A scenario that does not look through the whole state at every step."""

    def finish(self):
        """Let every step succeed, in the order of the calls."""
        while self.effects and self.effects[-1] == Continue():
            self.when(Advance())
        for seq, scope in [(r.seq, r.event.scope) for r in self.events if isinstance(r.event, e.TaskScheduled)]:
            self.when(CompleteTask(scope, "Each", seq, 0, 1, TaskSuccess("x" * 100)))


def test_ten_thousand_items_are_mapped():
    """Each leaves three events; the outputs are in the log, and in the result."""
    run = Quick(machine(), list(range(10_000)), None)
    run.finish()
    run.then_is("completed", output=["x" * 100] * 10_000)
    assert len(run.events) == 3 * 10_000 + 5
    assert len(encode_state(run.state)) < 2000


def calls_made(work):
    """How many functions of Python and C a piece of work calls: what it costs, without a clock."""
    count = itertools.count()
    sys.setprofile(lambda _frame, event, _argument: next(count) if event in {"call", "c_call"} else None)
    try:
        work()
    finally:
        sys.setprofile(None)
    return next(count)


def test_an_item_among_many_costs_as_much_as_one_among_few():
    """What is decided and folded for one does not look at the others."""
    costs = []
    for count in (100, 3_000):
        run = Quick(machine(), list(range(count)), None)
        while run.effects[-1] == Continue():
            run.when(Advance())
        facts, command = run._facts(), succeeded("Each", 1, scope=f"2.{count // 2}")(run.state)
        costs.append(calls_made(lambda: decide(run.state, command, facts)))  # noqa: B023 done at once
    assert costs[1] < 1.5 * costs[0]


def test_the_state_of_many_iterations_grows_with_their_number():
    """No more than linearly, and by some hundred bytes for each."""
    sizes = []
    for count in (500, 2_000):
        run = Quick(machine(), ["xxx"] * count, None)
        while run.effects[-1] == Continue():
            run.when(Advance())
        sizes.append(len(encode_state(run.state)))
        assert b"xxx" not in encode_state(run.state)
    assert sizes[1] < 4.5 * sizes[0] < 4.5 * 600 * 500


def test_all_outputs_are_asked_for_at_once():
    """The last iteration ends: what is missing is loaded together, and not one by one."""
    run = Quick(machine(), list(range(50)), None)
    calls = [(r.seq, r.event.scope) for r in run.events if isinstance(r.event, e.TaskScheduled)]
    for seq, scope in calls[:-1]:
        run.when(CompleteTask(scope, "Each", seq, 0, 1, TaskSuccess(scope)))
    last = CompleteTask(calls[-1][1], "Each", calls[-1][0], 0, 1, TaskSuccess("last"))
    facts = run._facts()
    ended = tuple(r.seq for r in run.events if isinstance(r.event, e.TaskSucceeded))
    assert decide(run.state, last, replace(facts, payloads={1: facts.payloads[1]})) == Need(seqs=ended)
    assert isinstance(decide(run.state, last, facts), Decision)
