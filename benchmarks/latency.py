"""Start to completion, and resume to completion, one in flight, on SQLite with every answer durable."""

from __future__ import annotations

import asyncio
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.throughput import DEFINITION, registry
from perdure.engine import Engine
from perdure.store.protocols import PLACES, WriterPlace

WAITING: dict[str, Any] = {
    "StartAt": "Ask",
    "States": {"Ask": {"Type": "Task", "Resource": "wait_for_resume", "End": True}},
}


async def measure(total: int = 500, writer: WriterPlace = "process") -> tuple[list[float], list[float]]:
    """Milliseconds from trigger to result of three steps, and from resume to result of a wait."""
    with tempfile.TemporaryDirectory(prefix="perdure-bench-") as folder:
        url = f"sqlite:///{Path(folder) / 'bench.db'}"
        async with Engine.open(url, steps=registry(), writer=writer) as engine:
            steps = await engine.create_workflow("steps", DEFINITION)
            waiting = await engine.create_workflow("waiting", WAITING)
            started, resumed = [], []
            for number in range(total):
                began = time.perf_counter()
                execution = await engine.trigger(steps.id, {"n": number})
                await engine.result(execution.id)
                started.append((time.perf_counter() - began) * 1000)
                execution = await engine.trigger(waiting.id, {"n": number}, process_id=f"P-{number}")
                began = time.perf_counter()
                await engine.resume(f"P-{number}", {"ok": True})
                await engine.result(execution.id)
                resumed.append((time.perf_counter() - began) * 1000)
    return started, resumed


def main(total: int = 500) -> int:
    """Print medians and 99th percentiles."""
    print(f"latency: SQLite, WAL, synchronous=FULL, one in flight, {total} of each")
    for writer in reversed(PLACES):
        started, resumed = asyncio.run(measure(total, writer))
        for what, times in (("start to completion, three steps", started), ("resume to completion", resumed)):
            p99 = statistics.quantiles(times, n=100)[98]
            print(f"  writer in a {writer}: {what}: p50 {statistics.median(times):.2f} ms, p99 {p99:.2f} ms")
    return 0
