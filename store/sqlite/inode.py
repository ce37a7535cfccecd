"""The lock on the database file itself, independent of the name it is opened by and of its lock file.

It is a lock of an open file description (Linux has them) on a byte that SQLite never looks at, so it is in the way of
none of SQLite's. It has a descriptor of its own, and that is the danger: a process that closes any descriptor
of a file loses all POSIX locks that it has on that file, and SQLite's are such. So the descriptor is closed only when
no other of this process is open on the file; until then it is kept, unlocked.
"""

from __future__ import annotations

import fcntl
import os
import struct
import sys
import threading
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Final, TypeAlias

from perdure.store.errors import StoreUnavailable
from perdure.store.forks import Descriptor, open_alone

_BYTE: Final = 0x4000_1000
"""Behind SQLite's own: 0x40000000 to 0x400001FF."""

_IS_THERE: Final = sys.platform == "linux"  # elsewhere the lock file is the only one

_WAL_MODE: Final = b"\x02\x02"  # of the file's header: the versions that are needed to write it and to read it

_Identity: TypeAlias = tuple[int, int]

_kept: Final[list[Descriptor]] = []
_closing: Final = threading.Lock()


class InodeLock:
    """The lock, held until it is released, or until the last process is gone that was handed its descriptor."""

    def __init__(self, descriptor: Descriptor) -> None:
        self._descriptor = descriptor

    @classmethod
    def acquire(cls, path: str) -> InodeLock:
        """Lock a file, which is made if it is not there.

        Raises BlockingIOError if it is locked, StoreUnavailable if it cannot be opened, or if what was committed last
        stands beside another name of it.
        """
        _make(path)
        while _IS_THERE:
            try:
                descriptor = open_alone(lambda: Descriptor(os.open(path, os.O_RDWR | os.O_CLOEXEC)))
            except OSError as error:
                raise StoreUnavailable(f"{path} cannot be opened: {error.strerror}") from error
            try:
                _lock(descriptor, fcntl.F_WRLCK)
                if is_same_file(descriptor.fileno(), path):
                    _check_name(descriptor, path)
                    return cls(descriptor)
            except BaseException:
                _close(descriptor)
                raise
            _close(descriptor)
            _make(path)
        return cls(Descriptor(-1))

    def fileno(self) -> int:
        """The descriptor that holds it, for a process that is to hold it too; -1 where there are no such locks."""
        return self._descriptor.fileno()

    def release(self) -> None:
        """Let go; no process that holds it too may still be at work."""
        if self._descriptor.fileno() >= 0:
            _close(self._descriptor)


def is_same_file(descriptor: int, path: str) -> bool:
    """Whether the file that was opened is the one that has this name now."""
    try:
        return os.path.samestat(os.fstat(descriptor), Path(path).stat())
    except FileNotFoundError:
        return False


def _make(path: str) -> None:
    """Make the file before SQLite does, which would give it the permissions that the umask leaves."""
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    except FileExistsError:
        pass
    except OSError as error:
        raise StoreUnavailable(f"{path} cannot be made: {error.strerror}") from error


def _check_name(descriptor: Descriptor, path: str) -> None:
    """SQLite finds its WAL by the file's name: under another one, what was committed last would be lost silently."""
    is_in_wal_mode = os.pread(descriptor.fileno(), 2, 18) == _WAL_MODE
    if is_in_wal_mode and os.fstat(descriptor.fileno()).st_nlink > 1 and not Path(f"{path}-wal").exists():
        raise StoreUnavailable(
            f"{path} has other names too (hard links) and was not closed cleanly under this one; "
            "open it by the name that has a -wal file beside it, or remove the other names"
        )


def _lock(descriptor: Descriptor, kind: int) -> None:
    """Set or take away the lock. On a file system that has none of this sort the lock file is the only one."""
    if sys.platform == "linux":
        wanted = struct.pack("hhqqi0q", kind, os.SEEK_SET, _BYTE, 1, 0)
        try:
            fcntl.fcntl(descriptor.fileno(), fcntl.F_OFD_SETLK, wanted)
        except BlockingIOError:
            raise
        except OSError:
            pass


def _close(descriptor: Descriptor) -> None:
    """Unlock, and close whatever is kept and can be closed by now."""
    _lock(descriptor, fcntl.F_UNLCK)
    with _closing:
        _kept.append(descriptor)
        kept = [(each, _identity(each.fileno())) for each in _kept]
        others = _open_files()
        others.subtract(identity for _, identity in kept)
        _kept[:] = [each for each, identity in kept if others[identity]]
        for each, identity in kept:
            if not others[identity]:
                each.close()


def _open_files() -> Counter[_Identity]:
    """The number of descriptors this process has of each file."""
    found = Counter[_Identity]()
    for entry in Path("/proc/self/fd").iterdir():
        with suppress(OSError):  # that of the listing itself, and what was closed meanwhile
            found[_identity(int(entry.name))] += 1
    return found


def _identity(descriptor: int) -> _Identity:
    status = os.fstat(descriptor)
    return status.st_dev, status.st_ino
