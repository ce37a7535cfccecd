"""Which streams stay in memory: what only waits does not, but for the last few that are wide."""

from __future__ import annotations

from typing import Any

import pytest

from perdure.engine import Engine
from perdure.engine.core import ids
from perdure.engine.runtime.streams import stream as hot
from perdure.engine.runtime.streams.stream import RESTING_MAX, WIDE

ASK = {"Type": "Task", "Resource": "wait_for_resume", "End": True}
ASK_EACH = {
    "StartAt": "Each",
    "States": {"Each": {"Type": "Map", "End": True, "ItemProcessor": {"StartAt": "Ask", "States": {"Ask": ASK}}}},
}


@pytest.fixture
async def engine(bench: Any) -> Engine:
    return await bench.start()  # type: ignore[no-any-return]


async def test_a_wide_run_stays_until_newer_ones_push_it_out(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its answers need not read a thousand open waits each; and there are never more than a few such runs in memory."""
    workflow = await engine.create_workflow("ask each", ASK_EACH)
    runs = [await engine.trigger(workflow.id, list(range(WIDE + 1))) for _ in range(RESTING_MAX + 3)]
    await engine.node.processor.settle()
    processor = engine.node.processor
    assert [processor.is_hot(ids.parse(run.id)) for run in runs] == [False] * 3 + [True] * RESTING_MAX
    monkeypatch.setattr(hot, "WIDE", WIDE + 2)
    narrow = await engine.trigger(workflow.id, list(range(WIDE + 1)))
    await engine.node.processor.settle()
    assert not processor.is_hot(ids.parse(narrow.id))


async def test_an_answer_to_a_resting_run_counts_like_any_other(engine: Engine) -> None:
    """Answered one by one, in memory or not, the run ends with all answers, and leaves memory."""
    workflow = await engine.create_workflow("ask each", ASK_EACH)
    run = await engine.trigger(workflow.id, list(range(WIDE + 1)), process_id="P-1")
    await engine.node.processor.settle()
    caller = await engine._caller()
    waits = await engine.node.store.open_waits(caller.workspace_id, limit=WIDE + 1)
    for number, wait in enumerate(waits):
        assert await engine.resume("P-1", {"n": number}, wait_id=ids.text(wait.wait_id)) == "restarted"
    result = await engine.result(run.id)
    assert sorted(answer["n"] for answer in result.output) == list(range(WIDE + 1))
    await engine.node.processor.settle()
    assert not engine.node.processor.is_hot(ids.parse(run.id))
