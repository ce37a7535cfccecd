"""The schedules of the in-memory store."""

from __future__ import annotations

from collections.abc import Sequence

from perdure.store.memory.tables import Index, MemoryTable
from perdure.store.records import ScheduleRow


class MemorySchedules:
    """The table of schedules, and `ScheduleReads` over it."""

    def __init__(self) -> None:
        by_id = lambda row: row.schedule_id  # noqa: E731
        self._schedules_of = Index[ScheduleRow](lambda row: row.workflow_id, by_id)
        self._schedules_due = Index[ScheduleRow](
            lambda row: None if row.due_at is None else True, lambda row: (row.due_at, row.schedule_id)
        )
        self._unsettled = Index[ScheduleRow](lambda row: True if _is_unsettled(row) else None, by_id)
        self._schedules = MemoryTable(ScheduleRow, self._schedules_of, self._schedules_due, self._unsettled)

    async def schedule(self, schedule_id: bytes) -> ScheduleRow | None:
        return self._schedules.rows.get((schedule_id,))

    async def schedules_by_id(self, schedule_ids: Sequence[bytes]) -> dict[bytes, ScheduleRow]:
        found = (self._schedules.rows.get((schedule_id,)) for schedule_id in schedule_ids)
        return {row.schedule_id: row for row in found if row is not None}

    async def schedules_of(self, workflow_ids: Sequence[bytes]) -> list[ScheduleRow]:
        names = [name for workflow_id in sorted(set(workflow_ids)) for name in self._schedules_of.all(workflow_id)]
        return [self._schedules.rows[name,] for name in names]

    async def schedules_due(
        self, now: int, *, limit: int = 1000, after: tuple[int, bytes] | None = None
    ) -> list[tuple[int, bytes]]:
        due: list[tuple[int, bytes]] = self._schedules_due.above(True, after or (), limit)  # noqa: FBT003
        return [each for each in due if each[0] <= now]

    async def next_schedule_due(self, *, after: int | None = None) -> int | None:
        first = self._schedules_due.above(True, () if after is None else (after + 1,), 1)  # noqa: FBT003
        return first[0][0] if first else None

    async def unsettled_schedules(self, *, after: bytes = b"", limit: int = 1000) -> list[ScheduleRow]:
        names = self._unsettled.above(True, after, limit)  # noqa: FBT003
        return [self._schedules.rows[name,] for name in names]


def _is_unsettled(row: ScheduleRow) -> bool:
    return row.starting > 0 or row.buffered_at is not None
