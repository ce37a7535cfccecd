"""Engines on the in-memory store, whose commits can be held back, refused, and cut off by a crash."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any

import pytest

from perdure.engine import Engine
from perdure.engine.audit.store_audit import compare_projections, verify
from perdure.engine.steps import Registry
from perdure.engine.testing import ManualClock
from perdure.store.errors import StoreUnavailable
from perdure.store.memory import MemoryStore
from perdure.store.records import Appended, StoredEvent, StreamAppend

WAITING: dict[str, Any] = {
    "StartAt": "Ask",
    "States": {
        "Ask": {"Type": "Task", "Resource": "wait_for_resume", "ResultPath": "$.answer", "Next": "Done"},
        "Done": {"Type": "Succeed"},
    },
}


class GatedStore(MemoryStore):
    """A store whose commits wait while the gate is closed, and fail with what `fail_next` says."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = asyncio.Event()
        self.gate.set()
        self.attempts: list[Sequence[StreamAppend]] = []
        self.fail_next: list[Exception] = []
        self.fail_reads = 0
        self.before_append: Callable[[], Awaitable[None]] | None = None

    async def append(self, batch: Sequence[StreamAppend]) -> Appended:
        self.attempts.append(batch)
        if self.before_append is not None:
            action, self.before_append = self.before_append, None
            await action()
        await self.gate.wait()
        if self.fail_next:
            raise self.fail_next.pop(0)
        return await super().append(batch)

    async def events_of(self, stream_ids: Sequence[bytes]) -> dict[bytes, list[StoredEvent]]:
        if self.fail_reads:
            self.fail_reads -= 1
            message = "the disk does not answer"
            raise StoreUnavailable(message)
        return await super().events_of(stream_ids)


class Bench:
    """A store, a clock and the engines that were started on them."""

    def __init__(self) -> None:
        self.store = GatedStore()
        self.clock = ManualClock()
        self.engines: list[Engine] = []

    async def start(self, steps: Registry | None = None, **settings: Any) -> Engine:
        """Start an engine and let it recover what it finds."""
        engine = await Engine.start(self.store, steps=steps, clock=self.clock, **settings)
        self.engines.append(engine)
        while not engine.node.recovery.is_done.is_set():
            await rest(engine)
            if (due := self.clock.next_due()) is not None and not engine.node.recovery.is_done.is_set():
                self.clock.push(due - self.clock.now())  # what the store refused is tried again later
        return engine

    async def crash(self, engine: Engine) -> None:
        """The process is gone: what is not committed is lost, and nobody says goodbye."""
        self.engines.remove(engine)
        processor = engine.node.processor
        processor.failure = RuntimeError("killed")
        processor.commits.stop()
        commits = [] if processor.commits.appending is None else [processor.commits.appending]
        tasks: Any = engine.node.tasks
        children: Any = engine.node.children
        scheduled: Any = engine.node.scheduled
        starting = (*scheduled._jobs, *scheduled._followers)
        for job in (*commits, *processor._jobs, *tasks._jobs.values(), *children._jobs, *starting):
            job.cancel()
        await engine.node.recovery.close()
        await engine.node.timers.close()
        await engine.node.slots.close()
        await engine.node.admission.close()
        await engine._http.close()

    async def stop(self, engine: Engine) -> None:
        """A clean stop."""
        self.engines.remove(engine)
        await engine.node.drain(grace_s=0)
        await engine._http.close()

    async def push(self, engine: Engine, ms: int) -> None:
        """Let time pass, and what it sets off come to rest."""
        self.clock.push(ms)
        await rest(engine)


async def eventually(condition: Callable[[], Any], *, seconds: float = 10) -> None:
    """Poll until a condition holds; fail after a deadline."""
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 a condition of any kind
            await asyncio.sleep(0.001)


async def rest(engine: Engine) -> None:
    """Wait until nothing is queued, read, committed or fired."""
    for _ in range(5):
        await asyncio.sleep(0)
        await engine.node.processor.settle()
        children: Any = engine.node.children
        scheduled: Any = engine.node.scheduled
        jobs = {engine.node.timers._job, engine.node.slots._job, *children._jobs, *scheduled._jobs}
        alive = [job for job in jobs if job is not None and not job.done()]
        if alive:
            await asyncio.wait(alive, timeout=0.05)  # they may wait for a store that is tried again later


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    made = Bench()
    yield made
    made.store.gate.set()
    for engine in list(made.engines):
        await made.stop(engine)
        # Places in use are live steps, and a stop ends those.
        await eventually(lambda: not engine.node.tasks.running)  # noqa: B023
    # What every test proves beside its own point: the chains hold, and the projections are what the log folds to.
    assert (await verify(made.store)).breaks == []
    assert await compare_projections(made.store) == []
