"""Commits that fail or take long: what is under way stays bounded, readiness tells, and a stop loses nothing."""

from __future__ import annotations

import asyncio
import gc
import time
from typing import Any

import pytest

from perdure.api.dialects.health import why_not_ready
from perdure.engine import Engine
from perdure.engine.core import decide as decide_module
from perdure.engine.core import ids
from perdure.engine.core.commands import Trigger
from perdure.engine.core.decide.start import trigger
from perdure.engine.core.decision import Facts, Need
from perdure.engine.errors import EngineFailed, Unavailable
from perdure.engine.runtime.processing import batch as batches
from perdure.engine.runtime.processing import processor as processors
from perdure.engine.runtime.processing.batch import Batch, PendingReply
from perdure.engine.runtime.processing.deferred import Deferred
from perdure.engine.runtime.processing.requests import CommandRequest, from_inside
from perdure.engine.runtime.streams.stream import NO_ROWS, HotStream
from perdure.engine.runtime.streams.stream_types import STREAM_TYPES
from perdure.engine.services.starting import Start
from perdure.engine.steps import Registry
from perdure.store.errors import StoreFull
from perdure.store.records import NewEvent
from tests.engine.runtime.conftest import WAITING, Bench, eventually, rest

STEP: dict[str, Any] = {"StartAt": "P", "States": {"P": {"Type": "Task", "Resource": "pay", "End": True}}}


async def turns(count: int = 20) -> None:
    """Let everything that is ready have its turn."""
    for _ in range(count):
        await asyncio.sleep(0)


async def test_all_that_is_not_on_disk_counts_against_the_limit(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Queued, decided and being committed count together: while the disk hangs only so many are taken in."""
    monkeypatch.setattr(processors, "PENDING_MAX", 100)
    engine = await bench.start()
    workflow = await engine.create_workflow("w", WAITING)
    bench.store.gate.clear()
    calls: list[asyncio.Task[Any]] = []
    for number in range(300):
        calls.append(asyncio.create_task(engine.trigger(workflow.id, {"n": number})))
        await turns(3)
    await turns(100)
    refused = [call for call in calls if call.done()]
    assert len(refused) == 200
    for call in refused:
        with pytest.raises(Unavailable, match="overloaded"):
            await call
    assert engine.node.processor.pending == 100
    bench.store.gate.set()
    await asyncio.gather(*(call for call in calls if call not in refused))
    assert engine.node.processor.pending == 0


async def test_a_batch_has_a_largest_size(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """What comes in while a full batch waits for its commit stays in the queue, and goes into the next ones."""
    monkeypatch.setattr(batches, "EVENTS_MAX", 20)
    engine = await bench.start()
    workflow = await engine.create_workflow("w", WAITING)
    bench.store.gate.clear()
    calls = [asyncio.create_task(engine.trigger(workflow.id, {"n": number})) for number in range(200)]
    await turns(100)
    open_batch = engine.node.processor.commits.open
    assert 20 <= open_batch.event_count < 25
    before = len(bench.store.attempts)
    bench.store.gate.set()
    await asyncio.gather(*calls)
    sizes = [sum(len(part.events) for part in each) for each in bench.store.attempts[before:]]
    assert max(sizes) < 25


async def test_readiness_tells_of_a_commit_that_stalls(bench: Bench) -> None:
    """Who waits is told, who comes is refused, and when the disk answers again all is as it was."""
    engine = await bench.start()
    workflow = await engine.create_workflow("w", WAITING)
    bench.store.gate.clear()
    stuck = asyncio.create_task(engine.trigger(workflow.id, {"n": 1}, process_id="P-1"))
    await turns()
    bench.clock.push(4_999)
    assert why_not_ready(engine) is None
    bench.clock.push(1)
    assert why_not_ready(engine) == "has waited 5 s for a commit: the database does not answer"
    with pytest.raises(Unavailable, match="whether the request was carried out is not known yet"):
        await stuck
    with pytest.raises(Unavailable, match="has waited 5 s for a commit"):
        await engine.trigger(workflow.id, {"n": 2})
    bench.store.gate.set()
    await rest(engine)
    assert why_not_ready(engine) is None
    again = await engine.trigger(workflow.id, {"n": 1}, process_id="P-1")
    assert again.id == (await engine.executions()).items[0].id


async def test_readiness_tells_of_a_full_disk_until_a_write_succeeds(bench: Bench) -> None:
    """And after a while without one it lets callers try."""
    engine = await bench.start()
    workflow = await engine.create_workflow("w", WAITING)
    for ends_by_itself in (True, False):
        bench.store.fail_next.append(StoreFull("no space left"))
        with pytest.raises(Unavailable):
            await engine.trigger(workflow.id)
        assert why_not_ready(engine) == "could not write to the database: no space left"
        if ends_by_itself:
            bench.clock.push(10_000)
        else:
            await engine.trigger(workflow.id)
        assert why_not_ready(engine) is None


async def test_a_stop_brings_home_what_was_put_off(bench: Bench) -> None:
    """Results that came while the disk was full are written before the engine says goodbye."""
    steps, calls, gate = Registry(), 0, asyncio.Event()

    @steps.step("pay")
    async def pay(_: Any) -> None:
        nonlocal calls
        calls += 1
        await gate.wait()

    engine = await bench.start(steps)
    workflow = await engine.create_workflow("w", STEP)
    runs = [await engine.trigger(workflow.id) for _ in range(20)]
    await eventually(lambda: calls == 20)
    bench.store.fail_next += [StoreFull("no space left")] * 3
    gate.set()
    await eventually(lambda: engine.node.processor._put_off.requests)
    stopping = asyncio.create_task(engine.node.drain(5))
    while not stopping.done():
        bench.clock.push(1000)
        await asyncio.sleep(0.01)
    assert await stopping
    await bench.stop(engine)
    engine = await bench.start(steps)
    for run in runs:
        assert (await engine.result(run.id)).status == "completed"
    assert calls == 20


async def test_a_stop_that_cannot_finish_says_so(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """A commit that hangs does not hang the stop: the store is abandoned, and whoever closes is told."""
    abandoned = []
    engine = await bench.start()
    workflow = await engine.create_workflow("w", WAITING)
    bench.store.gate.clear()
    stuck = asyncio.create_task(engine.trigger(workflow.id))
    await turns()

    async def abandon() -> None:
        abandoned.append(True)

    monkeypatch.setattr(bench.store, "abandon", abandon)
    monkeypatch.setattr("perdure.engine.runtime.node.HOME_S", 0.01)
    with pytest.raises(EngineFailed, match="while a commit was under way"):
        await engine.close(0)
    assert abandoned == [True]
    bench.store.gate.set()
    await stuck
    await rest(engine)


async def test_a_trigger_of_an_execution_that_exists_is_refused(bench: Bench) -> None:
    """Somebody else has begun it: it is loaded, not begun again and again."""
    engine = await bench.start()
    workflow = await engine.create_workflow("w", WAITING)
    run = await engine.trigger(workflow.id)
    await rest(engine)
    caller = await engine._caller()
    found = await engine.services.workflows.runnable(caller, ids.parse(workflow.id), None)
    order = from_inside(ids.parse(run.id), Start(found, {}, None, "REQUEST", limits=()).command(caller), "engine:other")
    order.organization_id, order.workspace_id = caller.organization_id, caller.workspace_id
    order.machine = found.machine
    attempts = len(bench.store.attempts)
    reply: Any = await asyncio.wait_for(engine.node.processor.submit(order), 5)
    assert reply.rejection.code == "CONFLICT"
    assert len(bench.store.attempts) == attempts + 1


def full_batch(count: int) -> tuple[Batch, list[bytes]]:
    """A batch of so many streams, each with one order that claims something."""
    batch, streams = Batch(), []
    for number in range(count):
        hot = HotStream(STREAM_TYPES["execution"], number.to_bytes(16, "big"), b"o" * 16, b"w" * 16)
        order = from_inside(hot.stream_id, None, "engine:test")
        batch.add(hot, [NewEvent("T", 1, 1, "a", None, "{}", None, None)], NO_ROWS, ())
        batch.waiting.append(PendingReply(order, hot, None))
        streams.append(hot.stream_id)
    return batch, streams


def test_taking_streams_out_of_a_batch_is_linear() -> None:
    """Sixteen times as many streams take some sixteen times as long, not two hundred and fifty-six."""

    def seconds(count: int) -> float:
        batch, streams = full_batch(count)
        gc.disable()  # what it does has to do with all that the tests before have left
        started = time.thread_time()
        assert len(batch.remove(streams)) == count
        ended = time.thread_time()
        gc.enable()
        assert not batch
        return ended - started

    small = min(seconds(1_000) for _ in range(5))
    assert min(seconds(16_000) for _ in range(3)) < 100 * small


async def test_readiness_has_nothing_to_say_of_a_quick_commit(bench: Bench) -> None:
    """No alarm of a commit is left behind."""
    engine: Engine = await bench.start()
    await engine.create_workflow("w", WAITING)
    await rest(engine)
    assert bench.clock.next_due() is None


async def test_an_effect_that_raises_keeps_nobody_else_from_being_told(bench: Bench) -> None:
    """It is a defect of ours: its execution is set aside, and the rest of the batch hears what was committed."""
    engine = await bench.start()
    workflow = await engine.create_workflow(
        "w", {"StartAt": "S", "States": {"S": {"Type": "Wait", "Seconds": 9, "End": True}}}
    )
    node, raised = engine.node, 0
    real = node.processor.replies._run_effect

    def failing(hot: Any, effect: Any) -> None:
        nonlocal raised
        if not raised:
            raised += 1
            raise ValueError("a defect")
        real(hot, effect)

    node.processor.replies._run_effect = failing
    bench.store.gate.clear()
    calls = [asyncio.create_task(engine.trigger(workflow.id, {"n": n})) for n in range(5)]
    await turns(100)
    bench.store.gate.set()
    runs = await asyncio.gather(*calls)
    await rest(engine)
    states = [[type(each.event).__name__ async for each in engine.events(run.id)] for run in runs]
    assert sum("ExecutionQuarantined" in names for names in states) == raised == 1


def test_a_batch_whose_streams_were_taken_out_is_not_full(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was refused takes its size with it; else an empty batch that is full would never be committed."""
    monkeypatch.setattr(batches, "SIZE_MAX", 100)
    batch, streams = full_batch(2)
    large = NewEvent("T", 1, 1, "a", None, "{}", '"' + "x" * 200 + '"', b"s" * 16)
    batch.add(batch.waiting[0].hot, [large], NO_ROWS, ())
    assert batch.is_full
    batch.remove(streams[:1])
    assert not batch.is_full


async def test_an_effect_that_lacks_memory_is_tried_again(bench: Bench) -> None:
    """It says nothing of its execution: what was to be done is done a moment later."""
    engine = await bench.start()
    workflow = await engine.create_workflow(
        "w", {"StartAt": "S", "States": {"S": {"Type": "Wait", "Seconds": 9, "End": True}}}
    )
    teller, raised = engine.node.processor.replies, 0
    real = teller._run_effect

    def failing(hot: Any, effect: Any) -> None:
        nonlocal raised
        if not raised:
            raised += 1
            raise MemoryError
        real(hot, effect)

    teller._run_effect = failing
    run = await engine.trigger(workflow.id)
    assert raised == 1
    await bench.push(engine, 1_000)
    await bench.push(engine, 10_000)
    assert (await engine.result(run.id, timeout=5)).status == "completed"


async def test_who_is_on_a_detour_counts_and_hears_of_a_stall(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is decided in a thread is under way too; and it would go into the batch that nobody writes."""
    monkeypatch.setattr(processors, "PENDING_MAX", 10)
    going, decide = asyncio.Event(), Deferred.decide

    def broken(*_: Any) -> Any:
        return Need(is_slow=True)

    async def decide_later(self: Deferred, hot: HotStream, order: CommandRequest, facts: Facts) -> Any:
        await going.wait()
        monkeypatch.setitem(decide_module._DECIDE, Trigger, trigger)
        return await decide(self, hot, order, facts)

    engine = await bench.start()
    workflow = await engine.create_workflow("w", WAITING)
    first = await engine.trigger(workflow.id)
    monkeypatch.setattr(Deferred, "decide", decide_later)
    monkeypatch.setitem(decide_module._DECIDE, Trigger, broken)
    calls = [asyncio.create_task(engine.trigger(workflow.id, {"n": number})) for number in range(9)]
    await turns()
    assert engine.node.processor.pending == 9
    bench.store.gate.clear()
    ending = asyncio.create_task(engine.terminate(first.id))
    await turns()
    with pytest.raises(Unavailable, match="overloaded"):
        await engine.trigger(workflow.id, {"n": 10})
    bench.clock.push(5_000)
    for each in (*calls, ending):
        with pytest.raises(Unavailable, match="whether the request was carried out is not known yet"):
            await asyncio.wait_for(each, 5)
    going.set()
    bench.store.gate.set()
    await rest(engine)
    assert engine.node.processor.pending == 0
    assert len((await engine.executions()).items) == 10
