"""A manual clock, which moves only when a test pushes it."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable
from typing import Final

START: Final = 1_750_000_000_000
"""The instant at which test clocks start: 2025-06-15T15:06:40Z."""


class ManualClock:
    """A clock that moves only when it is pushed. Implements `engine.runtime.clock.Clock`.

    It stands for an engine's clock and the computer's, which go alike until one of them is set: the computer's by
    `set_wall`, the engine's when a step is accepted.
    """

    def __init__(self, now: int = START) -> None:
        self._ticks = now
        self._moved = 0
        self._offset = 0
        self._at: list[_Alarm] = []
        self._later: list[_Alarm] = []
        self._numbers = itertools.count()
        self._looks: dict[int, Callable[[], object]] = {}

    def now(self) -> int:
        return self._ticks + self._moved

    def ticks(self) -> int:
        return self._ticks

    def call_later(self, ms: int, callback: Callable[[], object]) -> _Alarm:
        return self._call(self._later, self._ticks + ms, callback)

    def call_at(self, instant: int, callback: Callable[[], object]) -> _Alarm:
        return self._call(self._at, instant, callback)

    def _call(self, alarms: list[_Alarm], instant: int, callback: Callable[[], object]) -> _Alarm:
        alarm = _Alarm(instant, next(self._numbers), callback)
        heapq.heappush(alarms, alarm)
        if instant <= (self.now() if alarms is self._at else self._ticks):
            self.push(0)
        return alarm

    def push(self, ms: int) -> None:
        """Move on by `ms` milliseconds, ringing what comes due on the way at its own instant."""
        end = self._ticks + ms
        while (alarms := self._first()) is not None and self._ticks_of(alarms) <= end:
            self._ticks = max(self._ticks, self._ticks_of(alarms))
            heapq.heappop(alarms).ring()
        self._ticks = end

    def _first(self) -> list[_Alarm] | None:
        """The alarms of which the first is to ring next."""
        waiting = [alarms for alarms in (self._at, self._later) if alarms]
        return min(waiting, key=lambda alarms: (self._ticks_of(alarms), alarms[0].number), default=None)

    def _ticks_of(self, alarms: list[_Alarm]) -> int:
        return alarms[0].instant - (self._moved if alarms is self._at else 0)

    def next_due(self) -> int | None:
        """The earliest instant that somebody waits for."""
        for alarms in (self._at, self._later):
            while alarms and alarms[0].is_cancelled:
                heapq.heappop(alarms)
        first = self._first()
        return None if first is None else self._ticks_of(first) + self._moved

    # --- the computer's clock --------------------------------------------------------------------------------------

    def set_wall(self, ms: int) -> None:
        """Set the computer's clock forward by so much, or back; the engine's goes on, and sees it."""
        self._offset += ms
        for look in list(self._looks.values()):
            look()

    def offset(self) -> int:
        return self._offset

    def follow(self, ms: int) -> None:
        """Nothing: a difference stays until it is moved, so that a test has round numbers."""

    def move(self, ms: int) -> None:
        self._moved += ms
        self._offset -= ms
        self.push(0)

    def watch_wall(self, look: Callable[[], object]) -> _Look:
        number = next(self._numbers)
        self._looks[number] = look
        return _Look(self._looks, number)


class _Alarm:
    """One call to come; in the heap by instant, then by the order of asking."""

    def __init__(self, instant: int, number: int, callback: Callable[[], object]) -> None:
        self.instant = instant
        self.number = number
        self._callback = callback
        self.is_cancelled = False

    def __lt__(self, other: _Alarm) -> bool:
        return (self.instant, self.number) < (other.instant, other.number)

    def ring(self) -> None:
        if not self.is_cancelled:
            self.is_cancelled = True
            self._callback()

    def cancel(self) -> None:
        self.is_cancelled = True


class _Look:
    """Whoever looks whenever the computer's clock is set."""

    def __init__(self, looks: dict[int, Callable[[], object]], number: int) -> None:
        self._looks = looks
        self._number = number

    def cancel(self) -> None:
        self._looks.pop(self._number, None)
