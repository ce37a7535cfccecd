"""Schedules under kill -9: whenever the process dies, each slot is decided once, and each run is there once.

`python -m tests.engine.schedule_kills 40` kills forty processes; the suite kills a few.
"""

from __future__ import annotations

import asyncio
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Final

from perdure.engine import Engine
from perdure.engine.audit.store_audit import compare_projections, verify
from perdure.engine.core import ids
from perdure.engine.core import schedules as s
from perdure.engine.log.codec import Vocabulary
from perdure.engine.services.schedules import GivenSchedule
from perdure.engine.testing import START, ManualClock
from perdure.store.sqlite.store import open_sqlite

ROOT: Final = Path(__file__).parents[2]
MINUTE: Final = 60_000
SLEEPING: Final[dict[str, Any]] = {
    "StartAt": "Sleep",
    "States": {"Sleep": {"Type": "Wait", "Seconds": 150, "End": True}},
}
POLICIES: Final = (("allow", "all"), ("skip", "latest"), ("buffer_one", "all"), ("allow", "none"))


async def made(path: Path) -> None:
    """A database with a workflow and a minutely schedule of each kind."""
    engine = await Engine.start(f"sqlite:///{path}", clock=ManualClock(START // MINUTE * MINUTE))
    workflow = await engine.create_workflow("scheduled", SLEEPING)
    for overlap, catch_up in POLICIES:
        given = GivenSchedule(cron="* * * * *", overlap=overlap, catch_up=catch_up)  # type: ignore[arg-type]
        await engine.services.schedules.add(await engine._caller(), ids.parse(workflow.id), given)
    await engine.close()


async def last_instant(path: Path) -> int:
    """When the last event in a database was recorded."""
    store = await open_sqlite(path)
    try:
        return max([each.row.recorded_at async for each in store.log(after=max(0, await store.position() - 100))])
    finally:
        await store.close()


async def serve(path: Path) -> None:
    """Serve the database, three minutes after somebody last did; time goes by a thousand times as fast."""
    clock = ManualClock(await last_instant(path) + 200_000)
    await Engine.start(f"sqlite:///{path}", clock=clock)
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    while True:
        clock.push(5000)
        await asyncio.sleep(0.005)


def kill_some(path: Path, kills: int, seed: int) -> None:
    """Serve the database so many times, and kill each process before long."""
    chance = random.Random(seed)
    for _ in range(kills):
        command = [sys.executable, "-m", "tests.engine.schedule_kills", "serve", str(path)]
        with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            time.sleep(chance.uniform(0, 0.4))
            process.send_signal(signal.SIGKILL)


async def _only_waits(engine: Engine) -> bool:
    """Whether nothing is starting, though a slot may be buffered."""
    return not sum(row.starting for row in await engine.store.unsettled_schedules())


async def check(path: Path) -> dict[str, int]:
    """Let what is there come to an end; how many slots came to what. Raises `AssertionError`."""
    clock = ManualClock(await last_instant(path) + 1)
    engine = await Engine.start(f"sqlite:///{path}", clock=clock)
    (workflow,) = await engine.store.workflows_named((await engine._caller()).workspace_id, "scheduled")
    async with asyncio.timeout(60):
        while await engine.store.unsettled_schedules(limit=1) and not await _only_waits(engine):
            await engine.node.processor.settle()
            await asyncio.sleep(0)
    await engine.node.processor.settle()
    found: dict[str, int] = {}
    stream = await engine.store.events(workflow.workflow_id)
    kinds = {kind.__name__: kind for kind in s.EVENTS}
    events = [Vocabulary(kinds.values()).read(each.row).event for each in stream if each.row.type in kinds]
    runs = await engine.store.execution_page(
        workflow_id=workflow.workflow_id, workspace_id=workflow.workspace_id, limit=100_000
    )
    there = sorted(ids.text(run.execution_id) for run in runs)
    wanted: list[str] = []
    for row in await engine.store.schedules_of([workflow.workflow_id]):
        decided = [e for e in events if isinstance(e, s.SlotDecided) and ids.parse(e.schedule) == row.schedule_id]
        slots = [slot for e in decided for slot in range(e.first, e.last + 1, MINUTE)]
        slots += [] if row.buffered_at is None else [row.buffered_at]
        assert row.next_at is not None
        first = min(slots, default=row.next_at)
        assert sorted(slots) == list(range(first, row.next_at, MINUTE)), "a slot is left out, or decided twice"
        wanted += [e.run for e in decided if e.outcome in ("fired", "caught_up") and e.run is not None]
        for e in decided:
            found[e.outcome] = found.get(e.outcome, 0) + e.count
    assert sorted(wanted) == there, "a run is missing, or nobody has decided on it"
    await engine.close()
    store = await open_sqlite(path)
    assert (await verify(store)).breaks == []
    assert await compare_projections(store) == []
    await store.close()
    return found


def proof(kills: int, seed: int = 1) -> dict[str, int]:
    """Kill so many processes that serve one database; what its slots came to. Raises `AssertionError`."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "runs.db"
        asyncio.run(made(path))
        kill_some(path, kills, seed)
        return asyncio.run(check(path))


if __name__ == "__main__":
    if sys.argv[1:2] == ["serve"]:
        asyncio.run(serve(Path(sys.argv[2])))
    else:
        count = int(sys.argv[1]) if sys.argv[1:] else 40
        sys.stdout.write(f"{count} kills: {proof(count)}\n")
