"""Stored answers, compared with the runs that gave them (`perdure verify`).

Which request it was, and when, is in no event (an answer may change nothing), so no audit can tell that. What is looked
at is whether the run can have given this answer: by its rows, which are at hand and mostly tell, and if they do not by
its events, since a run that was terminated may be redriven, and a pause may be over.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final, NamedTuple

from perdure.engine.core import ids
from perdure.engine.core.chance_events import ExecutionRedriven
from perdure.engine.core.events import ExecutionTerminated
from perdure.engine.core.pause_events import ExecutionPaused, ExecutionUnpaused
from perdure.engine.log.codec import decode_json
from perdure.store.audited import Seen
from perdure.store.protocols import Store
from perdure.store.records import ExecutionRow, IdempotencyRow, WaitRow

EVENTS_AT_ONCE: Final = 128


class _Shown(NamedTuple):
    """What the rows of a run show: its status, how its waits ended, and whether it is paused."""

    status: str
    outcomes: set[str | None]
    is_paused: bool


class _Needs(NamedTuple):
    """What an answer needs: rows that show it, or else an event of this type; null: there is none."""

    is_shown: Callable[[_Shown], bool]
    event: str | None = None


def _resumed(shown: _Shown) -> bool:
    return "resumed" in shown.outcomes


_TERMINATED: Final = _Needs(lambda shown: shown.status == "terminated", ExecutionTerminated.__name__)
_PAUSED: Final = _Needs(lambda shown: shown.is_paused, ExecutionPaused.__name__)

_NEEDS: Final[Mapping[str, _Needs]] = {
    "restarted": _Needs(_resumed),
    "already restarted": _Needs(_resumed),
    "completed": _Needs(lambda shown: not shown.outcomes.isdisjoint({"resumed", "failed"})),
    "alive": _Needs(lambda shown: bool(shown.outcomes)),
    "terminated": _TERMINATED,
    "already terminated": _TERMINATED,
    "redriven": _Needs(lambda _: False, ExecutionRedriven.__name__),
    "paused": _PAUSED,
    "already paused": _PAUSED,
    "unpaused": _Needs(lambda _: False, ExecutionUnpaused.__name__),
    "not paused": _Needs(lambda _: True),
}
"""What must be true of a run that gave such an answer."""


async def answer_flaw(store: Store, row: IdempotencyRow, seen: Seen) -> str | None:
    """The reason why a run cannot have given this stored answer to a request; null if it can."""
    stream = seen.stream
    if (row.organization_id, row.workspace_id) != (stream.organization_id, stream.workspace_id):
        return "it is in another workspace than its run"
    try:
        answer = decode_json(row.answer)
    except (TypeError, ValueError):
        return "its answer is no JSON"
    if answer == ids.text(row.stream_id):  # of a trigger
        return None
    if stream.kind == "workflow" and isinstance(answer, str) and ids.is_id(answer):
        return None  # of a run that one of its schedules was asked for
    needs = _NEEDS.get(answer) if isinstance(answer, str) else None
    if needs is not None and (needs.is_shown(_shown(seen)) or await _has_event(store, row.stream_id, needs.event)):
        return None
    return f"its run never gave the answer {answer!r}"


def _shown(seen: Seen) -> _Shown:
    outcomes = {each.outcome for each in seen.rows if isinstance(each, WaitRow)}
    execution = next((each for each in seen.rows if isinstance(each, ExecutionRow)), None)
    if execution is None:
        return _Shown("", outcomes, is_paused=False)
    return _Shown(execution.status, outcomes, is_paused=execution.paused_seq is not None)


async def _has_event(store: Store, stream_id: bytes, type_name: str | None) -> bool:
    """Whether a stream has an event of this type. Those of a stream are read by the number, so no damage loops."""
    after = 0
    while type_name is not None and (some := await store.events(stream_id, after=after, limit=EVENTS_AT_ONCE)):
        if any(each.row.type == type_name for each in some):
            return True
        after += len(some)
        if len(some) < EVENTS_AT_ONCE:
            return False
    return False
