"""The clock port: the only place that reads the time or waits for it. Tests push a clock of their own."""

from __future__ import annotations

import asyncio
import contextvars
import heapq
import itertools
import time
from collections.abc import Callable
from typing import Protocol

import msgspec


class Handle(Protocol):
    """A callback that can be cancelled."""

    def cancel(self) -> None: ...


class Clock(Protocol):
    """Tells the time, and schedules callbacks."""

    def now(self) -> int:
        """Milliseconds since the epoch."""
        ...

    def call_at(self, instant: int, callback: Callable[[], object]) -> Handle:
        """Call once when the clock has reached `instant`, never earlier."""
        ...

    def ticks(self) -> int:
        """Milliseconds on a monotonic clock, unaffected by changes of the system's time."""
        ...

    def call_later(self, ms: int, callback: Callable[[], object]) -> Handle:
        """Call once after so many milliseconds on the monotonic clock."""
        ...


class SystemClock:
    """The computer's clock. It may be set while we wait, so a wait is cut into pieces of at most a second.

    All waits share one timer of the event loop: most are called off before their time, and cost next to nothing then.
    """

    _PIECE_S = 1.0
    _CALLED_OFF_MAX = 100

    def __init__(self) -> None:
        self._begin(None)

    def _begin(self, loop: asyncio.AbstractEventLoop | None) -> None:
        self._loop = loop
        self._alarms: list[tuple[int, int, _Alarm]] = []
        self._numbers = itertools.count()
        self._called_off = 0
        self._timer: asyncio.TimerHandle | None = None

    def now(self) -> int:
        return time.time_ns() // 1_000_000

    def ticks(self) -> int:
        return time.monotonic_ns() // 1_000_000

    def call_later(self, ms: int, callback: Callable[[], object]) -> Handle:
        return asyncio.get_running_loop().call_later(ms / 1000, callback)

    def call_at(self, instant: int, callback: Callable[[], object]) -> Handle:
        loop = asyncio.get_running_loop()
        if loop is not self._loop:  # what waits in one that is over never comes
            self._begin(loop)
        alarm = _Alarm(self, callback, contextvars.copy_context())
        entry = (instant, next(self._numbers), alarm)
        heapq.heappush(self._alarms, entry)
        if self._alarms[0] is entry:
            self._arm(loop)
        return alarm

    def _arm(self, loop: asyncio.AbstractEventLoop) -> None:
        """Wake for the earliest alarm, or on the way to it."""
        if self._timer is not None:
            self._timer.cancel()
        left_s = max(0.0, (self._alarms[0][0] - self.now()) / 1000)
        self._timer = loop.call_later(min(left_s, self._PIECE_S), self._ring, loop)

    def _ring(self, loop: asyncio.AbstractEventLoop) -> None:
        self._timer = None
        now = self.now()
        while self._alarms and self._alarms[0][0] <= now:
            alarm = heapq.heappop(self._alarms)[2]
            if alarm.callback is None:
                self._called_off -= 1
            else:
                alarm.ringing = loop.call_soon(alarm.callback, context=alarm.context)
                alarm.callback = None
        if self._alarms:
            self._arm(loop)

    def call_off(self) -> None:
        """Note that an alarm was called off, and forget such alarms once they are most of all."""
        self._called_off += 1
        if self._called_off > max(self._CALLED_OFF_MAX, len(self._alarms) // 2):
            self._alarms = [entry for entry in self._alarms if entry[2].callback is not None]
            heapq.heapify(self._alarms)
            self._called_off = 0


class _Alarm(msgspec.Struct, eq=False):
    """One call to come; without a callback it is `ringing` or was called, or it was called off."""

    clock: SystemClock
    callback: Callable[[], object] | None
    context: contextvars.Context
    ringing: asyncio.Handle | None = None

    def cancel(self) -> None:
        if self.callback is not None:
            self.callback = None
            self.clock.call_off()
        elif self.ringing is not None:
            self.ringing.cancel()
