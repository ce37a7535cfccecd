"""Commands that read: from their start to their end, beside an interpreter that starts and does nothing."""

from __future__ import annotations

import asyncio
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

from benchmarks.latency import WAITING
from perdure.engine import Engine

COMMANDS: Final = (("--help",), ("history",), ("show", "P"), ("events", "P"))


class Start(NamedTuple):
    """Medians of what a command took: milliseconds by the clock, and of CPU."""

    ms: float
    cpu_ms: float


async def _fill(database: str) -> None:
    async with Engine.open(database) as engine:
        workflow = await engine.create_workflow("w", WAITING)
        await engine.trigger(workflow.id, {}, process_id="P")


def _start(arguments: Sequence[str], environment: dict[str, str]) -> tuple[float, float]:
    cpu_before, began = os.times(), time.perf_counter()
    subprocess.run(  # noqa: S603 a command of ours
        [sys.executable, *arguments], env=environment, stdout=subprocess.DEVNULL, check=True
    )
    seconds, cpu = time.perf_counter() - began, os.times()
    used = cpu.children_user + cpu.children_system - cpu_before.children_user - cpu_before.children_system
    return seconds * 1000, used * 1000


def measure(total: int = 10, wanted: Sequence[Sequence[str]] = COMMANDS) -> dict[str, Start]:
    """Start each command so often, and an interpreter alone; by what was started."""
    with tempfile.TemporaryDirectory(prefix="perdure-bench-") as folder:
        database = f"sqlite:///{Path(folder) / 'bench.db'}"
        asyncio.run(_fill(database))
        environment = {**os.environ, "PERDURE_DATABASE": database, "PYTHONPATH": os.pathsep.join(sys.path)}
        commands = {"perdure " + " ".join(command): ("-m", "perdure", *command) for command in wanted}
        found = {}
        for name, arguments in {"python alone": ("-c", ""), **commands}.items():
            times = [_start(arguments, environment) for _ in range(total)]
            found[name] = Start(*map(statistics.median, zip(*times, strict=True)))
    return found


def main(total: int = 10) -> int:
    """Print the figures."""
    print(f"cli: a database with one run, {total} starts of each, medians")
    for name, start in measure(total).items():
        print(f"  {name}: {start.ms:.0f} ms, {start.cpu_ms:.0f} ms of CPU")
    return 0
