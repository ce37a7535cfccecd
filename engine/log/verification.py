"""Verification of one stream's hash chain as it is stored; nothing that is read is trusted.

What is checked, and what that proves, is written down in `store/LOG_FORMAT.md`, "Verifying".
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from typing import NamedTuple

from perdure.engine.log.codec import decode_json
from perdure.store.chain import event_hash, payload_digest
from perdure.store.records import NO_HASH, EventRow, StoredEvent


class Break(NamedTuple):
    """The first fault of a stream's chain: its place, and a description."""

    stream_id: bytes
    seq: int
    reason: str


class StreamVerifier:
    """Walks one stream's chain as stored, in as many parts as it is read in: seqs, positions, hashes, digests.

    A payload may be missing only if a later `Erased` event of the stream names its seq; so what is missing is known
    for a fault at the end only. `seq` and `hash` are the last event's, as far as the chain holds.
    """

    def __init__(self, stream_id: bytes) -> None:
        self.stream_id = stream_id
        self.seq = 0
        self.hash = NO_HASH
        self._position = 0
        self._missing: set[int] = set()
        self._break: Break | None = None

    @property
    def is_broken(self) -> bool:
        """Whether the chain does not hold; later events are then looked at for what they say was erased."""
        return self._break is not None

    def feed(self, stored: Iterable[StoredEvent]) -> None:
        """Verify the next events."""
        for position, row in stored:
            if self._break is None:
                reason = self._defect(position, row)
                if reason is None:
                    self.seq, self.hash, self._position = row.seq, row.hash, position
                else:
                    self._break = Break(self.stream_id, self.seq + 1, reason)
            if row.type == "Erased":
                self._missing -= _erased_seqs(row)

    def end(self, head: tuple[int, bytes] | None) -> Break | None:
        """The first fault, or null; `head` is the stream's row in `streams`."""
        found = self._break or self._head_break(head)
        if self._missing and (found is None or min(self._missing) < found.seq):
            reason = "the payload is missing, and no later event says that it was erased"
            return Break(self.stream_id, min(self._missing), reason)
        return found

    def _head_break(self, head: tuple[int, bytes] | None) -> Break | None:
        if head is None or head == (self.seq, self.hash):
            return None
        if head[0] != self.seq:
            reason = f"the stream ends at seq {self.seq}, its head says {head[0]}"
            return Break(self.stream_id, min(head[0], self.seq) + 1, reason)
        return Break(self.stream_id, self.seq, "the head's hash is not that of the last event")

    def _defect(self, position: int, row: EventRow) -> str | None:
        if row.seq != self.seq + 1:
            return f"event {row.seq} stands where event {self.seq + 1} is due"
        try:
            if event_hash(row, self.hash) != row.hash:
                return "the hash does not match the event and the one before it"
            reason = self._payload_defect(row)
        except (AttributeError, TypeError, ValueError, struct.error):
            return "a column holds what no event is written with"
        if reason is None and position <= self._position:
            reason = f"position {position} does not ascend"
        return reason

    def _payload_defect(self, row: EventRow) -> str | None:
        if row.payload_digest is None:
            is_empty = row.payload is None and row.payload_salt is None
            return None if is_empty else "a payload without a digest"
        if row.payload is None and row.payload_salt is None:
            self._missing.add(row.seq)
            return None
        if row.payload is None or row.payload_salt is None:
            return "half of the payload is missing"
        if payload_digest(row.payload_salt, row.payload.encode()) != row.payload_digest:
            return "the payload does not match its digest"
        return None


def verify_stream(stream_id: bytes, stored: Iterable[StoredEvent], head: tuple[int, bytes] | None) -> Break | None:
    """Walk a stream's chain at once (`StreamVerifier`): the first fault, if there is one."""
    verifier = StreamVerifier(stream_id)
    verifier.feed(stored)
    return verifier.end(head)


def _erased_seqs(row: EventRow) -> set[int]:
    """The seqs of which an `Erased` event says that their payload was erased: earlier ones only."""
    try:
        return {seq for seq in decode_json(row.data)["seqs"] if seq < row.seq}
    except (KeyError, TypeError, ValueError):  # it does not read as one: its hash tells
        return set()
