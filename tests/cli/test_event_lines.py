"""What `perdure events` says of each event: where it was, what came of it, and what follows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from perdure.cli.event_lines import EventLines
from perdure.cli.output import instant
from perdure.engine.core import commands as c
from perdure.engine.core.events import Recorded
from perdure.engine.log.codec import decode_json, encode_json
from perdure.engine.testing import due, failed, given, resumed, succeeded

FETCH = {
    "Type": "Task",
    "Resource": "fetch",
    "Retry": [{"ErrorEquals": ["Net.Down"], "IntervalSeconds": 30, "MaxAttempts": 1}],
    "Catch": [{"ErrorEquals": ["Net.Gone"], "Next": "Skip"}],
    "End": True,
}
DEFINITION = {
    "StartAt": "Which",
    "States": {
        "Which": {
            "Type": "Choice",
            "Choices": [
                {"Variable": "$.n", "NumericEquals": 1, "Next": "Ask"},
                {"Variable": "$.n", "NumericEquals": 2, "Next": "Each"},
            ],
            "Default": "Sleep",
        },
        "Ask": {"Type": "Task", "Resource": "wait_for_resume", "TimeoutSeconds": 60, "End": True},
        "Each": {
            "Type": "Map",
            "ItemsPath": "$.items",
            "ItemProcessor": {"StartAt": "Fetch", "States": {"Fetch": FETCH, "Skip": {"Type": "Pass", "End": True}}},
            "End": True,
        },
        "Sleep": {"Type": "Wait", "Seconds": 60, "End": True},
    },
}


def lines(events: Sequence[Recorded]) -> list[str]:
    """The lines, without what is before the type."""
    teller = EventLines()
    return [teller.line(shown(each)).split(" UTC  ", 1)[1] for each in events]


def shown(recorded: Recorded) -> dict[str, Any]:
    return {
        "seq": recorded.seq,
        "type": type(recorded.event).__name__,
        "at": instant(recorded.recorded_at),
        "actor": recorded.actor,
        "actor_name": "SAP" if recorded.actor == "key:test" else None,
        "data": decode_json(encode_json(recorded.event)),
        "payload": recorded.payload,
    }


def test_a_wait_that_expires_and_a_refusal() -> None:
    """The rule that a Choice took, what was refused and why, what expired, and that nothing catches it."""
    run = given(DEFINITION, {"n": 1}).when(c.Resume({}, state="Other")).after(60_000).when(due())
    told = lines(run.events)
    assert told[1].split("  ")[0] == "StatePassed"
    assert "Which" in told[1]
    assert "by rule 0, → Ask" in told[1]
    assert "SAP" in told[1]
    assert "resume refused: NOT_WAITING (refusal 1)" in told[3]
    assert "its time is over, States.Timeout, nothing catches it" in told[4]
    assert "States.Timeout" in told[5]


def test_what_happens_in_an_iteration() -> None:
    """The path with its index, the error, the attempt, the next one's time, and where a Catch leads."""
    run = given(DEFINITION, {"n": 2, "items": [0, 1]})
    first, second = [scope for scope in run.state.scopes() if scope]
    run.when(failed("Fetch", "Net.Down", "no route", scope=second)).after(30_000).when(due(second))
    run.when(failed("Fetch", "Net.Down", scope=second))
    told = lines(run.events)
    assert "by rule 1, → Each" in told[1]
    (start,) = [line for line in told if line.startswith("IterationStarted") and "Each[1]" in line]
    assert "Each[1]/" not in start
    failures = [line for line in told if line.startswith("TaskFailed")]
    assert "Each[1]/Fetch" in failures[0]
    assert "Net.Down, next attempt at 2025-06-15 15:07:10.000 UTC" in failures[0]
    assert "no route" in failures[0]
    again = [line for line in told if line.startswith("TaskScheduled")][-1]
    assert "attempt 2" in again
    assert "Net.Down, attempt 2, nothing catches it" in failures[1]
    caught = given(DEFINITION, {"n": 2, "items": [0]}).when(failed("Fetch", "Net.Gone", scope=first))
    assert any("Net.Gone, caught → Skip" in line for line in lines(caught.events))


def test_a_default_a_timer_and_a_resume() -> None:
    """The Default of a Choice, when a timer is due, and what ends a wait goes on to the end."""
    told = lines(given(DEFINITION, {"n": 3}).after(60_000).when(due()).events)
    assert "by its default, → Sleep" in told[1]
    assert "due at 2025-06-15 15:07:40.000 UTC" in told[2]
    ended = lines(given(DEFINITION, {"n": 1}).when(resumed({"ok": True})).events)
    assert '{"result":{"ok":true}}' in ended[3]


def test_an_event_of_a_newer_program_is_shown() -> None:
    """With what can be said of it, also where the beginning of its fork is not known."""
    event = {**shown(given(DEFINITION, {"n": 3}).events[0]), "type": "Blessed", "data": {"scope": "9.4", "state": "X"}}
    assert "?[4]/X" in EventLines().line(event)


def test_a_step_without_trouble_has_its_type_say_it_all() -> None:
    """Nothing is added where nothing needs to be."""
    run = given({"StartAt": "A", "States": {"A": {"Type": "Task", "Resource": "a", "End": True}}})
    run.when(succeeded("A", 1))
    assert [line.split("  ")[-1] for line in lines(run.events)][2] == '{"result":1}'
