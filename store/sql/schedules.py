"""Schedules, read with SQL."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from sqlalchemy import bindparam, select, tuple_

from perdure.store.records import ScheduleRow
from perdure.store.schema import DUE, UNSETTLED, schedules
from perdure.store.sql.session import SqlSession, in_parts

_SCHEDULE: Final = select(schedules).where(schedules.c.schedule_id == bindparam("id"))
_BY_ID: Final = select(schedules).where(schedules.c.schedule_id.in_(bindparam("ids", expanding=True)))
_OF_WORKFLOWS: Final = (
    select(schedules)
    .where(schedules.c.workflow_id.in_(bindparam("ids", expanding=True)))
    .order_by(schedules.c.workflow_id, schedules.c.schedule_id)
)
_DUE: Final = (
    select(schedules.c.due_at, schedules.c.schedule_id)
    .where(
        DUE,
        schedules.c.due_at <= bindparam("now"),
        tuple_(schedules.c.due_at, schedules.c.schedule_id) > tuple_(bindparam("due_at"), bindparam("name")),
    )
    .order_by(schedules.c.due_at, schedules.c.schedule_id)
    .limit(bindparam("limit"))
)
_NEXT_DUE: Final = (
    select(schedules.c.due_at).where(DUE, schedules.c.due_at > bindparam("after")).order_by(schedules.c.due_at).limit(1)
)
_UNSETTLED: Final = (
    select(schedules)
    .where(UNSETTLED, schedules.c.schedule_id > bindparam("after"))
    .order_by(schedules.c.schedule_id)
    .limit(bindparam("limit"))
)


class SqlSchedules(SqlSession):
    """`ScheduleReads` over SQL."""

    async def schedule(self, schedule_id: bytes) -> ScheduleRow | None:
        row = await self._one(_SCHEDULE, id=schedule_id)
        return None if row is None else ScheduleRow._make(row)

    async def schedules_by_id(self, schedule_ids: Sequence[bytes]) -> dict[bytes, ScheduleRow]:
        found: dict[bytes, ScheduleRow] = {}
        for some in in_parts(list(schedule_ids)):
            rows = map(ScheduleRow._make, await self._all(_BY_ID, ids=some))
            found.update({row.schedule_id: row for row in rows})
        return found

    async def schedules_of(self, workflow_ids: Sequence[bytes]) -> list[ScheduleRow]:
        found: list[ScheduleRow] = []
        for some in in_parts(sorted(set(workflow_ids))):
            found += map(ScheduleRow._make, await self._all(_OF_WORKFLOWS, ids=some))
        return found

    async def schedules_due(
        self, now: int, *, limit: int = 1000, after: tuple[int, bytes] | None = None
    ) -> list[tuple[int, bytes]]:
        due_at, name = after or (-(2**63), b"")
        return [(row[0], row[1]) for row in await self._all(_DUE, now=now, limit=limit, due_at=due_at, name=name)]

    async def next_schedule_due(self, *, after: int | None = None) -> int | None:
        row = await self._one(_NEXT_DUE, after=-(2**63) if after is None else after)
        return None if row is None else row[0]

    async def unsettled_schedules(self, *, after: bytes = b"", limit: int = 1000) -> list[ScheduleRow]:
        return [ScheduleRow._make(row) for row in await self._all(_UNSETTLED, after=after, limit=limit)]
