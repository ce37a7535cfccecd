"""The pause of an execution, as it is shown."""

from __future__ import annotations

from typing import NamedTuple

from perdure.engine.core.events import Recorded
from perdure.engine.core.pause_events import Clocks, ExecutionPaused
from perdure.engine.core.refs import resolve
from perdure.store.records import ExecutionRow


class PauseBrief(NamedTuple):
    """The pause that an execution is in, as its row has it; `since` in milliseconds.

    `quota` has paused it, null: an operator. `in_flight` tasks are still worked on; of none it is `quiescent`.
    """

    since: int
    quota: str | None
    in_flight: int

    @property
    def quiescent(self) -> bool:
        """Whether nothing is under way any more: no step, and no child that it awaits."""
        return not self.in_flight


class PauseView(NamedTuple):
    """The pause that an execution is in, with what its event says: who paused it, why, and whether its clocks stand."""

    brief: PauseBrief
    by: str
    reason: str | None
    clocks: Clocks


def brief_of(row: ExecutionRow) -> PauseBrief | None:
    """The pause of an execution, by its row; null if it is not paused."""
    if row.paused_at is None:
        return None
    return PauseBrief(row.paused_at, row.paused_quota, row.in_flight or 0)


def view_of(row: ExecutionRow, recorded: Recorded) -> PauseView | None:
    """The pause of an execution, by its row and the event that it names."""
    brief, event = brief_of(row), recorded.event
    if brief is None or not isinstance(event, ExecutionPaused):
        return None
    # Only what has ended can be erased; but a page is shown whatever a row says.
    payloads = {} if recorded.payload is None else {recorded.seq: recorded.payload}
    reason = resolve(event.reason, payloads) if payloads else None
    return PauseView(brief, recorded.actor, reason, "run" if event.frozen_at is None else "freeze")
