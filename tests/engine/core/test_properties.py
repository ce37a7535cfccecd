"""What holds for every definition and every sequence of commands, however senseless (`checked.py` has the list).

Hypothesis looks for the small counterexample; plain chance tries more. `PERDURE_RUNS` says how many runs.
"""

from __future__ import annotations

import os
import random
from collections import Counter
from unittest.mock import patch

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine.core import commands as c
from engine.core import events as e
from engine.core.decide import enter
from engine.core.decide.recover import SUSPECT_DEATHS
from engine.testing import failed

from . import generated
from .checked import Checked
from .generated import LITERAL_ERROR, MARK, RESERVED_ERROR

BREATH = 6
"""So few states a decision passes here, that loops pause often and cost little."""

RUNS = int(os.environ.get("PERDURE_RUNS", "1000"))


def begin(pick):
    """Start a run of a definition that was made up."""
    run_input, process_id = generated.run_input(pick), pick((None, f"{MARK}process"))
    with patch.object(enter, "TRANSITIONS_MAX", BREATH):
        run = Checked(generated.definition(pick), run_input, process_id)
    assert run.value(run.state.input) == run_input
    return run


def send(run, command):
    """Send a command; `Checked` asserts what must hold after each."""
    before = run.state
    with patch.object(enter, "TRANSITIONS_MAX", BREATH):
        run.when(command)
    told = {type(r.event) for r in run.events[before.seq :]}
    if before.is_over:
        assert run.state.status == before.status
        assert told <= {e.ResultIgnored, e.CommandRefused}
    if run.rejection is not None:
        assert told <= {e.CommandRefused}
    for row in run.rows[before.seq :]:
        assert MARK not in row.data + row.type + row.actor, "business data stands in `data`"


def send_anything(pick, run, most):
    for _ in range(pick(range(most))):
        send(run, generated.command(pick, run))


def logs_are_states(pick):
    """Folding, chaining, the table of moves, references, projections and the end hold after every command."""
    run = begin(pick)
    send_anything(pick, run, 16)
    run.check()
    return run


def runs_end_or_go_on(pick):
    """From wherever it is, doing what is due moves an execution until it is over: it never hangs."""
    run = begin(pick)
    send_anything(pick, run, 6)
    for _ in range(10):
        if run.state.is_over or run.state.is_quarantined:
            break
        before = run.state.seq
        send(run, generated.next_command(run))
        assert run.state.seq > before
    run.check()
    return run


def restarts_change_no_story(pick):
    """A run that is recovered before any command does what the one does that never was."""
    seed = pick(range(10**6))
    plain, restarted = (begin(random.Random(seed).choice) for _ in range(2))
    deaths = 0
    for _ in range(8):
        if not plain.state.is_over:
            send(plain, generated.next_command(plain))
        if not restarted.state.is_over and pick((False, True)):
            died = deaths < SUSPECT_DEATHS - 1 and pick((False, True))
            deaths += died
            send(restarted, c.Recover(died))
        if not restarted.state.is_over:
            send(restarted, generated.next_command(restarted))
    for first, second in zip(story(plain), story(restarted), strict=False):
        assert first == second
    if plain.state.is_over and restarted.state.is_over:
        assert plain.state.status == restarted.state.status
        assert plain.value(plain.state.output) == restarted.value(restarted.state.output)
    return restarted


def story(run):
    """Tell what happened, without what a restart adds."""
    return [
        (type(r.event), getattr(r.event, "state", None), getattr(r.event, "next", None))
        for r in run.events
        if not isinstance(r.event, e.TaskInterrupted | e.TaskRedispatched)
    ]


PROPERTIES = [logs_are_states, runs_end_or_go_on, restarts_change_no_story]


@pytest.mark.parametrize("holds", PROPERTIES)
@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_it_holds_for_what_hypothesis_finds(holds, data):
    """See the property's own words; what breaks it is shrunk."""
    holds(lambda options: data.draw(st.sampled_from(options)))


@pytest.mark.parametrize("holds", PROPERTIES)
def test_it_holds_by_chance(holds):
    """The same properties, many times over; and the runs are of all kinds, or this proves nothing."""
    seen = Counter()
    for seed in range(RUNS):
        try:
            run = holds(random.Random(seed).choice)
        except BaseException as problem:
            problem.add_note(f"seed {seed}")
            raise
        seen.update({run.state.status, *(type(r.event).__name__ for r in run.events)})
    ends = {"completed", "failed", "ExecutionSucceeded", "ExecutionFailed"}
    assert ends | {"TaskScheduled", "TaskSucceeded", "TaskSubmitted", "WaitOpened", "WaitResumed"} <= set(seen)
    assert {"StatePassed", "TimerSet", "TimerFired", "TaskInterrupted"} <= set(seen)
    if holds is logs_are_states:
        assert {"running", "waiting", "terminated", "ResultIgnored", "CommandRefused", "TaskFailed"} <= set(seen)
        assert {"ExecutionTerminated", "ExecutionQuarantined"} <= set(seen)


@pytest.mark.parametrize("error", [RESERVED_ERROR, LITERAL_ERROR])
def test_a_name_that_everybody_may_know_stands_in_the_data(error):
    """That no business data does would also hold if no error were ever told."""
    fails = {"Type": "Fail", "Error": LITERAL_ERROR}
    choice = {"Type": "Choice", "Choices": [{"Variable": "$.a", "IsPresent": True, "Next": "Bad"}], "Default": "Charge"}
    charge = {"Type": "Task", "Resource": "charge", "End": True}
    run = Checked({"StartAt": "C", "States": {"C": choice, "Bad": fails, "Charge": charge}}, {})
    run.when(failed("Charge", error, f"{MARK}cause")).check()
    assert all(error in row.data for row in run.rows[-2:])
    assert MARK in run.rows[-2].payload
