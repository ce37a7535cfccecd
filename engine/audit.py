"""The audit of a whole store: what `perdure verify` says, and what the tests ask of projections.

It reads in bounded memory, and `verify` beside a running server. A chain inside a database cannot see that
the log's own end was cut off, with the rows of `streams`: that takes a head that was exported before
(`log.md`, Checkpoints).
"""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Iterable
from typing import Any, Final, NamedTuple

from engine import projections
from engine.codec import decode_json
from engine.core import ids
from engine.core.draft import Step
from engine.runtime.kinds import KINDS
from engine.snapshot_audit import snapshots_with_flaws
from engine.verification import Break, StreamVerifier
from store.errors import StoreError
from store.protocols import Store
from store.records import EventRow, ExecutionRow, StoredEvent, StreamKind, StreamRow, TimerRow, WaitRow

EVENTS_AT_ONCE: Final = 128
"""So many events are held at a time; each may carry a payload of a mebibyte."""

KNOWN_MAX: Final = 65_536
"""So many streams, and definitions, are remembered to be there."""

LAST_INSTANT: Final = 2**63 - 1


class AuditReport(NamedTuple):
    """How much was looked at, and what does not hold: the first fault of each stream, and what the log lacks."""

    streams: int
    events: int
    breaks: list[Break]


async def verify(store: Store, *, organization_id: bytes | None = None) -> AuditReport:
    """Verify every stream of a store, or of one organization (`log.md`, An event row).

    Checked are the chain, payload digests, positions and the head; event 1 against `streams`; definitions
    against the digests in the events; each snapshot against the fold at its seq; that each event belongs to a
    stream; and, of a whole store, that no position is missing. Raises `StoreError` if the streams cannot be
    listed; anything else that cannot be read is a break.
    """
    audit = _Audit(store, organization_id)
    async for stream in _streams(store):
        if organization_id in {None, stream.organization_id}:
            await audit.stream(stream)
    await audit.snapshots()
    await audit.log()
    return AuditReport(audit.streams, audit.events, audit.breaks)


async def verify_streams(store: Store, streams: Iterable[StreamRow]) -> AuditReport:
    """Verify some streams alone: what `verify` checks of each."""
    audit = _Audit(store, None)
    for stream in streams:
        await audit.stream(stream)
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
        self._definitions: dict[tuple[bytes, int], str] = {}
        self.streams = 0
        self.events = 0
        self.breaks: list[Break] = []

    # --- one stream -----------------------------------------------------------------------------------------

    async def stream(self, stream: StreamRow) -> None:
        """Verify one stream, and note its first fault."""
        self.streams += 1
        walk = _Walk(stream)
        found: Break | None
        try:
            # Before the events: a version is added with its event, so all that is here must be told there.
            versions = await self._versions(stream)
            found = await self._chain(walk)
            if found is None:
                found = await self._meaning(walk, versions)
        except StoreError as error:
            found = Break(stream.stream_id, walk.verifier.seq + 1, f"it cannot be read: {error}")
        self.events += walk.count
        if found is not None:
            self.breaks.append(found)

    async def _versions(self, stream: StreamRow) -> set[int]:
        if stream.kind != "workflow":
            return set()
        return {row.version for row in await self._store.workflow_versions(stream.stream_id)}

    async def _chain(self, walk: _Walk) -> Break | None:
        """Walk the events up to the head; beside a server both may have moved on since the head was read."""
        head, verifier = walk.stream, walk.verifier
        while True:
            async for some in _events(self._store, walk.stream.stream_id, after=walk.count):
                walk.feed(some)
            if verifier.is_broken or (verifier.seq, verifier.hash) == (head.seq, head.hash):
                break
            before, head = head, await self._store.stream(head.stream_id) or head
            if head == before or head.seq <= verifier.seq:
                break
        return verifier.end((head.seq, head.hash))

    async def _meaning(self, walk: _Walk, versions: set[int]) -> Break | None:
        """Compare what the events say with the tables that say it too. The chain holds: they are as written."""
        stream = walk.stream
        seq = 1
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
        except (KeyError, TypeError, ValueError) as error:  # whoever wrote it knew the hash, not the format
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

    # --- snapshots ------------------------------------------------------------------------------------------

    async def snapshots(self) -> None:
        """Compare each snapshot with the fold at its seq."""
        try:
            async for snapshot, reason in snapshots_with_flaws(self._store, self._organization_id):
                self.breaks.append(Break(snapshot.stream_id, snapshot.seq, f"the snapshot: {reason}"))
        except StoreError as error:
            self.breaks.append(Break(bytes(16), 0, f"the snapshots cannot be read: {error}"))

    # --- the log as a whole ---------------------------------------------------------------------------------

    async def log(self) -> None:
        """See that every event belongs to a stream that is there, and that no position is missing.

        Positions are drawn one by one, by whoever holds the log: where one is missing, a row was taken away.
        """
        known: set[bytes] = set()
        previous = 0
        try:
            async for position, row in self._store.log():
                if self._organization_id is None and position != previous + 1:
                    self._note(row, f"{_gap(previous, position)} before it")
                previous = position
                if self._organization_id in {None, row.organization_id} and row.stream_id not in known:
                    if len(known) >= KNOWN_MAX:
                        known.clear()
                    known.add(row.stream_id)
                    await self._owner(row)
        except StoreError as error:
            reason = f"the log cannot be read beyond position {previous}: {error}"
            self.breaks.append(Break(bytes(16), 0, reason))

    async def _owner(self, row: EventRow) -> None:
        stream = await self._store.stream(row.stream_id)
        if stream is None:
            self._note(row, "its stream is missing in streams")
        elif self._organization_id not in {None, stream.organization_id}:
            self._note(row, "streams names another organization")

    def _note(self, row: EventRow, reason: str) -> None:
        self.breaks.append(Break(row.stream_id, row.seq, reason))


class _Walk:
    """One stream as it is read: its chain, and the events that tell what other tables say too."""

    def __init__(self, stream: StreamRow) -> None:
        self.stream = stream
        self.verifier = StreamVerifier(stream.stream_id)
        self.count = 0
        self.telling: list[EventRow] = []

    def feed(self, some: list[StoredEvent]) -> None:
        self.verifier.feed(some)
        self.count += len(some)
        tells = [row for _, row in some if row.seq == 1 or row.type in {"VersionAdded", "VersionPublished"}]
        self.telling += [row._replace(payload=None) for row in tells]


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
    """What `streams` says that event 1 does not."""
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
    """Fold every execution and compare with its rows in `executions`, `waits`, `timers` and `snapshots`.

    Returns what differs, in words. The store must not be written to meanwhile.
    """
    found: list[str] = []
    timers = 0
    async for stream in _streams(store, "execution"):
        try:
            fold = await fold_execution(store, stream)
        except Exception as error:  # noqa: BLE001 whatever it is, it is the answer
            found.append(f"execution {ids.text(stream.stream_id)}: it cannot be folded: {error!r}")
            continue
        timers += len(fold.timers)
        found += await _differences(store, stream.stream_id, fold)
    found += await _orphans(store)
    if len(await store.due_timers(LAST_INSTANT, limit=timers + 1)) > timers:
        found.append("timers: there are rows that no execution has set")
    found += [
        f"execution {ids.text(snapshot.stream_id)}, snapshot at seq {snapshot.seq}: {reason}"
        async for snapshot, reason in snapshots_with_flaws(store)
    ]
    return found


class Fold(NamedTuple):
    """The rows that an execution's events ask for."""

    execution: ExecutionRow
    waits: dict[bytes, WaitRow]
    timers: set[TimerRow]


def executions_of(store: Store) -> AsyncIterator[StreamRow]:
    """All executions' streams, by id."""
    return _streams(store, "execution")


async def fold_execution(store: Store, stream: StreamRow) -> Fold:
    """Fold an execution from its first event. Raises whatever its events are not read with."""
    kind = KINDS["execution"]
    state, waits, timers = kind.initial(), dict[bytes, WaitRow](), set[TimerRow]()
    async for some in _events(store, stream.stream_id):
        before, steps = state, list[Step]()
        for _, row in some:
            recorded = kind.vocabulary.read(row)
            state = kind.evolve(state, recorded)
            steps.append(Step(recorded, state))
        changes = projections.changes(stream.stream_id, stream.organization_id, before, steps)
        waits.update({row.wait_id: row for row in changes.waits})
        timers |= set(changes.timers)
        timers -= set(changes.timers_gone)
    execution = projections.execution_row(stream.stream_id, stream.organization_id, state)
    return Fold(execution, waits, timers)


async def _differences(store: Store, execution_id: bytes, fold: Fold) -> list[str]:
    where = f"execution {ids.text(execution_id)}"
    found = _columns(where, await store.execution(execution_id), fold.execution)
    stored = {row.wait_id: row for row in await store.waits_of(execution_id)}
    for wait_id in sorted(stored.keys() | fold.waits.keys()):
        wait = f"{where}, wait {ids.text(wait_id)}"
        found += _columns(wait, stored.get(wait_id), fold.waits.get(wait_id))
    timers = set(await store.timers_of(execution_id))
    found += [f"{where}: timer {timer} at {due} is missing" for due, _, timer in fold.timers - timers]
    found += [f"{where}: timer {timer} at {due} should be gone" for due, _, timer in timers - fold.timers]
    return found


def _columns(where: str, stored: Any, folded: Any) -> list[str]:
    """The columns in which a stored row differs from the folded one; either may be missing."""
    if stored is None or folded is None:
        return [] if stored is folded else [f"{where}: {'no row' if stored is None else 'a row too many'}"]
    return [
        f"{where}: {name} is {getattr(stored, name)!r}, the fold says {getattr(folded, name)!r}"
        for name in folded._fields
        if getattr(stored, name) != getattr(folded, name)
    ]


async def _orphans(store: Store) -> list[str]:
    """Rows of executions that have no stream."""
    found: list[str] = []
    for organization in await store.organizations():
        before = None
        while page := await store.execution_page(organization_id=organization.organization_id, before=before):
            found += [
                f"execution {ids.text(row.execution_id)}: a row without a stream"
                for row in page
                if await store.stream(row.execution_id) is None
            ]
            before = page[-1].execution_id
    return found
