"""Loads streams, payloads and definitions from the store."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from typing import Any, Final

import structlog

from perdure.engine.core import ids
from perdure.engine.language import Machine, compile_machine
from perdure.engine.log.codec import decode_json
from perdure.engine.log.snapshots import EVERY, Unusable, check
from perdure.engine.runtime.streams.bulky import apart_if_bulky
from perdure.engine.runtime.streams.fold import BYTES_READ_MAX, EVENTS_AT_ONCE, StreamFold
from perdure.engine.runtime.streams.stream import HotStream
from perdure.engine.runtime.telemetry.metrics import Metrics
from perdure.store.errors import StoreError
from perdure.store.protocols import Store
from perdure.store.records import SnapshotRow, StoredEvent, StreamRow

_log = structlog.get_logger("perdure.loader")

STREAMS_AT_ONCE: Final = 128

PAYLOADS_AHEAD: Final = 64
"""So many payloads from before a snapshot are read with it; else each would be asked for by a decision in turn."""

PAYLOADS_AT_ONCE: Final = 16
"""So many payloads are loaded at once, however large they are; of more, as many as come to BYTES_READ_MAX."""

DEFINITIONS_MAX: Final = 512


class Definitions:
    """Compiled definitions by workflow and version, the least recently used going first.

    What is kept here never ages: a version's definition is never changed, drafts included (`engine.core.workflow`).
    """

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
        return self._keep(key, await apart_if_bulky(row.workspace_id, len(row.definition), _compiled, row.definition))

    def put(self, workflow_id: bytes, version: int, definition: str) -> Machine:
        """Compile and cache a definition."""
        return self._keep((workflow_id, version), _compiled(definition))

    def _keep(self, key: tuple[bytes, int], machine: Machine) -> Machine:
        self._machines[key] = machine
        if len(self._machines) > DEFINITIONS_MAX:
            self._machines.popitem(last=False)
        return machine


def _compiled(definition: str) -> Machine:
    return compile_machine(decode_json(definition))


class Loader:
    """Reads committed streams. Those requested while a read is in progress share the next one."""

    def __init__(self, store: Store, definitions: Definitions, metrics: Metrics) -> None:
        self._store = store
        self._definitions = definitions
        self._metrics = metrics
        self._wanted: list[bytes] = []
        self._distrusted: set[bytes] = set()
        self.is_collecting = False
        self._turn = asyncio.Lock()

    def want(self, stream_id: bytes) -> None:
        """Request a stream; `load` reads it."""
        self._wanted.append(stream_id)
        self.is_collecting = True

    def distrust(self, stream_id: bytes) -> None:
        """Ignore the snapshot of this stream when it is read next."""
        self._distrusted.add(stream_id)

    async def load(self) -> AsyncIterator[dict[bytes, HotStream | Exception | None]]:
        """The streams that were asked for: hot, null if there is none, or why it cannot be read.

        They come in parts, so that the short ones need not wait for the long ones.
        """
        async with self._turn:
            wanted, self._wanted, self.is_collecting = self._wanted, [], False
        long: list[StreamRow] = []
        for start in range(0, len(wanted), STREAMS_AT_ONCE):
            some = wanted[start : start + STREAMS_AT_ONCE]
            found: dict[bytes, HotStream | Exception | None] = dict.fromkeys(some)
            async with self._turn:  # others have theirs in between
                try:
                    long += await self._load(some, found)
                except Exception as error:  # noqa: BLE001 told to who asked for these streams; the others go on
                    found.update(dict.fromkeys(some, error))
            yield found
        for row in long:
            try:
                hot = await self._hot(row, None)
            except StoreError as error:
                yield {row.stream_id: error}
            else:
                yield {row.stream_id: hot}

    async def _load(self, some: list[bytes], found: dict[bytes, HotStream | Exception | None]) -> list[StreamRow]:
        """Read those of some streams that are short, all together; the long ones are left, to be read in pages."""
        rows = await self._store.streams_of(some)
        for short in _in_parts(row for row in rows.values() if row.seq < EVERY):
            events = await self._store.events_of([row.stream_id for row in short])
            for row in short:
                found[row.stream_id] = await self._hot(row, events[row.stream_id])
        long = [row for row in rows.values() if row.seq >= EVERY]
        for row in long:
            del found[row.stream_id]
        return long

    async def _hot(self, row: StreamRow, events: Sequence[StoredEvent] | None) -> HotStream | Exception:
        """A stream, with its definition; `events` are all of a short one."""
        try:
            if events is None:
                fold = await self._long(row)
            else:
                fold = StreamFold(row)
                fold.feed(events)
            hot = fold.hot()
            if row.kind == "execution":
                workflow_id = ids.parse(hot.state.workflow)
                hot.use(await self._definitions.machine(workflow_id, hot.state.workflow_version))
        except StoreError:
            raise
        except Exception as error:  # noqa: BLE001 an unknown event, a damaged row: this stream stops, no other
            return error
        return hot

    async def _long(self, row: StreamRow) -> StreamFold:
        fold = None if row.stream_id in self._distrusted else await self.from_snapshot(row)
        if fold is None:
            fold = await self.from_the_start(row)
            self._distrusted.discard(row.stream_id)
        return fold

    async def from_the_start(self, row: StreamRow) -> StreamFold:
        """The stream folded from its first event."""
        fold = StreamFold(row)
        await fold.read(self._store)
        return fold

    async def from_snapshot(self, row: StreamRow) -> StreamFold | None:
        """The stream folded from its snapshot on; null if it has none that holds."""
        snapshot = await self._store.snapshot(row.stream_id)
        if snapshot is None:
            return None
        fold = StreamFold(row)
        try:
            check(snapshot)
            first = await self._store.events(row.stream_id, after=snapshot.seq - 1, limit=1)
            fold.start_from(snapshot, first[0].row if first else None)
        except Unusable as flaw:
            self._refuse(snapshot, flaw)
            return None
        await fold.read(self._store)
        missing = fold.missing()
        if len(missing) <= PAYLOADS_AHEAD:  # of more, those that a decision needs are read when it needs them
            known = await self._store.events_at(row.stream_id, missing)
            fold.texts |= {row.seq: row.payload for _, row in known if row.payload is not None}
        else:
            fold.sizes = await self._store.payload_sizes(row.stream_id, missing)
        return fold

    def _refuse(self, snapshot: SnapshotRow, flaw: Unusable) -> None:
        shown = {"execution_id": ids.text(snapshot.stream_id), "flaw": flaw.flaw, "reason": str(flaw)}
        is_expected = flaw.flaw == "format"
        (_log.info if is_expected else _log.warning)("snapshot_refused", seq=snapshot.seq, **shown)
        self._metrics.snapshots_refused.add(flaw.flaw)

    async def payloads(self, stream_id: bytes, seqs: Sequence[int]) -> dict[int, Any]:
        """Payloads of events of a stream; of very many bytes the first. Raises `LookupError` if one is erased."""
        if not seqs:
            return {}
        found = {}
        for _, row in await self._store.events_at(stream_id, await self._first_of(stream_id, seqs)):
            if row.payload is None:
                message = f"the payload of event {row.seq} is gone"
                raise LookupError(message)
            found[row.seq] = decode_json(row.payload)
        return found

    async def _first_of(self, stream_id: bytes, seqs: Sequence[int]) -> Sequence[int]:
        """As many of these as are loaded at once: whoever needs the others asks again."""
        if len(seqs) <= PAYLOADS_AT_ONCE:
            return seqs
        sizes = await self._store.payload_sizes(stream_id, seqs)
        left = BYTES_READ_MAX
        for count, seq in enumerate(seqs):
            left -= sizes.get(seq, 0)
            if left < 0:
                return seqs[: count or 1]
        return seqs

    async def wait_outcomes(self, stream_id: bytes, waits: Sequence[str]) -> dict[str, str | None]:
        """The outcomes of these waits of an execution; null for an id that is none of its waits.

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
