"""The locks that let one process at a time serve a database: a lock file, and a lock on the database file."""

from __future__ import annotations

import fcntl
import os
import re
import time
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from perdure.store.errors import DatabaseInUse, StoreUnavailable
from perdure.store.forks import Descriptor, open_alone
from perdure.store.sqlite.inode import InodeLock, is_same_file

_TEXT_MAX: Final = 200  # bytes of a holder's text that are repeated
_HOLDER: Final = re.compile(r"process (\d{1,10}) since ")

_LAST_COMMIT_S: Final = 10
"""Seconds that a commit may still take whose process has died."""

_DYING_S: Final = 0.25
"""Seconds after which a holder that lives does not look as if it had just been killed."""

_STDERR: Final = 2

_AGAIN_S: Final = 0.02
"""Seconds until the lock is tried again."""


class FileLock:
    """`DATABASE.lock`, held with `flock`, and the lock on the database file itself (`store.sqlite.inode`).

    The file says who holds it, and is there to be seen. But it can be removed, and the database may have another name
    (a hard link): then the other lock keeps the second server out. The system releases both when the process dies, and
    its writer's, if that is one of its own (`store.sqlite.writer.process`); the file stays then, and the next holder
    takes it over. A child that the process forks holds neither.
    """

    def __init__(self, file: Descriptor, path: str, inode: InodeLock) -> None:
        self._file = file
        self._path = path
        self._inode = inode
        self._process = os.getpid()
        since = datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
        self._holder = f"process {self._process} since {since}"
        self._say(self._holder)

    @classmethod
    def acquire(cls, database: str) -> FileLock:
        """Take a database's locks; a writer whose process has died is given some seconds for the commit that it is at.

        A database that is not there is made, empty. It blocks. Raises DatabaseInUse, or StoreUnavailable if a file
        cannot be made or opened.
        """
        began = time.monotonic()
        while True:
            try:
                lock = cls._take(database, f"{database}.lock")
            except _Held as held:
                if time.monotonic() < began + (_LAST_COMMIT_S if _has_died(held.holder) else _DYING_S):
                    time.sleep(_AGAIN_S)
                    continue
                raise DatabaseInUse(database, held.holder) from None
            if lock is not None:
                return lock

    @classmethod
    def _take(cls, database: str, path: str) -> FileLock | None:
        """Take both locks; null if the file that was locked is no more. Raises _Held, or StoreUnavailable."""
        try:
            file = open_alone(lambda: _opened(path))
        except OSError as error:
            raise StoreUnavailable(f"{path} cannot be made: {error.strerror}") from error
        try:
            fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(file.fileno(), _TEXT_MAX, 0).decode(errors="replace").strip()
            file.close()
            raise _Held(holder or "another process") from None
        # Its last holder may have removed the file between our opening and locking it: then it locks nothing.
        if not is_same_file(file.fileno(), path):
            file.close()
            return None
        try:
            return cls(file, path, InodeLock.acquire(database))
        except BaseException as error:
            _remove(path, file)
            if isinstance(error, BlockingIOError):
                raise _Held("a process that opened it by another name, or whose lock file was removed") from None
            raise

    @property
    def descriptors(self) -> list[int]:
        """The descriptors that hold the locks, for a process that is to hold them too."""
        return [number for number in (self._file.fileno(), self._inode.fileno()) if number >= 0]

    def say_writer(self, pid: int) -> None:
        """Say in the text which process writes, if it is another one: it holds the lock too, and may hold it longer."""
        self._say(f"{self._holder}, its writer process {pid}")

    def _say(self, text: str) -> None:
        with suppress(OSError):  # the text helps, but it is not the lock; the disk may be full
            os.ftruncate(self._file.fileno(), 0)
            os.pwrite(self._file.fileno(), f"{text}\n".encode(), 0)

    def release(self) -> None:
        """Let go, and remove the file while it is still held, so that no other process's is removed."""
        if os.getpid() == self._process:  # and not in a child, which holds nothing
            self._inode.release()
            _remove(self._path, self._file)


class _Held(Exception):
    """Somebody else has one of the locks."""

    def __init__(self, holder: str) -> None:
        super().__init__(holder)
        self.holder = holder


def _opened(path: str) -> Descriptor:
    return Descriptor(above_stdio(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)))


def _remove(path: str, file: Descriptor) -> None:
    with suppress(OSError):
        Path(path).unlink()
    file.close()


def _has_died(holder: str) -> bool:
    """Whether a holder's text names a process that is no more."""
    found = _HOLDER.match(holder)
    return found is not None and not is_alive(int(found[1]))


def is_alive(pid: int) -> bool:
    """Whether there is such a process, and not one that has ended and that nobody has asked about since."""
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:  # somebody else's
        pass
    try:
        state = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()[0]
    except (OSError, IndexError):  # not on this system, or gone at this moment
        return True
    return state not in {"Z", "X"}


def above_stdio(descriptor: int) -> int:
    """The same open file under a number that is no standard stream's; the old one is closed."""
    if descriptor > _STDERR:
        return descriptor
    try:
        return fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, _STDERR + 1)
    finally:
        os.close(descriptor)
