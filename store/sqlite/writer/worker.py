"""The main function of the writer's process; `store.sqlite.writer.process` starts it."""

from __future__ import annotations

import gc
import signal
import socket
from contextlib import suppress
from typing import Any, Final

from perdure.store.errors import StoreError
from perdure.store.sqlite.errors import store_error
from perdure.store.sqlite.writer.apply import plan
from perdure.store.sqlite.writer.messages import LENGTH, WriterFailure, answer, read_request
from perdure.store.sqlite.writer.writer import Writer

_COLLECT_AFTER: Final = 50_000
"""So many objects more than before, and cycles are looked for: a batch makes many objects, and no cycle."""


def main(descriptor: int, path: str) -> None:
    """Open the database, and serve the process at the other end of a socket until that closes it or dies.

    The first two answers are to no request: that this is the writer, and that the database is open, or why it is not.
    """
    # Who stops the engine's process stops this one with it, after what it was handed: by the end of the socket.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    with socket.socket(fileno=descriptor) as peer:
        _send(peer, None)
        try:
            writer = Writer(path)
        except StoreError as error:
            _send(peer, WriterFailure(error))
            return
        gc.collect()
        gc.freeze()
        gc.set_threshold(_COLLECT_AFTER)
        _send(peer, None)
        while (request := _receive(peer)) is not None:
            _send(peer, _serve(writer, request))


def _serve(writer: Writer, request: memoryview) -> Any:
    try:
        work = read_request(request)
        return writer.append(plan(work)) if isinstance(work, list) else work(writer)
    except Exception as error:  # noqa: BLE001 whatever it is, the one who asked is told
        return WriterFailure(store_error(error))


def _receive(peer: socket.socket) -> memoryview | None:
    """The next message; null if there is none any more."""
    head = _read(peer, LENGTH.size)
    return None if head is None else _read(peer, LENGTH.unpack(head)[0])


def _read(peer: socket.socket, count: int) -> memoryview | None:
    buffer = memoryview(bytearray(count))
    done = 0
    while done < count:
        try:
            read = peer.recv_into(buffer[done:])
        except ConnectionError:  # the other end died with answers that it had not read
            return None
        if not read:  # what was cut off was told to nobody
            return None
        done += read
    return buffer


def _send(peer: socket.socket, result: Any) -> None:
    message = answer(result)
    with suppress(ConnectionError):  # nobody is there to be told; the end is what is read next
        peer.sendall(LENGTH.pack(len(message)) + message)
