"""The guard of the clock: it sees that the computer's clock was set while we run, and stops what acts on its own.

A step of more than a minute may be right (a clock that was wrong at the start was mended) or wrong (a hand that
slipped, a time server gone mad), and no program can tell which. To fire a timer too early cannot be taken back. So
nothing fires until the step is undone, which is seen by itself, or an operator accepts it: then the engine's clock is
moved by it. Meanwhile the engine's clock goes on as before, and requests from outside are answered.

Whoever acts at an instant asks `may_fire` before it does, and is called by `on_change`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import structlog

from perdure.engine.core.organization import ClockAccepted
from perdure.engine.log.codec import decode_json
from perdure.engine.runtime.clock import Clock, Handle
from perdure.engine.runtime.streams.stream import HotStream
from perdure.engine.runtime.telemetry.metrics import Metrics
from perdure.store.records import NewEvent

_log = structlog.get_logger("perdure.clock")

STEP_MS: Final = 60_000
"""A difference of more than this between the computer's clock and ours is a step; up to it we follow."""


class ClockGuard:
    """Compares the engine's clock with the computer's, about every second and whenever it is asked.

    `step_ms` is the step that was seen and is neither undone nor accepted, 0 if there is none: the computer's clock is
    ahead of the engine's by so much, or behind if it is less than 0. `moved_ms` is what was accepted so far.
    """

    def __init__(self, clock: Clock, metrics: Metrics) -> None:
        self._clock = clock
        self._metrics = metrics
        self._listeners: list[Callable[[], object]] = []
        self._watching: Handle | None = None
        self.step_ms = 0
        self.moved_ms = 0

    def begin(self) -> None:
        """Look again and again from now on, until `close`."""
        self._watching = self._clock.watch_wall(self.look)

    def close(self) -> None:
        """Look no more, but when asked."""
        if self._watching is not None:
            self._watching.cancel()

    def on_change(self, listener: Callable[[], object]) -> None:
        """Call this whenever firing must stop, or may go on."""
        self._listeners.append(listener)

    def may_fire(self) -> bool:
        """Whether what is due by the engine's clock may be done; ask before each time."""
        self.look()
        return not self.step_ms

    def look(self) -> None:
        """Compare the clocks: follow a small difference, and tell of a step."""
        offset = self._clock.offset()
        before, self.step_ms = self.step_ms, offset if abs(offset) > STEP_MS else 0
        self._clock.follow(0 if self.step_ms else offset)
        if self.step_ms and abs(self.step_ms - before) > STEP_MS:  # also another step than the one before
            _log.error("clock_stepped", step_ms=self.step_ms)
            self._metrics.fail("clock_stepped")
        elif before and not self.step_ms:
            _log.warning("clock_trusted", step_ms=before, moved_ms=self.moved_ms)
        if bool(before) != bool(self.step_ms):
            for listener in self._listeners:
                listener()

    def on_changed(self, hot: HotStream, events: Sequence[NewEvent]) -> None:  # noqa: ARG002 whose log has it is all one
        """A commit has changed a stream: where it accepts a step of this process's, follow it."""
        for event in events:
            if event.type == ClockAccepted.__name__:
                self._accept(decode_json(event.data)["step_ms"])

    def _accept(self, step_ms: int) -> None:
        """Move the clock by a step, if that is what is still between it and the computer's."""
        offset = self._clock.offset()
        if abs(offset) > STEP_MS and abs(offset - step_ms) <= STEP_MS:
            self._clock.move(step_ms)
            self.moved_ms += step_ms
        self.look()

    def why_not(self) -> str | None:
        """The reason why nothing may fire now, with the size of the step; null if it may."""
        if self.may_fire():
            return None
        return (
            f"fires no timers: the computer's clock was set {described(self.step_ms)} while it ran; set it right, or "
            "accept it with `perdure doctor --accept-clock`"
        )


def described(step_ms: int) -> str:
    """A step in words, as `forward by 1 h 30 min (5400000 ms)`."""
    seconds = round(abs(step_ms) / 1000)
    parts = []
    for name, size in (("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1)):
        count, seconds = divmod(seconds, size)
        if count:
            parts.append(f"{count} {name}")
    return f"{'forward' if step_ms > 0 else 'back'} by {' '.join(parts)} ({step_ms} ms)"
