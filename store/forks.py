"""Descriptors that a forked child process must not inherit: it closes them before it does anything else.

A lock, a port or a socket lives as long as the last descriptor of it. A step may fork (as multiprocessing does), and
its child may outlive the process: what it had inherited would keep the next server out.
"""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Callable
from contextlib import suppress
from typing import Final, Protocol, TypeVar


class Opened(Protocol):
    """An object with a descriptor, which is negative once the object is closed."""

    def fileno(self) -> int: ...


T = TypeVar("T", bound=Opened)

_no_fork: Final = threading.Lock()
_own: Final[weakref.WeakSet[Opened]] = weakref.WeakSet()


def open_alone(opening: Callable[[], T]) -> T:
    """Open a descriptor that no forked child inherits, even one that another thread forks at this moment."""
    with _no_fork:
        opened = opening()
        _own.add(opened)
        return opened


class Descriptor:
    """A descriptor with an owner."""

    def __init__(self, number: int) -> None:
        self._number = number

    def fileno(self) -> int:
        """The number; -1 once it is closed."""
        return self._number

    def close(self) -> None:
        """Close it; again is the same."""
        number, self._number = self._number, -1
        if number >= 0:
            os.close(number)


def _lose_them() -> None:
    """Put something else in their places: if they were closed, whoever has them here would close others' by number."""
    _no_fork.release()
    numbers = [number for number in (opened.fileno() for opened in _own) if number >= 0]
    if not numbers:
        return
    nothing = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    for number in numbers:
        with suppress(OSError):
            os.dup2(nothing, number, inheritable=False)
    os.close(nothing)


os.register_at_fork(before=_no_fork.acquire, after_in_parent=_no_fork.release, after_in_child=_lose_them)
