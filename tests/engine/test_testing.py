"""What we ship for tests: it fails when it should, and its clock does what it is pushed to."""

from __future__ import annotations

from functools import partial

import pytest

from perdure.engine.core import events as e
from perdure.engine.core.effects import SetTimer
from perdure.engine.language import compile_machine
from perdure.engine.testing import START, ManualClock, due, failed, given, recovered, resumed, succeeded, terminated

CHARGE = {"StartAt": "A", "States": {"A": {"Type": "Task", "Resource": "charge", "ResultPath": "$.r", "End": True}}}
ASK = {
    "StartAt": "A",
    "States": {
        "A": {"Type": "Task", "Resource": "wait_for_resume", "Next": "B"},
        "B": {"Type": "Wait", "Seconds": 1, "Next": "A"},
    },
}

# --- the clock -----------------------------------------------------------------------------------------------------


def test_a_clock_moves_only_when_it_is_pushed():
    """It starts where it is told to."""
    clock = ManualClock()
    assert clock.now() == START
    clock.push(5)
    assert clock.now() == START + 5
    assert ManualClock(7).now() == 7


def test_alarms_ring_at_their_own_instant_and_in_order():
    """Those of one instant in the order in which they were asked for; each rings once."""
    clock, rung = ManualClock(0), []

    def ring(name):
        rung.append((name, clock.now()))

    for name, instant in (("late", 20), ("first", 10), ("second", 10), ("never", 99)):
        clock.call_at(instant, partial(ring, name))
    clock.push(15)
    clock.push(15)
    assert rung == [("first", 10), ("second", 10), ("late", 20)]
    assert clock.now() == 30
    assert clock.next_due() == 99


def test_an_alarm_for_the_past_rings_at_once():
    """The clock does not go back for it."""
    clock, rung = ManualClock(100), []
    clock.call_at(50, lambda: rung.append(clock.now()))
    assert rung == [100]


def test_an_alarm_may_set_another_one_that_rings_in_the_same_push():
    """As long as it is due before the push ends."""
    clock, rung = ManualClock(0), []
    clock.call_at(10, lambda: clock.call_at(15, lambda: rung.append(clock.now())))
    clock.push(20)
    assert rung == [15]


def test_a_cancelled_alarm_is_silent():
    """And nobody waits for it any more."""
    clock, rung = ManualClock(0), []
    clock.call_at(10, lambda: rung.append(1)).cancel()
    assert clock.next_due() is None
    clock.push(20)
    clock.call_at(30, lambda: rung.append(2)).cancel()
    clock.push(20)
    assert rung == []


# --- scenarios -----------------------------------------------------------------------------------------------------


def test_a_scenario_reads_as_a_sentence():
    """Given a definition and an input, when a step gives its result, then this is what happened."""
    given(CHARGE, {"amount": 120}).when(succeeded("A", {"ok": True})).then(
        "TaskSucceeded", e.ExecutionSucceeded("3/output")
    ).then_is("completed", output={"amount": 120, "r": {"ok": True}}).then_effects()


def test_a_scenario_takes_a_compiled_definition_too():
    """Then it is not compiled again for every test."""
    given(compile_machine(CHARGE)).when(failed("A", "No")).then_is("failed", error="No")


def test_a_scenario_answers_as_a_driver_does():
    """Older waits are looked up; and refusals are counted."""
    run = given(ASK).when(resumed(wait="wait-1")).then_effects(SetTimer(START + 1000)).after(1000).when(due())
    run.when(resumed(wait="wait-2")).then_answers("restarted")
    run.when(resumed(wait="wait-1")).then_nothing().then_answers("already restarted")
    run.when(resumed(wait="wait-9")).then_refuses("NOT_WAITING").then("CommandRefused")
    run.after(1000).when(due(), recovered(died=False), terminated())
    run.when(resumed(wait="wait-3")).then_refuses("CONFLICT").then_is("terminated", output=None, error=None)


@pytest.mark.parametrize(
    "wrong",
    [
        lambda run: run.then("TaskFailed"),
        lambda run: run.then("TaskSucceeded"),
        lambda run: run.then("TaskSucceeded", "ExecutionSucceeded", "ResultIgnored"),
        lambda run: run.then("ExecutionSucceeded", "TaskSucceeded"),
        lambda run: run.then("TaskSucceeded", e.ExecutionSucceeded("9/output")),
        lambda run: run.then_nothing(),
        lambda run: run.then_answers("restarted"),
        lambda run: run.then_refuses("CONFLICT"),
        lambda run: run.then_is("failed"),
        lambda run: run.then_is("completed", output={}),
        lambda run: run.then_is("completed", error="No"),
        lambda run: run.then_effects("RunTask"),
        lambda run: run.when(terminated()).then_answers("terminated"),
    ],
)
def test_a_scenario_that_goes_otherwise_fails(wrong):
    """Too few, too many, the wrong order, the wrong value: the message says what was expected, and what came."""
    run = given(CHARGE).when(succeeded("A", 1))
    with pytest.raises(AssertionError, match=r"expected .*, got "):
        wrong(run)


def test_a_step_that_was_not_called_gives_nothing():
    """A test that means another state is wrong."""
    with pytest.raises(AssertionError, match="no task is under way in state 'B'"):
        given(CHARGE).when(succeeded("B"))
    with pytest.raises(AssertionError, match="no task is under way in state 'A'"):
        given(ASK).when(succeeded("A"))


def test_a_scenario_has_every_payload():
    """What it cannot give a decision is an error of the test, not of the execution."""
    run = given(CHARGE)
    run._payloads.clear()
    with pytest.raises(LookupError, match="no scenario has it"):
        run.when(succeeded("A"))
