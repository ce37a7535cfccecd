"""Projections: the rows that readers see, derived from events; `perdure rebuild` derives them again.

They hold references to business data and never the data itself.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Final, NamedTuple

from msgspec.structs import replace

from perdure.engine.core import events as e
from perdure.engine.core import ids
from perdure.engine.core.draft import DraftedEvent
from perdure.engine.core.persistent import PersistentMap
from perdure.engine.core.state import EXECUTION_TIMER, SETTINGS_TIMER, OngoingPause, OpenWait, State
from perdure.store.records import CountChange, Ending, ExecutionRow, QueueRow, SlotRow, TimerRow, WaitRow

_bytes_of = lru_cache(maxsize=4096)(ids.parse)

_OF_THE_RUN: Final = (SETTINGS_TIMER, EXECUTION_TIMER)


_NO_PAUSE: Final = (None, None, None, None)


class Changes(NamedTuple):
    """Rows to put, and timers to take away."""

    waits: list[WaitRow]
    timers: list[TimerRow]
    timers_gone: list[TimerRow]
    endings: list[Ending]


def execution_row(execution_id: bytes, organization_id: bytes, state: State) -> ExecutionRow:
    """An execution as its state shows it."""
    parent = state.parent
    parent_id = awaited_by = None
    if parent is not None:
        parent_id = _bytes_of(parent.execution)
        awaited_by = parent_id if parent.is_awaited else None
    return ExecutionRow._make(  # by position, in half the time: it is made for every execution of a batch
        (
            execution_id,
            organization_id,
            _bytes_of(state.workspace),
            _bytes_of(state.workflow),
            state.workflow_version,
            state.trigger,
            state.status,
            state.current,
            state.seq,
            state.started_at,
            state.modified_at,
            state.modified_by,
            state.ended_at,
            state.input,
            state.output,
            state.error,
            state.error_ref,
            state.cause,
            parent_id,
            awaited_by,
            *(_NO_PAUSE if state.pause is None else _pause_of(state, state.pause)),
            None if state.origin is None else _bytes_of(state.origin.execution),
        )
    )


def _pause_of(state: State, pause: OngoingPause) -> tuple[int, int, str | None, int]:
    return pause.seq, pause.since, pause.quota, state.called


def count_changes(before: State, after: State) -> Sequence[CountChange]:
    """The changes to the counts of executions when one of them goes from one state to another on disk."""
    if before.status == after.status:
        return ()
    whose = (_bytes_of(after.workspace), _bytes_of(after.workflow))
    gained = CountChange(*whose, after.status, 1)
    return (gained,) if not before.seq else (CountChange(*whose, before.status, -1), gained)


def has_changed(before: State, steps: Sequence[DraftedEvent]) -> bool:
    """Whether `changes` may have anything to tell, as of most events it has not: what stays is the same object."""
    after: State = steps[-1].state
    return after.timers is not before.timers or after.waits is not before.waits or bool(after.limits)


def changes(
    execution_id: bytes,
    organization_id: bytes,
    before: State,
    steps: Iterable[DraftedEvent],
    *,
    endings_from: int = sys.maxsize,
) -> Changes:
    """The changes that the events of `steps` make to the waits and timers of an execution.

    A timer's row is named by its instant too: one that is moved is a row that goes and another that comes. Of a row
    that comes and goes, or goes and comes back, nothing is left to do. Where so many as `endings_from` waits and timers
    are over by one event, and none is left, that is an `Ending` instead of their rows.
    """
    first = before
    waits: list[WaitRow] = []
    is_set: dict[TimerRow, bool] = {}
    endings: list[Ending] = []
    for step in steps:
        after = step.state
        if len(before.waits) + len(before.timers) >= endings_from and _is_all_over(before, after):
            endings.append(Ending(after.seq, after.recorded_at))
            before = _without_ended(before, step.recorded.event)
        for name, was, now in after.timers.changes_from(before.timers):
            if was is not None:
                is_set[TimerRow(was.due_at, execution_id, name)] = False
            if now is not None:
                is_set[TimerRow(now.due_at, execution_id, name)] = True
        for wait, opened, still in after.waits.changes_from(before.waits):
            shown = still or opened
            outcome = None if still is not None else _outcome(wait, step.recorded.event)
            if shown is not None:
                waits.append(_wait_row(execution_id, organization_id, after, wait, shown, outcome))
        before = after
    return Changes(
        waits,
        [row for row, is_now in is_set.items() if is_now and not _is_row_of(first, row)],
        [row for row, is_now in is_set.items() if not is_now and _is_row_of(first, row)],
        endings,
    )


def slots_of(execution_id: bytes, organization_id: bytes, state: State) -> list[SlotRow]:
    """The places that an execution has, in the order of their keys."""
    if not state.places:
        return []
    taken = zip(state.limits, state.places, strict=True)
    rows = [
        SlotRow(bytes.fromhex(limit.key), place, organization_id, execution_id, state.placed_at)
        for limit, place in taken
    ]
    return sorted(rows)


def queue_row(execution_id: bytes, organization_id: bytes, state: State) -> QueueRow | None:
    """Where an execution stands in line: in that of its first limit."""
    if state.queue is None:
        return None
    first, *others = state.limits
    also = bytes.fromhex(others[0].key) if others else None
    workflow = _bytes_of(state.workflow)
    line = bytes.fromhex(first.key)
    return QueueRow(execution_id, organization_id, workflow, first.kind, line, also, state.queue.seq)


class PlaceChanges(NamedTuple):
    """Places to claim, and rows to put and to take away."""

    claims: list[SlotRow]
    puts: list[QueueRow]
    deletes: list[SlotRow | QueueRow]


def place_changes(
    execution_id: bytes, organization_id: bytes, before: State, steps: Iterable[DraftedEvent]
) -> PlaceChanges:
    """The changes that the events of `steps` make to the places of an execution, and to where it stands in line."""
    whose = (execution_id, organization_id)
    found = PlaceChanges([], [], [])
    for step in _own(before, steps):
        after = step.state
        if (after.places, after.placed_at) != (before.places, before.placed_at):
            found.deletes.extend(slots_of(*whose, before))
            claims = slots_of(*whose, after)
            found.claims.extend(claims)
            found.deletes[:] = [row for row in found.deletes if row not in claims]
        if after.queue != before.queue:
            gone, come = queue_row(*whose, before), queue_row(*whose, after)
            found.deletes.extend(row for row in (gone,) if row is not None)
            found.puts.extend(row for row in (come,) if row is not None)
        before = after
    return found


def _own(before: State, steps: Iterable[DraftedEvent]) -> Iterable[DraftedEvent]:
    """The events that are the run's own: in a fork's first decision those from `ExecutionForked` on.

    What it took over tells of places and lines that were its origin's.
    """
    if before.seq:
        return steps
    wanted = list(steps)
    origin = wanted[0].state.origin if wanted else None
    return wanted if origin is None or origin.kind != "fork" else wanted[origin.seq :]


def _is_all_over(before: State, after: State) -> bool:
    """Whether no wait and no timer is left but the time limits of the run, which belong to none of its states."""
    if after is before or after.waits or after.stopped:  # what stands still comes again
        return False
    return all(name in _OF_THE_RUN for name in after.timers)


def _without_ended(state: State, event: e.Event) -> State:
    """A state that has only those waits and timers of which an `Ending` does not tell."""
    named = getattr(event, "wait", None)  # it may have ended otherwise than those that went with it
    opened = {wait: state.waits[wait] for wait in (named,) if wait is not None and wait in state.waits}
    limits = {name: timer for name in _OF_THE_RUN if (timer := state.timers.get(name)) is not None}
    return replace(
        state,
        waits=PersistentMap(opened),
        timers=PersistentMap(limits),
    )


def _is_row_of(state: State, row: TimerRow) -> bool:
    timer = state.timers.get(row.timer)
    return timer is not None and timer.due_at == row.due_at


def _outcome(wait: str, event: e.Event) -> str:
    """The outcome of a wait that this event ends, by itself or with its scope."""
    if isinstance(event, e.WaitResumed) and event.wait == wait:
        return "resumed"
    if isinstance(event, e.TaskFailed) and event.wait == wait:
        return "failed"
    return "expired" if isinstance(event, e.WaitExpired) and event.wait == wait else "cancelled"


def _wait_row(
    execution_id: bytes, organization_id: bytes, state: State, wait: str, opened: OpenWait, outcome: str | None
) -> WaitRow:
    is_over = outcome is not None
    return WaitRow(
        wait_id=_bytes_of(wait),
        execution_id=execution_id,
        organization_id=organization_id,
        workspace_id=_bytes_of(state.workspace),
        workflow_id=_bytes_of(state.workflow),
        state=opened.state,
        opened_seq=opened.seq,
        opened_at=opened.opened_at,
        due_at=opened.due_at,
        outcome=outcome,
        ended_seq=state.seq if is_over else None,
        ended_at=state.recorded_at if is_over else None,
    )
