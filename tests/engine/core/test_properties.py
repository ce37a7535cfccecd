"""What holds for every definition and every sequence of commands, however senseless (`checked.py` has the list).

Hypothesis looks for the small counterexample; plain chance tries more. `PERDURE_RUNS` says how many runs.
"""

from __future__ import annotations

import os
import random
import re
from collections import Counter
from functools import partial
from unittest.mock import patch

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from perdure.engine.core import commands as c
from perdure.engine.core import events as e
from perdure.engine.core import limit_events as le
from perdure.engine.core.decide.recover import SUSPECT_DEATHS
from perdure.engine.core.pause_events import ExecutionPaused, ExecutionUnpaused
from perdure.engine.core.settings import VERSION_DEFAULTS, VersionSettings
from perdure.engine.log.codec import encode_json
from perdure.engine.testing import failed
from tests.present import present

from . import generated
from .checked import Checked, tasks_of
from .generated import LITERAL_ERROR, MARK, RESERVED_ERROR

BREATH = 6
"""So few states a decision passes here, that loops pause often and cost little."""

RUNS = int(os.environ.get("PERDURE_RUNS", "300"))
LONG = 150
"""So many commands are sent to a run at the most; nearly all have ended by then."""


NO_LIMITS = ((), VERSION_DEFAULTS)


def begin(pick, *, has_loops=True, limited=None, breath=BREATH):
    """Start a run of a definition that was made up, with these limits and settings, or made-up ones."""
    run_input, process_id = generated.run_input(pick), pick((None, f"{MARK}process"))
    definition = generated.definition(pick, has_loops=has_loops)
    with patch.object(Checked, "transitions_max", breath):
        limits, settings = limited or (pick(generated.LIMITS), pick(generated.SETTINGS))
        run = Checked(definition, run_input, process_id, None, settings, limits)
    assert run.value(run.state.input) == run_input
    return run


def send(run, command, breath=BREATH):
    """Send a command; `Checked` asserts what must hold after each."""
    before = run.state
    with patch.object(Checked, "transitions_max", breath):
        run.when(command)
    told = {type(r.event) for r in run.events[before.seq :]}
    if before.is_over and not isinstance(command, c.RedriveExecution):
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
        if run.state.pause is not None:
            send(run, c.UnpauseExecution())
            continue
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


def pauses_change_no_outcome(pick):
    """A run that is paused at any event of it, while anything happens, ends as one without; time that stood is lost."""
    seed = pick(range(10**6))
    plain = begin(random.Random(seed).choice, has_loops=False, limited=NO_LIMITS)
    paused = begin(random.Random(seed).choice, has_loops=False, limited=NO_LIMITS, breath=1)
    order, pauses = random.Random(seed), random.Random(pick(range(10**6)))
    for _ in range(LONG):
        go_on(plain)
        while not paused.state.is_over and (paused.state.ready or paused.state.actionable_forks):
            with_a_pause(paused, c.Advance, pauses)
        assert plain.state.is_over == paused.state.is_over
        if plain.state.is_over:
            break
        options = [sorted(generated.what_is_due(run), key=repr) for run in (plain, paused)]
        assert options[0] == options[1]
        due = order.choice(options[0])
        ways = [partial(come, run, due, f"{seed}{due}") for run in (plain, paused)]
        send(plain, ways[0]())
        with_a_pause(paused, ways[1], pauses)
    assert without_times(story(plain)) == without_times(story(paused))
    paused.check()
    return paused


def without_times(told):
    """A story without when anything was: clocks that stood have put that off."""
    status, error, values, events = told
    return status, error, re.sub(r"\d{4}-\d\d-\d\dT[\d:.]+Z", "", values), [moved[:-1] for moved in events]


def come(run, due, seed):
    """What is due, with what it gives: the same for the same seed."""
    return generated.do(run, due, random.Random(seed).choice)


def with_a_pause(run, make, chance):
    """Send what `make` gives, perhaps to a paused run; what a pause puts off comes again after it."""
    command = make()
    if chance.random() < 0.5:
        send(run, command, 1)
        return
    before = run.state
    send(run, c.PauseExecution(f"{MARK}reason", chance.choice(("run", "freeze"))), 1)
    assert (run.state.pause is None) == before.is_over
    is_put_off = isinstance(command, c.Advance | c.FireTimer | c.StartTask | c.Redispatch)
    if not is_put_off:
        send(run, command, 1)
    if chance.random() < 0.3:
        run.restart()
        send(run, c.Recover(died=False), 1)
    frozen = run.state.pause is not None and run.state.pause.frozen_at is not None
    run.now += chance.choice((0, 10, 10**7)) * frozen
    send(run, c.UnpauseExecution(), 1)
    for scope, task in tasks_of(run.state).items():
        if task.queued is not None:  # after a restart
            send(run, c.StartTask(scope, task.seq), 1)
    if is_put_off and not isinstance(command, c.Advance):
        send(run, make(), 1)


def story(run):
    """Tell what happened, without what a restart, a pause or a queue adds; numbers of events are another after it."""
    added = (
        *(e.TaskInterrupted, e.TaskRedispatched, e.CommandRefused, e.TaskQueued, e.TaskStarted),
        *(ExecutionPaused, ExecutionUnpaused, le.ExecutionAdmitted, le.ExecutionQueued, le.PlacesReturned),
    )
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


PROPERTIES = [
    logs_are_states,
    runs_end_or_go_on,
    restarts_change_no_outcome,
    queues_change_no_outcome,
    pauses_change_no_outcome,
]


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
    for seed in range(RUNS // 3 if holds in (queues_change_no_outcome, pauses_change_no_outcome) else RUNS):
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
    assert holds is pauses_change_no_outcome or "ExecutionAdmitted" in seen
    if holds is logs_are_states:
        assert {"running", "waiting", "terminated", "timed_out", "ResultIgnored", "CommandRefused"} <= set(seen)
        assert {"ExecutionTerminated", "ExecutionQuarantined", "TaskHeartbeat"} <= set(seen)
        assert {"pending", "PlacesReturned", "ExecutionQueued"} <= set(seen)
    if holds in (logs_are_states, pauses_change_no_outcome):
        assert {"TaskQueued", "TaskStarted", "ExecutionPaused", "ExecutionUnpaused"} <= set(seen)


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
