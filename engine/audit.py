"""The audit of a whole store: what `perdure verify` says, and what the tests ask of projections.

It reads in bounded memory and beside a running server. A chain inside a database cannot see that the log's own end was
cut off, rows of streams included: that takes a head that was exported before (`log.md`, Checkpoints).
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import AsyncIterator, Iterable
from typing import Any, Final, NamedTuple

from engine import projections
from engine.codec import Break, StreamVerifier, decode_json
from engine.core import ids
from engine.core.draft import Step
from engine.core.state import State
from engine.runtime.kinds import KINDS
from store.errors import StoreError
from store.protocols import Store
from store.records import EventRow, StoredEvent, StreamKind, StreamRow, TimerRow, WaitRow

EVENTS_AT_ONCE: Final = 128
"""Events that are held at a time; each may carry a payload of a mebibyte."""

REMEMBERED_MAX: Final = 65_536
"""Streams, and definitions, that are known to be there."""

LAST_INSTANT: Final = 2**63 - 1


class AuditReport(NamedTuple):
    """How much was looked at, and the first fault of each stream that has one."""

    streams: int
    events: int
    breaks: list[Break]


async def verify(store: Store, *, organization_id: bytes | None = None) -> AuditReport:
    """Verify every stream of a store, or of one organization (`log.md`, An event row).

    Checked are the chain, payload digests, positions and the head; event 1 against `streams`; definitions against the
    digests in the events; that each event belongs to a stream; and, over a whole store, that no position is missing.
    Raises `StoreError` if the streams cannot be listed; what else cannot be read is a break.
    """
    audit = _Audit(store, organization_id)
    async for stream in _streams(store):
        if organization_id in {None, stream.organization_id}:
            await audit.stream(stream)
    await audit.log()
    return AuditReport(audit.streams, audit.events, audit.breaks)


async def _streams(store: Store, kind: StreamKind | None = None) -> AsyncIterator[StreamRow]:
    after = b""
    while page := await store.streams(kind=kind, after=after):
        for stream in page:
            yield stream
        after = page[-1].stream_id


class _Audit:
    """One walk over a store, and what it has found so far."""

    def __init__(self, store: Store, organization_id: bytes | None) -> None:
        self._store = store
        self._organization_id = organization_id
        self._definitions = _Remembered[tuple[bytes, int], str | None]()
        self.streams = 0
        self.events = 0
        self.breaks: list[Break] = []

    # --- a stream --------------------------------------------------------------------------------------------

    async def stream(self, stream: StreamRow) -> None:
        """Verify one stream, and note its first fault."""
        self.streams += 1
        walk = _Walk(stream)
        found: Break | None
        try:
            # Before the events: versions are added with them, so none can be here that no event tells of.
            versions = await self._versions(stream)
            found = await self._chain(walk) or await self._meaning(walk, versions)
        except StoreError as error:
            found = Break(stream.stream_id, walk.verifier.seq + 1, f"it cannot be read: {error}")
        self.events += walk.events
        if found is not None:
            self.breaks.append(found)

    async def _chain(self, walk: _Walk) -> Break | None:
        """Walk the events up to the head. Beside a writer more may follow while they are read."""
        stream_id = walk.stream.stream_id
        head = walk.stream
        while True:
            await self._read_on(walk)
            reached = (walk.verifier.seq, walk.verifier.hash)
            if walk.verifier.is_broken or reached == (head.seq, head.hash):
                break
            latest = await self._store.stream(stream_id) or head
            if latest.seq <= walk.verifier.seq or latest == head:
                head = latest
                break
            head = latest
        return walk.verifier.end((head.seq, head.hash))

    async def _read_on(self, walk: _Walk) -> None:
        stream_id = walk.stream.stream_id
        while True:
            some = await self._store.events(stream_id, after=walk.events, limit=EVENTS_AT_ONCE)
            walk.feed(some)
            if len(some) < EVENTS_AT_ONCE:
                return

    # --- what the events say, against the tables that say it too -----------------------------------------------

    async def _versions(self, stream: StreamRow) -> set[int]:
        if stream.kind != "workflow":
            return set()
        return {row.version for row in await self._store.workflow_versions(stream.stream_id)}

    async def _meaning(self, walk: _Walk, versions: set[int]) -> Break | None:
        """Compare with `streams` and `workflow_versions`. The chain holds, so the events read as written."""
        stream_id = walk.stream.stream_id
        reason = _origin(walk.stream, walk.first)
        if reason is not None:
            return Break(stream_id, 1, reason)
        for seq, workflow, version, digest in walk.definitions:
            versions.discard(version)
            reason = await self._definition(workflow, version, digest)
            if reason is not None:
                return Break(stream_id, seq, reason)
        if versions:
            return Break(stream_id, walk.verifier.seq, f"no event tells of version {min(versions)}")
        return None

    async def _definition(self, workflow: bytes, version: int, digest: str) -> str | None:
        key = (workflow, version)
        if key not in self._definitions:
            row = await self._store.workflow_version(workflow, version)
            stored = None if row is None else hashlib.sha256(row.definition.encode()).hexdigest()
            if row is not None and stored != row.definition_digest.hex():
                stored = "the definition does not match the digest beside it"
            self._definitions.put(key, stored)
        found = self._definitions[key]
        if found is None:
            return f"version {version} of the workflow is missing"
        return None if found == digest else f"the definition of version {version} is not the one that was meant"

    # --- the log as a whole ----------------------------------------------------------------------------------

    async def log(self) -> None:
        """See that every event belongs to a stream that is there, and that no position is missing.

        Positions are drawn one after another by whoever holds the log, so a gap is a row that was taken away.
        """
        known = _Remembered[bytes, bool]()
        previous = 0
        try:
            async for position, row in self._store.log():
                if self._organization_id is None and position != previous + 1:
                    self._note(row, f"{_missing(previous, position)} before it")
                previous = position
                if self._organization_id not in {None, row.organization_id}:
                    continue
                if row.stream_id not in known:
                    known.put(row.stream_id, await self._store.stream(row.stream_id) is not None)
                    if not known[row.stream_id]:
                        self._note(row, "its stream is not in streams")
        except StoreError as error:
            if not self.breaks:  # else the stream that it belongs to has told it
                self.breaks.append(Break(b"", previous, f"the log cannot be read on: {error}"))

    def _note(self, row: EventRow, reason: str) -> None:
        self.breaks.append(Break(row.stream_id, row.seq, reason))


class _Walk:
    """One stream as it is read: its chain, its first event, and the definitions that its events name."""

    def __init__(self, stream: StreamRow) -> None:
        self.stream = stream
        self.verifier = StreamVerifier(stream.stream_id)
        self.events = 0
        self.first: EventRow | None = None
        self.definitions: list[tuple[int, bytes, int, str]] = []

    def feed(self, stored: list[StoredEvent]) -> None:
        self.verifier.feed(stored)
        self.events += len(stored)
        if self.verifier.is_broken:
            return
        for _, row in stored:
            self.first = self.first or row
            if row.type == "ExecutionStarted" and self.stream.kind == "execution":
                data = decode_json(row.data)
                named = (ids.parse(data["workflow"]), data["workflow_version"], data["definition_sha256"])
                self.definitions.append((row.seq, *named))
            elif row.type in {"VersionAdded", "VersionPublished"} and self.stream.kind == "workflow":
                data = decode_json(row.data)
                named = (self.stream.stream_id, data["version"], data["definition_sha256"])
                self.definitions.append((row.seq, *named))


def _missing(previous: int, position: int) -> str:
    if position <= previous:
        return f"position {position} comes again or late, {previous} stands"
    first, last = previous + 1, position - 1
    return f"position {first} is missing" if first == last else f"positions {first} to {last} are missing"


def _origin(stream: StreamRow, first: EventRow | None) -> str | None:
    """What of `streams` differs from event 1."""
    if first is None:
        return "the stream has no event"
    data = decode_json(first.data)
    if not isinstance(data, dict) or data.get("kind") != stream.kind:
        return f"streams says that it is of kind {stream.kind}, event 1 does not"
    if data.get("workspace") != (None if stream.workspace_id is None else ids.text(stream.workspace_id)):
        return "streams names another workspace than event 1"
    if first.organization_id != stream.organization_id:
        return "streams names another organization than event 1"
    return None
