"""The writer in a process of its own, so that commits and decisions do not share an interpreter.

The process lives as long as the socket to it. If this one dies, it does what it was handed, ends, and holds the
database's lock until then; whatever it still commits has been answered to nobody. If it dies, nobody knows what is on
disk of what it was handed: every later write raises CommitUnknown, as after a COMMIT that failed.
"""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, Final, NamedTuple, TypeVar

from perdure.store.errors import CommitUnknown, StoreError, StoreUnavailable
from perdure.store.forks import open_alone
from perdure.store.records import Appended, StreamAppend
from perdure.store.sqlite.lock import FileLock, above_stdio
from perdure.store.sqlite.writer.messages import LENGTH, WriterFailure, batch_request, read_answer, work_request
from perdure.store.sqlite.writer.writer import Writer

T = TypeVar("T")

_BUFFER_BYTES: Final = 1024 * 1024
"""The size of the socket's buffers, so that a usual batch is handed over in one go."""

_END_S: Final = 10
"""Seconds that the process is given to end once it has closed the database."""

_BEGIN_S: Final = 60.0
"""Seconds until the process must have said that it is the writer. (On an idle machine it takes half a second.)"""

_MARK: Final = "_PERDURE_WRITES_FOR"
"""The variable that a writer's process is started with: a program that finds it set was started in its place."""

_PROGRAM: Final = """\
import sys
sys.path[:] = {path!r}
from perdure.store.sqlite.writer.worker import main
main({descriptor}, {database!r})
"""


class WriterProcess:
    """A writer, the process that it lives in, and the lock that makes it the only one."""

    def __init__(self, started: _Started, peer: _Peer) -> None:
        self._started = started
        self._peer = peer

    @classmethod
    async def open(cls, path: str) -> WriterProcess:
        """Take the lock, start the process, and wait until it has opened the database.

        Raises StoreError: DatabaseInUse above all, and StoreUnavailable where Python cannot be started anew.
        """
        loop = asyncio.get_running_loop()
        starting = loop.run_in_executor(None, _start, path)
        try:
            started = await asyncio.shield(starting)
        except asyncio.CancelledError:  # the thread goes on
            starting.add_done_callback(_give_up)
            raise
        try:
            _, peer = await loop.create_connection(_Peer, sock=started.ours)
        except BaseException:
            started.give_up()
            raise
        try:
            await asyncio.wait_for(peer.begun(), _BEGIN_S)
            await peer.opened()
        except BaseException as error:
            peer.hang_up()
            started.kill()
            if isinstance(error, CommitUnknown):
                raise _not_started(f"{sys.executable} ended before it had opened the database") from error
            if isinstance(error, TimeoutError):
                raise _not_started(f"{sys.executable} did not begin to write within {_BEGIN_S:g} s") from error
            raise
        return cls(started, peer)

    @property
    def pid(self) -> int:
        """The process that writes."""
        return self._started.process.pid

    def watch(self, on_lost: Callable[[StoreError], None]) -> None:
        """Have this called if the process is gone although nobody has closed it."""
        self._peer.on_lost = on_lost

    def append(self, batch: Sequence[StreamAppend]) -> asyncio.Future[Appended]:
        """Append a batch, which the process numbers, chains and writes."""
        return self._peer.ask(batch_request(batch))

    def run(self, work: Callable[[Writer], T]) -> asyncio.Future[T]:
        """Do some work there, and to the end even if the caller is cancelled meanwhile."""
        return self._peer.ask(work_request(work))

    async def close(self) -> None:
        """Close the writer after what it was handed before, and wait for the end of its process."""
        self._peer.is_ending = True
        try:
            with suppress(CommitUnknown):  # it is gone, and nothing of it is left to close
                await self.run(Writer.close)
        finally:
            self._peer.hang_up()
            # In a thread, and to its end: the lock is free only when the process is gone, whoever is cancelled.
            await asyncio.shield(asyncio.get_running_loop().run_in_executor(None, self._started.end))

    async def abandon(self) -> None:
        """Kill the process, whatever it is at, and wait for its end."""
        self._peer.is_ending = True
        self._started.process.kill()
        self._peer.hang_up()
        await asyncio.shield(asyncio.get_running_loop().run_in_executor(None, self._started.end))


class _Started(NamedTuple):
    """A process that was started, our end of the socket to it, and the lock that it shares."""

    process: subprocess.Popen[bytes]
    ours: socket.socket
    lock: FileLock

    def end(self) -> None:
        """Wait for the end of the process, to which the socket is closed, and release the lock. It blocks."""
        try:
            self.process.wait(_END_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        finally:
            self.lock.release()

    def kill(self) -> None:
        """End the process before it was handed anything, and release the lock. It hardly blocks."""
        self.process.kill()
        self.end()

    def give_up(self) -> None:
        """As `kill`, while the socket is nobody else's."""
        self.ours.close()
        self.kill()


def _start(path: str) -> _Started:
    """Take the lock and start the process; all of it, or nothing. Raises StoreError."""
    _check_python()
    lock = FileLock.acquire(path)
    try:
        ours, theirs = socket.socketpair()
        try:
            open_alone(lambda: ours)  # the process must see its end when this one is gone, whatever child of it is left
            ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _BUFFER_BYTES)
            theirs.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER_BYTES)
            process = _run(path, above_stdio(theirs.detach()), lock.descriptors)
        except BaseException:
            ours.close()
            theirs.close()
            raise
    except BaseException as error:
        lock.release()
        if isinstance(error, OSError):
            raise StoreUnavailable(f"the writer's process cannot be started: {error.strerror}") from error
        raise
    lock.say_writer(process.pid)
    return _Started(process, ours, lock)


def _run(database: str, descriptor: int, locks: list[int]) -> subprocess.Popen[bytes]:
    """Run the program with its end of the socket, which is closed here, and with the locks. Raises OSError."""
    path: Sequence[object] = sys.path
    path = [each for each in path if isinstance(each, str)]  # Python passes over what else stands there
    program = _PROGRAM.format(path=path, descriptor=descriptor, database=database)
    try:
        return subprocess.Popen(  # noqa: S603 our own program
            [sys.executable, "-c", program],
            env={**os.environ, _MARK: str(os.getpid())},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            pass_fds=(descriptor, *locks),
            start_new_session=True,  # Ctrl-C in a terminal is for the engine, which then lets the writer end
        )
    finally:
        os.close(descriptor)


def _check_python() -> None:
    """Make sure, as far as it can be seen, that this program's executable is Python. Raises StoreUnavailable.

    In a frozen application (PyInstaller, cx_Freeze, PyOxidizer) it is the application, which would be started again.
    """
    if getattr(sys, "frozen", False) or getattr(sys, "oxidized", False):
        raise _not_started("this is a frozen application, which would be started again")
    if not os.access(sys.executable or "", os.X_OK):
        raise _not_started(f"sys.executable, {sys.executable!r}, is no program")
    if _MARK in os.environ:
        raise _not_started("this program was started as one, and is none")


def _not_started(reason: str) -> StoreUnavailable:
    return StoreUnavailable(
        f'the writer\'s process cannot be started: {reason}; use writer="thread" (perdure serve: --writer thread)'
    )


def _give_up(starting: asyncio.Future[_Started]) -> None:
    """Deal with a start that nobody waits for any more."""
    if not starting.cancelled() and starting.exception() is None:
        starting.result().give_up()


class _Peer(asyncio.Protocol):
    """The socket to the process, and who waits for its answers, which come in the order of the requests."""

    def __init__(self) -> None:
        self.on_lost: Callable[[StoreError], None] = lambda _failure: None
        self._transport: asyncio.Transport | None = None
        self._received = bytearray()
        self._begun: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting: deque[asyncio.Future[Any]] = deque([self._begun, self._opened])
        for each in self._waiting:
            each.add_done_callback(asyncio.Future.exception)  # whoever asks may be cancelled meanwhile
        self.is_ending = True

    async def begun(self) -> None:
        """Wait until the process says that it is the writer. Raises CommitUnknown if it ends before."""
        await asyncio.shield(self._begun)

    async def opened(self) -> None:
        """Wait until the process has opened the database. Raises StoreError."""
        await asyncio.shield(self._opened)
        self.is_ending = False

    def ask(self, request: bytes) -> asyncio.Future[Any]:
        """Send a request; it is on its way before this returns."""
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        if self._transport is None or self._transport.is_closing():
            answer.set_exception(_gone())
            return answer
        self._waiting.append(answer)
        self._transport.writelines((LENGTH.pack(len(request)), request))
        answer.add_done_callback(asyncio.Future.exception)  # likewise
        return asyncio.shield(answer)

    def hang_up(self) -> None:
        """The process ends when it has nothing more to read."""
        self.is_ending = True
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
        if isinstance(result, WriterFailure):
            waiting.set_exception(result.error)
        else:
            waiting.set_result(result)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 the end is all that it says
        while self._waiting:
            self._waiting.popleft().set_exception(_gone())
        if not self.is_ending:
            self.on_lost(_gone())


def _gone() -> CommitUnknown:
    return CommitUnknown("the writer's process has ended; what it was at may be durable or not")
