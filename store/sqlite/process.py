"""The writer in a process of its own, so that commits and decisions do not share an interpreter.

The process lives as long as the socket to it. If this one dies, it ends after the commit that it is at, and holds the
database's lock until then; whatever it still committed has been answered to nobody. If it dies, nobody knows what is on
disk of what it was given: every later write raises CommitUnknown, as after a COMMIT that failed.
"""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, Final, TypeVar

from store.errors import CommitUnknown, StoreUnavailable
from store.records import Appended, StreamAppend
from store.sqlite.lock import FileLock
from store.sqlite.messages import LENGTH, Failure, batch_request, read_answer, work_request
from store.sqlite.writer import Writer

T = TypeVar("T")

_BUFFER_BYTES: Final = 1024 * 1024
"""What the system may hold of a message, so that a usual batch is handed over in one go."""

_END_S: Final = 10
"""Seconds that the process is given to end once it has closed the database."""

_PROGRAM: Final = """\
import sys
sys.path[:] = {path!r}
from store.sqlite.worker import main
main({descriptor}, {database!r})
"""


class WriterProcess:
    """A writer, the process that it lives in, and the lock that makes it the only one."""

    def __init__(self, process: subprocess.Popen[bytes], lock: FileLock, peer: _Peer) -> None:
        self._process = process
        self._lock = lock
        self._peer = peer

    @classmethod
    async def open(cls, path: str) -> WriterProcess:
        """Take the lock, start the process, and wait until it has opened the database.

        Raises StoreError, DatabaseInUse above all.
        """
        lock = await asyncio.to_thread(FileLock.acquire, path)
        ours, theirs = socket.socketpair()
        try:
            with theirs:
                theirs.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER_BYTES)
                process = await asyncio.to_thread(_start, path, theirs.fileno(), lock.descriptor)
            ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _BUFFER_BYTES)
            _, peer = await asyncio.get_running_loop().create_connection(_Peer, sock=ours)
        except BaseException:
            ours.close()
            lock.release()
            raise
        writer = cls(process, lock, peer)
        try:
            await peer.is_open
        except CommitUnknown as error:
            await writer._end()
            raise StoreUnavailable("the writer's process ended before it had opened the database") from error
        except BaseException:
            await writer._end()
            raise
        return writer

    def append(self, batch: Sequence[StreamAppend]) -> asyncio.Future[Appended]:
        """Append a batch, which the process numbers, chains and writes."""
        return self._peer.ask(batch_request(batch))

    def run(self, work: Callable[[Writer], T]) -> asyncio.Future[T]:
        """Do some work there, and to the end even if the caller is cancelled meanwhile."""
        return self._peer.ask(work_request(work))

    async def close(self) -> None:
        """Close the writer after what it was handed before, and wait for the end of its process."""
        try:
            with suppress(CommitUnknown):  # it is gone, and nothing of it is left to close
                await self.run(Writer.close)
        finally:
            await self._end()

    async def _end(self) -> None:
        self._peer.hang_up()
        try:
            await asyncio.to_thread(self._process.wait, _END_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            await asyncio.to_thread(self._process.wait)
        self._lock.release()


def _start(path: str, descriptor: int, lock: int) -> subprocess.Popen[bytes]:
    program = _PROGRAM.format(path=sys.path, descriptor=descriptor, database=path)
    command = [sys.executable, "-c", program]
    try:
        # A session of its own: Ctrl-C in a terminal is for the engine, which then lets it end.
        return subprocess.Popen(  # noqa: S603 our own program
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            pass_fds=(descriptor, lock),
            start_new_session=True,
        )
    except OSError as error:
        raise StoreUnavailable(f"the writer's process cannot be started: {error.strerror}") from error


class _Peer(asyncio.Protocol):
    """The socket to the process, and who waits for its answers, which come in the order of the requests."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._received = bytearray()
        self.is_open: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting: deque[asyncio.Future[Any]] = deque([self.is_open])

    def ask(self, request: bytes) -> asyncio.Future[Any]:
        """Send a request; it is on its way before this returns."""
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        if self._transport is None or self._transport.is_closing():
            answer.set_exception(self._gone())
            return answer
        self._waiting.append(answer)
        self._transport.writelines((LENGTH.pack(len(request)), request))
        return asyncio.shield(answer)

    def hang_up(self) -> None:
        """The process ends when it has nothing more to read."""
        if self._transport is not None:
            self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)  # noqa: S101
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        received = self._received
        received += data
        start, size = 0, LENGTH.size
        while len(received) >= start + size:
            end = start + size + LENGTH.unpack_from(received, start)[0]
            if len(received) < end:
                break
            self._answer(read_answer(bytes(received[start + size : end])))
            start = end
        del received[:start]

    def _answer(self, result: Any) -> None:
        waiting = self._waiting.popleft()
        if isinstance(result, Failure):
            waiting.set_exception(result.error)
        else:
            waiting.set_result(result)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 the end is all that it says
        while self._waiting:
            self._waiting.popleft().set_exception(self._gone())

    def _gone(self) -> CommitUnknown:
        return CommitUnknown("the writer's process has ended; what it was at may be durable or not")
