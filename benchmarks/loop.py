"""One execution that loops: what a transition costs at the start, in the middle and at the end, and how much memory.

Two loops, one of a Choice and a Pass that counts, one of a Choice and a step; on SQLite, every step durable, and on
the in-memory store, which is no measure of memory, since it keeps the log there.
"""

from __future__ import annotations

import asyncio
import resource
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

from perdure.engine import Engine
from perdure.engine.core import ids
from perdure.engine.core.state import State
from perdure.engine.database import open_store
from perdure.engine.limits import Limits
from perdure.engine.runtime.streams.loader import Definitions, Loader
from perdure.engine.runtime.telemetry.metrics import Metrics
from perdure.engine.steps import Registry
from perdure.store.memory import MemoryStore
from perdure.store.protocols import Store
from perdure.store.records import Appended, StreamAppend

TENTHS: Final = 10
LIMITS: Final = Limits(run_events_max=10**9, run_bytes_max=2**40, run_transitions_per_s_max=10**9)
"""A loop that is measured is no runaway."""

SAMPLES: Final = 1000
"""About so many are kept, so that the samples themselves are no growth."""

COUNT: Final[dict[str, Any]] = {"Type": "Pass", "Parameters": {"n.$": "States.MathAdd($.n, 1)"}, "Next": "Again"}
CALL: Final[dict[str, Any]] = {"Type": "Task", "Resource": "count", "Next": "Again"}


def definition(work: dict[str, Any], transitions: int) -> dict[str, Any]:
    """A loop that enters so many states: a Choice and some work, over and over."""
    more = {"Variable": "$.n", "NumericLessThan": transitions // 2, "Next": "Work"}
    return {
        "StartAt": "Again",
        "States": {
            "Again": {"Type": "Choice", "Choices": [more], "Default": "Done"},
            "Work": work,
            "Done": {"Type": "Succeed"},
        },
    }


def registry() -> Registry:
    """The step that counts."""
    steps = Registry()

    @steps.step("count")
    async def count(value: dict[str, int]) -> dict[str, int]:
        return {"n": value["n"] + 1}

    return steps


class Sample(NamedTuple):
    """How far the log was at an append, when, the time of this process's CPU until then, and the memory in use."""

    events: int
    seconds: float
    cpu_seconds: float
    rss: int


class Loop(NamedTuple):
    """What was measured of a loop: samples in order, and the milliseconds to read it back."""

    transitions: int
    samples: Sequence[Sample]
    from_snapshot_ms: float
    from_start_ms: float

    def tenth(self, number: int) -> tuple[Sample, Sample]:
        """The first and the last sample of a tenth of the events, from 0 on."""
        last = self.samples[-1].events
        first, after = last * number // TENTHS, last * (number + 1) // TENTHS
        within = [sample for sample in self.samples if first <= sample.events <= after]
        return within[0], within[-1]

    def us(self, number: int) -> tuple[float, float]:
        """Microseconds a transition in a tenth: by the clock, and of CPU."""
        start, end = self.tenth(number)
        transitions = (end.events - start.events) / self.samples[-1].events * self.transitions
        seconds, cpu_seconds = end.seconds - start.seconds, end.cpu_seconds - start.cpu_seconds
        return seconds * 1e6 / transitions, cpu_seconds * 1e6 / transitions

    @property
    def growth(self) -> int:
        """By how many bytes memory grew at most after the first tenth."""
        _, settled = self.tenth(0)
        return max(sample.rss for sample in self.samples) - settled.rss


class _Watched:
    """Notes what goes into a store."""

    def __init__(self, store: Store, transitions: int) -> None:
        self._apart = transitions // SAMPLES
        self._append, store.append = store.append, self._noting  # type: ignore[method-assign]
        self.samples: list[Sample] = []

    async def _noting(self, batch: Sequence[StreamAppend]) -> Appended:
        appended = await self._append(batch)
        if not self.samples or appended.position >= self.samples[-1].events + self._apart:
            self.samples.append(Sample(appended.position, time.perf_counter(), time.process_time(), _rss()))
        return appended


def _rss() -> int:
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * resource.getpagesize()


async def measure(store: Store, work: dict[str, Any], transitions: int) -> Loop:
    """Run one loop to its end, and read it back both ways. The store is closed then."""
    watched = _Watched(store, transitions)
    async with Engine.open(store, steps=registry(), limits=LIMITS) as engine:
        workflow = await engine.create_workflow("loop", definition(work, transitions))
        watched.samples.clear()
        execution = await engine.trigger(workflow.id, {"n": 0})
        result = await engine.result(execution.id, timeout=3600)
        if result.output != {"n": transitions // 2}:
            message = f"the loop ended with {result}"
            raise RuntimeError(message)
        read = await _read_back(store, ids.parse(execution.id))
    return Loop(transitions, watched.samples, *read)


async def _read_back(store: Store, execution: bytes) -> tuple[float, float]:
    """Milliseconds to load an execution from its snapshot on, and from its first event."""
    loader = Loader(store, Definitions(store), Metrics())
    (row,) = (await store.streams_of([execution])).values()
    times = []
    for way in (loader.from_snapshot, loader.from_snapshot, loader.from_the_start):
        started = time.perf_counter()
        fold = await way(row)
        times.append((time.perf_counter() - started) * 1000)
        state: State | None = None if fold is None else fold.state
        if state is None or not state.is_over:
            message = f"the loop does not fold to its end: {state}"
            raise RuntimeError(message)
    return times[1], times[2]  # what came first opened connections and compiled statements


async def _all(transitions: int) -> list[tuple[str, Loop]]:
    found = []
    for name, work in (("Choice and Pass", COUNT), ("Choice and Task", CALL)):
        with tempfile.TemporaryDirectory(prefix="perdure-bench-") as folder:
            store = await open_store(f"sqlite:///{Path(folder) / 'bench.db'}")
            found.append((f"{name}, SQLite, WAL, synchronous=FULL", await measure(store, work, transitions)))
        found.append((f"{name}, in memory", await measure(MemoryStore(), work, transitions)))
    return found


def main(transitions: int = 100_000) -> int:
    """Print the figures."""
    print(f"loop: one execution, {transitions:,} transitions")
    for name, loop in asyncio.run(_all(transitions)):
        print(f"  {name}; in the first, a middle and the last tenth:")
        tenths = [loop.us(number) for number in (0, TENTHS // 2, TENTHS - 1)]
        for what, (first, middle, last) in zip(("by the clock", "of CPU"), zip(*tenths, strict=True), strict=True):
            shown = f"{first:.0f}, {middle:.0f}, {last:.0f}"
            print(f"    µs a transition {what}: {shown}; last/first {last / first:.2f}")
        print(
            f"    memory grew by {loop.growth / 2**20:.1f} MiB after the first tenth; read back in "
            f"{loop.from_snapshot_ms:.1f} ms from its snapshot, {loop.from_start_ms:.0f} ms from its first event"
        )
    return 0
