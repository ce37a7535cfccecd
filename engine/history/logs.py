"""The logs of the process API: an execution's events, and its steps with input and output."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any, Final

import msgspec

from perdure.engine.core.events import Caught, Recorded, Retry
from perdure.engine.core.refs import Ref, seq_of
from perdure.engine.history.handlers import follow
from perdure.engine.history.timeline import Retried, Timeline, Visit, VisitFailure
from perdure.engine.log.codec import encode_json

VALUE_BYTES_MAX: Final = 1024
"""So much of a value's JSON text is shown; of a longer one the beginning."""

REFERENCES: Final = frozenset({"input", "items", "output", "result", "parameters", "error_ref", "cause", "reason"})
"""The members of events that are references (`engine.core.refs`)."""

_SHOWN_ELSEWHERE: Final = frozenset({"kind", "workspace", "workflow", "state"})


def event_log(events: Sequence[Recorded], *, total: int) -> dict[str, Any]:
    """The events of an execution as they are recorded, with values cut (`cut`).

    `events` ascend, and may be some of the `total` that there are. Each shows `seq`, `type`, `at` (ms),
    `actor`, `state` if it is about one, its data that differ from the default, and its payload. A value that
    stands in the payload of another event is a reference `SEQ/POINTER` under a name that ends in `_ref`. What
    follows a failure is `then`: a `retry` with its `retrier` and `due_at`, or a `catch` with its `catcher`.
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
    shown.update(_data(event, recorded.seq))
    for name, value in (recorded.payload or {}).items():
        shown[name] = cut(value)
    return shown


def _data(event: msgspec.Struct, seq: int) -> dict[str, Any]:
    """The members of an event, or of what follows a failure, that are not shown otherwise."""
    shown: dict[str, Any] = {}
    for member in _members(type(event)):
        name, value = member.name, getattr(event, member.name)
        if name in _SHOWN_ELSEWHERE or value == member.default:
            continue
        if name in REFERENCES:
            if value is not None and seq_of(value) != seq:
                shown[name.removesuffix("_ref") + "_ref"] = value
        elif name == "assigned":
            shown.update(_assigned(value, seq))
        elif isinstance(value, Retry | Caught):
            kind = "retry" if isinstance(value, Retry) else "catch"
            shown[name] = {"kind": kind, **_data(value, seq)}
        else:
            shown["state_type" if name == "type" else name] = msgspec.to_builtins(value)
    return shown


def _assigned(variables: Mapping[str, Ref], seq: int) -> dict[str, dict[str, Ref]]:
    """Variables whose values stand in other events; the others are shown with the payload."""
    references = {name: value for name, value in variables.items() if seq_of(value) != seq}
    return {"assigned_ref": references} if references else {}


def condensed(events: Iterable[Recorded]) -> dict[str, Any]:
    """The steps of an execution: one for each entry of a state, in the order of entering.

    A step has `state`, `entered_on`, `exited_on` (ms), `input`, `output`, `attempts`, and if it failed
    `error` (the name, or null) and, if there is one, `cause`. `retries` has those of the attempts that another one
    followed, or will, with `failed_on` and `retry_on` (ms). One that ended only with what is around it is `cancelled`.
    In a branch or an iteration there are `scope`, its name in the events, and `within`: the Parallel and Map states
    around it, outermost first, each with the `index`.

    Values are cut (`cut`). The events ascend; where some are missing, `truncated` says so, and what only they could
    tell is null.
    """
    timeline = follow(events)
    return {
        "count": len(timeline.visits),
        "truncated": not timeline.is_whole,
        "steps": [_step(visit, timeline) for visit in timeline.visits],
    }


def _step(visit: Visit, timeline: Timeline) -> dict[str, Any]:
    step: dict[str, Any] = {
        "state": visit.state,
        "entered_on": visit.entered_at,
        "exited_on": visit.exited_at,
        "input": cut(timeline.value(visit.input)),
        "output": cut(timeline.value(visit.output)),
    }
    if visit.failure is not None:
        step.update(_error(visit.failure, timeline))
    if visit.is_cancelled:
        step["cancelled"] = True
    step["attempts"] = visit.attempts
    if visit.retries:
        step["retries"] = [_retry(retried, timeline) for retried in visit.retries]
    if visit.scope:
        step["scope"] = visit.scope
        step["within"] = [{"state": state, "index": index} for state, index in visit.within]
    return step


def _retry(retried: Retried, timeline: Timeline) -> dict[str, Any]:
    return {"failed_on": retried.at, "retry_on": retried.due_at, **_error(retried.failure, timeline)}


def _error(failure: VisitFailure, timeline: Timeline) -> dict[str, Any]:
    error, cause = timeline.error(failure)
    shown = {"error": cut(error)}
    if cause is not None:
        shown["cause"] = cut(cause)
    return shown


def cut(value: Any) -> Any:
    """A JSON value, or if its text is longer than `VALUE_BYTES_MAX` bytes (UTF-8) its size and beginning."""
    encoded = encode_json(value)
    if len(encoded) <= VALUE_BYTES_MAX:
        return value
    preview = encoded[:VALUE_BYTES_MAX].decode(errors="ignore")  # a character at the cut is left out
    return {"truncated": True, "bytes": len(encoded), "preview": preview}
