"""The rows that readers see, derived from events: what `perdure rebuild` makes again and the tests compare.

They hold references to business data and never the data itself.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import NamedTuple

from engine.core import events as e
from engine.core import ids
from engine.core.draft import Step
from engine.core.state import State
from store.records import ExecutionRow, TimerRow, WaitRow

_bytes_of = lru_cache(maxsize=4096)(ids.parse)


class Changes(NamedTuple):
    """Rows to put, and timers to take away."""

    waits: list[WaitRow]
    timers: list[TimerRow]
    timers_gone: list[TimerRow]


def execution_row(execution_id: bytes, organization_id: bytes, state: State) -> ExecutionRow:
    """An execution as its state shows it."""
    return ExecutionRow(
        execution_id=execution_id,
        organization_id=organization_id,
        workspace_id=_bytes_of(state.workspace),
        workflow_id=_bytes_of(state.workflow),
        workflow_version=state.workflow_version,
        trigger_type=state.trigger,
        status=state.status,
        state=state.current,
        seq=state.seq,
        created_at=state.started_at,
        modified_at=state.recorded_at,
        modified_by=state.modified_by,
        ended_at=state.ended_at,
        input_ref=state.input,
        output_ref=state.output,
        error=state.error,
        error_ref=state.error_ref,
        cause_ref=state.cause,
    )


def changes(execution_id: bytes, organization_id: bytes, before: State, steps: Iterable[Step]) -> Changes:
    """What the events of `steps` do to the waits and timers of an execution."""
    found = Changes([], [], [])
    for recorded, after in steps:
        event = recorded.event
        if isinstance(event, e.TimerSet):
            found.timers.append(TimerRow(event.due_at, execution_id, recorded.seq))
        elif isinstance(event, e.TimerFired):
            due_at = before.frames[event.scope].phase.due_at  # type: ignore[union-attr]  # evolve checked it
            found.timers_gone.append(TimerRow(due_at, execution_id, event.timer))
        elif isinstance(event, e.WaitOpened):
            found.waits.append(_opened(execution_id, organization_id, after, event, recorded))
        if after.ended_waits is not before.ended_waits:
            found.waits.extend(_ended(execution_id, organization_id, before, after, event))
        if len(after.frames) < len(before.frames):  # a scope is over, and what was set in it is void
            kept = after.timers()
            gone = [timer for timer in before.timers() if timer not in kept]
            found.timers_gone.extend(TimerRow(timer.due_at, execution_id, timer.seq) for timer in gone)
        before = after
    return found


def _opened(
    execution_id: bytes, organization_id: bytes, state: State, event: e.WaitOpened, recorded: e.Recorded
) -> WaitRow:
    return WaitRow(
        wait_id=_bytes_of(event.wait),
        execution_id=execution_id,
        organization_id=organization_id,
        workspace_id=_bytes_of(state.workspace),
        workflow_id=_bytes_of(state.workflow),
        state=event.state,
        opened_seq=recorded.seq,
        opened_at=recorded.recorded_at,
        due_at=None,
        outcome=None,
        ended_seq=None,
        ended_at=None,
    )


def _ended(
    execution_id: bytes, organization_id: bytes, before: State, after: State, event: e.Event
) -> Iterable[WaitRow]:
    """The waits that were open and are not any more: the one that was resumed, or all that went with a scope."""
    resumed = event.wait if isinstance(event, e.WaitResumed) else None
    still_open = {wait.wait for _, _, wait in after.open_waits()}
    for _, frame, wait in before.open_waits():
        if wait.wait not in still_open:
            yield WaitRow(
                wait_id=_bytes_of(wait.wait),
                execution_id=execution_id,
                organization_id=organization_id,
                workspace_id=_bytes_of(after.workspace),
                workflow_id=_bytes_of(after.workflow),
                state=frame.state,
                opened_seq=wait.seq,
                opened_at=wait.opened_at,
                due_at=None,
                outcome="resumed" if wait.wait == resumed else "cancelled",
                ended_seq=after.seq,
                ended_at=after.recorded_at,
            )
