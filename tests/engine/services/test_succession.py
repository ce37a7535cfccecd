"""Runs that start apart: of any number of calls at once, on several nodes too, one starts a run."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from perdure.engine import Engine
from perdure.engine.core import ids
from perdure.engine.errors import KeyReused, TooSoon
from perdure.engine.runtime.callers import Caller, IdempotencyKey
from perdure.engine.services.idempotency import Answered
from perdure.engine.services.succession import KEY_PREFIX
from perdure.engine.testing import ManualClock
from perdure.store.memory import MemoryStore

APART_MS = 30_000
ENDING: dict[str, Any] = {"StartAt": "Done", "States": {"Done": {"Type": "Succeed"}}}


@pytest.fixture
async def engine() -> Any:
    """An engine with a clock that is pushed."""
    async with Engine.open(MemoryStore(), clock=ManualClock()) as opened:
        yield opened


async def workflow(engine: Engine) -> bytes:
    return ids.parse((await engine.create_workflow("w", ENDING)).id)


async def start(engine: Engine, workflow_id: bytes, key: str | None = None, run_input: Any = None) -> Answered:
    caller = await engine._caller()
    idempotency = None if key is None else IdempotencyKey(key, ["run", run_input])
    trigger = engine.services.runs.trigger
    return await trigger(caller, workflow_id, run_input or {}, apart_ms=APART_MS, idempotency=idempotency)


async def count(engine: Engine, workflow_id: bytes) -> int:
    rows, _ = await engine.services.queries.page(await engine._caller(), workflow_id=workflow_id, limit=100)
    return len(rows)


@pytest.mark.parametrize("has_begun", [False, True], ids=["the first run", "a later one"])
async def test_of_calls_at_once_one_starts(engine: Engine, has_begun: bool) -> None:
    """The others are told when to come again, and nothing of theirs is recorded."""
    workflow_id = await workflow(engine)
    if has_begun:
        await start(engine, workflow_id)
        engine.node.clock.push(APART_MS)  # type: ignore[attr-defined]
    calls = [start(engine, workflow_id, key=f"k{n}" if n % 2 else None) for n in range(50)]
    answers = await asyncio.gather(*calls, return_exceptions=True)
    started = [answer for answer in answers if isinstance(answer, Answered)]
    refused = [answer for answer in answers if isinstance(answer, TooSoon)]
    assert (len(started), len(refused)) == (1, 49), answers
    assert {each.retry_after_s for each in refused} == {30}
    assert await count(engine, workflow_id) == 1 + has_begun


async def test_the_time_is_counted_from_the_last_start(engine: Engine) -> None:
    """To the millisecond, by the engine's clock."""
    workflow_id = await workflow(engine)
    await start(engine, workflow_id)
    engine.node.clock.push(APART_MS - 1)  # type: ignore[attr-defined]
    with pytest.raises(TooSoon) as refused:
        await start(engine, workflow_id)
    assert refused.value.retry_after_s == 1
    engine.node.clock.push(1)  # type: ignore[attr-defined]
    await start(engine, workflow_id)


async def test_whatever_else_starts_a_run_counts_and_is_not_bound(engine: Engine) -> None:
    """A plain trigger is never too soon, and is one to wait for; other workflows are nobody's business."""
    workflow_id, other = await workflow(engine), await workflow(engine)
    for _ in range(3):
        await engine.trigger(ids.text(workflow_id))
    with pytest.raises(TooSoon):
        await start(engine, workflow_id)
    await start(engine, other)
    await engine.trigger(ids.text(other))
    assert (await count(engine, workflow_id), await count(engine, other)) == (3, 2)


async def test_the_repeat_of_a_key_hears_its_first_answer(engine: Engine) -> None:
    """However soon it comes; another request under the key is told that it is another."""
    workflow_id = await workflow(engine)
    first = await start(engine, workflow_id, "k")
    assert (await start(engine, workflow_id, "k")).answer == first.answer
    with pytest.raises(KeyReused):
        await start(engine, workflow_id, "k", run_input={"other": 1})
    again = await asyncio.gather(*(start(engine, workflow_id, "k") for _ in range(20)))
    assert {each.answer for each in again} == {first.answer}


async def test_calls_at_once_under_one_key_are_one_call(engine: Engine) -> None:
    """All of them hear of the one run."""
    workflow_id = await workflow(engine)
    answers = await asyncio.gather(*(start(engine, workflow_id, "k") for _ in range(20)))
    assert len({each.answer for each in answers}) == 1


async def test_a_successor_that_has_an_older_id_counts(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """A node whose clock is behind has made it: it is found by the claim, and the next run comes after that one."""
    workflow_id = await workflow(engine)
    early = engine.node.processor.new_id()
    engine.node.clock.push(1_000)  # type: ignore[attr-defined]
    newest = await start(engine, workflow_id)
    engine.node.clock.push(APART_MS)  # type: ignore[attr-defined]
    with monkeypatch.context() as patched:
        patched.setattr(engine.node.processor, "new_id", lambda: early)
        assert (await start(engine, workflow_id)).execution_id == early
    rows, _ = await engine.services.queries.page(await engine._caller(), workflow_id=workflow_id)
    assert [row.execution_id for row in rows] == [newest.execution_id, early]
    with pytest.raises(TooSoon):
        await start(engine, workflow_id)
    engine.node.clock.push(APART_MS)  # type: ignore[attr-defined]
    await start(engine, workflow_id)


async def test_the_claim_is_stored_as_an_answer_that_its_run_gave(engine: Engine) -> None:
    """So an audit finds nothing to complain of; and no caller can send its key."""
    workflow_id = await workflow(engine)
    started = await start(engine, workflow_id, "k")
    caller: Caller = await engine._caller()
    key = f"{KEY_PREFIX}{ids.text(workflow_id)}:"
    found = await engine.store.idempotency_of(caller.organization_id, caller.workspace_id, [key, "k"])
    assert {row.stream_id for row in found.values()} == {started.execution_id}
    assert {row.answer for row in found.values()} == {f'"{started.answer}"'}
    assert len(found) == 2
    assert not key.isprintable()
