"""What a timer costs beside many that are pending: to start with them, to add one, and to fire one.

Two databases side by side, one with a thousand runs that wait for their timers, one with as many as are asked for.
What is measured is done to both by turns, in one process, every step durable; of the rounds the quickest counts, by
the time of CPU and by the clock. At the end all that is pending comes due at once, and the first of it are fired.
"""

from __future__ import annotations

import asyncio
import os
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final, NamedTuple

from perdure.engine import Engine
from perdure.engine.core import ids
from perdure.engine.database import open_store
from perdure.engine.testing import START, ManualClock
from perdure.store.protocols import Store
from perdure.store.records import Appended, ExecutionRow, Row, StreamAppend, TimerRow

FEW: Final = 1000
MANY: Final = 1_000_000
ROUNDS: Final = 7
AT_ONCE: Final = 1000
IN_FLIGHT: Final = 200
DRAINED: Final = 20
"""When all come due at once, so many times as many are fired of the many as of the few."""

TEMPLATES: Final = 20
CLONED_AT_ONCE: Final = 2000

EVENTS_OF_FIRED: Final = 2
"""TimerFired, and the end of the run."""

MINUTE_MS: Final = 60_000
DAY_S: Final = 86_400
YEAR_MS: Final = 365 * DAY_S * 1000


def definition(seconds: int) -> dict[str, Any]:
    """A run that waits so long."""
    return {"StartAt": "Sleep", "States": {"Sleep": {"Type": "Wait", "Seconds": seconds, "End": True}}}


class Cost(NamedTuple):
    """Microseconds for each timer: of CPU, and by the clock."""

    cpu_us: float
    us: float

    @classmethod
    async def of(cls, work: Awaitable[object], timers: int) -> Cost:
        """Measure some work on so many timers."""
        cpu, began = time.process_time(), time.perf_counter()
        await work
        seconds, cpu_seconds = time.perf_counter() - began, time.process_time() - cpu
        return cls(cpu_seconds * 1e6 / timers, seconds * 1e6 / timers)

    def least(self, other: Cost) -> Cost:
        """The lesser of two measurements of the same, each number for itself."""
        return Cost(min(self.cpu_us, other.cpu_us), min(self.us, other.us))


class Compared(NamedTuple):
    """The cost of something beside few timers, and beside many."""

    what: str
    few: Cost
    many: Cost

    @property
    def ratio(self) -> float:
        """By how much it costs more of CPU beside many."""
        return self.many.cpu_us / self.few.cpu_us


# --- many runs that wait, made in a short time ---------------------------------------------------------------------


class _Captured:
    """Keeps the parts in which runs are appended to a store."""

    def __init__(self, store: Store) -> None:
        self._append, store.append = store.append, self._keeping  # type: ignore[method-assign]
        self.parts: list[StreamAppend] = []

    async def _keeping(self, batch: Sequence[StreamAppend]) -> Appended:
        self.parts += [part for part in batch if part.kind == "execution"]
        return await self._append(batch)


async def fill(open_: Callable[[], Awaitable[Store]], total: int) -> None:
    """Make so many runs that wait for a day and more than a year from now: some by an engine, the others after them."""
    store = await open_()
    captured = _Captured(store)
    async with Engine.open(store, clock=ManualClock()) as engine:
        for number in range(min(TEMPLATES, total)):
            workflow = await engine.apply_workflow("pending", definition((400 + number) * DAY_S))
            await engine.trigger(workflow.id)
    store = await open_()
    try:
        left, new_id = total - len(captured.parts), ids.IdGenerator(os.urandom)
        while left > 0:
            batch: list[StreamAppend] = []
            while len(batch) < min(CLONED_AT_ONCE, left):
                batch += [_clone(part, new_id.next(START + 1)) for part in captured.parts]
            batch = batch[:left]
            await store.append(batch)
            left -= len(batch)
    finally:
        await store.close()


def _clone(part: StreamAppend, stream_id: bytes) -> StreamAppend:
    """The same run under another id."""
    return part._replace(stream_id=stream_id, puts=tuple(_row(row, stream_id) for row in part.puts))


def _row(row: Row, stream_id: bytes) -> Row:
    if isinstance(row, ExecutionRow | TimerRow):
        return row._replace(execution_id=stream_id)
    message = f"a run that waits has a {type(row).__name__}: it cannot be made again under another id"
    raise TypeError(message)


# --- what is measured ----------------------------------------------------------------------------------------------


class Pending:
    """An engine on a store in which timers are pending; the clock is its own, and moves when it is pushed."""

    def __init__(self, store: Store, pending: int) -> None:
        self._store = store
        self.pending = pending
        self.clock = ManualClock(START + MINUTE_MS)
        self._added: list[str] = []

    async def start(self) -> None:
        """Start the engine, and take up what was under way."""
        self.engine = await Engine.start(self._store, clock=self.clock)
        await self.engine.recovered()
        self._workflow = (await self.engine.apply_workflow("added", definition(60))).id

    async def add(self, count: int) -> None:
        """Start so many runs that wait for a minute."""
        left = iter(range(count))

        async def client() -> None:
            for _ in left:
                self._added.append((await self.engine.trigger(self._workflow)).id)

        await asyncio.gather(*(client() for _ in range(IN_FLIGHT)))

    async def fire(self) -> None:
        """Let what was added come due, until all of it has ended."""
        self.clock.push(MINUTE_MS)
        for run in self._added:
            await self.engine.result(run)
        self._added.clear()

    async def fire_of_all(self, count: int) -> None:
        """Let all that is pending come due at once, until so many of it have fired."""
        end = self.engine.position + EVENTS_OF_FIRED * count
        self.clock.push(2 * YEAR_MS)
        while self.engine.position < end:  # noqa: ASYNC110 so few events that nobody needs to be told of each
            await asyncio.sleep(0.001)

    async def close(self) -> None:
        """Stop without a wait."""
        await self.engine.close(0)


Open = Callable[[str], Awaitable[Store]]


async def measure(
    open_: Open, many: int = MANY, few: int = FEW, *, rounds: int = ROUNDS, at_once: int = AT_ONCE
) -> list[Compared]:
    """Compare the costs beside few and many pending timers. `open_` opens the store of a name, again and again."""
    both = []
    for name, pending in (("few", few), ("many", many)):
        await fill(partial(open_, name), pending)
        both.append(Pending(await open_(name), pending))
    started = [await Cost.of(each.start(), each.pending) for each in both]
    added, fired = [list[Cost]() for _ in both], [list[Cost]() for _ in both]
    for _ in range(rounds):
        for number, each in enumerate(both):
            added[number].append(await Cost.of(each.add(at_once), at_once))
        for number, each in enumerate(both):
            fired[number].append(await Cost.of(each.fire(), at_once))
    counts = [min(DRAINED * few, each.pending) for each in both]
    drained = [await Cost.of(each.fire_of_all(count), count) for each, count in zip(both, counts, strict=True)]
    for each in both:
        await each.close()
    return [
        Compared("starting", *started),
        Compared("adding", *(_least(costs) for costs in added)),
        Compared("firing", *(_least(costs) for costs in fired)),
        Compared("firing when all are due at once", *drained),
    ]


def _least(costs: Sequence[Cost]) -> Cost:
    least, *others = costs
    for cost in others:
        least = least.least(cost)
    return least


def main(many: int = MANY) -> int:
    """Print the figures."""
    print(
        f"timers: SQLite, WAL, synchronous=FULL, {FEW:,} and {many:,} pending; µs of CPU (by the clock) for each timer"
    )
    with tempfile.TemporaryDirectory(prefix="perdure-bench-") as folder:

        async def opened(name: str) -> Store:
            return await open_store(f"sqlite:///{Path(folder) / name}.db")

        for each in asyncio.run(measure(opened, many)):
            few, most = each.few, each.many
            print(
                f"  {each.what}: {few.cpu_us:.0f} ({few.us:.0f}) and {most.cpu_us:.0f} ({most.us:.0f}); "
                f"ratio {each.ratio:.2f}, by the clock {most.us / few.us:.2f}"
            )
    return 0
