"""Three-step workflows a second, in process, every step durable, a fixed number in flight.

Commits are made in a process of their own (`Engine.open(…, writer="process")`), and for comparison in a thread. Beside
it, in the same run, the ceiling: the very rows that the engine wrote, written again by raw `sqlite3` in
transactions of as many rows, with the same durability and indexes.
"""

from __future__ import annotations

import asyncio
import sqlite3
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

from perdure.engine import Engine
from perdure.engine.steps import Registry
from perdure.store.protocols import PLACES, WriterPlace

DEFINITION: dict[str, Any] = {
    "StartAt": "Reserve",
    "States": {
        "Reserve": {"Type": "Task", "Resource": "reserve", "Next": "Charge"},
        "Charge": {"Type": "Task", "Resource": "charge", "Next": "Ship"},
        "Ship": {"Type": "Task", "Resource": "ship", "End": True},
    },
}


class Throughput(NamedTuple):
    """What was measured: completed workflows, and what they left on disk."""

    completed: int
    seconds: float
    events: int
    bytes_on_disk: int
    replay_seconds: float

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


async def measure(total: int = 10_000, in_flight: int = 200, writer: WriterPlace = "process") -> Throughput:
    """Run `total` workflows on a new SQLite file; each counts once its result has been told as completed."""
    with tempfile.TemporaryDirectory(prefix="perdure-bench-") as folder:
        path = Path(folder) / "bench.db"
        async with Engine.open(f"sqlite:///{path}", steps=registry(), writer=writer) as engine:
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
        return Throughput(completed, seconds, events, path.stat().st_size, _replay(path, in_flight * 2))


def _replay(path: Path, rows_a_commit: int) -> float:
    """Seconds to write the same event rows again with `executemany`, so many a commit, on a file beside."""
    source = sqlite3.connect(path)
    schema = [
        sql
        for (sql,) in source.execute("select sql from sqlite_master where tbl_name = 'events' and type <> 'view'")
        if sql is not None
    ]
    rows = source.execute("select * from events order by position").fetchall()
    source.close()
    target = sqlite3.connect(path.with_name("replay.db"), isolation_level=None)
    target.execute("pragma journal_mode = wal")
    target.execute("pragma synchronous = full")
    for statement in schema:
        target.execute(statement)
    marks = ", ".join("?" * len(rows[0]))
    insert = f"insert into events values ({marks})"  # noqa: S608 nothing but question marks
    started = time.perf_counter()
    for start in range(0, len(rows), rows_a_commit):
        target.execute("begin immediate")
        target.executemany(insert, rows[start : start + rows_a_commit])
        target.execute("commit")
    seconds = time.perf_counter() - started
    target.close()
    return seconds


def main(total: int = 10_000, in_flight: int = 200) -> int:
    """Print the figures; not 0 if any workflow did not complete."""
    print(f"throughput: SQLite, WAL, synchronous=FULL, {in_flight} in flight, three-step workflows")
    status = 0
    for writer in reversed(PLACES):
        found = asyncio.run(measure(total, in_flight, writer))
        print(
            f"  writer in a {writer}: {found.completed} of {total} completed in {found.seconds:.2f} s: "
            f"{found.per_second:,.0f} workflows/s, {found.events / found.seconds:,.0f} events/s\n"
            f"    raw replay of the same rows: {found.events / found.replay_seconds:,.0f} events/s; "
            f"the engine reaches {found.replay_seconds / found.seconds:.1%} of it\n"
            f"    {found.bytes_on_disk / total:,.0f} bytes on disk a finished workflow, all indexes included"
        )
        status |= found.completed != total
    return status
