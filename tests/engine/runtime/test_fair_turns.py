"""Whose turn it is: one workflow's slow decisions keep no other waiting for all of them."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

from perdure.engine import Engine
from perdure.engine.core import commands as c
from perdure.engine.core import decide as decide_module
from perdure.engine.core import ids
from perdure.engine.errors import Unavailable
from perdure.engine.fairness import FairLock, FairQueue
from perdure.engine.runtime import node as nodes
from perdure.engine.runtime.processing.batch import Batch
from perdure.engine.runtime.processing.inbox import Inbox
from perdure.engine.runtime.processing.requests import CommandRequest, from_inside

from .conftest import WAITING, eventually

SLOW: dict[str, Any] = {
    "QueryLanguage": "JSONata",
    "StartAt": "W",
    "States": {
        "W": {"Type": "Wait", "Seconds": 1, "Next": "A"},
        "A": {
            "Type": "Pass",
            "Output": "{% $count([1..16000].($map([1..5], function($v){$v*2}))) %}",
            "End": True,
        },
    },
}
QUICK: dict[str, Any] = {"StartAt": "W", "States": {"W": {"Type": "Wait", "Seconds": 1, "End": True}}}


def test_owners_have_one_turn_each() -> None:
    """In a circle, whoever has how much; each owner's own in the order in which it came."""
    queue = FairQueue[str](lambda text: text[0])
    for text in ("a1", "a2", "a3", "b1", "a4", "c1", "b2"):
        queue.put(text)
    queue.put_first("a0")
    assert len(queue) == len(list(queue)) == 8
    assert [queue.take() for _ in range(len(queue))] == ["a0", "b1", "c1", "a1", "b2", "a2", "a3", "a4"]
    queue.put("a")
    queue.replace(["b", "c"])
    assert list(queue) == ["b", "c"]
    assert queue.count_of("b")
    assert not queue.count_of("a")


def test_workflows_have_one_turn_each() -> None:
    """What waits for a decision, and what goes on by itself; and what was loaded is no exception."""
    inbox = Inbox(lambda stream: stream[:1].decode())

    def order(stream: bytes, command: Any) -> CommandRequest:
        return from_inside(stream, command, "engine:test")

    for kind in (c.FireTimer(1), c.Advance()):
        orders = {name: order(name, kind) for name in (b"a1", b"a2", b"a3", b"b1")}
        for each in orders.values():
            inbox.put(each)
        taken = [each.stream_id for _ in range(4) for each in inbox.take(Batch())]
        assert taken == [b"a1", b"b1", b"a2", b"a3"]
    inbox.put(order(b"b1", c.FireTimer(1)))
    inbox.put_first([order(b"a1", c.FireTimer(1)), order(b"a2", c.FireTimer(1))])
    assert [each.stream_id for each in inbox.take(Batch())] == [b"b1", b"a1", b"a2"]


async def test_the_lock_is_handed_on_in_turns() -> None:
    """Whoever gave up waiting is passed over, also if it was just given the turn."""
    lock, had = FairLock(), list[str]()

    async def have(name: str) -> None:
        async with lock.held_by(name[0]):
            had.append(name)
            await asyncio.sleep(0)

    async with lock.held_by("x"):
        jobs = [asyncio.ensure_future(have(name)) for name in ("a1", "a2", "a3", "b1", "c1")]
        await asyncio.sleep(0)
        assert lock.is_awaited_by("a")
        jobs[3].cancel()
        await asyncio.sleep(0)
    jobs[0].cancel()  # it has been given the turn, and does not know yet
    await asyncio.gather(*jobs, return_exceptions=True)
    assert had == ["c1", "a2", "a3"]
    assert not lock.is_awaited_by("a")
    async with lock.held_by("z"):
        pass


async def test_slow_decisions_are_not_all_tried_before_those_of_others(
    bench: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Twenty timers behind which something slow is decided come due with one of another workflow, and before it."""
    engine: Engine = await bench.start()
    slow, quick = await engine.create_workflow("slow", SLOW), await engine.create_workflow("quick", QUICK)
    runs = [(await engine.trigger(slow.id)).id for _ in range(20)]
    run = await engine.trigger(quick.id)
    real, tried = decide_module._DECIDE[c.FireTimer], list[str]()

    def noting(state: Any, command: Any, facts: Any) -> Any:
        if threading.current_thread() is threading.main_thread():
            tried.append(facts.execution)
        return real(state, command, facts)

    monkeypatch.setitem(decide_module._DECIDE, c.FireTimer, noting)
    bench.clock.push(1000)
    assert (await engine.result(run.id)).status == "completed"
    assert len(tried[: tried.index(run.id)]) <= 3
    for each in runs:
        assert (await engine.result(each)).status == "completed"


async def test_a_close_waits_for_the_commit_that_is_under_way(bench: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """When its patience is up nothing more is decided, and what is decided comes to disk."""
    monkeypatch.setattr(nodes, "HOME_S", 0.3)
    engine: Engine = await bench.start()
    workflow = await engine.create_workflow("w", WAITING)
    bench.store.gate.clear()
    first = asyncio.ensure_future(engine.trigger(workflow.id))
    await eventually(lambda: engine.node.processor.commits.under_way)
    second = asyncio.ensure_future(engine.trigger(workflow.id))
    await eventually(lambda: engine.node.processor.commits.open)
    asyncio.get_running_loop().call_later(0.45, bench.store.gate.set)
    bench.engines.remove(engine)
    await engine.close(0)  # it raises if a commit is still under way
    for each in (first, second):
        assert await bench.store.execution(ids.parse((await each).id)) is not None


async def test_a_close_tells_whose_request_it_does_not_decide(bench: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits for ever for an engine that is closed."""
    monkeypatch.setattr(nodes, "HOME_S", 0.1)
    engine: Engine = await bench.start()
    definition = {**SLOW, "StartAt": "A", "States": {"A": SLOW["States"]["A"]}}
    workflow = await engine.create_workflow("w", definition)
    waiting = [asyncio.ensure_future(engine.trigger(workflow.id)) for _ in range(20)]
    await eventually(lambda: engine.node.processor._deferred.waiting > 5)
    bench.engines.remove(engine)
    await engine.close(0)
    answers = await asyncio.wait_for(asyncio.gather(*waiting, return_exceptions=True), 5)
    assert any(isinstance(answer, Unavailable) for answer in answers)
