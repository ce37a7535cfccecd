"""The clock as operators see it: how it stands to the computer's, and the acceptance of a step."""

from __future__ import annotations

import asyncio
from typing import NamedTuple

from perdure.engine.core import ids
from perdure.engine.core.organization import AcceptClock
from perdure.engine.errors import Conflict
from perdure.engine.runtime.callers import Caller
from perdure.engine.runtime.node import NodeParts
from perdure.engine.runtime.workers.clock_guard import STEP_MS, described
from perdure.engine.services.sending import send


class ClockStatus(NamedTuple):
    """The clock of an engine, in milliseconds since the epoch, and the computer's.

    `step_ms` is the step that stops it from firing timers, 0 if it fires them; `problem` says it in words.
    """

    now: int
    wall: int
    step_ms: int
    problem: str | None


class ClockControl:
    """Shows and moves the clock of this process. What was accepted is forgotten at its end: the next one reads anew."""

    def __init__(self, node: NodeParts) -> None:
        self._node = node
        self._accepting = asyncio.Lock()

    def status(self) -> ClockStatus:
        """The status of the clock, looked at now."""
        clock, guard = self._node.clock, self._node.guard
        problem, now = guard.why_not(), clock.now()
        return ClockStatus(now, now + clock.offset(), guard.step_ms, problem)

    async def accept(self, caller: Caller, step_ms: int | None = None) -> int:
        """Accept the step that was seen: the clock is moved by it, and what has come due by that is fired.

        It is recorded in the stream of the caller's organization. Gives the step, 0 if there is none, which changes
        nothing; so a call may be repeated. Raises `Conflict` if it is another one than the `step_ms` that is meant, by
        more than a minute, or if it has become another one before the acceptance was on disk.
        """
        async with self._accepting:  # or two would record the same one
            found = self.status().step_ms
            if not found:
                return 0
            if step_ms is not None and abs(step_ms - found) > STEP_MS:
                raise _another(found, step_ms)
            before = self._node.guard.moved_ms
            command = AcceptClock(found, ids.text(self._node.sender.id))
            await send(self._node, caller, "organization", caller.organization_id, command)
            moved, left = self._node.guard.moved_ms - before, self.status().step_ms
            if left:
                raise _another(left, found)
            return moved


def _another(found: int, accepted: int) -> Conflict:
    message = (
        f"step_ms: the computer's clock was set {described(found)}, which is not the step of {accepted} ms that you "
        "accept; look again"
    )
    return Conflict(message, {"field": "step_ms", "step_ms": found})
