"""Recovery: at start, everything that was under way is taken up again.

What was alive is listed before anything new is taken in, so that no run of this process is taken for an orphan.
"""

from __future__ import annotations

import asyncio
from typing import Final

import structlog

from engine.core.commands import Recover
from engine.runtime.metrics import Metrics
from engine.runtime.suspects import Suspects
from engine.runtime.turns import Send
from store.protocols import Store

_log = structlog.get_logger("perdure.recovery")

AT_ONCE: Final = 256


class Recovery:
    """Takes executions up again, suspects last."""

    def __init__(self, store: Store, send: Send, suspects: Suspects, metrics: Metrics) -> None:
        self._metrics = metrics
        self._store = store
        self._send = send
        self._suspects = suspects
        self._orphans: list[tuple[bytes, int]] = []
        self._job: asyncio.Task[None] | None = None
        self.is_done = asyncio.Event()

    async def survey(self) -> None:
        """List what was alive, and where it stood: what is scheduled from here on is not to be recovered."""
        after = b""
        while page := await self._store.live_executions(after=after, limit=1000):
            self._orphans += [(row.execution_id, row.seq) for row in page]
            after = page[-1].execution_id

    def start(self, *, died: bool) -> None:
        """Take up what was listed, in the background. `died`: the process before us did not stop cleanly."""
        self._job = asyncio.get_running_loop().create_task(self._run(died=died))

    async def _run(self, *, died: bool) -> None:
        orphans, self._orphans = self._orphans, []
        for start in range(0, len(orphans), AT_ONCE):
            some = orphans[start : start + AT_ONCE]
            orders = (self._send(execution_id, Recover(died, seq)) for execution_id, seq in some)
            await asyncio.gather(*orders, return_exceptions=True)
        self._metrics.recovered.add(by=len(orphans))
        if orphans:
            _log.info("recovered", executions=len(orphans), died=died, suspects=len(self._suspects))
        self.is_done.set()
        await self._suspects.release()

    def go_on(self) -> None:
        """Let suspects run that have come late: their execution had been set aside, and was released."""
        if self.is_done.is_set() and self._job is not None and self._job.done():
            self._job = asyncio.get_running_loop().create_task(self._suspects.release())

    async def close(self) -> None:
        """Go no further."""
        if self._job is not None:
            self._job.cancel()
            await asyncio.gather(self._job, return_exceptions=True)
