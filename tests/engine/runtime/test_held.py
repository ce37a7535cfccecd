"""What a run holds in memory: its live payloads, bounded together, and copies for steps that are called."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from perdure.engine.core import ids
from perdure.engine.core.live import live_seqs
from perdure.engine.errors import AmbiguousWait
from perdure.engine.limits import Limits
from perdure.engine.runtime.streams import fold, loader
from perdure.engine.runtime.workers import recovery
from perdure.engine.runtime.workers.tasks import Tasks
from perdure.engine.steps import Registry
from perdure.engine.steps.invoke import StepCall
from tests.engine.core.test_held import CAUSE, PAD, WAIT, copying

from .conftest import eventually, rest


@pytest.mark.parametrize("ahead", [0, 100])
async def test_the_setting_is_for_a_run_whatever_it_has_been_through(
    bench: Any, monkeypatch: pytest.MonkeyPatch, ahead: int
) -> None:
    """Sizes are kept while a run is in memory, and known again when it is read back, from a snapshot too."""
    definition, given = copying(120, WAIT)
    limits = Limits(run_payloads_max_bytes=80 * len(PAD))
    engine = await bench.start(limits=limits)
    workflow = await engine.create_workflow("w", definition)
    result = await engine.result((await engine.trigger(workflow.id, given)).id)
    assert (result.status, result.error) == ("failed", "States.DataLimitExceeded")
    assert CAUSE.format(limits.run_payloads_max_bytes) in (result.cause or "")
    definition, given = copying(75, WAIT)
    workflow = await engine.create_workflow("v", definition)
    run = await engine.trigger(workflow.id, given)
    await eventually(lambda: len(bench.store._waits_of.all(ids.parse(run.id))) == 75)
    hot = engine.node.processor.hot.get(ids.parse(run.id))
    assert hot is not None
    with pytest.raises(AmbiguousWait):
        await engine.resume(run.id, {})
    assert await bench.store.snapshot(ids.parse(run.id)) is not None
    monkeypatch.setattr(loader, "PAYLOADS_AHEAD", ahead)
    monkeypatch.setattr(fold, "BYTES_READ_MAX", 30 * len(PAD))
    await bench.stop(engine)
    engine = await bench.start(limits=limits)
    with pytest.raises(AmbiguousWait):
        await engine.resume(run.id, {})
    again = engine.node.processor.hot.get(ids.parse(run.id))
    assert again is not None
    assert again is not hot
    live = live_seqs(hot.state)
    assert {seq: again.payload_sizes[seq] for seq in live} == {seq: hot.payload_sizes[seq] for seq in live}
    assert len(again.payloads) < 35
    await engine.terminate(run.id)


async def test_what_waits_for_a_place_is_no_copy(bench: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A step has a copy of its input when it is called: however many wait, there are as many copies as places."""
    steps, go = Registry(), asyncio.Event()

    @steps.step("slow")
    async def slow(value: Any) -> Any:
        value["mine"] = True
        await go.wait()
        return value["n"]

    copies = list[Any]()
    read: Any = vars(StepCall)["input"].fget

    def noted(call: StepCall) -> Any:
        copies.append(call)
        return read(call)

    monkeypatch.setattr(StepCall, "input", property(noted))
    engine = await bench.start(steps=steps, limits=Limits(steps_max=5))
    definition, given = copying(40, {"Type": "Task", "Resource": "slow"})
    workflow = await engine.create_workflow("w", definition)
    run = await engine.trigger(workflow.id, given)
    tasks = engine.node.tasks
    assert isinstance(tasks, Tasks)
    await eventually(lambda: tasks.running + tasks.queued == 40)
    await rest(engine)
    assert 0 < len(copies) == tasks.running < 6
    go.set()
    assert (await engine.result(run.id)).output == list(range(40))


async def test_large_results_are_read_in_portions(bench: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a fork's branches gave is read some at a time when it ends; so is what steps are called with again."""
    monkeypatch.setattr(loader, "BYTES_READ_MAX", 3 * len(PAD))
    monkeypatch.setattr(fold, "BYTES_READ_MAX", 3 * len(PAD))
    monkeypatch.setattr(loader, "PAYLOADS_AT_ONCE", 2)
    monkeypatch.setattr(recovery, "PORTION_BYTES", 4 * len(PAD))
    steps, called = Registry(), list[int]()

    @steps.step("slow")
    async def slow(value: Any) -> Any:
        called.append(value["n"])
        await asyncio.Event().wait()

    engine = await bench.start(steps=steps)
    definition, given = copying(20, WAIT)
    workflow = await engine.create_workflow("w", definition)
    run = await engine.trigger(workflow.id, given)
    waits = [ids.text(row.wait_id) for row in await bench.store.waits_of(ids.parse(run.id))]
    for wait in waits[1:]:
        await engine.resume(run.id, PAD, wait_id=wait)
    definition, given = copying(20, {"Type": "Task", "Resource": "slow"})
    busy = await engine.trigger((await engine.create_workflow("s", definition)).id, given)
    await eventually(lambda: len(called) == 20)
    await bench.stop(engine)
    called.clear()
    engine = await bench.start(steps=steps)
    await eventually(lambda: sorted(called) == list(range(20)))
    await engine.resume(run.id, PAD, wait_id=waits[0])
    assert (await engine.result(run.id)).output == [PAD] * 20
    await engine.terminate(busy.id)
