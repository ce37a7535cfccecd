"""Suspects: tasks that ran at several crashes. They are dispatched in rounds, and watched.

Those come first that died least often while they were watched. Of those with as many such deaths one has its turn, then
two, then four: a round ends when each of it has ended or was watched for long enough (`engine.core.decide.recover`),
and what still runs goes on beside the next one. So a thousand that do nothing wrong run again after ten rounds.

If the process dies, those that were watched come last the next time, again one, then two, then four: the one that takes
the process down is among half as many each time, and soon alone.
"""

from __future__ import annotations

import asyncio
from typing import NamedTuple

import structlog

from perdure.engine.core.commands import Redispatch
from perdure.engine.core.decide.recover import watch_ms
from perdure.engine.core.effects import HoldSuspect
from perdure.engine.errors import PerdureError
from perdure.engine.runtime.clock import Clock
from perdure.engine.runtime.processing.requests import Accepted
from perdure.engine.runtime.streams.stream import HotStream
from perdure.engine.runtime.telemetry.metrics import Metrics
from perdure.engine.runtime.workers.step_slots import TaskKey
from perdure.engine.runtime.workers.tasks import TaskRunner
from perdure.engine.runtime.workers.turns import Send

_log = structlog.get_logger("perdure.recovery")


class _Suspect(NamedTuple):
    hot: HotStream
    held: HoldSuspect

    @property
    def key(self) -> TaskKey:
        return TaskKey(self.hot.stream_id, self.held.seq)


class Suspects:
    """The suspects of a node: the held ones, by their deaths, and those of the watched round."""

    def __init__(self, send: Send, clock: Clock, tasks: TaskRunner, metrics: Metrics) -> None:
        self._send = send
        self._clock = clock
        self._tasks = tasks
        self._metrics = metrics
        self._held: list[_Suspect] = []
        self._watched: dict[TaskKey, asyncio.Future[None]] = {}

    def __len__(self) -> int:
        """How many wait for their turn."""
        return len(self._held)

    def hold(self, hot: HotStream, held: HoldSuspect) -> None:
        """Hold a suspect task until its turn."""
        self._metrics.suspected.add()
        self._held.append(_Suspect(hot, held))

    def ending(self, key: TaskKey) -> asyncio.Future[None] | None:
        """The callback for when the outcome of a task is on disk; null: none."""
        return self._watched.pop(key, None) if self._watched else None

    async def release(self) -> None:
        """Dispatch all held tasks, round by round."""
        before, size = -1, 1
        while self._held:
            self._held.sort(key=lambda each: each.held.deaths_watched)
            like = self._held[0].held.deaths_watched
            size = 2 * size if like == before else 1
            some = [each for each in self._held[:size] if each.held.deaths_watched == like]
            del self._held[: len(some)]
            before = like
            await self._run_round(some, watch_ms(max(each.held.deaths for each in some)))

    async def _run_round(self, some: list[_Suspect], longest_ms: int) -> None:
        for hot, held in some:
            _log.warning("suspect_dispatched", **hot.described(), state=held.state, deaths=held.deaths, of=len(some))
        self._watched = {each.key: asyncio.get_running_loop().create_future() for each in some}
        ended = list(self._watched.values())
        orders = [self._send(hot.stream_id, Redispatch(held.scope, len(some) - 1)) for hot, held in some]
        replies = await asyncio.gather(*orders, return_exceptions=True)
        for each, reply in zip(some, replies, strict=True):
            if isinstance(reply, PerdureError):  # it is set aside: the others have their turn
                _log.error("suspect_not_dispatched", **each.hot.described(), state=each.held.state, error=str(reply))
            if not isinstance(reply, Accepted) or not self._tasks.knows(each.key):
                future = self.ending(each.key)  # unless its end is being recorded nothing of it runs here
                if future is not None:
                    future.set_result(None)
        await self._until(ended, longest_ms)
        self._watched = {}

    async def _until(self, ended: list[asyncio.Future[None]], longest_ms: int) -> None:
        """Wait until all have ended, so long at most."""
        is_over = asyncio.Event()
        left = len(ended)

        def count(_: object) -> None:
            nonlocal left
            left -= 1
            if not left:
                is_over.set()

        for future in ended:
            future.add_done_callback(count)
        alarm = self._clock.call_later(longest_ms, is_over.set)
        try:
            await is_over.wait()
        finally:
            alarm.cancel()
