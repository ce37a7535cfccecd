"""The log, read with SQL."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Any, Final

from sqlalchemy import LargeBinary, and_, bindparam, cast, func, select

from perdure.store.protocols import LOG_PAGE_MAX
from perdure.store.records import EventRow, HeadEvent, LogPage, SnapshotRow, StoredEvent, StreamKind, StreamRow
from perdure.store.retained import leaves
from perdure.store.schema import NOT_EXECUTION, events, snapshots, streams
from perdure.store.sql.session import SqlSession, in_parts

_LOG_PAGE: Final = 1000

_EVENTS = select(events)
_STREAM: Final = select(streams).where(streams.c.stream_id == bindparam("stream_id"))
_OF_STREAM: Final = _EVENTS.where(events.c.stream_id == bindparam("stream_id"), events.c.seq > bindparam("after"))
_FORWARD: Final = _OF_STREAM.order_by(events.c.seq)
_FORWARD_PAGE: Final = _FORWARD.limit(bindparam("limit"))
_BACKWARD_PAGE: Final = _OF_STREAM.order_by(events.c.seq.desc()).limit(bindparam("limit"))
_AT: Final = _EVENTS.where(
    events.c.stream_id == bindparam("stream_id"), events.c.seq.in_(bindparam("seqs", expanding=True))
).order_by(events.c.seq)
_SIZES: Final = select(events.c.seq, func.length(cast(events.c.payload, LargeBinary))).where(
    events.c.stream_id == bindparam("stream_id"),
    events.c.seq.in_(bindparam("seqs", expanding=True)),
    events.c.payload.is_not(None),
)
_OF_STREAMS: Final = _EVENTS.where(events.c.stream_id.in_(bindparam("stream_ids", expanding=True))).order_by(
    events.c.stream_id, events.c.seq
)
_LAST_OF_STREAMS: Final = (
    _EVENTS.join(streams, streams.c.stream_id == events.c.stream_id)  # whose seq is that of its last event
    .where(
        streams.c.stream_id.in_(bindparam("stream_ids", expanding=True)),
        events.c.seq > streams.c.seq - bindparam("limit"),
    )
    .order_by(streams.c.stream_id, events.c.seq)
)
_LOG: Final = _EVENTS.where(events.c.position > bindparam("after")).order_by(events.c.position).limit(_LOG_PAGE)
_HASHES: Final = (
    select(events.c.hash)
    .where(events.c.position > bindparam("after"), events.c.position <= bindparam("through"))
    .order_by(events.c.position)
)
_LAST_OF_TYPE: Final = (
    _EVENTS.where(events.c.position > bindparam("after"), events.c.type == bindparam("type"))
    .order_by(events.c.position.desc())
    .limit(1)
)
_OF_ORGANIZATION: Final = (
    _EVENTS.where(
        events.c.position > bindparam("after"),
        events.c.position <= bindparam("through"),
        events.c.organization_id == bindparam("organization_id"),
    )
    .order_by(events.c.position)
    .limit(bindparam("limit"))
)
# Not by a join, which could begin with the streams: the positions bound what is looked at.
_OF_WORKSPACE: Final = _OF_ORGANIZATION.where(
    select(streams.c.workspace_id).where(streams.c.stream_id == events.c.stream_id).scalar_subquery()
    == bindparam("workspace_id")
)
_STREAMS_OF: Final = select(streams).where(streams.c.stream_id.in_(bindparam("stream_ids", expanding=True)))
_HEADS_OF: Final = (
    select(streams.c.stream_id, events.c.type, events.c.data)
    .join(events, and_(events.c.stream_id == streams.c.stream_id, events.c.seq == streams.c.seq))
    .where(streams.c.stream_id.in_(bindparam("stream_ids", expanding=True)))
)
_SNAPSHOT: Final = select(snapshots).where(snapshots.c.stream_id == bindparam("stream_id"))
_SNAPSHOT_PAGE: Final = (
    select(snapshots)
    .where(snapshots.c.stream_id > bindparam("after"))
    .order_by(snapshots.c.stream_id)
    .limit(bindparam("limit"))
)

# Events that retention removed have left their positions in `leaves`, so that none is used twice.
LAST_POSITIONS: Final = select(
    select(func.max(events.c.position)).scalar_subquery(),
    select(func.max(leaves.c.position)).scalar_subquery(),
)


def stored_event(row: Sequence[Any]) -> StoredEvent:
    """The event in a row of `events`."""
    return StoredEvent(row[0], EventRow._make(row[1:]))


class SqlLog(SqlSession):
    """`LogReader` over SQL."""

    async def stream(self, stream_id: bytes) -> StreamRow | None:
        row = await self._one(_STREAM, stream_id=stream_id)
        return None if row is None else StreamRow._make(row)

    async def streams(
        self, *, kind: StreamKind | None = None, after: bytes = b"", limit: int = 1000
    ) -> list[StreamRow]:
        query = select(streams).where(streams.c.stream_id > after).order_by(streams.c.stream_id).limit(limit)
        if kind is not None:
            query = query.where(streams.c.kind == kind)
        if kind not in {None, "execution"}:
            query = query.where(NOT_EXECUTION)  # what the partial index is found by
        return [StreamRow._make(row) for row in await self._query(query)]

    async def streams_of(self, stream_ids: Sequence[bytes]) -> dict[bytes, StreamRow]:
        found: dict[bytes, StreamRow] = {}
        for some in in_parts(list(stream_ids)):
            rows = map(StreamRow._make, await self._all(_STREAMS_OF, stream_ids=some))
            found.update({row.stream_id: row for row in rows})
        return found

    async def events(self, stream_id: bytes, *, after: int = 0, limit: int | None = None) -> list[StoredEvent]:
        if limit is None:
            rows = await self._all(_FORWARD, stream_id=stream_id, after=after)
        else:
            rows = await self._all(_FORWARD_PAGE, stream_id=stream_id, after=after, limit=limit)
        return [stored_event(row) for row in rows]

    async def last_events(self, stream_id: bytes, limit: int) -> list[StoredEvent]:
        rows = await self._all(_BACKWARD_PAGE, stream_id=stream_id, after=0, limit=limit)
        return [stored_event(row) for row in reversed(rows)]

    async def event_page(
        self,
        stream_id: bytes,
        *,
        after: int | None = None,
        types: Sequence[str] = (),
        newest_first: bool = False,
        limit: int = 100,
    ) -> list[StoredEvent]:
        query = _EVENTS.where(events.c.stream_id == stream_id).limit(limit)
        if after is not None:
            query = query.where(events.c.seq < after if newest_first else events.c.seq > after)
        if types:
            query = query.where(events.c.type.in_(types))
        rows = await self._query(query.order_by(events.c.seq.desc() if newest_first else events.c.seq))
        return [stored_event(row) for row in rows]

    async def log_page(
        self, organization_id: bytes, *, workspace_id: bytes | None = None, after: int = 0, limit: int = 100
    ) -> LogPage:
        end = await self.position()
        through = min(end, after + LOG_PAGE_MAX)
        wanted = {"organization_id": organization_id, "after": after, "through": through, "limit": limit}
        if workspace_id is None:
            rows = await self._all(_OF_ORGANIZATION, **wanted)
        else:
            rows = await self._all(_OF_WORKSPACE, **wanted, workspace_id=workspace_id)
        found = [stored_event(row) for row in rows]
        position = found[-1].position if len(found) == limit else max(after, through)
        return LogPage(found, position, position >= end)

    async def last_events_of(self, stream_ids: Sequence[bytes], limit: int) -> dict[bytes, list[StoredEvent]]:
        found: dict[bytes, list[StoredEvent]] = {stream_id: [] for stream_id in stream_ids}
        for some in in_parts(list(found)):
            for row in await self._all(_LAST_OF_STREAMS, stream_ids=some, limit=limit):
                event = stored_event(row)
                found[event.row.stream_id].append(event)
        return found

    async def events_at(self, stream_id: bytes, seqs: Sequence[int]) -> list[StoredEvent]:
        found: list[StoredEvent] = []
        for some in in_parts(sorted(set(seqs))):
            rows = await self._all(_AT, stream_id=stream_id, seqs=some)
            found += [stored_event(row) for row in rows]
        return found

    async def payload_sizes(self, stream_id: bytes, seqs: Sequence[int]) -> dict[int, int]:
        found: dict[int, int] = {}
        for some in in_parts(sorted(set(seqs))):
            found |= {row[0]: row[1] for row in await self._all(_SIZES, stream_id=stream_id, seqs=some)}
        return found

    async def events_of(self, stream_ids: Sequence[bytes]) -> dict[bytes, list[StoredEvent]]:
        found: dict[bytes, list[StoredEvent]] = {stream_id: [] for stream_id in stream_ids}
        for some in in_parts(list(found)):
            for row in await self._all(_OF_STREAMS, stream_ids=some):
                event = stored_event(row)
                found[event.row.stream_id].append(event)
        return found

    async def heads_of(self, stream_ids: Sequence[bytes]) -> dict[bytes, HeadEvent]:
        found: dict[bytes, HeadEvent] = {}
        for some in in_parts(list(stream_ids)):
            found |= {row[0]: HeadEvent(row[1], row[2]) for row in await self._all(_HEADS_OF, stream_ids=some)}
        return found

    async def hashes(self, after: int, through: int) -> list[bytes]:
        return [row[0] for row in await self._all(_HASHES, after=after, through=through)]

    async def last_of_type(self, type_: str, *, after: int = 0) -> StoredEvent | None:
        row = await self._one(_LAST_OF_TYPE, type=type_, after=after)
        return None if row is None else stored_event(row)

    async def log(self, *, after: int = 0) -> AsyncIterator[StoredEvent]:
        while page := await self._all(_LOG, after=after):
            for row in page:
                yield stored_event(row)
            after = page[-1][0]

    async def position(self) -> int:
        row = await self._one(LAST_POSITIONS)
        return max((position or 0 for position in row or ()), default=0)

    async def snapshot(self, stream_id: bytes) -> SnapshotRow | None:
        row = await self._one(_SNAPSHOT, stream_id=stream_id)
        return None if row is None else SnapshotRow._make(row)

    async def snapshots(self, *, after: bytes = b"", limit: int = 16) -> list[SnapshotRow]:
        return [SnapshotRow._make(row) for row in await self._all(_SNAPSHOT_PAGE, after=after, limit=limit)]
