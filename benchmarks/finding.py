"""Filters and counts over a million runs: what a page costs that finds much, little, or nothing."""

from __future__ import annotations

import asyncio
import sqlite3
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from statistics import median
from typing import Any, Final

from perdure.store.protocols import Store
from perdure.store.records import ExecutionRow
from perdure.store.run_filter import RunFilter
from perdure.store.sqlite import open_sqlite

ORG, WORKSPACE = bytes(15) + b"\x01", bytes(15) + b"\x02"
NOW: Final = 1_700_000_000_000
WORKFLOWS: Final = 50
FAILS_EVERY: Final = 100
REPEATS: Final = 9


def _id_at(instant: int) -> bytes:
    return (instant << 80 | 7 << 76 | 2 << 62).to_bytes(16, "big")


def _workflow(number: int) -> bytes:
    return number.to_bytes(16, "big")


def _rows(total: int) -> Iterator[ExecutionRow]:
    for number in range(total):
        at = NOW + number * 10
        is_bad = number % FAILS_EVERY == 0
        status = "failed" if is_bad else "running" if number > total - 100 else "completed"
        error = ("States.Timeout", None)[number // FAILS_EVERY % 2] if is_bad else None
        yield ExecutionRow(
            *(_id_at(at), ORG, WORKSPACE, _workflow(number % WORKFLOWS), 1, "REQUEST", status, "Rare", 8, at, at),
            *(None, at, "1/input", "8/output", error, "2/error" if is_bad and error is None else None, None),
            *(None, None),
        )


def _fill(path: Path, total: int) -> None:
    """The rows that are looked for, and nothing else."""
    with sqlite3.connect(path) as connection:
        marks = ", ".join("?" * len(ExecutionRow._fields))
        connection.executemany(f"INSERT INTO executions VALUES ({marks})", _rows(total))  # noqa: S608 question marks
        names = ((ORG, WORKSPACE, f"INV-{n:07}", _id_at(NOW + n * 10), bytes(16), 1, b"", b"") for n in range(total))
        connection.executemany("INSERT INTO process_ids VALUES (?, ?, ?, ?, ?, ?, ?, ?)", names)
        connection.execute(
            "INSERT INTO events SELECT row_number() OVER (), execution_id, 2, organization_id, 'TaskFailed', 1, 1, 'a',"
            ' null, \'{}\', \'{"error":"CardDeclined","cause":"\' || hex(zeroblob(200)) || \'"}\', null, null,'
            " execution_id FROM executions WHERE error_ref IS NOT NULL"
        )
        connection.execute(
            "INSERT INTO execution_counts SELECT workspace_id, workflow_id, status, 0, count(*) FROM executions "
            "GROUP BY workspace_id, workflow_id, status"
        )


def _searches(total: int) -> dict[str, RunFilter]:
    everything = RunFilter(ORG, WORKSPACE)
    return {
        "everything": everything,
        "status failed": everything._replace(values={"status": ["failed"]}),
        "status running": everything._replace(values={"status": ["running", "pending"]}),
        "status terminated (there are none)": everything._replace(values={"status": ["terminated"]}),
        "a workflow": everything._replace(values={"workflow_id": [_workflow(7)]}),
        "a workflow, failed": everything._replace(values={"workflow_id": [_workflow(0)], "status": ["failed"]}),
        "error, reserved": everything._replace(error="States.Timeout"),
        "error, of a business": everything._replace(error="CardDeclined"),
        "error (there is none)": everything._replace(error="Nothing"),
        "process id, prefix of one": everything._replace(process_id=f"INV-{total // 2:07}"),
        "process id, prefix of all": everything._replace(process_id="INV-"),
        "process id, prefix of none": everything._replace(process_id="X"),
        "a state (none is there, no index)": everything._replace(values={"state": ["Nowhere"]}),
        "an hour in the middle": everything._replace(created_from=NOW + total * 5, created_to=NOW + total * 5 + 10**6),
    }


async def _timed(work: Callable[[], Awaitable[Any]]) -> tuple[float, Any]:
    """The median of some tries, in milliseconds, and what came of the last."""
    times: list[float] = []
    result = None
    for _ in range(REPEATS):
        began = time.perf_counter()
        result = await work()
        times.append((time.perf_counter() - began) * 1000)
    return median(times), result


async def _measure(store: Store, total: int) -> None:
    for name, wanted in _searches(total).items():
        ms, page = await _timed(lambda wanted=wanted: store.find_executions(wanted, limit=21))  # type: ignore[misc]
        print(f"  {name:36} {ms:7.2f} ms   {len(page.rows)} runs{'' if page.is_end else ', and more to look at'}")
    for name, workflow in (("counts", None), ("counts of a workflow", _workflow(7))):
        ms, rows = await _timed(lambda workflow=workflow: store.execution_counts(WORKSPACE, workflow_id=workflow))  # type: ignore[misc]
        print(f"  {name:36} {ms:7.2f} ms   {sum(row.total for row in rows):,} runs in {len(rows)} rows")


def main(total: int = 1_000_000) -> int:
    """Print the medians of a page of each filter, and of the counts."""
    print(f"finding: a page of 20 among {total:,} runs of {WORKFLOWS} workflows, 1 of {FAILS_EVERY} failed")
    with tempfile.TemporaryDirectory(prefix="perdure-bench-") as folder:
        path = Path(folder) / "bench.db"

        async def run() -> None:
            await (await open_sqlite(path)).close()
            await asyncio.to_thread(_fill, path, total)
            store = await open_sqlite(path)
            await _measure(store, total)
            await store.close()

        asyncio.run(run())
    return 0
