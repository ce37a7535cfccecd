"""The messages between an engine's process and its writer's process, over a private socket.

A message is its length, of 8 bytes, and its body. A request is a batch to append or some other work, and each is
answered in its turn. Batches, and what is usually answered to them, are MessagePack, which encodes rows in a twentieth
of the time that pickle takes; all else is pickled.
"""

from __future__ import annotations

import pickle
import struct
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final, NamedTuple, TypeAlias

import msgspec

from perdure.store.batch import KEY_COLUMNS
from perdure.store.errors import StoreError
from perdure.store.records import Appended, CountChange, Ending, Head, NewEvent, StreamAppend, StreamKind

LENGTH: Final = struct.Struct(">Q")

_BATCH: Final = b"B"
_WORK: Final = b"W"
_APPENDED: Final = b"A"
_RESULT: Final = b"R"

_KINDS: Final[tuple[type[Any], ...]] = tuple(KEY_COLUMNS)
_NUMBER: Final = {kind: number for number, kind in enumerate(_KINDS)}
_MAKE: Final[list[Callable[[Any], Any]]] = [partial(tuple.__new__, kind) for kind in _KINDS]
"""As `_make` of each kind of row, in a third of the time."""

Work: TypeAlias = Callable[[Any], Any]
"""A function that is called with the writer. It must be found by its name: a function of a module, or a `partial` of
one."""


class _Part(NamedTuple):
    """A `StreamAppend` of which the rows have lost their types."""

    stream_id: bytes
    kind: StreamKind
    organization_id: bytes
    workspace_id: bytes | None
    expected: Head
    events: list[NewEvent]
    claims: list[list[Any]]
    puts: list[list[Any]]
    deletes: list[list[Any]]
    endings: list[Ending]
    counts: list[CountChange]


_encode: Final = msgspec.msgpack.Encoder().encode
_decode_batch: Final = msgspec.msgpack.Decoder(tuple[list[int], list[_Part]]).decode
_decode_appended: Final = msgspec.msgpack.Decoder(tuple[int, dict[bytes, Head]]).decode


def batch_request(batch: Sequence[StreamAppend]) -> bytes:
    """The request to append a batch. Raises what a value raises that has no place in a message."""
    # MessagePack does not tell one kind of row from another: their numbers go first, in the order of the rows.
    kinds = [_NUMBER[type(row)] for part in batch for rows in (part.claims, part.puts, part.deletes) for row in rows]
    return _BATCH + _encode((kinds, batch))


def work_request(work: Work) -> bytes:
    """The request to do some work."""
    return _WORK + pickle.dumps(work)


def read_request(request: memoryview) -> list[StreamAppend] | Work:
    """A batch to append, or some work. Raises msgspec.ValidationError for a batch that no store takes."""
    if bytes(request[:1]) == _WORK:
        work: Work = pickle.loads(request[1:])  # noqa: S301 of the process that started this one
        return work
    kinds, parts = _decode_batch(request[1:])
    make = map(_MAKE.__getitem__, kinds)
    typed: Callable[[list[list[Any]]], list[Any]] = lambda rows: [next(make)(row) for row in rows]  # noqa: E731
    return [
        StreamAppend(*part[:6], typed(part.claims), typed(part.puts), typed(part.deletes), *part[9:]) for part in parts
    ]


class WriterFailure(NamedTuple):
    """The answer to a request that failed."""

    error: StoreError


def answer(result: Any) -> bytes:
    """The answer with a result, or with a `WriterFailure`."""
    if isinstance(result, Appended) and not result.refused:
        return _APPENDED + _encode((result.position, result.heads))
    return _RESULT + pickle.dumps(result)


def read_answer(message: bytes | memoryview) -> Any:
    """Decode an answer."""
    if bytes(message[:1]) == _APPENDED:
        position, heads = _decode_appended(message[1:])
        return Appended(position, {}, heads)
    return pickle.loads(message[1:])  # noqa: S301 of the process that this one started
