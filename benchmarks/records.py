"""What it takes to read a run by its steps: one of a thousand steps, from the store to its records."""

from __future__ import annotations

import asyncio
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final, NamedTuple

from perdure.engine import Engine
from perdure.engine.core import ids
from perdure.engine.history.approvals import approvals_of
from perdure.engine.history.handlers import follow
from perdure.engine.history.step_records import steps_of
from perdure.engine.history.step_runs import placed
from perdure.engine.language.formats.flow import DocumentOutline
from perdure.engine.steps import Registry

TIMES: Final = 15


def chain(count: int) -> dict[str, Any]:
    """A machine of so many tasks, one after the other."""
    states: dict[str, Any] = {
        f"S{number}": {"Type": "Task", "Resource": "quick", "Next": f"S{number + 1}"} for number in range(count)
    }
    states[f"S{count - 1}"] = {"Type": "Task", "Resource": "quick", "End": True}
    return {"StartAt": "S0", "States": states}


class Cost(NamedTuple):
    """Milliseconds: by the clock (the median), and of CPU (the least, which no neighbour adds to)."""

    ms: float
    cpu_ms: float


async def _cost(work: Callable[[], Any]) -> Cost:
    times, used = [], []
    for _ in range(TIMES):
        began, cpu = time.perf_counter(), time.process_time()
        found = work()
        if isinstance(found, Awaitable):
            await found
        times.append(time.perf_counter() - began)
        used.append(time.process_time() - cpu)
    return Cost(statistics.median(times) * 1000, min(used) * 1000)


async def measure(count: int) -> dict[str, Cost]:
    """Measure each part of reading a run of so many steps."""
    registry = Registry()

    @registry.step("quick")
    async def quick(_: Any) -> dict[str, Any]:
        return {"name": "Ann", "total": 12.5, "lines": [1, 2, 3]}

    with tempfile.TemporaryDirectory(prefix="perdure-bench-") as folder:
        async with Engine.open(f"sqlite:///{Path(folder) / 'bench.db'}", steps=registry) as engine:
            definition = chain(count)
            workflow = await engine.create_workflow("chain", definition)
            run = await engine.trigger(workflow.id, {"a": 1})
            await engine.result(run.id)
            run_id, outline = ids.parse(run.id), DocumentOutline.of_definition(definition)
            queries, records = engine.services.queries, engine.services.records
            caller = await engine.services.access.default_caller("benchmark")
            events = await queries.events(run_id)
            timeline = follow(events)
            together = placed(timeline, outline.states)
            return {
                "rows read from the store": await _cost(lambda: engine.store.events(run_id)),
                "  and decoded": await _cost(lambda: queries.events(run_id)),
                "folded": await _cost(lambda: follow(events)),
                "put together to steps": await _cost(lambda: placed(timeline, outline.states)),
                "shown": await _cost(lambda: steps_of(timeline, outline, together)),
                "approvals": await _cost(lambda: approvals_of(timeline, outline, together)),
                "all: RunRecords.of": await _cost(lambda: records.of(caller, run_id)),
                "a page of 50 steps": await _cost(lambda: records.steps(caller, run_id, limit=50)),
            }


def main(count: int = 1000) -> int:
    """Print the figures."""
    print(f"records: a run of {count:,} steps, medians of {TIMES}")
    for what, cost in asyncio.run(measure(count)).items():
        print(f"  {what}: {cost.ms:.1f} ms, {cost.cpu_ms:.1f} ms of CPU")
    return 0
