"""Schedules: what comes due of them is looked for as timers are, by a `Timers` of their own over `DueSchedules`."""

from __future__ import annotations

from typing import Protocol

from perdure.engine.core import effects as fx
from perdure.engine.runtime.streams.stream import HotStream
from perdure.store.protocols import ScheduleReads
from perdure.store.records import TimerRow


class DueSchedules:
    """Schedules in the form of timers: the id of a schedule stands for that of an execution."""

    def __init__(self, store: ScheduleReads) -> None:
        self._store = store

    async def due_timers(self, now: int, *, limit: int = 1000, after: TimerRow | None = None) -> list[TimerRow]:
        """The schedules that are due, in their order."""
        if after is not None and after.timer < 0:  # the one behind that is meant, if it is still there
            return [row for row in await self.timers_of(after.execution_id) if row.due_at == after.due_at]
        behind = None if after is None else (after.due_at, after.execution_id)
        found = await self._store.schedules_due(now, limit=limit, after=behind)
        return [TimerRow(due_at, name, 0) for due_at, name in found]

    async def next_due(self, *, after: int | None = None) -> int | None:
        """The earliest instant at which one is due."""
        return await self._store.next_schedule_due(after=after)

    async def timers_of(self, execution_id: bytes) -> list[TimerRow]:
        """The one of a schedule, if it is active."""
        row = await self._store.schedule(execution_id)
        return [] if row is None or row.due_at is None else [TimerRow(row.due_at, execution_id, 0)]


class ScheduleRunner(Protocol):
    """Decides slots and starts their runs: `ScheduledRuns`, or nothing where there are no workflows.

    All of it may be asked for more than once, before and after a crash, and must be harmless then.
    """

    async def fire(self, due: list[TimerRow]) -> list[TimerRow]:
        """Decide the slots of schedules that are due; gives those of which that failed."""
        ...

    def start(self, hot: HotStream, wanted: fx.StartScheduled) -> None:
        """Start the run of a slot under the id that the log gives it, and tell the schedule what became of that."""
        ...

    def follow(self, hot: HotStream, wanted: fx.FollowScheduled) -> None:
        """Have a buffered slot decided once the run that it waits for has ended."""
        ...

    def recover(self) -> None:
        """Take up what was starting, and what is buffered, in the background."""
        ...

    async def close(self, grace_s: float) -> None:
        """Start nothing more, and bring what is under way to an end within about `grace_s` seconds."""
        ...


class NoSchedules:
    """Decides nothing. Implements `ScheduleRunner`."""

    async def fire(self, due: list[TimerRow]) -> list[TimerRow]:
        return due

    def start(self, hot: HotStream, wanted: fx.StartScheduled) -> None:
        pass

    def follow(self, hot: HotStream, wanted: fx.FollowScheduled) -> None:
        pass

    def recover(self) -> None:
        pass

    async def close(self, grace_s: float) -> None:
        pass
