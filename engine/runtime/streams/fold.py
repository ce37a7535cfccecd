"""Folds a stored stream in constant memory, however long it is."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any, Final

from perdure.engine.log.codec import decode_json
from perdure.engine.log.snapshots import Unusable, due_after, restore
from perdure.engine.runtime.streams.stream import HotStream, StreamType, bytes_of
from perdure.engine.runtime.streams.stream_types import STREAM_TYPES
from perdure.store.protocols import Store
from perdure.store.records import NEW_STREAM, EventRow, Head, SnapshotRow, StoredEvent, StreamRow

EVENTS_AT_ONCE: Final = 1000
"""So many events are held at a time; of those before, the payloads that are live."""

BYTES_READ_MAX: Final = 16 * 1024 * 1024
"""Of more bytes of payloads the rest is not read from its text before a decision asks for it."""


class StreamFold:
    """A stream while it is read: its state so far, and the payloads that a later decision may need, as text."""

    def __init__(self, row: StreamRow) -> None:
        self.kind: StreamType = STREAM_TYPES[row.kind]
        self.row = row
        self.state: Any = self.kind.initial()
        self.head = NEW_STREAM
        self.texts: dict[int, str] = {}
        self.sizes: dict[int, int] = {}
        """Bytes of live payloads that are not at hand as texts."""
        self._added = 0
        self.snapshot_due = self.kind.snapshot_due
        self._prune_above = 0

    def feed(self, events: Sequence[StoredEvent]) -> None:
        """Fold the next events, and drop payloads that are not live. Raises what decoding and folding raise."""
        kind, texts, state = self.kind, self.texts, self.state
        for _, row in events:
            written = bytes_of(row.data)
            if row.payload is not None:
                texts[row.seq] = row.payload
                self._added += len(row.payload)
                written += bytes_of(row.payload)
            before, state = state, kind.evolve(state, kind.vocabulary.read(row._replace(payload=None)))  # reads none
            kind.weigh(state, before, written)
            self.head = Head(row.seq, row.hash, self.row.epoch)
        self.state = state
        if len(texts) > self._prune_above or self._added > BYTES_READ_MAX:
            self._prune()

    def _prune(self) -> None:
        """Let go of payloads that are not live; of a wide state as rarely as `HotStream` does, for the same reason."""
        live = self.kind.live_seqs(self.state)
        self._added = 0
        if live is not None:
            self.texts = {seq: text for seq, text in self.texts.items() if seq in live}
            width = self.kind.width(self.state)
            self._prune_above = max(2 * len(self.texts), width) if width > EVENTS_AT_ONCE else 0

    async def read(self, store: Store, to: int | None = None) -> None:
        """Fold the stored events up to a seq or to the end. Raises `StoreError`, and what `feed` raises."""
        count = limit = EVENTS_AT_ONCE
        while count == EVENTS_AT_ONCE:
            if to is not None:
                limit = max(0, min(EVENTS_AT_ONCE, to - self.head.seq))
            page = await store.events(self.row.stream_id, after=self.head.seq, limit=limit)
            self.feed(page)
            count = len(page)

    def start_from(self, snapshot: SnapshotRow, event: EventRow | None) -> None:
        """Start at a snapshot; `event` is the one at its seq. Raises `Unusable`."""
        state = restore(snapshot, event and event.hash)
        if type(state) is not type(self.state):
            raise Unusable("content", "it is of another type of stream")
        self.state = state
        self.head = Head(snapshot.seq, snapshot.hash, self.row.epoch)
        self.snapshot_due = due_after(snapshot)

    def missing(self) -> list[int]:
        """The seqs of live payloads from before the snapshot, which are not loaded."""
        live = self.kind.live_seqs(self.state) or frozenset()
        return sorted(live - self.texts.keys())

    def hot(self) -> HotStream:
        """The stream in memory."""
        row = self.row
        if not self.head.seq:
            message = "a stream without events"
            raise LookupError(message)
        self._prune()
        hot = HotStream(self.kind, row.stream_id, row.organization_id, row.workspace_id)
        payloads: dict[int, Any] = {}
        left = BYTES_READ_MAX if self.kind.live_seqs(self.state) is not None else sys.maxsize
        for seq, text in self.texts.items():
            left -= len(text)
            if left < 0:
                break
            payloads[seq] = decode_json(text)
        sizes = self.sizes | {seq: bytes_of(text) for seq, text in self.texts.items()}
        hot.restore(self.state, self.head, payloads, sizes, self.snapshot_due)
        return hot
