"""Recovery: at start, every execution that was in progress is recovered.

What was alive is listed before anything new is taken in, so that no run of this process is taken for an orphan.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Final

import structlog

from perdure.engine.core.commands import Quarantine, Recover
from perdure.engine.core.events import TimerSet
from perdure.engine.log.codec import decode_json
from perdure.engine.runtime.processing.requests import Accepted
from perdure.engine.runtime.telemetry.metrics import Metrics
from perdure.engine.runtime.workers.crash_loop import CrashLoop
from perdure.engine.runtime.workers.suspects import Suspects
from perdure.engine.runtime.workers.timers import Timers
from perdure.engine.runtime.workers.turns import Send
from perdure.store.protocols import Store
from perdure.store.records import ExecutionRow

_log = structlog.get_logger("perdure.recovery")

AT_ONCE: Final = 256

PORTION_BYTES: Final = 8 * 1024 * 1024
"""So many bytes of parameters are read for the steps of one run before others have their turn."""


class Recovery:
    """Recovers executions, suspects last."""

    def __init__(
        self,
        store: Store,
        send: Send,
        timers: Timers,
        suspects: Suspects,
        metrics: Metrics,
        on_done: Callable[[], None],
    ) -> None:
        self._metrics = metrics
        self._store = store
        self._send = send
        self._timers = timers
        self._suspects = suspects
        self._orphans: dict[bytes, int] = {}
        self._job: asyncio.Task[None] | None = None
        self.is_done = asyncio.Event()
        self._on_done = on_done

    async def survey(self) -> None:
        """List the live executions and their seqs: tasks that are scheduled later are not to be recovered.

        Those that sleep are left out: there may be a million, and their timers are rows.
        """
        after = b""
        while page := await self._store.live_executions(after=after, limit=1000):
            asleep = await self._asleep(page)
            self._orphans |= {row.execution_id: row.seq for row in page if row.execution_id not in asleep}
            after = page[-1].execution_id

    async def _asleep(self, page: Sequence[ExecutionRow]) -> set[bytes]:
        """Those whose last event has set the timer of a Wait state at the top level: nothing else is under way there.

        Children are none of them: whether anybody awaits them still is for a recovery to ask.
        """
        alone = [row.execution_id for row in page if row.status == "running" and row.parent_id is None]
        heads = await self._store.heads_of(alone)
        return {
            execution_id
            for execution_id, head in heads.items()
            if head.type == TimerSet.__name__ and not decode_json(head.data).get("scope")
        }

    def start(self, *, died: bool, loop: CrashLoop) -> None:
        """Recover the listed executions, in the background. `died`: the process before this one crashed."""
        self._job = asyncio.get_running_loop().create_task(self._run(died=died, loop=loop))

    async def _run(self, *, died: bool, loop: CrashLoop) -> None:
        orphans, self._orphans = self._orphans, {}
        if loop.is_careful:
            await self._take_up_carefully(orphans, loop)
        else:
            await self._take_up(orphans, list(orphans), died=died)
        self._metrics.recovered.add(by=len(orphans))
        if orphans:
            _log.info("recovered", executions=len(orphans), died=died, suspects=len(self._suspects))
        self.is_done.set()
        self._on_done()
        if loop.is_careful:
            self._timers.begin()
        await self._suspects.release()

    async def _take_up(self, orphans: Mapping[bytes, int], streams: Sequence[bytes], *, died: bool) -> None:
        """Take up streams, as far as they are orphans, some at a time."""
        for start in range(0, len(streams), AT_ONCE):
            some = [stream_id for stream_id in streams[start : start + AT_ONCE] if stream_id in orphans]
            orders = (self._recover(stream_id, orphans[stream_id], died=died) for stream_id in some)
            await asyncio.gather(*orders, return_exceptions=True)

    async def _recover(self, stream_id: bytes, seq: int, *, died: bool) -> None:
        """Take up one stream, its steps in portions: what they are called with is not read all at once."""
        after = None
        while True:
            reply = await self._send(stream_id, Recover(died, seq, after, PORTION_BYTES))
            if not isinstance(reply, Accepted) or reply.answer is None:
                return
            after = reply.answer

    async def _take_up_carefully(self, orphans: Mapping[bytes, int], loop: CrashLoop) -> None:
        """Take up what was under way, and what is due, in groups that are noted before, without what is guilty."""
        if loop.guilty is not None:
            setting_aside = self._send(loop.guilty, Quarantine(Recover.__name__, "ProcessDied"))
            await asyncio.gather(setting_aside, return_exceptions=True)
        due = await self._timers.due()
        for some in loop.groups([*orphans, *(due - orphans.keys())]):
            await loop.alone_with(some)
            await self._take_up(orphans, some, died=True)
            await self._timers.fire_of(some)
        await loop.alone_with([])

    def go_on(self) -> None:
        """Dispatch suspects of an execution that was released from quarantine."""
        if self.is_done.is_set() and self._job is not None and self._job.done():
            self._job = asyncio.get_running_loop().create_task(self._suspects.release())

    async def close(self) -> None:
        """Stop recovering."""
        if self._job is not None:
            self._job.cancel()
            await asyncio.gather(self._job, return_exceptions=True)
