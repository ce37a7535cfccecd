"""Stored answers and the runs that gave them: what a run did since does not make an answer a forgery."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from perdure.engine import Engine
from perdure.engine.audit.store_audit import verify
from perdure.engine.services.bulk import BulkOrder
from perdure.engine.testing import ManualClock
from perdure.store.memory import MemoryStore

ASK: dict[str, Any] = {
    "StartAt": "Ask",
    "States": {"Ask": {"Type": "Task", "Resource": "wait_for_resume", "End": True}},
}


@pytest.fixture
async def engine() -> AsyncIterator[Engine]:
    """An engine with four runs that wait."""
    async with Engine.open(MemoryStore(), clock=ManualClock()) as opened:
        workflow = await opened.create_workflow("ask", ASK)
        for number in range(4):
            await opened.trigger(workflow.id, {}, process_id=f"P-{number}")
        yield opened


async def reasons(engine: Engine) -> list[str]:
    return [found.reason for found in (await verify(engine.store)).breaks]


async def test_answers_hold_after_a_second_chance(engine: Engine) -> None:
    """A run that was terminated is redriven, paused and unpaused, and resumed: each answer was true when it came."""
    await engine.terminate("P-0", "a mistake", idempotency_key="end")
    await engine.redrive("P-0", idempotency_key="again")
    await engine.pause("P-0", "look", idempotency_key="halt")
    await engine.pause("P-0", "look", idempotency_key="halt twice")
    await engine.unpause("P-0", idempotency_key="go")
    await engine.unpause("P-0", idempotency_key="go twice")
    await engine.resume("P-0", {}, idempotency_key="answer")
    assert await reasons(engine) == []


async def test_a_bulk_job_may_undo_another(engine: Engine) -> None:
    """Terminated and redriven by bulk, all four, more often than once."""
    for action, status in (("terminate", "waiting"), ("redrive", "terminated")) * 2:
        row = await engine.services.bulk.start(await engine._caller(), BulkOrder(action, {"status": status}))
        await engine.node.jobs.settle()
        found = await engine.store.bulk_job(row.bulk_id)
        assert found is not None
        assert (found.status, found.done, found.unchanged, found.failed) == ("completed", 4, 0, 0)
    assert await reasons(engine) == []


@pytest.mark.parametrize("answer", ["terminated", "redriven", "paused", "already paused", "unpaused"])
async def test_an_answer_for_which_there_is_no_event_is_found(engine: Engine, answer: str) -> None:
    """Of what was never done to a run nobody was told."""
    await engine.resume("P-1", {}, idempotency_key="answer")
    assert isinstance(engine.store, MemoryStore)
    rows = engine.store._idempotency.rows
    ((key, row),) = [item for item in rows.items() if item[1].key == "answer"]
    rows[key] = row._replace(answer=f'"{answer}"')
    assert await reasons(engine) == [f"idempotency key 'answer': its run never gave the answer {answer!r}"]
