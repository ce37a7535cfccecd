"""The audit reads (`Auditing`), in SQL."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import Select, and_, bindparam, func, literal, select, tuple_, union_all

from perdure.store.audited import MISPLACED, Miscount, Seen, Stray
from perdure.store.batch import ANSWERERS, OWNERS
from perdure.store.records import (
    CountRow,
    IdempotencyRow,
    Owned,
    QueueRow,
    StreamKind,
    StreamRow,
    TimerRow,
    WaitRow,
)
from perdure.store.schema import (
    TABLE_OF,
    UNUSED,
    events,
    execution_counts,
    executions,
    idempotency,
    queue,
    streams,
    timers,
)
from perdure.store.sql.endings import IS_CURRENT, SEEN_WAITS
from perdure.store.sql.places import QUEUED
from perdure.store.sql.session import SqlSession, Statement

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection

_STRAYS_MAX: Final = 1000  # of a table: one is as bad as many

_HEADS: Final = select(streams).where(streams.c.stream_id.in_(bindparam("ids", expanding=True)))
_SHOWN: Final[dict[type[Owned], Select[Any]]] = {
    WaitRow: SEEN_WAITS,
    TimerRow: select(timers).where(IS_CURRENT),
    QueueRow: QUEUED,
}
_OWNED: Final = {
    row: _SHOWN.get(row, select(TABLE_OF[row])).where(TABLE_OF[row].c[column].in_(bindparam("ids", expanding=True)))
    for row, (_, column) in OWNERS.items()
}
_REMEMBERED: Final = select(idempotency).order_by(*idempotency.primary_key.columns).limit(bindparam("limit"))
_REMEMBERED_AFTER: Final = _REMEMBERED.where(
    tuple_(*idempotency.primary_key.columns)
    > tuple_(*(bindparam(column.name, type_=column.type) for column in idempotency.primary_key.columns))
)


def _strays_of(row: type[Owned | IdempotencyRow], kinds: Sequence[StreamKind], column: str) -> Statement:
    """Rows whose stream is not there, or is of another type."""
    table = TABLE_OF[row]
    is_its = and_(streams.c.stream_id == table.c[column], streams.c.kind.in_(kinds))
    return (
        select(literal(table.name), table.c[column])
        .where(~select(streams.c.seq).where(is_its).exists())
        .limit(_STRAYS_MAX)
    )


_QUEUED_BY: Final = select(events.c.seq).where(
    events.c.stream_id == queue.c.execution_id,
    events.c.seq == queue.c.seq,
    events.c.position == queue.c.position,
)
_STRAYS: Final = [
    *(_strays_of(row, [kind], column) for row, (kind, column) in OWNERS.items()),
    _strays_of(IdempotencyRow, ANSWERERS, "stream_id"),
    *(select(literal(table.name), literal(bytes(16))).select_from(table).limit(1) for table in UNUSED),
    select(literal(MISPLACED), queue.c.execution_id).where(~_QUEUED_BY.exists()).limit(_STRAYS_MAX),
]


_BOTH: Final = union_all(
    select(
        *(execution_counts.c.workspace_id, execution_counts.c.workflow_id, execution_counts.c.status),
        *(execution_counts.c.total.label("counted"), literal(0).label("there")),
    ),
    select(
        *(executions.c.workspace_id, executions.c.workflow_id, executions.c.status),
        *(literal(0).label("counted"), literal(1).label("there")),
    ),
).subquery()
_KEY: Final = (_BOTH.c.workspace_id, _BOTH.c.workflow_id, _BOTH.c.status)
_MISCOUNTED: Final = (
    select(*_KEY, func.sum(_BOTH.c.counted), func.sum(_BOTH.c.there))
    .group_by(*_KEY)
    .having(func.sum(_BOTH.c.counted) != func.sum(_BOTH.c.there))
    .order_by(*_KEY)
)


class SqlAudit(SqlSession):
    """`Auditing` over SQL."""

    async def seen(self, kind: StreamKind, stream_ids: Sequence[bytes]) -> dict[bytes, Seen]:
        # Shielded as every read is: a connection that is cut off within a transaction would not find back.
        return await asyncio.shield(self._see(kind, list(stream_ids)))

    async def _see(self, kind: StreamKind, stream_ids: list[bytes]) -> dict[bytes, Seen]:
        with self._reading():
            async with self._engine().connect() as connection:
                await connection.exec_driver_sql("BEGIN")
                try:
                    return await _see(connection, kind, stream_ids)
                finally:
                    await connection.exec_driver_sql("ROLLBACK")

    async def idempotency_rows(self, *, after: IdempotencyRow | None = None, limit: int = 1000) -> list[IdempotencyRow]:
        if after is None:
            rows = await self._all(_REMEMBERED, limit=limit)
        else:
            organization_id, workspace_id, key, *_ = after
            whose = {"organization_id": organization_id, "workspace_id": workspace_id}
            rows = await self._all(_REMEMBERED_AFTER, **whose, key=key, limit=limit)
        return [IdempotencyRow._make(row) for row in rows]

    async def miscounted(self) -> list[Miscount]:
        return [Miscount(CountRow._make(row[:4]), row[4]) for row in await self._query(_MISCOUNTED)]

    async def strays(self) -> list[Stray]:
        return [Stray(*row) for statement in _STRAYS for row in await self._query(statement)]


async def _see(connection: AsyncConnection, kind: StreamKind, stream_ids: list[bytes]) -> dict[bytes, Seen]:
    heads = (await connection.execute(_HEADS, {"ids": stream_ids})).all()
    found = {row[0]: Seen(StreamRow._make(row), []) for row in heads}
    for row_type, (owner_kind, column) in OWNERS.items():
        if owner_kind == kind:
            for values in (await connection.execute(_OWNED[row_type], {"ids": stream_ids})).all():
                row = row_type._make(values)
                seen = found.get(getattr(row, column))
                if seen is not None:
                    seen.rows.append(row)
    return found
