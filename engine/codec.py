"""Events as the log keeps them: JSON text, salted payload digests, and the chain of hashes (`log.md`).

What is on disk is a promise, so this module is exact. A row's hash covers values, never a form of storage; `data` and
`payload` are kept as the text written and verified as stored, never encoded again.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache, partial
from typing import Any, Final, NamedTuple

import msgspec

from engine.core.events import Event, Recorded
from store.records import NO_HASH, EventRow, StoredEvent

_DOMAIN: Final = b"perdure-event-1\n"
_NULL: Final = b"\x00" + bytes(8)
_INTEGER: Final = struct.Struct(">BQq").pack
_LENGTH: Final = struct.Struct(">BQ").pack
_sha256: Final = hashlib.sha256

encode_json: Callable[[Any], bytes] = msgspec.json.Encoder().encode
decode_json: Callable[[str | bytes], Any] = msgspec.json.Decoder().decode

# As `EventRow._make`, in a third of the time of its constructor.
_event_row: Callable[[tuple[Any, ...]], EventRow] = partial(tuple.__new__, EventRow)


class UnknownEvent(Exception):
    """An event of a type or version that this program does not know: it must not be skipped."""

    def __init__(self, name: str, version: int) -> None:
        super().__init__(f"event {name} version {version} is not known to this version of Perdure")


class Vocabulary:
    """The event types of one kind of stream, by name and version."""

    def __init__(self, types: Iterable[type[Event]]) -> None:
        self._decoders = {(cls.__name__, 1): msgspec.json.Decoder(cls) for cls in types}

    def names(self) -> list[str]:
        """The names of all types, in the order given."""
        return [name for name, _ in self._decoders]

    def read(self, row: EventRow) -> Recorded:
        """The event of a row. An erased payload reads as null. Raises `UnknownEvent`."""
        decoder = self._decoders.get((row.type, row.version))
        if decoder is None:
            raise UnknownEvent(row.type, row.version)
        payload = None if row.payload is None else decode_json(row.payload)
        return Recorded(row.seq, row.recorded_at, row.actor, row.caused_by, decoder.decode(row.data), payload)

    def read_all(self, stored: Iterable[StoredEvent]) -> list[Recorded]:
        """The events of several rows."""
        return [self.read(item.row) for item in stored]


class Chain(NamedTuple):
    """Where rows are added: whose stream it is, and the hash of its last event."""

    organization_id: bytes
    stream_id: bytes
    hash: bytes = NO_HASH

    def write(self, events: Sequence[Recorded], random: Callable[[int], bytes]) -> tuple[EventRow, ...]:
        """The rows of events that follow; `random(n)` gives n bytes for the salts."""
        rows: list[EventRow] = []
        organization_id, stream_id, previous = self
        owner = _owner(organization_id, stream_id)
        for recorded in events:
            event, payload = recorded.event, recorded.payload
            seq, at, actor, cause = recorded.seq, recorded.recorded_at, recorded.actor, recorded.caused_by
            text = salt = digest = None
            if payload is not None:
                encoded = encode_json(payload)
                salt = random(16)
                text, digest = encoded.decode(), payload_digest(salt, encoded)
            name = type(event).__name__
            data = encode_json(event)
            previous = _hash(owner, seq, _kind(name, 1), at, actor, cause, data, digest, previous)
            row = (
                stream_id,
                seq,
                organization_id,
                name,
                1,
                at,
                actor,
                cause,
                data.decode(),
                text,
                salt,
                digest,
                previous,
            )
            rows.append(_event_row(row))
        return tuple(rows)


def payload_digest(salt: bytes, payload: bytes) -> bytes:
    """SHA-256 of the salt and the payload's UTF-8."""
    return _sha256(salt + payload).digest()


def event_hash(row: EventRow, previous: bytes) -> bytes:
    """The hash of a row, chained to that of the event before it (`log.md`, An event row)."""
    return _hash(
        _owner(row.organization_id, row.stream_id),
        row.seq,
        _kind(row.type, row.version),
        row.recorded_at,
        row.actor,
        row.caused_by,
        row.data.encode(),
        row.payload_digest,
        previous,
    )


def _hash(  # noqa: PLR0913, PLR0917 the fields that the format names, in its order
    owner: bytes,
    seq: int,
    kind: bytes,
    recorded_at: int,
    actor: str,
    caused_by: int | None,
    data: bytes,
    payload_digest: bytes | None,
    previous: bytes,
) -> bytes:
    return _sha256(
        b"".join(
            (
                owner,
                _INTEGER(1, 8, seq),
                kind,
                _INTEGER(1, 8, recorded_at),
                _word(actor),
                _NULL if caused_by is None else _INTEGER(1, 8, caused_by),
                _LENGTH(2, len(data)),
                data,
                _NULL if payload_digest is None else _LENGTH(3, len(payload_digest)) + payload_digest,
                previous,
            )
        )
    ).digest()


@lru_cache(maxsize=1024)
def _owner(organization_id: bytes, stream_id: bytes) -> bytes:
    """What all hashes of a stream begin with: the domain, and whose stream it is."""
    lengths = _LENGTH(3, len(organization_id)), _LENGTH(3, len(stream_id))
    return b"".join((_DOMAIN, lengths[0], organization_id, lengths[1], stream_id))


@lru_cache(maxsize=1024)
def _kind(name: str, version: int) -> bytes:
    """The type of an event and its version."""
    return _word(name) + _INTEGER(1, 8, version)


@lru_cache(maxsize=1024)
def _word(value: str) -> bytes:
    """A text that recurs, such as an actor."""
    encoded = value.encode()
    return _LENGTH(2, len(encoded)) + encoded


# --- verification ------------------------------------------------------------------------------------------------


class Break(NamedTuple):
    """The first place of a stream where the log does not hold together, and why."""

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
        """Go on with the next events."""
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
        """The first fault of all, if there is one; `head` is what `streams` says of the last event."""
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
