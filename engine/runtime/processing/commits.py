"""Monitoring of commits: stalls, failures, and the requests to be retried after one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from perdure.engine.runtime.clock import Clock, Handle
from perdure.engine.runtime.processing.requests import CommandRequest
from perdure.store.errors import StoreError

FAILED_SHOWN_MS: Final = 10_000
"""So long readiness tells of a commit that failed, unless a later one succeeds; then it lets callers try."""

RETRY_MS: Final = 1000
"""Work from inside is tried again so long after the store refused it."""


class Commits:
    """The commits of a processor, one at a time. `on_stall` is called once for each that takes longer than a stall."""

    def __init__(self, clock: Clock, stall_ms: int, on_stall: Callable[[], None]) -> None:
        self._clock = clock
        self._stall_ms = stall_ms
        self._on_stall = on_stall
        self._alarm: Handle | None = None
        self._began_at = 0
        self._failed_at = 0
        self._failure: str | None = None
        self.is_stalled = False

    def begin(self) -> None:
        """A commit begins."""
        self._began_at = self._clock.ticks()
        self._alarm = self._clock.call_later(self._stall_ms, self._ring)

    def end(self, failure: StoreError | None = None) -> None:
        """It has ended; with `failure` nothing was written."""
        if self._alarm is not None:
            self._alarm.cancel()
        self._alarm = None
        self.is_stalled = False
        self._failure = None if failure is None else str(failure)
        self._failed_at = self._clock.ticks() if failure is not None else 0

    def _ring(self) -> None:
        self._alarm = None
        self.is_stalled = True
        self._on_stall()

    @property
    def problem(self) -> str | None:
        """The reason why writes are not answered soon, for readiness checks; null if there is none."""
        now = self._clock.ticks()
        if self.is_stalled:
            return f"has waited {(now - self._began_at) // 1000} s for a commit: the database does not answer"
        if self._failure is not None and now - self._failed_at < FAILED_SHOWN_MS:
            return f"could not write to the database: {self._failure}"
        return None


class PutOff:
    """Requests that the store could not serve: all are queued again a while after the first of them."""

    def __init__(self, clock: Clock, put: Callable[[CommandRequest], None]) -> None:
        self._clock = clock
        self._put = put
        self.requests: list[CommandRequest] = []
        self._is_empty = asyncio.Event()
        self._is_empty.set()

    def add(self, request: CommandRequest) -> None:
        """Put this one off."""
        if not self.requests:
            self._clock.call_later(RETRY_MS, self._try_again)
        self.requests.append(request)
        self._is_empty.clear()

    def _try_again(self) -> None:
        requests, self.requests = self.requests, []
        for request in requests:
            self._put(request)
        self._is_empty.set()

    async def wait(self) -> None:
        """Wait until nothing is put off."""
        await self._is_empty.wait()
