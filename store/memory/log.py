"""The log of the in-memory store: streams, events, claims and primary rows."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import AsyncIterator, Sequence
from itertools import islice

from perdure.store.memory.tables import Index, MemoryTable
from perdure.store.protocols import LOG_PAGE_MAX
from perdure.store.records import (
    HeadEvent,
    IdempotencyRow,
    LogPage,
    NodeRow,
    ProcessIdRow,
    SnapshotRow,
    StoredEvent,
    StreamKind,
    StreamRow,
)


class MemoryLog:
    """The primary tables of the log, and `LogReader` over them."""

    def __init__(self) -> None:
        self._streams: dict[bytes, StreamRow] = {}
        self._stream_ids: list[bytes] = []
        self._events: dict[bytes, list[StoredEvent]] = {}
        self._log: list[StoredEvent] = []
        self._nodes: dict[bytes, NodeRow] = {}
        self._by_stream = Index[ProcessIdRow](lambda row: row.stream_id, lambda row: row[:3])
        self._process_ids = MemoryTable(ProcessIdRow, self._by_stream)
        self._idempotency = MemoryTable(IdempotencyRow)
        self._snapshots = MemoryTable(SnapshotRow)

    async def stream(self, stream_id: bytes) -> StreamRow | None:
        return self._streams.get(stream_id)

    async def streams(
        self, *, kind: StreamKind | None = None, after: bytes = b"", limit: int = 1000
    ) -> list[StreamRow]:
        found: list[StreamRow] = []
        for stream_id in self._stream_ids[bisect_right(self._stream_ids, after) :]:
            if len(found) >= limit:
                break
            row = self._streams[stream_id]
            if kind is None or row.kind == kind:
                found.append(row)
        return found

    async def streams_of(self, stream_ids: Sequence[bytes]) -> dict[bytes, StreamRow]:
        return {stream_id: self._streams[stream_id] for stream_id in stream_ids if stream_id in self._streams}

    async def events(self, stream_id: bytes, *, after: int = 0, limit: int | None = None) -> list[StoredEvent]:
        # The event with seq n is the n-th: nothing is missing from a stream.
        end = None if limit is None else after + limit
        return self._events.get(stream_id, [])[after:end]

    async def last_events(self, stream_id: bytes, limit: int) -> list[StoredEvent]:
        return self._last(stream_id, limit)

    async def last_events_of(self, stream_ids: Sequence[bytes], limit: int) -> dict[bytes, list[StoredEvent]]:
        return {stream_id: self._last(stream_id, limit) for stream_id in stream_ids}

    def _last(self, stream_id: bytes, limit: int) -> list[StoredEvent]:
        events = self._events.get(stream_id, [])
        return events[max(0, len(events) - limit) :]

    async def event_page(
        self,
        stream_id: bytes,
        *,
        after: int | None = None,
        types: Sequence[str] = (),
        newest_first: bool = False,
        limit: int = 100,
    ) -> list[StoredEvent]:
        events = self._events.get(stream_id, [])
        if newest_first:
            ordered = reversed(events if after is None else events[: max(0, after - 1)])
        else:
            ordered = iter(events[after or 0 :])
        return list(islice((each for each in ordered if not types or each.row.type in types), limit))

    async def log_page(
        self, organization_id: bytes, *, workspace_id: bytes | None = None, after: int = 0, limit: int = 100
    ) -> LogPage:
        through = min(len(self._log), after + LOG_PAGE_MAX)
        seen = (each for each in self._log[after:through] if each.row.organization_id == organization_id)
        if workspace_id is not None:
            seen = (each for each in seen if self._streams[each.row.stream_id].workspace_id == workspace_id)
        found = list(islice(seen, limit))
        position = found[-1].position if len(found) == limit else max(after, through)
        return LogPage(found, position, position >= len(self._log))

    async def events_at(self, stream_id: bytes, seqs: Sequence[int]) -> list[StoredEvent]:
        events = self._events.get(stream_id, [])
        return [events[seq - 1] for seq in sorted(set(seqs)) if 0 < seq <= len(events)]

    async def payload_sizes(self, stream_id: bytes, seqs: Sequence[int]) -> dict[int, int]:
        found = await self.events_at(stream_id, seqs)
        return {row.seq: len(row.payload.encode()) for _, row in found if row.payload is not None}

    async def events_of(self, stream_ids: Sequence[bytes]) -> dict[bytes, list[StoredEvent]]:
        return {stream_id: list(self._events.get(stream_id, ())) for stream_id in stream_ids}

    async def heads_of(self, stream_ids: Sequence[bytes]) -> dict[bytes, HeadEvent]:
        last = {stream_id: self._events[stream_id][-1].row for stream_id in stream_ids if self._events.get(stream_id)}
        return {stream_id: HeadEvent(row.type, row.data) for stream_id, row in last.items()}

    async def hashes(self, after: int, through: int) -> list[bytes]:
        return [each.row.hash for each in self._log[after:through]]

    async def last_of_type(self, type_: str, *, after: int = 0) -> StoredEvent | None:
        return next((each for each in reversed(self._log[after:]) if each.row.type == type_), None)

    async def log(self, *, after: int = 0) -> AsyncIterator[StoredEvent]:
        # Positions are 1, 2, 3 … here, so the event at position p is the p-th. It sees what is appended meanwhile.
        while after < len(self._log):
            yield self._log[after]
            after += 1

    async def position(self) -> int:
        return len(self._log)

    async def snapshot(self, stream_id: bytes) -> SnapshotRow | None:
        return self._snapshots.rows.get((stream_id,))

    async def snapshots(self, *, after: bytes = b"", limit: int = 16) -> list[SnapshotRow]:
        found = sorted(row for row in self._snapshots.rows.values() if row.stream_id > after)
        return found[:limit]
