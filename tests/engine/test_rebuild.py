"""Rebuilding: projections made again from the log, and a crash in the middle of it."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from perdure.engine import Engine
from perdure.engine.audit.rebuild import CannotRebuild, Rebuilt, rebuild
from perdure.engine.audit.store_audit import compare_projections
from perdure.engine.testing import ManualClock
from perdure.store.memory import MemoryStore
from perdure.store.protocols import Store
from perdure.store.records import TimerRow
from perdure.store.sqlite import open_sqlite

ROOT = Path(__file__).parents[2]
DEFINITION: dict[str, Any] = {
    "StartAt": "Ask",
    "States": {
        "Ask": {"Type": "Task", "Resource": "wait_for_resume", "Next": "Nap"},
        "Nap": {"Type": "Wait", "Seconds": 60, "Next": "Done"},
        "Done": {"Type": "Succeed"},
    },
}
HANGING = """
import asyncio, sys
from perdure.engine.audit.rebuild import _Count, _rows
from perdure.store.sqlite import open_sqlite

async def rows(store):
    async for row in _rows(store, _Count()):
        for _ in range(1000):  # enough that some are written
            yield row
    print("WRITTEN", flush=True)
    await asyncio.sleep(1000)

async def main():
    store = await open_sqlite(sys.argv[1])
    await store.rebuild(rows(store))

asyncio.run(main())
"""


async def fill(store: Store) -> None:
    """Runs that wait, sleep, have ended, were terminated; the store is left open."""
    clock = ManualClock()
    engine = await Engine.start(store, clock=clock)
    workflow = await engine.create_workflow("nap", DEFINITION)
    for number in range(4):
        await engine.trigger(workflow.id, {"n": number}, process_id=f"P-{number}")
    await engine.resume("P-1", {})
    clock.push(60_000)
    await engine.node.timers.settle()
    await engine.node.processor.settle()
    await engine.resume("P-2", {})
    await engine.terminate("P-3")
    await engine.node.drain(0)


async def test_a_rebuild_makes_what_the_log_says() -> None:
    """Whatever stood in the projections, afterwards they are what the log folds to."""
    store = MemoryStore()
    await fill(store)
    await store.rebuild(_damage())
    assert await compare_projections(store)
    assert await rebuild(store) == Rebuilt(executions=4, waits=4, timers=1)
    assert sum(row.total for row in await store.execution_counts(next(iter(store._counts))[0])) == 4
    assert await compare_projections(store) == []


async def _damage() -> Any:
    yield TimerRow(1, bytes(16), 1)


async def test_a_run_that_cannot_be_folded_is_named() -> None:
    """One event that does not read stops the rebuild, and nothing has changed."""
    store = MemoryStore()
    await fill(store)
    before = dict(store._executions.rows)
    stream = next(iter(before.values())).execution_id
    position, row = store._events[stream][1]
    store._events[stream][1] = type(store._events[stream][1])(position, row._replace(data="{"))
    with pytest.raises(CannotRebuild, match="cannot be folded"):
        await rebuild(store)
    assert store._executions.rows == before


async def test_a_process_that_dies_in_the_middle_leaves_the_old_rows(tmp_path: Path) -> None:
    """Kill -9 after thousands of rows were written: the old projections are there, and a later rebuild works."""
    path = tmp_path / "runs.db"
    store = await open_sqlite(path)
    await fill(store)
    await store.close()
    command = [sys.executable, "-c", HANGING, str(path)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:  # noqa: ASYNC220
        assert process.stdout is not None
        assert process.stdout.readline() == "WRITTEN\n"
        process.send_signal(signal.SIGKILL)
    store = await open_sqlite(path)
    assert await compare_projections(store) == []
    assert await rebuild(store) == Rebuilt(executions=4, waits=4, timers=1, schedules=0)
    assert await compare_projections(store) == []
    await store.close()
