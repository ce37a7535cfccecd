"""Schedules: ten thousand that are due at one instant, and what a start costs after a year without anybody.

All on SQLite, every step durable. Of the ten thousand, lateness is from the slot to the event that starts the run. Of
the year, the seconds are those of the start and of all that it decides; with `all` a thousand runs are started, too.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Final

from perdure.engine import Engine
from perdure.engine.core import ids
from perdure.engine.core.schedules import EditSchedules
from perdure.engine.services.schedules import GivenSchedule
from perdure.engine.services.sending import send
from perdure.engine.testing import START, ManualClock

MANY: Final = 10_000
OF_A_WORKFLOW: Final = 100
AHEAD_MS: Final = 15_000
YEAR_MS: Final = 365 * 24 * 3600 * 1000
MINUTE_MS: Final = 60_000
ENDING: Final[dict[str, Any]] = {"StartAt": "Done", "States": {"Done": {"Type": "Succeed"}}}


async def many(path: Path, count: int) -> None:
    """So many schedules, a hundred of a workflow, all due at once."""
    async with Engine.open(f"sqlite:///{path}", writer="process") as engine:
        caller, services = await engine.services.access.default_caller("cli:bench"), engine.services
        workflows = [await engine.create_workflow(f"w{number}", ENDING) for number in range(count // OF_A_WORKFLOW)]
        slot = engine.now() + AHEAD_MS
        given = GivenSchedule(interval=(1, "weeks"), start_at=slot)
        for workflow in workflows:
            command = EditSchedules(added=(services.schedules.spec(given),) * OF_A_WORKFLOW)
            await send(engine.node.parts, caller, "workflow", ids.parse(workflow.id), command)
        if engine.now() >= slot:
            raise SystemExit(f"making the schedules took longer than {AHEAD_MS / 1000:g} s; make fewer")
        while sum(row.total for row in await engine.store.execution_counts(caller.workspace_id)) < count:  # noqa: ASYNC110
            await asyncio.sleep(0.5)
        rows = await engine.store.execution_page(workspace_id=caller.workspace_id, limit=count)
        runs = sorted(row.created_at - slot for row in rows)
        print(
            f"{count:,} schedules due at once: first {runs[0]} ms late, median {runs[count // 2]} ms, "
            f"p99 {runs[count * 99 // 100]} ms, last {runs[-1]} ms"
        )


async def year(path: Path, catch_up: Any) -> None:
    """A minutely schedule, and nobody there for a year."""
    clock = ManualClock(START // MINUTE_MS * MINUTE_MS)
    engine = await Engine.start(f"sqlite:///{path}", clock=clock)
    workflow = await engine.create_workflow("w", ENDING)
    given = GivenSchedule(cron="* * * * *", catch_up=catch_up)
    caller = await engine.services.access.default_caller("cli:bench")
    await engine.services.schedules.add(caller, ids.parse(workflow.id), given)
    await engine.close()
    clock.push(YEAR_MS)
    began = time.perf_counter()
    engine = await Engine.start(f"sqlite:///{path}", clock=clock)
    decided = started = None
    while started is None:
        (row,) = await engine.store.schedules_of([ids.parse(workflow.id)])
        if decided is None and row.due_at is not None and row.due_at > clock.now():
            decided = time.perf_counter() - began
        if decided is not None and not row.starting:
            started = time.perf_counter() - began
        await asyncio.sleep(0.001)
    print(
        f"a year of minutes, catch_up {catch_up}: decided after {decided:.2f} s, all runs started after {started:.2f} s"
    )
    await engine.close()


def main(count: int = MANY) -> int:
    """Print the figures."""
    with tempfile.TemporaryDirectory(prefix="perdure-bench-") as folder:
        for catch_up in ("none", "latest", "all"):
            asyncio.run(year(Path(folder) / f"{catch_up}.db", catch_up))
        asyncio.run(many(Path(folder) / "many.db", count))
    return 0


if __name__ == "__main__":
    raise SystemExit(main(*map(int, sys.argv[1:])))
