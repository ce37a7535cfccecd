"""Places in limits and the lines before them, read with SQL."""

from __future__ import annotations

from typing import Final

from sqlalchemy import bindparam, func, select

from perdure.store.records import InLine, QueuedRow, QueueRow
from perdure.store.schema import queue, slots
from perdure.store.sql.session import SqlSession

QUEUED: Final = select(*(queue.c[name] for name in QueueRow._fields))
"""The rows of executions that stand in line, as a rebuild makes them: without what the log alone knows."""

_FIRST: Final = (
    select(queue.c.position, *(queue.c[name] for name in QueueRow._fields))
    .where(queue.c.limit_key == bindparam("limit_key"), queue.c.position > bindparam("after"))
    .order_by(queue.c.position)
    .limit(1)
)
_OF: Final = select(queue.c.position, *(queue.c[name] for name in QueueRow._fields)).where(
    queue.c.execution_id == bindparam("id")
)
_AHEAD: Final = (
    select(func.count())
    .select_from(queue)
    .where(queue.c.limit_key == bindparam("limit_key"), queue.c.position < bindparam("position"))
)
_NEXT_LINE: Final = (
    select(queue.c.limit_key).where(queue.c.limit_key > bindparam("after")).order_by(queue.c.limit_key).limit(1)
)
_TAKEN: Final = select(slots.c.place).where(slots.c.limit_key == bindparam("limit_key")).order_by(slots.c.place)


class SqlPlaces(SqlSession):
    """`Places` over SQL."""

    async def first_in_line(self, limit_key: bytes, *, after: int = 0) -> QueuedRow | None:
        row = await self._one(_FIRST, limit_key=limit_key, after=after)
        return None if row is None else QueuedRow(row[0], QueueRow._make(row[1:]))

    async def in_line(self, execution_id: bytes) -> InLine | None:
        row = await self._one(_OF, id=execution_id)
        if row is None:
            return None
        found = QueueRow._make(row[1:])
        ahead = await self._one(_AHEAD, limit_key=found.limit_key, position=row[0])
        return InLine(found, 0 if ahead is None else ahead[0])

    async def lines(self, *, after: bytes = b"", limit: int = 1000) -> list[bytes]:
        found: list[bytes] = []
        # From one to the next: to read a long line only to see that it is one would take as long as the line is.
        while len(found) < limit and (row := await self._one(_NEXT_LINE, after=after)) is not None:
            after = row[0]
            found.append(after)
        return found

    async def places_taken(self, limit_key: bytes) -> list[int]:
        return [row[0] for row in await self._all(_TAKEN, limit_key=limit_key)]
