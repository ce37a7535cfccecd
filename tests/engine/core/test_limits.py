"""A decision's length is bounded, and so is what a clock can do to a log."""

from __future__ import annotations

from perdure.engine.core.commands import Advance
from perdure.engine.core.decision import TRANSITIONS_MAX
from perdure.engine.core.effects import Continue, SetTimer
from perdure.engine.testing import START, due, succeeded, terminated

from .checked import given

SPIN = {
    "StartAt": "A",
    "States": {
        "A": {"Type": "Pass", "Next": "B"},
        "B": {
            "Type": "Choice",
            "Choices": [{"Variable": "$.never", "IsPresent": True, "Next": "C"}],
            "Default": "A",
        },
        "C": {"Type": "Succeed"},
    },
}


def chain(length, last):
    """Give a machine of so many Pass states and a last state."""
    names = [f"S{number}" for number in range(length)]
    following = [*names[1:], "Last"]
    states = {name: {"Type": "Pass", "Next": after} for name, after in zip(names, following, strict=True)}
    return {"StartAt": "S0", "States": {**states, "Last": last}}


def test_a_loop_pauses_for_breath_after_so_many_states():
    """The decision ends with the effect to go on, and the next one goes on where it stopped."""
    run = given(SPIN).then_effects(Continue()).then_is("running")
    assert TRANSITIONS_MAX == 256
    assert run.state.seq == 1 + 256
    for turn in range(2, 5):
        run.when(Advance()).then_effects(Continue())
        assert run.state.seq == 1 + turn * 256
    run.check().when(terminated()).then_is("terminated")


def test_a_pause_begins_a_new_chain_of_causes():
    """Nobody asked for what follows but the engine itself."""
    run = given(SPIN).when(Advance())
    assert run.events[256].caused_by == 256
    assert run.events[257].caused_by is None


def test_there_is_nothing_to_go_on_with_if_nothing_is_to_be_entered():
    """A message to go on that comes twice, or too late, does nothing."""
    run = given(chain(300, {"Type": "Task", "Resource": "charge", "End": True})).then_effects(Continue())
    run.when(Advance()).then_effects("RunTask").when(Advance()).then_nothing().then_refuses("STALE")
    run.when(succeeded("Last")).then_is("completed").when(Advance()).then_nothing().then_refuses("STALE")


def test_a_run_that_ends_within_the_limit_does_not_pause():
    """255 states and the last one are 256."""
    given(chain(255, {"Type": "Succeed"})).then_is("completed").then_effects().check()
    given(chain(256, {"Type": "Succeed"})).then_is("running").then_effects(Continue())
    given(chain(255, {"Type": "Task", "Resource": "charge", "End": True})).then_effects("RunTask").check()
    given(chain(255, {"Type": "Fail"})).then_is("failed").then_effects().check()


def test_the_log_s_time_never_falls():
    """When the clock is set back, events keep the instant of the last one until the clock has caught up."""
    definition = {
        "StartAt": "A",
        "States": {
            "A": {"Type": "Task", "Resource": "charge", "Next": "B"},
            "B": {"Type": "Wait", "Seconds": 10, "Next": "C"},
            "C": {"Type": "Task", "Resource": "charge", "End": True},
        },
    }
    run = given(definition).after(5000).after(-3_600_000).when(succeeded("A"))
    assert [r.recorded_at - START for r in run.events] == [0, 0, 0, 0]
    run.then_effects(SetTimer(START + 5000 - 3_600_000 + 10_000))
    early = SetTimer(START + 5000 - 3_600_000 + 10_000)
    run.after(9_999).when(due()).then_nothing().then_effects(early)
    run.after(1).when(due()).then("TimerFired", "TaskScheduled")
    run.after(3_600_000).when(succeeded("C")).then_is("completed")
    times = [r.recorded_at - START for r in run.events]
    assert times == sorted(times)
    assert times[-1] == 15_000
