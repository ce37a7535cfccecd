"""What holds for every definition and every sequence of commands, however senseless (`checked.py` has the list).

Hypothesis looks for the small counterexample; plain chance tries more. `PERDURE_RUNS` says how many runs.
"""

from __future__ import annotations

import os
import random
import re
from collections import Counter
from unittest.mock import patch

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from perdure.engine.core import commands as c
from perdure.engine.core import events as e
from perdure.engine.core import limit_events as le
from perdure.engine.core.decide.recover import SUSPECT_DEATHS
from perdure.engine.core.settings import VERSION_DEFAULTS, VersionSettings
from perdure.engine.log.codec import encode_json
from perdure.engine.testing import failed
from tests.present import present

from . import generated
from .checked import Checked
from .generated import LITERAL_ERROR, MARK, RESERVED_ERROR

BREATH = 6
"""So few states a decision passes here, that loops pause often and cost little."""

RUNS = int(os.environ.get("PERDURE_RUNS", "300"))
LONG = 150
"""So many commands are sent to a run at the most; nearly all have ended by then."""


NO_LIMITS = ((), VERSION_DEFAULTS)


def begin(pick, *, has_loops=True, limited=None):
    """Start a run of a definition that was made up, with these limits and settings, or made-up ones."""
    run_input, process_id = generated.run_input(pick), pick((None, f"{MARK}process"))
    definition = generated.definition(pick, has_loops=has_loops)
    with patch.object(Checked, "transitions_max", BREATH):
        limits, settings = limited or (pick(generated.LIMITS), pick(generated.SETTINGS))
        run = Checked(definition, run_input, process_id, None, settings, limits)
    assert run.value(run.state.input) == run_input
    return run


def send(run, command):
    """Send a command; `Checked` asserts what must hold after each."""
    before = run.state
    with patch.object(Checked, "transitions_max", BREATH):
        run.when(command)
    told = {type(r.event) for r in run.events[before.seq :]}
    if before.is_over and not isinstance(command, c.Redrive):
        assert run.state.status == before.status
        assert told <= {e.ResultIgnored, e.CommandRefused}
    if run.rejection is not None:
        assert told <= {e.CommandRefused}
    for row in run.rows[before.seq :]:
        assert MARK not in row.data + row.type + row.actor, "business data stands in `data`"


def send_anything(pick, run, most):
    for _ in range(pick(range(most))):
        due = sorted(generated.what_is_due(run), key=repr)
        if due and pick((True, False)):
            send(run, generated.do(run, pick(due), pick))
        else:
            send(run, generated.command(pick, run))


def go_on(run):
    """Let it draw breath as often as it needs to."""
    while not (run.state.is_over or generated.is_held(run)) and (run.state.ready or run.state.actionable_forks):
        before = run.state.seq
        send(run, c.Advance())
        assert run.state.seq > before


def logs_are_states(pick):
    """Folding, chaining, the table of moves, references, projections and the end hold after every command."""
    run = begin(pick)
    send_anything(pick, run, 16)
    run.check()
    return run


def runs_end_or_go_on(pick):
    """From wherever it is, doing what is due, in any order, moves an execution until it is over: it never hangs."""
    run = begin(pick, has_loops=False)
    send_anything(pick, run, 6)
    for _ in range(LONG):
        if run.state.is_over or run.state.is_quarantined:
            break
        before, waits = run.state.seq, len(run.state.waits)
        due = pick(sorted(generated.what_is_due(run), key=repr))
        send(run, generated.do(run, due, pick))
        assert run.state.seq > before
        assert run.state.is_over or len(run.state.waits) <= waits + 3 * BREATH
    run.check()
    return run


def restarts_change_no_outcome(pick):
    """What a step gives depends on place, visit and attempt; then a run that crashes anywhere ends as one without."""
    seed = pick(range(10**6))
    plain, restarted = (begin(random.Random(seed).choice, has_loops=False) for _ in range(2))
    order, crashes = random.Random(seed), random.Random(pick(range(10**6)))
    deaths = 0
    for _ in range(LONG):
        if crashes.random() < 0.4:
            died = deaths < SUSPECT_DEATHS - 1 and crashes.random() < 0.2
            deaths += died
            restarted.restart()
            send(restarted, c.Recover(died))
        for run in (plain, restarted):
            go_on(run)
        assert plain.state.is_over == restarted.state.is_over
        if plain.state.is_over:
            break
        options = [sorted(generated.what_is_due(run), key=repr) for run in (plain, restarted)]
        assert options[0] == options[1]
        due = order.choice(options[0])
        for run in (plain, restarted):
            send(run, generated.do(run, due, random.Random(f"{seed}{due}").choice))
    assert story(plain) == story(restarted)
    return restarted


def story(run):
    """Tell what happened, without what a restart or a queue adds; numbers of events are another after it."""
    added = e.TaskInterrupted | e.TaskRedispatched | e.CommandRefused | le.ExecutionAdmitted | le.ExecutionQueued
    added |= le.PlacesReturned
    events = [
        (type(r.event), getattr(r.event, "state", None), getattr(r.event, "next", None), r.recorded_at)
        for r in run.events
        if not isinstance(r.event, added)
    ]
    state = run.state
    values = (state.output, state.error_ref, state.cause)
    told = encode_json([run.value(reference) for reference in values]).decode()
    return state.status, state.error, re.sub(r"#[0-9]+", "#", told), events


def queues_change_no_outcome(pick):
    """A run that queues at its start, and after each time that it only waited, ends as one that never does."""
    seed = pick(range(10**6))
    kinds = (NO_LIMITS, (generated.KEYS, VersionSettings(concurrency_counts="active")))
    plain, queued = (begin(random.Random(seed).choice, has_loops=False, limited=limited) for limited in kinds)
    order = random.Random(seed)
    for _ in range(LONG):
        for run in (plain, queued):
            go_on(run)
            if run.state.queue is not None:
                send(run, generated.admission(run))
                go_on(run)
        assert plain.state.is_over == queued.state.is_over
        if plain.state.is_over:
            break
        options = [sorted(generated.what_is_due(run), key=repr) for run in (plain, queued)]
        assert options[0] == options[1]
        due = order.choice(options[0])
        for run in (plain, queued):
            send(run, generated.do(run, due, random.Random(f"{seed}{due}").choice))
    assert story(plain) == story(queued)
    return queued


PROPERTIES = [logs_are_states, runs_end_or_go_on, restarts_change_no_outcome, queues_change_no_outcome]


@pytest.mark.parametrize("holds", PROPERTIES)
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_it_holds_for_what_hypothesis_finds(holds, data):
    """See the property's own words; what breaks it is shrunk."""
    holds(lambda options: data.draw(st.sampled_from(options)))


@pytest.mark.parametrize("holds", PROPERTIES)
def test_it_holds_by_chance(holds):
    """The same properties, many times over; and the runs are of all kinds, or this proves nothing."""
    seen = Counter[str]()
    for seed in range(RUNS // 3 if holds is queues_change_no_outcome else RUNS):
        try:
            run = holds(random.Random(seed).choice)
        except BaseException as problem:
            problem.add_note(f"seed {seed}")
            raise
        seen.update(
            {run.state.status, "over" if run.state.is_over else "alive", *(type(r.event).__name__ for r in run.events)}
        )
    ends = {"completed", "failed", "ExecutionSucceeded", "ExecutionFailed"}
    assert ends | {"TaskScheduled", "TaskSucceeded", "TaskFailed", "TaskSubmitted", "WaitOpened", "WaitResumed"} <= set(
        seen
    )
    assert {"StatePassed", "TimerSet", "TimerFired", "TaskTimedOut", "WaitExpired"} <= set(seen)
    assert {"BranchesStarted", "MapStarted", "IterationStarted", "StateExited", "StateFailed"} <= set(seen)
    if holds in (logs_are_states, restarts_change_no_outcome):
        assert "TaskInterrupted" in seen
    assert "ExecutionAdmitted" in seen
    if holds is logs_are_states:
        assert {"running", "waiting", "terminated", "timed_out", "ResultIgnored", "CommandRefused"} <= set(seen)
        assert {"ExecutionTerminated", "ExecutionQuarantined", "TaskHeartbeat"} <= set(seen)
        assert {"TaskQueued", "TaskStarted"} <= set(seen)
        assert {"pending", "PlacesReturned", "ExecutionQueued"} <= set(seen)


@pytest.mark.parametrize("error", [RESERVED_ERROR, LITERAL_ERROR])
def test_a_name_that_everybody_may_know_stands_in_the_data(error):
    """That no business data does would also hold if no error were ever told."""
    fails = {"Type": "Fail", "Error": LITERAL_ERROR}
    choice = {"Type": "Choice", "Choices": [{"Variable": "$.a", "IsPresent": True, "Next": "Bad"}], "Default": "Charge"}
    charge = {"Type": "Task", "Resource": "charge", "End": True}
    run = Checked({"StartAt": "C", "States": {"C": choice, "Bad": fails, "Charge": charge}}, {})
    run.when(failed("Charge", error, f"{MARK}cause")).check()
    assert all(error in row.data for row in run.rows[-2:])
    assert MARK in present(run.rows[-2].payload)
