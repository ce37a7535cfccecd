"""Three-step workflows a second, in process, every step durable, a fixed number in flight."""

from __future__ import annotations

import asyncio
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

from engine import Engine
from engine.steps import Registry

DEFINITION: dict[str, Any] = {
    "StartAt": "Reserve",
    "States": {
        "Reserve": {"Type": "Task", "Resource": "reserve", "Next": "Charge"},
        "Charge": {"Type": "Task", "Resource": "charge", "Next": "Ship"},
        "Ship": {"Type": "Task", "Resource": "ship", "End": True},
    },
}


class Throughput(NamedTuple):
    """What was measured."""

    completed: int
    seconds: float
    events: int
    bytes_on_disk: int

    @property
    def per_second(self) -> float:
        return self.completed / self.seconds


def registry() -> Registry:
    """Three steps that return at once: what is measured is the engine."""
    steps = Registry()
    for name in ("reserve", "charge", "ship"):

        async def step(value: Any) -> Any:
            return value

        steps.step(name)(step)
    return steps


async def measure(total: int = 10_000, in_flight: int = 200) -> Throughput:
    """Run `total` workflows on a new SQLite file; each is counted once its result has been read back as completed."""
    with tempfile.TemporaryDirectory(prefix="perdure-bench-") as folder:
        path = Path(folder) / "bench.db"
        async with Engine.open(f"sqlite:///{path}", steps=registry()) as engine:
            workflow = await engine.create_workflow("bench", DEFINITION)
            left = iter(range(total))
            completed = 0

            async def client() -> None:
                nonlocal completed
                for number in left:
                    execution = await engine.trigger(workflow.id, {"order": number, "amount": 120})
                    result = await engine.result(execution.id, timeout=60)
                    completed += result.status == "completed"

            started = time.perf_counter()
            await asyncio.gather(*(client() for _ in range(in_flight)))
            seconds = time.perf_counter() - started
            events = await engine.store.position()
        return Throughput(completed, seconds, events, path.stat().st_size)


def main(total: int = 10_000, in_flight: int = 200) -> int:
    """Print the figures; not 0 if any workflow did not complete."""
    found = asyncio.run(measure(total, in_flight))
    print(
        f"sqlite, WAL, synchronous=FULL, {in_flight} in flight: {found.completed} of {total} three-step workflows "
        f"completed in {found.seconds:.2f} s = {found.per_second:,.0f} workflows/s, "
        f"{found.events / found.seconds:,.0f} events/s, {found.bytes_on_disk / total:,.0f} bytes a workflow on disk"
    )
    return 0 if found.completed == total else 1
