"""A clock that moves only when it is pushed."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable
from typing import Final

START: Final = 1_750_000_000_000
"""The instant at which test clocks start: 2025-06-15T15:06:40Z."""


class ManualClock:
    """A clock that moves only when it is pushed. Implements `engine.runtime.clock.Clock`."""

    def __init__(self, now: int = START) -> None:
        self._now = now
        self._alarms: list[_Alarm] = []
        self._numbers = itertools.count()

    def now(self) -> int:
        return self._now

    def ticks(self) -> int:
        return self._now

    def call_later(self, ms: int, callback: Callable[[], object]) -> _Alarm:
        return self.call_at(self._now + ms, callback)

    def call_at(self, instant: int, callback: Callable[[], object]) -> _Alarm:
        alarm = _Alarm(instant, next(self._numbers), callback)
        heapq.heappush(self._alarms, alarm)
        if instant <= self._now:
            self.push(0)
        return alarm

    def push(self, ms: int) -> None:
        """Move on by `ms` milliseconds, ringing what comes due on the way at its own instant."""
        end = self._now + ms
        while self._alarms and self._alarms[0].instant <= end:
            alarm = heapq.heappop(self._alarms)
            self._now = max(self._now, alarm.instant)
            alarm.ring()
        self._now = end

    def next_due(self) -> int | None:
        """The earliest instant that somebody waits for."""
        while self._alarms and self._alarms[0].is_cancelled:
            heapq.heappop(self._alarms)
        return self._alarms[0].instant if self._alarms else None


class _Alarm:
    """One call to come; in the heap by instant, then by the order of asking."""

    def __init__(self, instant: int, number: int, callback: Callable[[], object]) -> None:
        self.instant = instant
        self._number = number
        self._callback = callback
        self.is_cancelled = False

    def __lt__(self, other: _Alarm) -> bool:
        return (self.instant, self._number) < (other.instant, other._number)

    def ring(self) -> None:
        if not self.is_cancelled:
            self.is_cancelled = True
            self._callback()

    def cancel(self) -> None:
        self.is_cancelled = True
