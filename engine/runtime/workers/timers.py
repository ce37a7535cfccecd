"""Timers: fires due timers, never early, also those that came due while no process ran.

The timers are rows; in memory there is only the instant of the earliest.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import Final

import structlog

from perdure.engine.core import ids
from perdure.engine.runtime.clock import Clock, Handle
from perdure.engine.runtime.telemetry.metrics import Metrics
from perdure.engine.runtime.telemetry.request_context import set_request
from perdure.engine.runtime.workers.clock_guard import ClockGuard
from perdure.engine.runtime.workers.due_timers import DueTimers, TimerSource
from perdure.store.errors import StoreError
from perdure.store.records import TimerRow

_log = structlog.get_logger("perdure.timers")

ROUNDS_MAX: Final = 20
"""So many rounds of so many timers are under way at once: what is to be decided slowly is bounded in memory."""

ROUND_TIME_S: Final = 0.2
"""So long a round is waited for before the next one begins beside it."""

DUE_MAX: Final = 100_000
"""So many due timers are looked at before a careful start; later ones are fired after it."""

RETRY_MS: Final = 1000
SHOWN_MAX: Final = 10
"""So many executions a line of the log names."""


class Timers:
    """Looks for due timers when the earliest comes due, and fires them through the processor.

    `fire` gives back the timers that it did not fire. Those that are still set are left alone until the next start, so
    that one damaged execution does not hold up the others. While the guard of the clock forbids it nothing is fired.
    """

    def __init__(
        self,
        store: TimerSource,
        clock: Clock,
        fire: Callable[[list[TimerRow]], Awaitable[list[TimerRow]]],
        metrics: Metrics,
        guard: ClockGuard,
    ) -> None:
        self._metrics = metrics
        self._guard = guard
        guard.on_change(self._look)
        self._store = store
        self._clock = clock
        self._due = DueTimers(store)
        self._fire = fire
        self._next: int | None = None
        self._alarm: Handle | None = None
        self._retry: Handle | None = None
        self._job: asyncio.Task[None] | None = None
        self._rang_again = False
        self._stuck: set[TimerRow] = set()
        self._firing: set[TimerRow] = set()
        self._rounds: set[asyncio.Task[None]] = set()
        self._is_waiting = False  # for rounds that go on
        self._is_started = False
        self._is_closed = False

    async def start(self) -> None:
        """Arm for the earliest timer there is; before this nothing is fired but by `fire_of`."""
        self._is_started = True
        due_at = await self._store.next_due()
        if due_at is not None:
            self.arm(due_at)

    def begin(self) -> None:
        """As `start`, in the background, and again if the store does not serve."""
        self._is_started = True
        self.arm(self._clock.now())

    def arm(self, due_at: int) -> None:
        """Wake at this instant (ms): something comes due."""
        self._due.was_set(due_at)
        if not self._is_started or self._is_closed or (self._next is not None and self._next <= due_at):
            return
        self._next = due_at
        if self._alarm is not None:
            self._alarm.cancel()
        self._alarm = self._clock.call_at(due_at, self._ring)

    async def due(self) -> set[bytes]:
        """The executions that have timers which are due; none if they cannot be read: `start` comes to them."""
        try:
            return {row.execution_id for row in await self._store.due_timers(self._clock.now(), limit=DUE_MAX)}
        except StoreError as error:
            self._on_not_read(error)
            return set()

    async def fire_of(self, executions: Iterable[bytes]) -> None:
        """Fire what is due of these executions; nothing if that cannot be read, likewise."""
        try:
            rows = [row for execution_id in executions for row in await self._store.timers_of(execution_id)]
        except StoreError as error:
            self._on_not_read(error)
            return
        if self._guard.may_fire():
            await self._fire([row for row in rows if row.due_at <= self._clock.now()])

    def free(self, execution_id: bytes) -> None:
        """Fire again the timers of an execution that failed before: it was released."""
        self._stuck = {timer for timer in self._stuck if timer.execution_id != execution_id}

    def _ring(self) -> None:
        self._alarm = None
        self._look()

    def _look(self) -> None:
        if self._is_closed or not self._is_started:
            return
        self._rang_again = True
        if self._job is None or self._job.done():
            self._job = asyncio.get_running_loop().create_task(self._work())

    async def _work(self) -> None:
        """Fire what is due and arm for the next, again if the alarm rang meanwhile."""
        set_request(None)  # not for the request that happened to set the alarm
        while self._rang_again and not self._is_closed:
            self._rang_again = False
            if not self._guard.may_fire():  # it calls `_look` when that is over
                self._next = None
                continue
            try:
                looked_at = await self._fire_due()
                self._next = None
                await self._arm_next(looked_at)
            except StoreError as error:
                self._on_not_read(error)
                self._next = None
                self._look_later()

    def _on_not_read(self, error: StoreError) -> None:
        _log.error("timers_not_read", error=str(error))
        self._metrics.fail("timers_not_read")

    async def _fire_due(self) -> int | None:
        """Fire what is due in rounds; one that takes its time, as a slow decision may, goes on beside the next ones.

        Gives the instant at which nothing more was due; null if it did not come to that. Nothing more is due if all
        that there is, from the first timer on, is being fired or cannot be.
        """
        looked_at, is_new, stuck = 0, True, set[TimerRow]()  # when it goes on where it stopped there have been some
        while not self._is_closed and len(self._rounds) < ROUNDS_MAX and self._guard.may_fire():
            now = self._clock.now()
            if self._due.is_at_start:
                looked_at, is_new, stuck = now, False, set()
            found = await self._due.page(now)
            due = [timer for timer in found if timer not in self._stuck and timer not in self._firing]
            stuck.update(self._stuck.intersection(found))
            if due:
                is_new = True
                await self._begin_round(due)
            elif self._due.is_at_start and not is_new:
                self._stuck &= stuck  # of what was mended or ended meanwhile none is due
                return looked_at
        return None

    async def _begin_round(self, due: list[TimerRow]) -> None:
        self._firing.update(due)
        job = asyncio.get_running_loop().create_task(self._round(due))
        self._rounds.add(job)
        job.add_done_callback(self._on_round)
        await asyncio.wait([job], timeout=ROUND_TIME_S)
        if job.done():
            job.result()

    async def _round(self, due: list[TimerRow]) -> None:
        try:
            failed = await self._still_due(await self._fire(due))
        finally:
            self._firing.difference_update(due)
        if failed:
            shown = [ids.text(timer.execution_id) for timer in failed[:SHOWN_MAX]]
            _log.error("timers_not_fired", count=len(failed), execution_ids=shown)
            self._metrics.fail("timers_not_fired")
            self._stuck.update(failed)

    def _on_round(self, job: asyncio.Task[None]) -> None:
        self._rounds.discard(job)
        if not job.cancelled() and isinstance(error := job.exception(), StoreError):
            self._on_not_read(error)
        if self._is_waiting:
            self._look()

    async def _still_due(self, unfired: list[TimerRow]) -> list[TimerRow]:
        """Those that are still set: what became of the others made them void, as when one branch fails for all."""
        return [timer for timer in unfired if await self._due.is_set(timer)]

    async def _arm_next(self, looked_at: int | None) -> None:
        """Arm for the earliest timer after the instant up to which all are fired, being fired, or stuck.

        Of a timer that is set meanwhile, and due before that, `arm` is told.
        """
        self._is_waiting = bool(self._rounds)
        if looked_at is None:  # as many rounds are under way as may be: the end of one looks again
            self._look_later()
        elif (due_at := await self._store.next_due(after=looked_at)) is not None:
            self.arm(due_at)

    def _look_later(self) -> None:
        if self._retry is None and self._is_started and not self._is_closed:
            self._retry = self._clock.call_later(RETRY_MS, self._try_again)

    def _try_again(self) -> None:
        self._retry = None
        self._look()

    async def settle(self) -> None:
        """Wait until what came due so far has been fired."""
        if self._job is not None:
            await asyncio.wait([self._job, *self._rounds])

    def halt(self) -> None:
        """Fire nothing more."""
        self._is_closed = True
        for alarm in (self._alarm, self._retry):
            if alarm is not None:
                alarm.cancel()

    async def close(self) -> None:
        """Fire nothing more, and let go of what is being fired."""
        self.halt()
        jobs = [job for job in (self._job, *self._rounds) if job is not None]
        for job in jobs:
            job.cancel()
        await asyncio.gather(*jobs, return_exceptions=True)
