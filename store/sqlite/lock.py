"""The lock file that lets one process at a time serve a database."""

from __future__ import annotations

import fcntl
import os
import re
import time
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from store.errors import DatabaseInUse, StoreUnavailable

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
    """`DATABASE.lock`, held with `flock` on a descriptor of its own.

    Not a lock on the database itself: closing any descriptor of that file would drop the POSIX locks that
    SQLite has on it. The system releases the lock when the process dies, and its writer's, if that is one of its
    own (`store.sqlite.process`); the file, whose text says who held it, stays then, and the next holder takes it over.
    """

    def __init__(self, descriptor: int, path: str) -> None:
        self.descriptor = descriptor
        self._path = path
        since = datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
        self._holder = f"process {os.getpid()} since {since}"

    @classmethod
    def acquire(cls, database: str) -> FileLock:
        """Take a database's lock; a writer whose process has died is given some seconds for the commit that it is at.

        It blocks. Raises DatabaseInUse, or StoreUnavailable if the file cannot be made.
        """
        path = f"{database}.lock"
        began = time.monotonic()
        while True:
            try:
                descriptor = above_stdio(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600))
            except OSError as error:
                raise StoreUnavailable(f"{path} cannot be made: {error.strerror}") from error
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                holder = os.pread(descriptor, _TEXT_MAX, 0).decode(errors="replace").strip()
                os.close(descriptor)
                if time.monotonic() < began + (_LAST_COMMIT_S if _has_died(holder) else _DYING_S):
                    time.sleep(_AGAIN_S)
                    continue
                raise DatabaseInUse(database, holder or "another process") from None
            # Its last holder may have removed the file between our opening and locking it: then it locks
            # nothing.
            if _is_same_file(descriptor, path):
                break
            os.close(descriptor)
        lock = cls(descriptor, path)
        lock._say(lock._holder)
        return lock

    def say_writer(self, pid: int) -> None:
        """Say in the text which process writes, if it is another one: it holds the lock too, and may hold it longer."""
        self._say(f"{self._holder}, its writer process {pid}")

    def _say(self, text: str) -> None:
        with suppress(OSError):  # the text helps, but it is not the lock; the disk may be full
            os.ftruncate(self.descriptor, 0)
            os.pwrite(self.descriptor, f"{text}\n".encode(), 0)

    def release(self) -> None:
        """Remove the file while it is still held, so that no other process's is removed; then let go."""
        with suppress(OSError):
            Path(self._path).unlink()
        os.close(self.descriptor)


def _is_same_file(descriptor: int, path: str) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), Path(path).stat())
    except FileNotFoundError:
        return False


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
