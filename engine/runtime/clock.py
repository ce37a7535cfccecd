"""The clock port: the only place that reads the time or waits for it. Tests push a clock of their own.

The engine's time is the computer's clock as it was when the process started, plus the time that has passed since: who
sets the computer's clock does not set the engine's. What differs by little is caught up with gently (`follow`); what
is to be done about a step is decided by `engine.runtime.workers.clock_guard`.
"""

from __future__ import annotations

import asyncio
import contextvars
import heapq
import itertools
import time
from collections.abc import Callable
from typing import Final, Protocol

import msgspec

SLEW: Final = 2000
"""A second is longer or shorter by one part in so many while the clock is led to the computer's: 500 ppm, as the kernel
slews at most (adjtimex), so that no wait is wrong by more than a computer's clock is anyway."""

_NS: Final = 1_000_000


class Handle(Protocol):
    """A callback that can be cancelled."""

    def cancel(self) -> None: ...


class Clock(Protocol):
    """Tells the time, and schedules callbacks."""

    def now(self) -> int:
        """Milliseconds since the epoch. It never falls but by `move`."""
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

    def offset(self) -> int:
        """Milliseconds that the computer's clock is ahead of this one; less than 0 if it is behind."""
        ...

    def follow(self, ms: int) -> None:
        """Come nearer to the computer's clock by so much (see `offset`), slowly; in place of what was said before."""
        ...

    def move(self, ms: int) -> None:
        """Move on by so much at once, or back; who waits for an instant waits for it by the new time."""
        ...

    def watch_wall(self, look: Callable[[], object]) -> Handle:
        """Call again and again, so that who compares this clock with the computer's sees a step within two seconds."""
        ...


def wall_ns() -> int:
    """The computer's clock in nanoseconds since the epoch, as it is set now."""
    return time.time_ns()


def steady_ns() -> int:
    """Nanoseconds that have passed, whatever the computer's clock is set to; on Linux, while the computer was awake."""
    return time.monotonic_ns()


def slept_ns() -> int:
    """Nanoseconds that the computer has slept and `steady_ns` has not counted, as far as the system can tell."""
    if _BOOTTIME is None:
        return 0
    return time.clock_gettime_ns(_BOOTTIME) - time.clock_gettime_ns(time.CLOCK_MONOTONIC)


_BOOTTIME: Final[int | None] = getattr(time, "CLOCK_BOOTTIME", None)

_NAP_NS: Final = 10 * _NS
"""Less sleep than this is the time between two readings."""


class SystemClock:
    """The computer's clock. Implements `Clock`.

    The loop does not count the time that the computer sleeps, and the clock may be moved, so a wait is cut into pieces
    of at most a second. All waits share one timer of the event loop: most are called off before their time, and cost
    next to nothing then.

    `wall`, `steady` and `slept` read the computer's clock, the time that has passed, and what of it was slept and not
    counted there, in nanoseconds.
    """

    _PIECE_S = 1.0
    _CALLED_OFF_MAX = 100

    def __init__(
        self,
        wall: Callable[[], int] = wall_ns,
        steady: Callable[[], int] = steady_ns,
        slept: Callable[[], int] = slept_ns,
    ) -> None:
        self._wall = wall
        self._steady = steady
        self._slept = slept
        self._known_sleep = slept()
        self._since = steady()
        self._then = wall()
        self._apart = self._then - self._since
        self._wanted = 0
        self._begin(None)

    def _begin(self, loop: asyncio.AbstractEventLoop | None) -> None:
        self._loop = loop
        self._alarms: list[tuple[int, int, _Alarm]] = []
        self._numbers = itertools.count()
        self._called_off = 0
        self._timer: asyncio.TimerHandle | None = None

    def _now_ns(self, at: int) -> int:
        """The time when `steady` gives `at`: on the way to what is wanted, never beyond, and never backwards."""
        if abs(self._wall() - at - self._apart) > _NAP_NS:
            self._count_sleep(at)
        passed = at - self._since
        if not self._wanted:
            return self._then + passed
        caught_up = min(passed // SLEW, abs(self._wanted))
        return self._then + passed + (caught_up if self._wanted > 0 else -caught_up)

    def _count_sleep(self, at: int) -> None:
        """Add what was slept: while the computer sleeps its clock goes on and the other does not, as if it were set.

        It is done at once: what is set from an earlier time would be due too early.
        """
        self._apart = self._wall() - at
        sleep = self._slept() - self._known_sleep
        if sleep > _NAP_NS:
            self._known_sleep += sleep
            self._then += sleep

    def now(self) -> int:
        return self._now_ns(self._steady()) // _NS

    def offset(self) -> int:
        return round((self._wall() - self._now_ns(self._steady())) / _NS)

    def follow(self, ms: int) -> None:
        at = self._steady()
        self._then, self._since, self._wanted = self._now_ns(at), at, ms * _NS

    def move(self, ms: int) -> None:
        self.follow(0)
        self._then += ms * _NS
        if self._alarms and self._loop is not None and self._loop.is_running():
            self._arm(self._loop)

    def watch_wall(self, look: Callable[[], object]) -> Handle:
        return _Repeated(asyncio.get_running_loop(), self._PIECE_S, look)

    def ticks(self) -> int:
        return time.monotonic_ns() // _NS

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


class _Repeated:
    """A call every so many seconds, until it is called off."""

    def __init__(self, loop: asyncio.AbstractEventLoop, seconds: float, callback: Callable[[], object]) -> None:
        self._loop = loop
        self._seconds = seconds
        self._callback = callback
        self._timer = loop.call_later(seconds, self._ring)

    def _ring(self) -> None:
        self._timer = self._loop.call_later(self._seconds, self._ring)
        self._callback()

    def cancel(self) -> None:
        self._timer.cancel()
