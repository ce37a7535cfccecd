"""Executions as streams: how they are folded and decided, and the rows that show them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from perdure.engine.core.commands import ForkExecution, Trigger
from perdure.engine.core.decide import decide
from perdure.engine.core.decision import Facts, Outcome
from perdure.engine.core.draft import DraftedEvent
from perdure.engine.core.events import Recorded
from perdure.engine.core.evolve import evolve
from perdure.engine.core.live import live_seqs
from perdure.engine.core.state import State, initial_state
from perdure.engine.log import projections
from perdure.engine.log.codec import EXECUTION
from perdure.engine.log.snapshots import EVERY
from perdure.engine.runtime.streams.stream import NO_ROWS, HotStream, Rows
from perdure.store.records import CountChange, Row, StreamKind

ENDINGS_FROM: Final = 256
"""So many waits and timers that are over at once are told to the store in one row, and not in as many."""


class ExecutionStreamType:
    """The stream type of executions."""

    name: StreamKind = "execution"
    vocabulary = EXECUTION
    snapshot_due = EVERY

    def initial(self) -> State:
        return initial_state()

    def evolve(self, state: State, recorded: Recorded) -> State:
        return evolve(state, recorded)

    def creates(self, command: Any) -> bool:
        return isinstance(command, Trigger | ForkExecution)

    def decide(self, hot: HotStream, command: Any, facts: Facts) -> Outcome:
        return decide(hot.state, command, facts)

    def rows(self, hot: HotStream, steps: Sequence[DraftedEvent], command: Any) -> Rows:  # noqa: ARG002 one of a kind
        if not projections.has_changed(hot.state, steps):
            return NO_ROWS
        whose = (hot.stream_id, hot.organization_id)
        found = projections.changes(*whose, hot.state, steps, endings_from=ENDINGS_FROM)
        if not steps[-1].state.limits:
            return Rows([*found.waits, *found.timers], found.timers_gone, found.endings)
        placed = projections.place_changes(*whose, hot.state, steps)
        puts: list[Row] = [*found.waits, *found.timers, *placed.puts]
        return Rows(puts, [*found.timers_gone, *placed.deletes], found.endings, placed.claims)

    def row(self, state: State, stream_id: bytes, organization_id: bytes) -> Row | None:
        return projections.execution_row(stream_id, organization_id, state)

    def weigh(self, state: State, before: State, written: int) -> None:
        """Count the bytes of a run's log: a quota looks at them, and a snapshot has them."""
        state.log_bytes = before.log_bytes + written

    def counts(self, stored: State, state: State) -> Sequence[CountChange]:
        return projections.count_changes(stored, state)

    def live_seqs(self, state: State) -> frozenset[int] | None:
        return live_seqs(state)

    def width(self, state: State) -> int:
        return max(len(state.frames), len(state.fallen))

    def is_idle(self, state: State) -> bool:
        return state.is_idle
