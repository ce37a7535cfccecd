"""Tampering with places in limits and with the lines before them shows in the audit of a file."""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path

import pytest

from perdure.engine import Engine
from perdure.engine.audit.store_audit import compare_projections, verify
from perdure.engine.testing import ManualClock
from perdure.store.sqlite import open_sqlite

ASK = {
    "StartAt": "Ask",
    "States": {"Ask": {"Type": "Task", "Resource": "wait_for_resume", "End": True}},
}


async def fill(path: Path) -> None:
    """One run that has the only place, and three that stand in line."""
    async with Engine.open(f"sqlite:///{path}", clock=ManualClock()) as engine:
        workflow = await engine.create_workflow("ask", ASK, settings={"concurrencyLimit": 1})
        for number in range(4):
            await engine.trigger(workflow.id, {}, process_id=f"P-{number}")
        async with asyncio.timeout(10):
            while not await engine.waits():  # noqa: ASYNC110 the first has its place then
                await asyncio.sleep(0.001)


async def breaks(path: Path) -> list[str]:
    store = await open_sqlite(path, read_only=True)
    found = [each.reason for each in (await verify(store)).breaks]
    assert bool(found) == bool(await compare_projections(store))
    await store.close()
    return found


@pytest.mark.parametrize(
    ("forgery", "told"),
    [
        ("UPDATE queue SET position = 1 WHERE position = (SELECT max(position) FROM queue)", "position is not that"),
        ("UPDATE queue SET position = position + 1000", "position is not that"),
        ("UPDATE queue SET seq = seq + 1", "its row: seq is"),
        ("UPDATE queue SET limit_key = zeroblob(32)", "its row: limit_key is"),
        ("UPDATE queue SET kind = 'organization'", "its row: kind is"),
        ("DELETE FROM queue", "its row: no row"),
        ("DELETE FROM slots", "no row"),
        ("UPDATE slots SET place = 2", "no row"),
        ("UPDATE slots SET taken_at = taken_at + 1", "taken_at is"),
    ],
)
async def test_a_forged_place_is_found(tmp_path: Path, forgery: str, told: str) -> None:
    """Whoever goes to the front of a line, or takes a place, without an event."""
    path = tmp_path / "runs.db"
    await fill(path)
    assert await breaks(path) == []
    with sqlite3.connect(path) as connection:
        connection.execute(forgery)
    connection.close()
    found = await breaks(path)
    assert found
    assert all(told in reason for reason in found)
