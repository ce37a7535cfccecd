"""The in-memory store: the reference implementation of the contract, which most tests run on."""

from __future__ import annotations

from bisect import insort
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Any

from perdure.store.batch import check_batch, head_after, net_counts, net_puts
from perdure.store.chain import sealed
from perdure.store.errors import StoreError
from perdure.store.memory.audit import MemoryAudit
from perdure.store.memory.bulk_jobs import MemoryBulkJobs
from perdure.store.memory.catalog import MemoryCatalog
from perdure.store.memory.executions import MemoryExecutions
from perdure.store.memory.schedules import MemorySchedules
from perdure.store.memory.tables import MemoryTable
from perdure.store.records import (
    CANCELLED,
    NEW_STREAM,
    ApiKeyRow,
    Appended,
    BulkRow,
    Claim,
    Deleted,
    Ending,
    EventRow,
    ExecutionRow,
    Head,
    IdempotencyRow,
    NodeRow,
    OrganizationRow,
    ProcessIdRow,
    Projected,
    QueueRow,
    RefusedAppend,
    Row,
    ScheduleRow,
    SlotRow,
    SnapshotRow,
    StoredEvent,
    StreamAppend,
    StreamRow,
    TimerRow,
    WaitRow,
    WorkflowRow,
    WorkflowVersionRow,
    WorkspaceRow,
)


class MemoryStore(MemoryAudit):
    """A `Store` in memory. Rows are immutable tuples, so what a reader got never changes under it."""

    def __init__(self) -> None:
        MemoryExecutions.__init__(self)
        MemoryCatalog.__init__(self)
        MemorySchedules.__init__(self)
        MemoryBulkJobs.__init__(self)
        self._closed = False
        self._is_rebuilding = False
        self._tables: dict[type[Row], MemoryTable[Any]] = {
            OrganizationRow: self._organizations,
            WorkspaceRow: self._workspaces,
            ApiKeyRow: self._api_keys,
            WorkflowRow: self._workflows,
            WorkflowVersionRow: self._versions,
            ExecutionRow: self._executions,
            WaitRow: self._waits,
            TimerRow: self._timers,
            ScheduleRow: self._schedules,
            QueueRow: self._queue,
            BulkRow: self._bulk,
            SnapshotRow: self._snapshots,
        }

    def watch(self, on_failure: Callable[[StoreError], None]) -> None:
        """Do nothing: memory is never lost."""

    async def append(self, batch: Sequence[StreamAppend]) -> Appended:
        self._check_open()
        self._check_not_rebuilding()
        check_batch(batch)
        refused, claimed = self._admit(batch)
        accepted = [part for part in batch if part.stream_id not in refused]
        rows_of = {part.stream_id: sealed(part) for part in accepted if part.events}
        heads = {part.stream_id: head_after(part, rows_of[part.stream_id]) for part in accepted if part.events}
        puts = net_puts(accepted)
        for kind, rows in puts.items():
            self._tables[kind].check(rows)
        # From here on nothing can fail.
        for claim in claimed:
            self._claims(type(claim)).put(claim)
        for part in accepted:
            if part.events:
                self._extend(part, rows_of[part.stream_id], heads[part.stream_id])
        for kind, rows in puts.items():
            for row in rows:
                self._tables[kind].put(row)
        for part in accepted:
            for gone in part.deletes:
                self._take_away(gone)
            for ending in part.endings:
                self._end(part.stream_id, ending)
        self._counts.update(dict(net_counts(accepted)))
        return Appended(len(self._log), refused, heads)

    def _take_away(self, row: Deleted) -> None:
        if not isinstance(row, SlotRow):
            self._tables[type(row)].delete(row)
        elif (taken := self._slots.rows.get(row[:2])) is not None and taken.stream_id == row.stream_id:
            self._slots.delete(taken)

    def _end(self, execution_id: bytes, ending: Ending) -> None:
        for _, wait_id in self._waits_of.all(execution_id):
            row = self._waits.rows[wait_id,]
            if row.outcome is None and row.opened_seq <= ending.seq:
                self._waits.put(row._replace(outcome=CANCELLED, ended_seq=ending.seq, ended_at=ending.ended_at))
        for timer in self._timers_of.all(execution_id):
            if 1 < timer.timer <= ending.seq:
                self._timers.delete(timer)

    def _admit(self, batch: Sequence[StreamAppend]) -> tuple[dict[bytes, RefusedAppend], list[Claim]]:
        """What is refused, and what the others claim; of two that claim one key, the first has it."""
        refused: dict[bytes, RefusedAppend] = {}
        won: dict[tuple[Any, ...], Claim] = {}
        for part in batch:
            stream = self._streams.get(part.stream_id)
            if (NEW_STREAM if stream is None else stream.head) != part.expected:
                refused[part.stream_id] = RefusedAppend("stale")
                continue
            own: dict[tuple[Any, ...], Claim] = {}
            for claim in part.claims:
                keys = _unique_keys(claim)
                if any(key in own or key in won or self._is_claimed(key) for key in keys):
                    refused[part.stream_id] = RefusedAppend("claimed", claim)
                    break
                own.update(dict.fromkeys(keys, claim))
            else:
                won.update(own)
        return refused, list(dict.fromkeys(won.values()))

    def _is_claimed(self, key: tuple[Any, ...]) -> bool:
        kind, *values = key
        if kind == "stream":
            return bool(self._by_stream.all(values[0]))
        return tuple(values) in self._claims(kind).rows

    def _claims(self, kind: type[Claim]) -> MemoryTable[Any]:
        tables: dict[type[Claim], MemoryTable[Any]] = {
            SlotRow: self._slots,
            ProcessIdRow: self._process_ids,
            IdempotencyRow: self._idempotency,
        }
        return tables[kind]

    def _extend(self, part: StreamAppend, rows: list[EventRow], head: Head) -> None:
        stream = self._streams.get(part.stream_id)
        if stream is None:
            stream = StreamRow(part.stream_id, part.kind, part.organization_id, part.workspace_id, 0, b"", None, 0)
            insort(self._stream_ids, part.stream_id)
        self._streams[part.stream_id] = stream._replace(seq=head.seq, hash=head.hash)
        stored = [StoredEvent(position, row) for position, row in enumerate(rows, len(self._log) + 1)]
        self._log += stored
        self._events.setdefault(part.stream_id, []).extend(stored)

    async def rebuild(self, rows: AsyncIterator[Projected]) -> None:
        self._check_open()
        self._check_not_rebuilding()
        self._is_rebuilding = True
        try:
            made = [row async for row in rows]
            self._check_open()
        finally:
            self._is_rebuilding = False
        for kind in (ExecutionRow, WaitRow, TimerRow, QueueRow, ScheduleRow, BulkRow, SnapshotRow):
            table = self._tables[kind]
            for old in list(table.rows.values()):
                table.delete(old)
        for row in made:
            self._tables[type(row)].put(row)
        self._counts = self._counted()

    async def node_started(self, node: NodeRow) -> list[NodeRow]:
        self._check_open()
        self._check_not_rebuilding()
        died = sorted(
            (row for row in self._nodes.values() if row.stopped_at is None),
            key=lambda row: (row.started_at, row.node_id),
        )
        self._nodes |= {row.node_id: row._replace(stopped_at=node.started_at) for row in died}
        self._nodes[node.node_id] = node
        return died

    async def node_noted(self, node: NodeRow) -> None:
        self._check_open()
        self._check_not_rebuilding()
        self._nodes[node.node_id] = node

    async def node_stopped(self, node_id: bytes, at: int) -> None:
        self._check_open()
        self._check_not_rebuilding()
        if node_id in self._nodes:
            self._nodes[node_id] = self._nodes[node_id]._replace(stopped_at=at)

    async def keys_used(self, uses: Mapping[bytes, int]) -> None:
        self._check_open()
        self._check_not_rebuilding()
        self._key_uses |= uses

    async def close(self) -> None:
        self._closed = True

    async def abandon(self) -> None:
        self._closed = True

    def _check_not_rebuilding(self) -> None:
        if self._is_rebuilding:
            raise StoreError("the projections are being rebuilt")

    def _check_open(self) -> None:
        if self._closed:
            raise StoreError("the store is closed")


def _unique_keys(claim: Claim) -> list[tuple[Any, ...]]:
    """What no other row may share with a claim: its primary key, and the one process id of a stream."""
    if isinstance(claim, IdempotencyRow):
        return [(IdempotencyRow, *claim[:3])]
    if isinstance(claim, SlotRow):
        return [(SlotRow, *claim[:2])]
    return [(ProcessIdRow, *claim[:3]), ("stream", claim.stream_id)]
