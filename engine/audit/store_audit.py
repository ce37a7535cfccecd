"""Compares every table of a store with the log, and reports each difference (`perdure verify`).

It reads in bounded memory, and `verify` beside a running server. Everything that decides who may act, or what an answer
says, is compared with the log (`engine.audit.rows`); `NOT_COMPARED` says what cannot be. A chain inside a database
cannot see that the log's own end was cut off, with the rows of `streams`: that takes a head that was exported before
(`store/LOG_FORMAT.md`, "Verifying").
"""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Iterable
from typing import Final, NamedTuple

from perdure.engine.audit.answers import answer_flaw
from perdure.engine.audit.origin_check import origin_break
from perdure.engine.audit.pin_check import PinCheck
from perdure.engine.audit.rows import FOLDS, RowFold, differences
from perdure.engine.audit.snapshot_audit import kind_of, snapshots_with_flaws
from perdure.engine.core import ids
from perdure.engine.core.pinned import LogPinned
from perdure.engine.log.codec import decode_json
from perdure.engine.log.verification import Break, StreamVerifier
from perdure.store.audited import MISPLACED, Miscount, Seen, Stray
from perdure.store.errors import StoreError
from perdure.store.protocols import Store
from perdure.store.records import (
    EventRow,
    StoredEvent,
    StreamKind,
    StreamRow,
    WorkflowVersionRow,
)

EVENTS_AT_ONCE: Final = 128
"""So many events are held at a time; each may carry a payload of a mebibyte."""

KNOWN_MAX: Final = 65_536
"""The number of streams, and of definitions, that are cached as present."""

STREAMS_AT_ONCE: Final = 64
ROWS_AT_ONCE: Final = 4096
"""The rows of so many streams are read at once, if they have no more events: an event makes a row or two at most."""

NO_STREAM: Final = bytes(16)
"""The stream id of a break that concerns the database as a whole."""

ADMINISTRATIVE: Final[tuple[StreamKind, ...]] = ("organization", "workflow")

PROJECTED: Final[tuple[StreamKind, ...]] = ("workflow", "execution", "bulk")

NOT_COMPARED: Final = (
    "idempotency keys: a repeated call is in no event; only that its run can have given the answer is looked at",
    "nodes and uses of keys: when a server started and stopped, and when a key was last used, is in no event",
)
"""Data that cannot be compared with the log, each with the reason."""


class AuditReport(NamedTuple):
    """The result of an audit: counts of what was compared, the first fault of each stream, and what the log lacks."""

    streams: int
    events: int
    breaks: list[Break]


async def verify(store: Store, *, organization_id: bytes | None = None) -> AuditReport:
    """Verify every stream of a store, or of one organization (`store/LOG_FORMAT.md`, "Verifying").

    Checked are the chain, payload digests, positions and the head; event 1 against `streams`; definitions
    against the digests in the events; a rerun or fork against its origin; each row of which the stream tells against
    its fold; each snapshot against the fold at its seq; that each event belongs to a stream; and, of a whole store,
    that no position is missing, that each pin holds, that no row is of no stream, that executions are counted right,
    and that nothing is defined that is not ours. Raises `StoreError` if the streams cannot be listed; anything else
    that cannot be read is a break.
    """
    audit = _Audit(store, organization_id)
    async for group in _groups(store, organization_id):
        await audit.group(group)
    await audit.answers()
    await audit.snapshots()
    await audit.log()
    if organization_id is None:
        await audit.strays()
    return AuditReport(audit.streams, audit.events, audit.breaks)


async def verify_streams(store: Store, streams: Iterable[StreamRow]) -> AuditReport:
    """Verify some streams alone: what `verify` checks of each."""
    audit = _Audit(store, None)
    for stream in streams:
        await audit.group([stream])
    return AuditReport(audit.streams, audit.events, audit.breaks)


async def administrative_streams(store: Store) -> AsyncIterator[StreamRow]:
    """The streams of organizations and workflows."""
    for kind in ADMINISTRATIVE:
        async for stream in _streams(store, kind):
            yield stream


async def _streams(store: Store, kind: StreamKind | None = None) -> AsyncIterator[StreamRow]:
    after = b""
    while page := await store.streams(kind=kind, after=after):
        for stream in page:
            yield stream
        after = page[-1].stream_id


async def _groups(store: Store, organization_id: bytes | None) -> AsyncIterator[list[StreamRow]]:
    """All streams by id, in groups of one type of which the rows are read at once: few, or one of many events."""
    group: list[StreamRow] = []
    events = 0
    async for stream in _streams(store):
        if organization_id in {None, stream.organization_id}:
            size = 0 if _malformed(stream) else stream.seq
            if group and (
                stream.kind != group[0].kind or events + size > ROWS_AT_ONCE or len(group) == STREAMS_AT_ONCE
            ):
                yield group
                group, events = [], 0
            group.append(stream)
            events += size
    if group:
        yield group


class _Audit:
    """One walk over a store, and what it has found so far."""

    def __init__(self, store: Store, organization_id: bytes | None) -> None:
        self._store = store
        self._organization_id = organization_id
        self._definitions: dict[tuple[bytes, int], str] = {}
        self.streams = 0
        self.events = 0
        self.breaks: list[Break] = []
        self._pins = PinCheck()

    # --- streams ----------------------------------------------------------------------------------------------

    async def group(self, streams: list[StreamRow]) -> None:
        """Verify some streams of one type, and note the first fault of each."""
        try:
            # Before the events: rows come with their events, so all that is here must have an event there.
            seen = await self._store.seen(streams[0].kind, [stream.stream_id for stream in streams])
        except StoreError as error:
            if len(streams) > 1:  # one by one, to see which it is
                for stream in streams:
                    await self.group([stream])
            else:
                self._count(_Walk(Seen(streams[0], [])), _unreadable(streams[0], 0, error))
            return
        for stream in streams:
            await self._stream(_Walk(seen.get(stream.stream_id, Seen(stream, []))))

    async def _stream(self, walk: _Walk) -> None:
        try:
            found = _malformed(walk.stream) or await self._chain(walk)
            if found is None:
                found = await self._meaning(walk)
            if found is None and walk.has_origin:
                found = await origin_break(self._store, walk.stream)
        except StoreError as error:
            found = _unreadable(walk.stream, walk.verifier.seq, error)
        found = found or walk.differing()
        if found is None:
            for row in walk.pins:
                self._pins.add(row)
        self._count(walk, found)

    def _count(self, walk: _Walk, found: Break | None) -> None:
        self.streams += 1
        self.events += walk.count
        if found is not None:
            self.breaks.append(found)

    async def _chain(self, walk: _Walk) -> Break | None:
        """Walk the events up to the head; beside a server both may have moved on since the head was read."""
        head, verifier = walk.stream, walk.verifier
        while True:
            async for some in _events(self._store, head.stream_id, after=walk.count):
                walk.feed(some)
            if verifier.is_broken or (verifier.seq, verifier.hash) == (head.seq, head.hash):
                break
            before, head = head, await self._store.stream(head.stream_id) or head
            if head == before or head.seq <= verifier.seq:
                break
        return verifier.end((head.seq, head.hash))

    async def _meaning(self, walk: _Walk) -> Break | None:
        """Compare what the events say with `streams` and with definitions. The chain holds: they are as written."""
        stream = walk.stream
        seq = 1
        versions = {row.version for row in walk.stored if isinstance(row, WorkflowVersionRow)}
        try:
            reason = _origin(stream, walk.telling)
            if reason is not None:
                return Break(stream.stream_id, seq, reason)
            for row in walk.telling:
                seq = row.seq
                for workflow, version, digest in _named(stream, row):
                    versions.discard(version)
                    reason = await self._definition(workflow, version, digest)
                    if reason is not None:
                        return Break(stream.stream_id, seq, reason)
        except (
            AttributeError,
            KeyError,
            TypeError,
            ValueError,
        ) as error:  # whoever wrote it knew the hash, not the format
            return Break(stream.stream_id, seq, f"the event does not read as its type: {error!r}")
        if versions:
            return Break(stream.stream_id, walk.verifier.seq, f"no event tells of version {min(versions)}")
        return None

    async def _definition(self, workflow: bytes, version: int, digest: str) -> str | None:
        """Why the stored definition is not the one of this digest. It is hashed again, once in a while."""
        known = self._definitions
        if (workflow, version) not in known:
            row = await self._store.workflow_version(workflow, version)
            if row is None:
                return f"version {version} of the workflow is missing"
            if len(known) >= KNOWN_MAX:
                known.clear()
            found = hashlib.sha256(row.definition.encode())
            known[workflow, version] = found.hexdigest() if found.digest() == row.definition_digest else ""
        if known[workflow, version] == digest:
            return None
        return f"the stored definition of version {version} does not match its digest"

    # --- what requests were answered ------------------------------------------------------------------------

    async def answers(self) -> None:
        """Check that each stored answer is one that its run can have given."""
        after = None
        try:
            while page := await self._store.idempotency_rows(after=after, limit=STREAMS_AT_ONCE):
                seen = await self._store.seen("execution", sorted({row.stream_id for row in page}))
                for row in page:
                    there = seen.get(row.stream_id)  # if it is not: a stray
                    if there is not None and self._organization_id in {None, row.organization_id}:
                        flaw = await answer_flaw(self._store, row, there)
                        if flaw is not None:
                            reason = f"idempotency key {row.key!r}: {flaw}"
                            self.breaks.append(Break(row.stream_id, 0, reason))
                after = page[-1]
        except StoreError as error:
            self.breaks.append(Break(NO_STREAM, 0, f"the idempotency keys cannot be read: {error}"))

    # --- snapshots ------------------------------------------------------------------------------------------

    async def snapshots(self) -> None:
        """Compare each snapshot with the fold at its seq."""
        try:
            async for snapshot, reason in snapshots_with_flaws(self._store, self._organization_id):
                self.breaks.append(Break(snapshot.stream_id, snapshot.seq, f"the snapshot: {reason}"))
        except StoreError as error:
            self.breaks.append(Break(NO_STREAM, 0, f"the snapshots cannot be read: {error}"))

    # --- the log as a whole ---------------------------------------------------------------------------------

    async def log(self) -> None:
        """See that every event belongs to a stream that is there, and that no position is missing.

        Positions are drawn one by one, by whoever holds the log: where one is missing, a row was taken away.
        """
        known: set[bytes] = set()
        previous = 0
        try:
            async for position, row in self._store.log():
                if self._organization_id is None:
                    self._place(previous, position, row)
                previous = position
                if self._organization_id in {None, row.organization_id} and row.stream_id not in known:
                    if len(known) >= KNOWN_MAX:
                        known.clear()
                    known.add(row.stream_id)
                    await self._owner(row)
        except StoreError as error:
            reason = f"the log cannot be read beyond position {previous}: {error}"
            self.breaks.append(Break(NO_STREAM, 0, reason))
        else:
            if self._organization_id is None:
                self.breaks += self._pins.breaks()

    def _place(self, previous: int, position: int, row: EventRow) -> None:
        if position != previous + 1:
            self._note(row, f"{_gap(previous, position)} before it")
        self._pins.feed(position, row.hash)

    async def strays(self) -> None:
        """Note what is no part of a database of Perdure's, and rows of which no stream tells.

        Of a stream that has another fault it goes without saying.
        """
        broken = {found.stream_id for found in self.breaks}
        try:
            self.breaks += [Break(NO_STREAM, 0, reason) for reason in await self._store.shape_flaws()]
            for stray in await self._store.strays():
                if stray.stream_id not in broken:
                    self.breaks.append(Break(stray.stream_id, 0, _untold(stray)))
            if not self.breaks:  # they count rows: of those that are wrong they say nothing
                self.breaks += [Break(NO_STREAM, 0, _miscount(found)) for found in await self._store.miscounted()]
        except StoreError as error:
            self.breaks.append(Break(NO_STREAM, 0, f"the tables cannot be read: {error}"))

    async def _owner(self, row: EventRow) -> None:
        stream = await self._store.stream(row.stream_id)
        if stream is None:
            self._note(row, "its stream is missing in streams")
        elif self._organization_id not in {None, stream.organization_id}:
            self._note(row, "streams names another organization")

    def _note(self, row: EventRow, reason: str) -> None:
        self.breaks.append(Break(row.stream_id, row.seq, reason))


class _Walk:
    """One stream as it is read: its chain, the events that tell what other tables say too, and the fold.

    The fold is that of the head that was seen with the rows; the chain goes on to the last event.
    """

    def __init__(self, seen: Seen) -> None:
        self.stream = seen.stream
        self.stored = seen.rows
        self.verifier = StreamVerifier(seen.stream.stream_id)
        self.count = 0
        self.telling: list[EventRow] = []
        self.pins: list[EventRow] = []
        self._fold: RowFold | None = FOLDS[self.stream.kind](self.stream) if self.stream.kind in FOLDS else None
        self._failure: Exception | None = None

    @property
    def has_origin(self) -> bool:
        """Whether the stream is an execution that was made from another one."""
        return self.stream.kind == "execution" and "origin" in decode_json(self.telling[0].data)

    def feed(self, some: list[StoredEvent]) -> None:
        self.verifier.feed(some)
        self.count += len(some)
        tells = [row for _, row in some if row.seq == 1 or row.type in {"VersionAdded", "VersionPublished"}]
        self.telling += [row._replace(payload=None) for row in tells]
        if self._fold is not None and self._failure is None and not self.verifier.is_broken:
            try:
                seen = [row for _, row in some if row.seq <= self.stream.seq]
                self._fold.feed(seen)
            except Exception as error:  # noqa: BLE001 whatever it is, it is the answer
                self._failure = error
            else:
                self.pins += [row for row in seen if row.type == LogPinned.__name__]

    def differing(self) -> Break | None:
        """The differences between rows and fold; asked for if there is no other fault."""
        found: list[str] = []
        if self._fold is not None and self._failure is None:
            try:
                found = differences(self._fold, self.stored)
            except Exception as error:  # noqa: BLE001 likewise
                self._failure = error
        if self._failure is not None:
            return Break(self.stream.stream_id, self.stream.seq, f"the events cannot be folded: {self._failure!r}")
        if not found:
            return None
        more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
        return Break(self.stream.stream_id, self.stream.seq, f"{found[0]}{more}")


def _malformed(stream: StreamRow) -> Break | None:
    """A row of streams with a value of another type, which anybody can write to a SQLite file, or that none may have.

    Owner and epoch are part of the head that each append expects, and in no event: one that is not as it must be would
    have every append refused.
    """
    types = (bytes, str, bytes, bytes | None, int, bytes)
    if not all(map(isinstance, stream, types)):
        return Break(stream.stream_id, 1, "streams holds what no row is written with")
    if (stream.owner, stream.epoch, type(stream.epoch)) != (None, 0, int):
        reason = "streams says that a node owns it, or an epoch that is not 0: one node owns all, at epoch 0"
        return Break(stream.stream_id, stream.seq, reason)
    return None


def _unreadable(stream: StreamRow, seq: int, error: StoreError) -> Break:
    return Break(stream.stream_id, seq + 1, f"it cannot be read: {error}")


async def _events(store: Store, stream_id: bytes, *, after: int = 0) -> AsyncIterator[list[StoredEvent]]:
    """The events of a stream in parts. Each is asked for by the number read, which no damage makes smaller."""
    while some := await store.events(stream_id, after=after, limit=EVENTS_AT_ONCE):
        yield some
        after += len(some)
        if len(some) < EVENTS_AT_ONCE:
            return


def _gap(previous: int, position: int) -> str:
    if position <= previous:
        return f"position {previous} stands"
    first, last = previous + 1, position - 1
    return f"position {first} is missing" if first == last else f"positions {first} to {last} are missing"


def _origin(stream: StreamRow, telling: list[EventRow]) -> str | None:
    """The differences between a row of `streams` and event 1."""
    if not telling:
        return "the stream has no event"
    first = telling[0]
    data = decode_json(first.data)
    if data["kind"] != stream.kind:
        return f"streams says that it is of kind {stream.kind}, event 1 does not"
    if data.get("workspace") != (None if stream.workspace_id is None else ids.text(stream.workspace_id)):
        return "streams names another workspace than event 1"
    if first.organization_id != stream.organization_id:
        return "streams names another organization than event 1"
    return None


def _named(stream: StreamRow, row: EventRow) -> list[tuple[bytes, int, str]]:
    """The definitions that an event names: workflow, version, digest."""
    data = decode_json(row.data)
    if stream.kind == "execution" and row.seq == 1:
        return [(ids.parse(data["workflow"]), data["workflow_version"], data["definition_sha256"])]
    if stream.kind == "workflow" and row.seq > 1:
        return [(stream.stream_id, data["version"], data["definition_sha256"])]
    return []


# --- projections -------------------------------------------------------------------------------------------


async def compare_projections(store: Store) -> list[str]:
    """Fold every execution and workflow and compare with its rows in the projections.

    Returns what differs, in words. The store must not be written to meanwhile.
    """
    found: list[str] = []
    async for stream in projected_streams(store):
        where = f"{stream.kind} {ids.text(stream.stream_id)}"
        try:
            fold = await fold_rows(store, stream)
            seen = await store.seen(stream.kind, [stream.stream_id])
            found += [f"{where}, {told}" for told in differences(fold, seen[stream.stream_id].rows)]
        except Exception as error:  # noqa: BLE001 whatever it is, it is the answer
            found.append(f"{where}: it cannot be folded: {error!r}")
    found += [_stray(stray) for stray in await store.strays()]
    found += [
        f"{kind_of(snapshot)} {ids.text(snapshot.stream_id)}, snapshot at seq {snapshot.seq}: {reason}"
        async for snapshot, reason in snapshots_with_flaws(store)
    ]
    return found or [_miscount(miscount) for miscount in await store.miscounted()]


async def projected_streams(store: Store) -> AsyncIterator[StreamRow]:
    """The streams that have projections: workflows, then executions, each by id."""
    for kind in PROJECTED:
        async for stream in _streams(store, kind):
            yield stream


async def fold_rows(store: Store, stream: StreamRow) -> RowFold:
    """Fold a stream from its first event. Raises whatever its events are not read with."""
    fold = FOLDS[stream.kind](stream)
    async for some in _events(store, stream.stream_id):
        fold.feed([row for _, row in some])
    return fold


def _miscount(found: Miscount) -> str:
    counted, there = found
    return (
        f"execution_counts: of workflow {ids.text(counted.workflow_id)} it counts {counted.total} {counted.status}, "
        f"there are {there}"
    )


def _stray(stray: Stray) -> str:
    if stray.table == "timers":
        return "timers: there are rows that no execution has set"
    if stray.table == "executions":
        return f"execution {ids.text(stray.stream_id)}: a row without a stream"
    return _untold(stray)


def _untold(stray: Stray) -> str:
    if stray.table == MISPLACED:
        return "queue: position is not that of the event since which it stands in line"
    return f"{stray.table}: a row of which no stream tells"
