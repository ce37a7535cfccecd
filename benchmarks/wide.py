"""What a large run costs the others: a wide Map that is opened, asked about and terminated, and endless loops.

Beside it clients run workflows of one step, each when the last one has ended: how long they wait is printed, and for
how long the event loop was not free.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, Final, NamedTuple

from perdure.engine import Engine
from perdure.engine.errors import PerdureError
from perdure.engine.steps import Registry
from perdure.store.protocols import PLACES, WriterPlace

CLIENTS: Final = 4
PAUSE_S: Final = 0.002
LOOPS: Final = 50
LOOPS_S: Final = 10
AFTER_S: Final = 3

STEP: Final[dict[str, Any]] = {"Type": "Task", "Resource": "quick", "End": True}
OTHER: Final[dict[str, Any]] = {"StartAt": "Quick", "States": {"Quick": STEP}}
LOOP: Final[dict[str, Any]] = {
    "StartAt": "A",
    "States": {
        "A": {"Type": "Choice", "Choices": [{"Variable": "$.stop", "IsPresent": True, "Next": "End"}], "Default": "B"},
        "B": {"Type": "Pass", "Next": "A"},
        "End": {"Type": "Succeed"},
    },
}
EACH: Final[dict[str, dict[str, Any]]] = {
    "waits": {"Type": "Task", "Resource": "wait_for_resume", "End": True},
    "timed waits": {"Type": "Task", "Resource": "wait_for_resume", "TimeoutSeconds": 3600, "End": True},
    "timers": {"Type": "Wait", "Seconds": 3600, "End": True},
    "tasks": {"Type": "Task", "Resource": "slow", "End": True},
}
"""What each iteration of a wide Map comes to."""


def a_map(each: dict[str, Any]) -> dict[str, Any]:
    """A Map of which each iteration is one state."""
    processor = {"StartAt": "One", "States": {"One": each}}
    return {"StartAt": "Each", "States": {"Each": {"Type": "Map", "ItemProcessor": processor, "End": True}}}


class Beside(NamedTuple):
    """What others had to put up with: how long their runs took, in order, and how long the loop was held at most."""

    what: str
    seconds: float
    times: list[float]
    held: float

    @property
    def p99_ms(self) -> float:
        """Milliseconds that 99 of 100 runs of others took at the most."""
        times = sorted(self.times)
        return times[len(times) * 99 // 100] * 1000

    def __str__(self) -> str:
        return (
            f"{self.what}: {self.seconds:.2f} s; others' p99 {self.p99_ms:.0f} ms ({len(self.times)} runs), "
            f"the loop held {self.held * 1000:.0f} ms"
        )


class Watching:
    """Clients that run something small all the time, and a watch of the loop."""

    def __init__(self, engine: Engine, workflow_id: str) -> None:
        self._engine = engine
        self._workflow_id = workflow_id
        self._times: list[float] = []
        self._held = 0.0
        self._jobs: list[asyncio.Task[None]] = []

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Run them."""
        self._jobs = [asyncio.create_task(work()) for work in [self._watch, *[self._client] * CLIENTS]]
        try:
            yield
        finally:
            for job in self._jobs:
                job.cancel()
            await asyncio.gather(*self._jobs, return_exceptions=True)

    async def _client(self) -> None:
        while True:
            began = time.perf_counter()
            run = await self._engine.trigger(self._workflow_id)
            await self._engine.result(run.id)
            self._times.append(time.perf_counter() - began)
            await asyncio.sleep(PAUSE_S)

    async def _watch(self) -> None:
        last = time.perf_counter()
        while True:
            await asyncio.sleep(0.001)
            now = time.perf_counter()
            self._held = max(self._held, now - last)
            last = now

    async def during(self, what: str, work: Awaitable[Any]) -> Beside:
        """What others had to put up with while this was done, and until whoever came meanwhile was served."""
        self._times.clear()
        self._held = 0.0
        began = time.perf_counter()
        await work
        seconds = time.perf_counter() - began
        served = len(self._times) + CLIENTS
        while len(self._times) <= served:
            for job in self._jobs:
                if job.done():
                    await job
            await asyncio.sleep(PAUSE_S)
        return Beside(what, seconds, list(self._times), self._held)


def registry() -> Registry:
    """A step that returns at once, and one that does not."""
    steps = Registry()

    @steps.step("quick")
    async def quick(_: Any) -> None:
        pass

    @steps.step("slow")
    async def slow(_: Any) -> None:
        await asyncio.sleep(3600)

    return steps


@asynccontextmanager
async def an_engine(writer: WriterPlace) -> AsyncIterator[tuple[Engine, Watching]]:
    """An engine on a new SQLite file, with others at work."""
    with tempfile.TemporaryDirectory(prefix="perdure-bench-") as folder:
        async with Engine.open(f"sqlite:///{Path(folder) / 'bench.db'}", steps=registry(), writer=writer) as engine:
            other = await engine.create_workflow("other", OTHER)
            watching = Watching(engine, other.id)
            async with watching.running():
                await asyncio.sleep(0.5)
                yield engine, watching


async def wide(of: str, count: int, writer: WriterPlace) -> list[Beside]:
    """Open a Map with so many iterations, resume it by its process id, list what is open, and terminate it."""
    async with an_engine(writer) as (engine, watching):
        workflow = await engine.create_workflow("wide", a_map(EACH[of]))
        found = [await watching.during("nothing else", asyncio.sleep(1))]

        async def opened() -> None:
            run = await engine.trigger(workflow.id, [0] * count, process_id="wide")
            async for recorded in engine.events(run.id, follow=True):
                if recorded.seq > 2 * count:
                    break
            await engine.node.processor.settle()

        async def resumed() -> None:
            with suppress(PerdureError):
                await engine.resume("wide", {})

        found.append(await watching.during("opened", opened()))
        found.append(await watching.during("resumed, which names none", resumed()))
        found.append(await watching.during("a page of waits", engine.waits("wide")))
        found.append(await watching.during("terminated", engine.terminate("wide")))
        found.append(await watching.during("after that", asyncio.sleep(AFTER_S)))
        return found


async def loops(count: int, seconds: float, writer: WriterPlace) -> Beside:
    """Run so many endless loops for a while."""
    async with an_engine(writer) as (engine, watching):
        workflow = await engine.create_workflow("loop", LOOP)
        runs = [(await engine.trigger(workflow.id)).id for _ in range(count)]
        found = await watching.during(f"{count} endless loops", asyncio.sleep(seconds))
        for run in runs:
            await engine.terminate(run)
        return found


def main(count: int = 100_000) -> int:
    """Print the figures."""
    print(f"wide: others ({CLIENTS} clients) beside a Map of {count:,} iterations, and beside endless loops")
    for writer in PLACES:
        print(f"  writer in a {writer}:")
        print(f"    {asyncio.run(loops(LOOPS, LOOPS_S, writer))}")
        for of in EACH:
            for found in asyncio.run(wide(of, count, writer)):
                print(f"    {of}, {found}", flush=True)
    return 0
