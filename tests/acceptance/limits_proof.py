"""Limits under fire: many triggers at once on a real server that is killed again and again.

What is proved: never more of a key at once than its limit allows (by locks that end with the process, and by the log),
each line in the order of the log, and none lost.

    python -m tests.acceptance.limits_proof [RUNS] [KILLS]
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from perdure.api.client import ClientError
from perdure.engine.audit.store_audit import compare_projections, verify
from perdure.engine.core.events import ExecutionStarted, ExecutionSucceeded
from perdure.engine.core.limit_events import ExecutionAdmitted
from perdure.engine.database import open_store
from perdure.engine.log.codec import EXECUTION
from perdure.store.protocols import Store

from .conftest import Server

RUNS, KILLS = 500, 6

WORK: dict[str, Any] = {"StartAt": "Work", "States": {"Work": {"Type": "Task", "Resource": "in_turn", "End": True}}}


class Shape(NamedTuple):
    """A workflow whose runs are spread over so many keys, of each of which so many may go on at once."""

    keys: int
    limit: int


async def prove(server: Server, shapes: Sequence[Shape], *, runs: int, kills: int) -> float:
    """Trigger so many runs of each shape at once, and kill the server so often meanwhile; gives the seconds."""
    began = time.monotonic()
    workflows = [await _create(server, shape) for shape in shapes]
    asking = [
        asyncio.create_task(_trigger(server, workflow, n, n % shape.keys, shape.limit))
        for n in range(runs)
        for workflow, shape in zip(workflows, shapes, strict=True)
    ]
    for number in range(1, kills + 1):
        await _until_completed(server, len(asking) * number // (kills + 1))
        await server.kill()
        await server.start()
    await asyncio.gather(*asking)
    await _until_completed(server, len(asking))
    seconds = time.monotonic() - began
    assert not (server.folder / "too-many").exists(), (server.folder / "too-many").read_text()
    store = await open_store(server.database, read_only=True)
    try:
        for workflow, shape in zip(workflows, shapes, strict=True):
            await _check_log(store, workflow, runs, shape.limit)
        assert (await verify(store)).breaks == []
        assert await compare_projections(store) == []
    finally:
        await store.close()
    return seconds


async def _create(server: Server, shape: Shape) -> str:
    settings: dict[str, Any] = {"concurrencyLimit": shape.limit}
    if shape.keys > 1:
        settings["concurrencyKey"] = "$.key"
    made = await server.client.create_workflow(f"{shape.keys} keys", WORK, settings=settings)
    return made.id


async def _trigger(server: Server, workflow_id: str, n: int, key: int, limit: int) -> None:
    """Trigger a run; again and again, under its process id, while the server is away."""
    given = {"n": n, "key": key, "limit": limit}
    while True:
        try:
            await server.client.trigger(workflow_id, given, process_id=f"{workflow_id}-{n}")
        except (ClientError, AssertionError, RuntimeError):  # it is down, or about to be
            await asyncio.sleep(0.05)
        else:
            return


async def _until_completed(server: Server, count: int) -> None:
    """Wait until so many runs of the database have ended well, as its log says."""
    store = await open_store(server.database, read_only=True)
    done, position = 0, 0
    try:
        (organization,) = await store.organizations()
        async with asyncio.timeout(600):
            while done < count:
                page = await store.log_page(organization.organization_id, after=position, limit=1000)
                done += sum(stored.row.type == "ExecutionSucceeded" for stored in page.events)
                position = page.position
                if page.is_end:
                    await asyncio.sleep(0.1)
    finally:
        await store.close()


async def _check_log(store: Store, workflow_id: str, runs: int, limit: int) -> None:
    """Walk along the log: who stood in which line, who was admitted when, and how many had a place at once."""
    line_of: dict[bytes, str] = {}
    started: dict[str, list[bytes]] = {}
    admitted: dict[str, list[bytes]] = {}
    at_once, most = Counter[str](), Counter[str]()
    ended = 0
    async for stored in store.log():
        row = stored.row
        if row.type not in ("ExecutionStarted", "ExecutionAdmitted", "ExecutionSucceeded"):
            continue
        event = EXECUTION.read(row).event
        if isinstance(event, ExecutionStarted) and event.workflow == workflow_id:
            line = line_of[row.stream_id] = event.limits[0].key
            started.setdefault(line, []).append(row.stream_id)
        elif row.stream_id not in line_of:
            continue  # of another workflow
        elif isinstance(event, ExecutionAdmitted):
            line = line_of[row.stream_id]
            admitted.setdefault(line, []).append(row.stream_id)
            at_once[line] += 1
            most[line] = max(most[line], at_once[line])
        elif isinstance(event, ExecutionSucceeded):
            at_once[line_of[row.stream_id]] -= 1
            ended += 1
    assert ended == runs, f"{runs - ended} are lost"
    assert started == admitted, "not in the order of the log"
    assert max(most.values()) <= limit, most


async def _main(runs: int, kills: int) -> None:
    shapes = [Shape(1, 1), Shape(50, 3)]
    with tempfile.TemporaryDirectory() as folder:
        server = Server(Path(folder))
        await server.start()
        seconds = await prove(server, shapes, runs=runs, kills=kills)
        await server.stop()
    told = " and ".join(f"{runs} over {shape.keys} keys, {shape.limit} of each at once" for shape in shapes)
    sys.stdout.write(f"{told}; {kills} kills: never too many, in order, none lost; {seconds:.1f} s\n")


if __name__ == "__main__":
    defaults = (RUNS, KILLS)
    chosen = tuple(map(int, sys.argv[1:3]))
    asyncio.run(_main(*chosen, *defaults[len(chosen) :]))
