"""Loading: streams folded from the store, and the payloads and definitions that decisions look at."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

import structlog

from engine.codec import decode_json
from engine.core import ids
from engine.language import Machine, compile_machine
from engine.runtime.hot import HotStream
from engine.runtime.kinds import KINDS, Kind
from engine.runtime.metrics import Metrics
from engine.snapshots import EVERY, Unusable, due_after, restore
from store.errors import StoreError
from store.protocols import Store
from store.records import NEW_STREAM, EventRow, Head, SnapshotRow, StoredEvent, StreamRow

_log = structlog.get_logger("perdure.loader")

STREAMS_AT_ONCE: Final = 128

EVENTS_AT_ONCE: Final = 1000
"""So many events are held at a time; the payloads of those before, as far as they are live."""

PAYLOADS_AHEAD: Final = 64
"""So many payloads from before a snapshot are read with it; else each would be asked for by a decision in turn."""

DEFINITIONS_MAX: Final = 512


class Definitions:
    """Compiled definitions by workflow and version, the least recently used going first."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._machines: OrderedDict[tuple[bytes, int], Machine] = OrderedDict()

    async def machine(self, workflow_id: bytes, version: int) -> Machine:
        """The compiled definition. Raises `LookupError` if there is none."""
        key = (workflow_id, version)
        if key in self._machines:
            self._machines.move_to_end(key)
            return self._machines[key]
        row = await self._store.workflow_version(workflow_id, version)
        if row is None:
            message = f"workflow {ids.text(workflow_id)} has no version {version}"
            raise LookupError(message)
        return self.put(workflow_id, version, row.definition)

    def put(self, workflow_id: bytes, version: int, definition: str) -> Machine:
        """Compile a definition that is at hand."""
        machine = compile_machine(decode_json(definition))
        self._machines[workflow_id, version] = machine
        if len(self._machines) > DEFINITIONS_MAX:
            self._machines.popitem(last=False)
        return machine


class Fold:
    """A stream as it is read: its state so far, and the payloads that a later decision may look at, as text."""

    def __init__(self, row: StreamRow) -> None:
        self.kind: Kind = KINDS[row.kind]
        self.row = row
        self.state: Any = self.kind.initial()
        self.head = NEW_STREAM
        self.texts: dict[int, str] = {}
        self.snapshot_due = self.kind.snapshot_due

    def feed(self, events: Sequence[StoredEvent]) -> None:
        """Go on with the next events; of their payloads, what is not live is let go at once."""
        kind, texts, state = self.kind, self.texts, self.state
        for _, row in events:
            if row.payload is not None:
                texts[row.seq] = row.payload
            state = kind.evolve(state, kind.vocabulary.read(row._replace(payload=None)))  # a fold reads none
            self.head = Head(row.seq, row.hash, self.row.epoch)
        self.state = state
        live = kind.live_seqs(state)
        if live is not None:
            self.texts = {seq: text for seq, text in texts.items() if seq in live}

    def start_from(self, snapshot: SnapshotRow, event: EventRow | None) -> None:
        """Begin at a snapshot; `event` is the one at its seq. Raises `Unusable`."""
        self.state = restore(snapshot, event)
        self.head = Head(snapshot.seq, snapshot.hash, self.row.epoch)
        self.snapshot_due = due_after(snapshot)

    def missing(self) -> list[int]:
        """Seqs of live payloads that are not at hand: those from before the snapshot."""
        live = self.kind.live_seqs(self.state) or frozenset()
        return sorted(live - self.texts.keys())

    def hot(self) -> HotStream:
        """The stream as it goes on."""
        row = self.row
        if not self.head.seq:
            message = "a stream without events"
            raise LookupError(message)
        hot = HotStream(self.kind, row.stream_id, row.organization_id, row.workspace_id)
        hot.state, hot.head, hot.snapshot_due = self.state, self.head, self.snapshot_due
        hot.payloads = {seq: decode_json(text) for seq, text in self.texts.items()}
        return hot


class Loader:
    """Reads what is committed. Streams that are wanted within one turn of the loop are read together."""

    def __init__(self, store: Store, definitions: Definitions, metrics: Metrics) -> None:
        self._store = store
        self._definitions = definitions
        self._metrics = metrics
        self._wanted: list[bytes] = []
        self.is_collecting = False

    def want(self, stream_id: bytes) -> None:
        """Ask for a stream; `load` reads it."""
        self._wanted.append(stream_id)
        self.is_collecting = True

    async def load(self) -> dict[bytes, HotStream | Exception | None]:
        """The streams that were asked for: hot, null if there is none, or why it cannot be read."""
        wanted, self._wanted, self.is_collecting = self._wanted, [], False
        found: dict[bytes, HotStream | Exception | None] = dict.fromkeys(wanted)
        for start in range(0, len(wanted), STREAMS_AT_ONCE):
            some = wanted[start : start + STREAMS_AT_ONCE]
            try:
                await self._load(some, found)
            except Exception as error:  # noqa: BLE001 told to who asked for these streams; the others go on
                found.update(dict.fromkeys(some, error))
        return found

    async def _load(self, some: list[bytes], found: dict[bytes, HotStream | Exception | None]) -> None:
        """Read some streams: the short ones together, and each long one in pages."""
        rows = await self._store.streams_of(some)
        for short in _in_parts(row for row in rows.values() if row.seq < EVERY):
            events = await self._store.events_of([row.stream_id for row in short])
            for row in short:
                found[row.stream_id] = await self._hot(row, events[row.stream_id])
        for row in rows.values():
            if row.seq >= EVERY:
                found[row.stream_id] = await self._hot(row, None)

    async def _hot(self, row: StreamRow, events: Sequence[StoredEvent] | None) -> HotStream | Exception:
        """A stream, with its definition; `events` are all of a short one."""
        try:
            if events is None:
                fold = await self.from_snapshot(row) or await self.from_the_start(row)
            else:
                fold = Fold(row)
                fold.feed(events)
            hot = fold.hot()
            if row.kind == "execution":
                workflow_id = ids.parse(hot.state.workflow)
                hot.machine = await self._definitions.machine(workflow_id, hot.state.workflow_version)
        except StoreError:
            raise
        except Exception as error:  # noqa: BLE001 an unknown event, a damaged row: this stream stops, no other
            return error
        return hot

    async def from_the_start(self, row: StreamRow) -> Fold:
        fold = Fold(row)
        await self._go_on(fold)
        return fold

    async def from_snapshot(self, row: StreamRow) -> Fold | None:
        """The stream folded from its snapshot on; null if it has none that holds."""
        snapshot = await self._store.snapshot(row.stream_id)
        if snapshot is None:
            return None
        fold = Fold(row)
        try:
            first = await self._store.events_at(row.stream_id, [snapshot.seq])
            fold.start_from(snapshot, first[0].row if first else None)
        except Unusable as flaw:
            self._refuse(snapshot, flaw)
            return None
        await self._go_on(fold)
        missing = fold.missing()
        if len(missing) <= PAYLOADS_AHEAD:  # of more, those that a decision needs are read when it needs them
            known = await self._store.events_at(row.stream_id, missing)
            fold.texts |= {row.seq: row.payload for _, row in known if row.payload is not None}
        return fold

    async def _go_on(self, fold: Fold) -> None:
        """Fold what follows, so many events at a time."""
        while page := await self._store.events(fold.row.stream_id, after=fold.head.seq, limit=EVENTS_AT_ONCE):
            fold.feed(page)
            if len(page) < EVENTS_AT_ONCE:
                return

    def _refuse(self, snapshot: SnapshotRow, flaw: Unusable) -> None:
        shown = {"execution_id": ids.text(snapshot.stream_id), "flaw": flaw.flaw, "reason": str(flaw)}
        is_expected = flaw.flaw == "format"
        (_log.info if is_expected else _log.warning)("snapshot_refused", seq=snapshot.seq, **shown)
        self._metrics.snapshots_refused.add(flaw.flaw)

    async def payloads(self, stream_id: bytes, seqs: Sequence[int]) -> dict[int, Any]:
        """Payloads of events of a stream. Raises `LookupError` if one is erased."""
        if not seqs:
            return {}
        found = {}
        for _, row in await self._store.events_at(stream_id, seqs):
            if row.payload is None:
                message = f"the payload of event {row.seq} is gone"
                raise LookupError(message)
            found[row.seq] = decode_json(row.payload)
        return found

    async def wait_outcomes(self, stream_id: bytes, waits: Sequence[str]) -> dict[str, str | None]:
        """How these waits of an execution ended; null for what is none of its waits.

        A wait that is open on disk is left out: its end, if the state knows of one, is still being committed.
        """
        outcomes: dict[str, str | None] = {}
        for wait in waits:
            row = await self._store.wait(ids.parse(wait)) if ids.is_id(wait) else None
            if row is None or row.execution_id != stream_id:
                outcomes[wait] = None
            elif row.outcome is not None:
                outcomes[wait] = row.outcome
        return outcomes


def _in_parts(rows: Iterable[StreamRow]) -> Iterator[list[StreamRow]]:
    """Streams in parts that have so many events together as are read at a time."""
    part, count = list[StreamRow](), 0
    for row in rows:
        if part and count + row.seq > EVENTS_AT_ONCE:
            yield part
            part, count = [], 0
        part.append(row)
        count += row.seq
    if part:
        yield part
