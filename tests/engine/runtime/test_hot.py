"""Which streams stay in memory: what only waits does not, but for the last few that are wide."""

from __future__ import annotations

import asyncio
import threading
import weakref
from itertools import pairwise
from typing import Any

import pytest

from perdure.engine import Engine
from perdure.engine.core import ids
from perdure.engine.core.persistent import PersistentMap
from perdure.engine.core.state import Frame, State
from perdure.engine.limits import Limits
from perdure.engine.runtime.streams import stream as hot
from perdure.engine.runtime.streams.fold import StreamFold
from perdure.engine.runtime.streams.letting_go import WIDE_MIN, let_go
from perdure.engine.runtime.streams.stream import RESTING_MAX, WIDE, HotStream
from perdure.engine.runtime.streams.stream_types import STREAM_TYPES
from perdure.engine.steps import Registry
from perdure.store.records import Head

from .conftest import eventually, rest

ASK = {"Type": "Task", "Resource": "wait_for_resume", "End": True}
ASK_EACH = {
    "StartAt": "Each",
    "States": {"Each": {"Type": "Map", "End": True, "ItemProcessor": {"StartAt": "Ask", "States": {"Ask": ASK}}}},
}


@pytest.fixture
async def engine(bench: Any) -> Engine:
    return await bench.start()


async def test_a_wide_run_stays_until_newer_ones_push_it_out(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its answers need not read a thousand open waits each; and there are never more than a few such runs in memory."""
    workflow = await engine.create_workflow("ask each", ASK_EACH)
    runs = [await engine.trigger(workflow.id, list(range(WIDE + 1))) for _ in range(RESTING_MAX + 3)]
    await engine.node.processor.settle()
    processor = engine.node.processor
    assert [processor.hot.get(ids.parse(run.id)) is not None for run in runs] == [False] * 3 + [True] * RESTING_MAX
    monkeypatch.setattr(hot, "WIDE", WIDE + 2)
    narrow = await engine.trigger(workflow.id, list(range(WIDE + 1)))
    await engine.node.processor.settle()
    assert processor.hot.get(ids.parse(narrow.id)) is None


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
    assert engine.node.processor.hot.get(ids.parse(run.id)) is None


@pytest.mark.parametrize("is_async", [True, False])
async def test_a_run_that_was_ended_stays_until_its_steps_have_told_their_ends(
    bench: Any, monkeypatch: pytest.MonkeyPatch, *, is_async: bool
) -> None:
    """What hundreds of cancelled steps give is recorded batch by batch, and the run is not read anew for each."""
    steps, count, go = Registry(), 200, threading.Event()

    async def slow(_: Any) -> None:
        await asyncio.Event().wait()

    steps.step("slow")(slow if is_async else lambda _: go.wait(10))
    engine = await bench.start(steps=steps, limits=Limits(steps_max=1000, step_threads=300))
    task = {"Type": "Task", "Resource": "slow", "End": True}
    each = {"Type": "Map", "End": True, "ItemProcessor": {"StartAt": "A", "States": {"A": task}}}
    workflow = await engine.create_workflow("slow", {"StartAt": "Each", "States": {"Each": each}})
    run = await engine.trigger(workflow.id, list(range(count)))
    await eventually(lambda: engine.node.tasks.running == count)
    folds, real = list[str](), StreamFold.hot

    def noted(fold: StreamFold) -> HotStream:
        folds.append(fold.kind.name)
        return real(fold)

    monkeypatch.setattr(StreamFold, "hot", noted)
    await engine.terminate(run.id)
    go.set()
    await eventually(lambda: not engine.node.tasks.running)
    await rest(engine)
    told = [type(each.event).__name__ async for each in engine.events(run.id)]
    assert told.count("ResultIgnored") == count
    assert not folds
    assert not engine.node._cancelled
    assert engine.node.processor.hot.get(ids.parse(run.id)) is None


class Thing:
    """Something that can be seen to go."""


async def test_a_wide_state_is_freed_in_parts() -> None:
    """What was in it goes by and by, while others have their turns."""
    things = {str(number): Thing() for number in range(2 * WIDE_MIN)}
    seen = [weakref.ref(thing) for thing in things.values()]
    state = State(frames=PersistentMap(things))  # type: ignore[arg-type]
    del things

    let_go(state)
    del state
    counts = []
    for _ in range(1000):
        counts.append(sum(each() is not None for each in seen))
        await asyncio.sleep(0)
    assert counts[-1] == 0
    assert max(before - after for before, after in pairwise(counts)) < len(seen) / 4


def test_a_very_wide_state_is_worth_no_snapshot(monkeypatch: pytest.MonkeyPatch) -> None:
    """It would be made, and read, in one go."""
    monkeypatch.setattr(hot, "SNAPSHOT_WIDTH_MAX", 2)
    stream = hot.HotStream(STREAM_TYPES["execution"], bytes(16), bytes(16), None)
    frames = {str(number): Frame("A", "1/input", 1) for number in range(3)}
    head = Head(9, bytes(32), 0)
    stream.restore(State(frames=PersistentMap(frames)), head, {}, {}, head.seq)
    assert stream.due_snapshot() is None
    stream.restore(State(frames=PersistentMap(frames).delete("0")), head, {}, {}, head.seq)
    assert stream.due_snapshot() is not None
    assert stream.due_snapshot() is None, "the next one is due later"
