"""What holds for every definition and every sequence of commands, however senseless (`checked.py` has the list)."""

from __future__ import annotations

from unittest.mock import patch

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine.codec import decode_json
from engine.core import commands as c
from engine.core import events as e
from engine.core.decide import enter
from engine.core.decide.recover import SUSPECT_DEATHS
from engine.language import compile_machine
from engine.testing import failed

from .checked import Checked
from .generated import (
    LITERAL_ERROR,
    MARK,
    RESERVED_ERROR,
    commands,
    definitions,
    inputs,
    next_command,
    texts,
)

SETTINGS = settings(
    max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)
BREATH = 6
"""So few states a decision passes here, that loops pause often and cost little."""


def started(definition, run_input, process_id):
    with patch.object(enter, "TRANSITIONS_MAX", BREATH):
        return Checked(definition, run_input, process_id)


def send(run, command):
    """Send a command; `Checked` asserts what must hold after each."""
    before = run.state
    with patch.object(enter, "TRANSITIONS_MAX", BREATH):
        run.when(command)
    if before.is_over:
        assert run.state.status == before.status
        assert {type(r.event) for r in run.events[before.seq :]} <= {e.ResultIgnored, e.CommandRefused}
    if run.rejection is not None:
        assert {type(r.event) for r in run.events[before.seq :]} <= {e.CommandRefused}
    for row in run.rows[before.seq :]:
        assert MARK not in row.data + row.type + row.actor, "business data stands in `data`"


@SETTINGS
@given(definitions())
def test_generated_definitions_are_valid(definition):
    """Or else the tests below would prove nothing."""
    compile_machine(definition)


@SETTINGS
@given(st.data(), definitions(), inputs, st.one_of(st.none(), texts))
def test_whatever_is_sent_the_log_is_the_state(data, definition, run_input, process_id):
    """Folding, chaining, the table of moves, references, projections and the end hold after every command."""
    run = started(definition, run_input, process_id)
    for _ in range(data.draw(st.integers(0, 12))):
        send(run, data.draw(commands(run)))
    run.check()
    assert decode_json(run.rows[0].payload)["input"] == run_input


@SETTINGS
@given(st.data(), definitions(), inputs)
def test_every_execution_ends_or_can_go_on(data, definition, run_input):
    """From wherever it is, doing what is due moves it, until it is over: it never hangs."""
    run = started(definition, run_input, None)
    for _ in range(data.draw(st.integers(0, 4))):
        send(run, data.draw(commands(run)))
    for _ in range(12):
        if run.state.is_over or run.state.is_quarantined:
            break
        command = next_command(run)
        assert command is not None
        before = run.state.seq
        send(run, command)
        assert run.state.seq > before
    run.check()


@SETTINGS
@given(st.data(), definitions(), inputs)
def test_a_restart_changes_the_story_by_its_deaths_only(data, definition, run_input):
    """A run that is recovered before any command does what the one does that never was."""
    plain, restarted = (started(definition, run_input, None) for _ in range(2))
    deaths = data.draw(st.lists(st.booleans(), max_size=SUSPECT_DEATHS - 1))
    for _ in range(8):
        if not plain.state.is_over:
            send(plain, next_command(plain))
        if not restarted.state.is_over and data.draw(st.booleans()):
            send(restarted, c.Recover(died=deaths.pop() if deaths else False))
        if not restarted.state.is_over:
            send(restarted, next_command(restarted))
    for first, second in zip(story(plain), story(restarted), strict=False):
        assert first == second
    if plain.state.is_over and restarted.state.is_over:
        assert plain.state.status == restarted.state.status
        assert plain.value(plain.state.output) == restarted.value(restarted.state.output)


def story(run):
    """Tell what happened, without what a restart adds."""
    return [
        (type(r.event), getattr(r.event, "state", None), getattr(r.event, "next", None))
        for r in run.events
        if not isinstance(r.event, e.TaskInterrupted | e.TaskRedispatched)
    ]


@given(st.sampled_from([RESERVED_ERROR, LITERAL_ERROR]))
def test_names_that_everybody_may_know_stand_in_the_data(error):
    """The property above would also hold if no error were ever told."""
    fails = {"Type": "Fail", "Error": LITERAL_ERROR}
    choice = {"Type": "Choice", "Choices": [{"Variable": "$.a", "IsPresent": True, "Next": "Bad"}], "Default": "Charge"}
    charge = {"Type": "Task", "Resource": "charge", "End": True}
    run = Checked({"StartAt": "C", "States": {"C": choice, "Bad": fails, "Charge": charge}}, {})
    run.when(failed("Charge", error, f"{MARK}cause")).check()
    assert all(error in row.data for row in run.rows[-2:])
    assert MARK in run.rows[-2].payload
