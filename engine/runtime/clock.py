"""The clock port: time is asked for, and waited for, here only. Tests push a clock of their own."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Protocol


class Handle(Protocol):
    """Something that can be called off."""

    def cancel(self) -> None: ...


class Clock(Protocol):
    """Tells the time and calls back."""

    def now(self) -> int:
        """Milliseconds since the epoch."""
        ...

    def call_at(self, instant: int, callback: Callable[[], None]) -> Handle:
        """Call once when the clock has reached `instant`, never earlier."""
        ...


class SystemClock:
    """The computer's clock. It may be set while we wait, so a wait is cut into pieces of at most a second."""

    _PIECE_S = 1.0

    def now(self) -> int:
        return time.time_ns() // 1_000_000

    def call_at(self, instant: int, callback: Callable[[], None]) -> Handle:
        return _Alarm(self, instant, callback, self._PIECE_S)


class _Alarm:
    def __init__(self, clock: Clock, instant: int, callback: Callable[[], None], piece_s: float) -> None:
        self._clock = clock
        self._instant = instant
        self._callback = callback
        self._piece_s = piece_s
        self._handle = self._arm()

    def _arm(self) -> asyncio.TimerHandle:
        left_s = max(0.0, (self._instant - self._clock.now()) / 1000)
        return asyncio.get_running_loop().call_later(min(left_s, self._piece_s), self._ring)

    def _ring(self) -> None:
        if self._clock.now() >= self._instant:
            self._callback()
        else:
            self._handle = self._arm()

    def cancel(self) -> None:
        self._handle.cancel()
