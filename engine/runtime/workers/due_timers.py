"""The due timers of a store, read page by page: each row once, however many there are."""

from __future__ import annotations

import sys
from typing import Final, Protocol

from perdure.store.records import TimerRow

AT_ONCE: Final = 500
"""So many are read at a time, and fired together."""

_NEVER: Final = sys.maxsize


class TimerSource(Protocol):
    """The store that has the timers: `store.protocols.Executions`, or what stands for it."""

    async def due_timers(self, now: int, *, limit: int = 1000, after: TimerRow | None = None) -> list[TimerRow]: ...
    async def next_due(self, *, after: int | None = None) -> int | None: ...
    async def timers_of(self, execution_id: bytes) -> list[TimerRow]: ...


class DueTimers:
    """Goes through the due timers by (due, execution, timer), and begins anew behind the last one.

    Those that were read before and are still there, since they are being fired or cannot be, are not read again at
    every page. For a timer that is set meanwhile and lies behind the place that was come to, it goes back (`was_set`).
    """

    def __init__(self, store: TimerSource) -> None:
        self._store = store
        self._after: TimerRow | None = None
        self._earliest = _NEVER

    @property
    def is_at_start(self) -> bool:
        """Whether the next page is the first."""
        return self._after is None

    def was_set(self, due_at: int) -> None:
        """Note that a timer was set for this instant."""
        self._earliest = min(self._earliest, due_at)

    async def page(self, now: int) -> list[TimerRow]:
        """The next due timers; the last page is shorter than others, and may be empty. Raises `StoreError`."""
        if self._after is not None and self._earliest <= self._after.due_at:
            self._after = TimerRow(self._earliest, b"", 0)
        self._earliest = _NEVER
        if self._after is None:
            found = await self._store.due_timers(now, limit=AT_ONCE)
        else:
            found = await self._store.due_timers(now, limit=AT_ONCE, after=self._after)
        self._after = found[-1] if len(found) == AT_ONCE else None
        return found

    async def is_set(self, timer: TimerRow) -> bool:
        """Whether a due timer is still there. Raises `StoreError`."""
        before = timer._replace(timer=timer.timer - 1)
        return await self._store.due_timers(timer.due_at, limit=1, after=before) == [timer]
