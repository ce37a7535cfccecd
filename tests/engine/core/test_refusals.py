"""Refusals: recorded one by one, then at powers of two, so that nobody can fill the log by asking."""

from __future__ import annotations

from msgspec.structs import replace

from perdure.engine.core import events as e
from perdure.engine.core.commands import Refuse
from perdure.engine.core.decide import decide
from perdure.engine.core.decision import RECORDED_REFUSALS, Rejection
from perdure.engine.testing import START, resumed, succeeded, terminated

from .checked import given

CHARGE = {"StartAt": "A", "States": {"A": {"Type": "Task", "Resource": "charge", "End": True}}}


def counts(run):
    return [r.event.count for r in run.events if isinstance(r.event, e.CommandRefused)]


def test_the_first_refusals_are_recorded_one_by_one_then_one_at_each_power_of_two():
    """All are refused alike; the event says how many there were so far."""
    run = given(CHARGE)
    for _ in range(300):
        run.when(resumed()).then_refuses("NOT_WAITING")
        assert run.refused.is_counted
    assert RECORDED_REFUSALS == 32
    assert counts(run) == [*range(1, 33), 64, 128, 256]


def test_refusals_of_all_commands_count_together():
    """Also those that were refused before they could be decided, and those after the end."""
    run = given(CHARGE).when(resumed(), Refuse("trigger", "the process id is taken"))
    assert run.rejection == Rejection(
        "CONFLICT", "the process id is taken", {}, run.refused.steps, is_early=False, is_counted=True
    )
    run.when(succeeded("A"), terminated()).check()
    refused = [r.event for r in run.events if isinstance(r.event, e.CommandRefused)]
    assert refused == [
        e.CommandRefused("resume", "NOT_WAITING", 1),
        e.CommandRefused("trigger", "CONFLICT", 2),
        e.CommandRefused("terminate", "CONFLICT", 3),
    ]


def test_the_count_goes_on_from_what_was_not_recorded():
    """The driver says how many there were since the last record; one that forgets delays the next record only."""
    run = given(CHARGE)
    for _ in range(40):
        run.when(resumed())
    assert run.state.refusals == 32
    facts = run._facts()
    for since, is_recorded in ((30, False), (31, True), (32, False), (0, False), (95, True)):
        outcome = decide(run.state, resumed(), replace(facts, refusals=since))
        assert isinstance(outcome, Rejection)
        assert [step.recorded.event for step in outcome.steps] == (
            [e.CommandRefused("resume", "NOT_WAITING", 33 + since)] if is_recorded else []
        )
        assert outcome.is_counted


def test_a_refusal_changes_nothing_but_the_count():
    """Whoever was refused has not modified the execution."""
    run = given(CHARGE)
    run.actor = "key:somebody"
    before = run.state
    run.when(resumed())
    after = run.state
    assert (after.frames, after.status, after.modified_by) == (before.frames, before.status, before.modified_by)
    assert (after.refusals, after.seq) == (1, before.seq + 1)
    assert run.events[-1].actor == "key:somebody"


def test_whoever_changes_the_execution_is_its_modifier():
    """The last actor from outside, who started it at first, and not the engine itself; the time is of that event."""
    run = given({"StartAt": "A", "States": {"A": {"Type": "Task", "Resource": "wait_for_resume", "End": True}}})
    assert run.state.modified_by == "key:test"
    run.actor = "key:somebody"
    run.after(1000).when(resumed())
    assert (run.state.modified_by, run.state.modified_at) == ("key:somebody", START + 1000)
    run = given(CHARGE)
    run.actor = "engine:node"
    run.after(1000).when(succeeded("A")).check()
    assert (run.state.modified_by, run.state.modified_at) == ("key:test", START)
    assert run.state.recorded_at == START + 1000
