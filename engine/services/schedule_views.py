"""Views of schedules: read from a store, with or without an engine over it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from perdure.engine import calendar
from perdure.engine.core import schedules as s
from perdure.engine.core.events import Recorded
from perdure.engine.core.refs import resolve, seq_of
from perdure.engine.log.codec import Vocabulary, decode_json
from perdure.engine.services.slots import next_slots, timing_of
from perdure.store.protocols import Store
from perdure.store.records import ScheduleRow

NEXT_SHOWN: Final = 5

_VOCABULARY: Final = Vocabulary(s.EVENTS)


class ScheduleView(NamedTuple):
    """A schedule as it is shown: its row, calendar and template, its last decisions, and its next slots."""

    row: ScheduleRow
    timing: s.Timing
    input: Any
    decisions: list[Recorded]
    slots: list[int]

    @property
    def in_words(self) -> str:
        """The calendar in English."""
        if self.timing.cron is not None:
            return calendar.in_words(self.timing.cron)
        unit = (self.timing.unit or "").removesuffix("s")
        return f"Every {unit}" if self.timing.every == 1 else f"Every {self.timing.every} {unit}s"


async def schedules_of(store: Store, workflow_ids: Sequence[bytes]) -> list[ScheduleRow]:
    """The schedules that workflows have, by workflow and id."""
    return [row for row in await store.schedules_of(workflow_ids) if row.status != "removed"] if workflow_ids else []


async def views_of(store: Store, rows: Sequence[ScheduleRow], now: int) -> list[ScheduleView]:
    """Schedules of one workflow, each with its last decisions, the latest first, and the next slots."""
    seqs = {seq for row in rows for seq in _seqs(row)}
    seqs |= {seq_of(row.input_ref) for row in rows if row.input_ref is not None}
    stored = await store.events_at(rows[0].workflow_id, sorted(seqs)) if seqs else []
    events = {each.row.seq: each.row for each in stored}
    payloads = {seq: decode_json(row.payload) for seq, row in events.items() if row.payload is not None}
    found = []
    for row in rows:
        timing, reference = timing_of(row.timing), row.input_ref
        template = None if reference is None or seq_of(reference) not in payloads else resolve(reference, payloads)
        decisions = [_VOCABULARY.read(events[seq]) for seq in _seqs(row) if seq in events]
        slots = [] if row.next_at is None else next_slots(timing, max(now, row.next_at - 1), NEXT_SHOWN)
        found.append(ScheduleView(row, timing, template, decisions[::-1], slots))
    return found


def _seqs(row: ScheduleRow) -> list[int]:
    return [int(seq) for seq in row.decisions.split(",") if seq]
