"""Bulk jobs as streams: their decider, and the row that shows them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from perdure.engine.core import bulk, events, ids
from perdure.engine.core.decision import Facts, Outcome
from perdure.engine.core.draft import DraftedEvent
from perdure.engine.log.codec import Vocabulary, encode_json
from perdure.engine.runtime.streams.administrative import AdministrativeStreamType
from perdure.engine.runtime.streams.stream import NO_ROWS, HotStream, Rows
from perdure.store.records import BulkRow, Row, StreamKind


class BulkStreamType(AdministrativeStreamType):
    """The stream type of bulk jobs. One that has not ended stays in memory: it has a turn every moment."""

    name: StreamKind = "bulk"
    vocabulary = Vocabulary(bulk.EVENTS)

    def initial(self) -> bulk.BulkState:
        return bulk.BulkState()

    def evolve(self, state: bulk.BulkState, recorded: events.Recorded) -> bulk.BulkState:
        return bulk.evolve(state, recorded)

    def creates(self, command: Any) -> bool:
        return isinstance(command, bulk.StartBulk)

    def decide(self, hot: HotStream, command: Any, facts: Facts) -> Outcome:
        return bulk.decide(hot.state, command, now=facts.now, actor=facts.actor)

    def rows(self, hot: HotStream, steps: Sequence[DraftedEvent], command: Any) -> Rows:  # noqa: ARG002
        return NO_ROWS

    def row(self, state: bulk.BulkState, stream_id: bytes, organization_id: bytes) -> Row:
        return bulk_row(state, stream_id, organization_id)

    def live_seqs(self, state: bulk.BulkState) -> frozenset[int] | None:  # noqa: ARG002
        return frozenset()

    def is_idle(self, state: bulk.BulkState) -> bool:
        return state.status in bulk.ENDED


def bulk_row(state: bulk.BulkState, bulk_id: bytes, organization_id: bytes) -> BulkRow:
    """A job as its state shows it."""
    return BulkRow(
        bulk_id=bulk_id,
        organization_id=organization_id,
        workspace_id=ids.parse(state.workspace),
        action=state.action,
        status=state.status,
        seq=state.seq,
        created_at=state.created_at,
        created_by=state.created_by,
        modified_at=state.recorded_at,
        modified_by=state.modified_by,
        ended_at=state.ended_at,
        expected=state.expected,
        done=state.done,
        unchanged=state.unchanged,
        failed=sum(state.failed.values()),
        codes=encode_json(state.failed).decode(),
        listed=encode_json(state.listed).decode(),
        why=state.why,
    )
