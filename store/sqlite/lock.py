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

    @classmethod
    def acquire(cls, database: str) -> FileLock:
        """Take a database's lock; a writer whose process has died is given some seconds for the commit that it is at.

        It blocks. Raises DatabaseInUse, or StoreUnavailable if the file cannot be made.
        """
        path = f"{database}.lock"
        deadline = time.monotonic() + _LAST_COMMIT_S
        while True:
            try:
                descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
            except OSError as error:
                raise StoreUnavailable(f"{path} cannot be made: {error.strerror}") from error
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                holder = os.pread(descriptor, _TEXT_MAX, 0).decode(errors="replace").strip()
                os.close(descriptor)
                if _has_died(holder) and time.monotonic() < deadline:
                    time.sleep(_AGAIN_S)
                    continue
                raise DatabaseInUse(database, holder or "another process") from None
            # Its last holder may have removed the file between our opening and locking it: then it locks
            # nothing.
            if _is_same_file(descriptor, path):
                break
            os.close(descriptor)
        since = datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
        with suppress(OSError):  # the text helps, but it is not the lock; the disk may be full
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, f"process {os.getpid()} since {since}\n".encode(), 0)
        return cls(descriptor, path)

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
    if found is None:
        return False
    try:
        os.kill(int(found[1]), 0)
    except ProcessLookupError:
        return True
    except (OSError, OverflowError):  # somebody else's
        return False
    return False
