"""Loading: streams folded from the store, and the payloads and definitions that decisions look at."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import Any, Final

from engine.codec import decode_json
from engine.core import ids
from engine.language import Machine, compile_machine
from engine.runtime.hot import HotStream
from engine.runtime.kinds import KINDS
from store.protocols import Store
from store.records import Head, StoredEvent, StreamRow

STREAMS_AT_ONCE: Final = 128
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


class Loader:
    """Reads what is committed. Streams that are wanted within one turn of the loop are read together."""

    def __init__(self, store: Store, definitions: Definitions) -> None:
        self._store = store
        self._definitions = definitions
        self._wanted: list[bytes] = []
        self.is_collecting = False

    def want(self, stream_id: bytes) -> None:
        """Ask for a stream; `load` reads it."""
        self._wanted.append(stream_id)
        self.is_collecting = True

    async def load(self) -> dict[bytes, HotStream | Exception | None]:
        """The streams that were asked for: hot, null if there is none, or why it cannot be read."""
        wanted, self._wanted, self.is_collecting = self._wanted, [], False
        found: dict[bytes, HotStream | Exception | None] = {}
        for start in range(0, len(wanted), STREAMS_AT_ONCE):
            some = wanted[start : start + STREAMS_AT_ONCE]
            try:
                events = await self._store.events_of(some)
                for stream_id in some:
                    found[stream_id] = await self._fold(stream_id, events.get(stream_id, []))
            except Exception as error:  # noqa: BLE001 told to who asked for these streams; the others go on
                found.update(dict.fromkeys(some, error))
        return found

    async def _fold(self, stream_id: bytes, stored: list[StoredEvent]) -> HotStream | Exception | None:
        row = await self._store.stream(stream_id)
        if row is None or not stored:
            return None
        try:
            hot = _folded(row, stored)
            if row.kind == "execution":
                workflow_id = ids.parse(hot.state.workflow)
                hot.machine = await self._definitions.machine(workflow_id, hot.state.workflow_version)
        except Exception as error:  # noqa: BLE001 an unknown event, a damaged row: this stream stops, no other
            return error
        return hot

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


def _folded(row: StreamRow, stored: list[StoredEvent]) -> HotStream:
    kind = KINDS[row.kind]
    hot = HotStream(kind, row.stream_id, row.organization_id, row.workspace_id)
    for item in stored:
        recorded = kind.vocabulary.read(item.row)
        hot.state = kind.evolve(hot.state, recorded)
        if recorded.payload is not None:
            hot.payloads[recorded.seq] = recorded.payload
    last = stored[-1].row
    hot.head = Head(last.seq, last.hash, row.epoch)
    hot.prune()
    return hot
