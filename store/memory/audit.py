"""The audit reads (`Auditing`) of the in-memory store."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from perdure.store.audited import Miscount, Seen, Stray
from perdure.store.batch import ANSWERERS, OWNERS
from perdure.store.memory.bulk_jobs import MemoryBulkJobs
from perdure.store.memory.catalog import MemoryCatalog
from perdure.store.memory.executions import MemoryExecutions
from perdure.store.memory.schedules import MemorySchedules
from perdure.store.memory.tables import MemoryTable
from perdure.store.records import (
    ApiKeyRow,
    BulkRow,
    CountRow,
    ExecutionRow,
    IdempotencyRow,
    OrganizationRow,
    Owned,
    ProcessIdRow,
    QueueRow,
    ScheduleRow,
    SlotRow,
    StreamKind,
    TimerRow,
    WaitRow,
    WorkflowRow,
    WorkflowVersionRow,
    WorkspaceRow,
)
from perdure.store.schema import TABLE_OF


class MemoryAudit(MemoryExecutions, MemoryCatalog, MemorySchedules, MemoryBulkJobs):
    """`Auditing` over the tables in memory."""

    async def seen(self, kind: StreamKind, stream_ids: Sequence[bytes]) -> dict[bytes, Seen]:
        there = [stream_id for stream_id in stream_ids if stream_id in self._streams]
        return {stream_id: Seen(self._streams[stream_id], [*self._rows_of(kind, stream_id)]) for stream_id in there}

    def _rows_of(self, kind: StreamKind, stream_id: bytes) -> Iterable[Owned]:
        if kind == "execution":
            yield from _at(self._executions, stream_id)
            yield from (self._waits.rows[wait_id,] for _, wait_id in self._waits_of.all(stream_id))
            yield from self._timers_of.all(stream_id)
            yield from _at(self._queue, stream_id)
            yield from self._slots_of.all(stream_id)
            yield from (self._process_ids.rows[key] for key in self._by_stream.all(stream_id))
        elif kind == "workflow":
            yield from _at(self._workflows, stream_id)
            yield from (self._versions.rows[stream_id, number] for number in self._versions_of.all(stream_id))
            yield from (self._schedules.rows[name,] for name in self._schedules_of.all(stream_id))
        elif kind == "bulk":
            yield from _at(self._bulk, stream_id)
        else:
            yield from _at(self._organizations, stream_id)
            yield from (row for row in self._workspaces.rows.values() if row.organization_id == stream_id)
            yield from (self._api_keys.rows[key_id,] for key_id in self._keys_of.all(stream_id))

    async def idempotency_rows(self, *, after: IdempotencyRow | None = None, limit: int = 1000) -> list[IdempotencyRow]:
        keys = sorted(key for key in self._idempotency.rows if after is None or key > after[:3])
        return [self._idempotency.rows[key] for key in keys[:limit]]

    async def strays(self) -> list[Stray]:
        tables: dict[type[Any], MemoryTable[Any]] = {
            ExecutionRow: self._executions,
            WaitRow: self._waits,
            TimerRow: self._timers,
            QueueRow: self._queue,
            SlotRow: self._slots,
            BulkRow: self._bulk,
            ProcessIdRow: self._process_ids,
            WorkflowRow: self._workflows,
            WorkflowVersionRow: self._versions,
            ScheduleRow: self._schedules,
            OrganizationRow: self._organizations,
            WorkspaceRow: self._workspaces,
            ApiKeyRow: self._api_keys,
        }
        found: list[Stray] = []
        for row_type, (kind, column) in OWNERS.items():
            found += self._strays_of(TABLE_OF[row_type].name, tables[row_type].rows.values(), [kind], column)
        return found + self._strays_of("idempotency", self._idempotency.rows.values(), ANSWERERS, "stream_id")

    async def shape_flaws(self) -> list[str]:
        return []

    async def miscounted(self) -> list[Miscount]:
        there, counted = self._counted(), self._counts
        keys = sorted(key for key in there | counted if there[key] != counted[key])
        return [Miscount(CountRow(*key, counted[key]), there[key]) for key in keys]

    def _strays_of(self, table: str, rows: Iterable[Any], kinds: Sequence[StreamKind], column: str) -> list[Stray]:
        ids = [getattr(row, column) for row in rows]
        return [Stray(table, id_) for id_ in ids if id_ not in self._streams or self._streams[id_].kind not in kinds]


def _at(table: MemoryTable[Any], stream_id: bytes) -> list[Any]:
    return [table.rows[stream_id,]] if (stream_id,) in table.rows else []
