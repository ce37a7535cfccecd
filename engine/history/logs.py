"""The logs that the process API shows of an execution: its events, and its steps with input and output."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Any, Final

import msgspec

from engine.codec import encode_json
from engine.core.events import Recorded
from engine.core.refs import seq_of
from engine.history.visits import Course, Visit, follow

VALUE_BYTES_MAX: Final = 1024
"""So much of a value's JSON text is shown; of a longer one the beginning."""

REFERENCES: Final = frozenset({"input", "output", "result", "parameters", "error_ref", "cause", "reason"})
"""The members of events that are references (`engine.core.refs`)."""

_SHOWN_ELSEWHERE: Final = frozenset({"kind", "workspace", "workflow", "state"})


def event_log(events: Sequence[Recorded], *, total: int) -> dict[str, Any]:
    """The events of an execution as they are recorded, with values cut (`cut`).

    `events` ascend, and may be some of the `total` that there are. Each shows `seq`, `type`, `at` (ms),
    `actor`, `state` if it is about one, its data that differ from the default, and its payload. A value that
    stands in the payload of another event is a reference `SEQ/POINTER` under a name that ends in `_ref`.
    """
    return {
        "count": total,
        "truncated": total > len(events),
        "events": [_shown(recorded) for recorded in events],
    }


_members = lru_cache(maxsize=None)(msgspec.structs.fields)  # of a type they never change


def _shown(recorded: Recorded) -> dict[str, Any]:
    event = recorded.event
    shown: dict[str, Any] = {
        "seq": recorded.seq,
        "type": type(event).__name__,
        "at": recorded.recorded_at,
        "actor": recorded.actor,
    }
    state = getattr(event, "state", None)
    if state is not None:
        shown["state"] = state
    for member in _members(type(event)):
        value = getattr(event, member.name)
        if member.name in _SHOWN_ELSEWHERE or value == member.default:
            continue
        if member.name not in REFERENCES:
            shown["state_type" if member.name == "type" else member.name] = value
        elif value is not None and seq_of(value) != recorded.seq:
            shown[member.name.removesuffix("_ref") + "_ref"] = value
    for name, value in (recorded.payload or {}).items():
        shown[name] = cut(value)
    return shown


def condensed(events: Iterable[Recorded]) -> dict[str, Any]:
    """The steps of an execution: one for each entry of a state, in the order of entering.

    A step has `state`, `entered_on`, `exited_on` (ms), `input`, `output`, `attempts`, and if it failed
    `error` (the name, or null) and, if there is one, `cause`. Values are cut (`cut`). The events ascend;
    where some are missing, `truncated` says so, and what only they could tell is null.
    """
    course = follow(events)
    return {
        "count": len(course.visits),
        "truncated": not course.is_whole,
        "steps": [_step(visit, course) for visit in course.visits],
    }


def _step(visit: Visit, course: Course) -> dict[str, Any]:
    step: dict[str, Any] = {
        "state": visit.state,
        "entered_on": visit.entered_at,
        "exited_on": visit.exited_at,
        "input": cut(course.value(visit.input)),
        "output": cut(course.value(visit.output)),
    }
    if visit.failure is not None:
        error, cause = course.error(visit.failure)
        step["error"] = cut(error)
        if cause is not None:
            step["cause"] = cut(cause)
    step["attempts"] = visit.attempts
    return step


def cut(value: Any) -> Any:
    """A JSON value, or if its text is longer than `VALUE_BYTES_MAX` bytes (UTF-8) its size and beginning."""
    encoded = encode_json(value)
    if len(encoded) <= VALUE_BYTES_MAX:
        return value
    preview = encoded[:VALUE_BYTES_MAX].decode(errors="ignore")  # a character at the cut is left out
    return {"truncated": True, "bytes": len(encoded), "preview": preview}
