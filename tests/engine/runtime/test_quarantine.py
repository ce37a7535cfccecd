"""The way back from quarantine: what had been set aside is read anew and tried again, and the log says so."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from perdure.engine import Engine
from perdure.engine.core import decide as decide_module
from perdure.engine.core import ids
from perdure.engine.core.commands import CompleteTask, FireTimer, Recover, Redispatch, Resume
from perdure.engine.errors import Conflict, NotFound, Unavailable
from perdure.engine.runtime.streams.loader import Loader
from perdure.engine.steps import Registry
from perdure.store.records import StreamRow

from .conftest import WAITING, Bench, eventually, rest

CALLING: dict[str, Any] = {
    "StartAt": "Charge",
    "States": {"Charge": {"Type": "Task", "Resource": "charge", "End": True}},
}
SLEEPING: dict[str, Any] = {"StartAt": "Sleep", "States": {"Sleep": {"Type": "Wait", "Seconds": 60, "End": True}}}


@contextmanager
def defect(*commands: type) -> Iterator[None]:
    """Let deciding these commands raise, until a better program is there."""

    def broken(*_: Any) -> Any:
        raise ZeroDivisionError

    with pytest.MonkeyPatch.context() as patch:
        for command in commands:
            patch.setitem(decide_module._DECIDE, command, broken)
        yield


async def names(engine: Engine, execution: str) -> list[str]:
    return [type(recorded.event).__name__ async for recorded in engine.events(execution)]


async def set_aside(bench: Bench, engine: Engine, workflow: str) -> str:
    """Give the id of a run that waits and was set aside."""
    execution = await engine.trigger(workflow, process_id="P")
    with defect(Resume), pytest.raises(Unavailable):
        await engine.resume("P", {})
    await rest(engine)
    assert (await names(engine, execution.id))[-1] == "ExecutionQuarantined"
    return execution.id


async def test_a_run_that_waited_waits_again(bench: Bench) -> None:
    """After the release an answer is taken as if nothing had been; each step on the way is in the log."""
    engine = await bench.start()
    workflow = await engine.create_workflow("ask", WAITING)
    execution = await set_aside(bench, engine, workflow.id)
    with pytest.raises(Unavailable, match="quarantined"):
        await engine.resume("P", {})
    await engine.release("P")
    assert await engine.resume("P", {"ok": 1}) == "restarted"
    assert (await engine.result(execution)).output == {"answer": {"ok": 1}}
    assert (await names(engine, execution))[2:5] == ["ExecutionQuarantined", "ExecutionReleased", "WaitResumed"]


async def test_a_step_whose_result_could_not_be_taken_is_called_again(bench: Bench) -> None:
    """Under the same key, as after a crash; and what is in memory of the run is not what was there before."""
    keys, memory, steps = list[str](), list[Any](), Registry()

    @steps.step("charge")
    async def charge(_: Any, context: Any) -> int:
        keys.append(context.idempotency_key)
        memory.append(engine.node.processor.hot.get(ids.parse(context.execution_id)))
        return len(keys)

    engine = await bench.start(steps)
    workflow = await engine.create_workflow("charge", CALLING)
    with defect(CompleteTask):
        execution = await engine.trigger(workflow.id)
        await rest(engine)
    set_aside = engine.node.processor.hot.get(ids.parse(execution.id))
    assert set_aside is not None
    await engine.release(execution.id)
    assert (await engine.result(execution.id)).output == 2
    assert keys == [keys[0]] * 2
    assert memory[1] is not set_aside


async def test_a_timer_that_could_not_be_fired_is_fired(bench: Bench) -> None:
    """It had been left alone until the next start; another one that came due in quarantine comes at once."""
    engine = await bench.start()
    workflow = await engine.create_workflow("sleep", SLEEPING)
    execution = await engine.trigger(workflow.id)
    with defect(FireTimer):
        await bench.push(engine, 60_000)
    assert (await names(engine, execution.id))[-1] == "ExecutionQuarantined"
    await engine.release(execution.id)
    await rest(engine)
    assert (await names(engine, execution.id))[-2:] == ["TimerFired", "ExecutionSucceeded"]


async def test_what_fails_again_is_set_aside_again(bench: Bench) -> None:
    """The release is in the log all the same, and can be repeated."""
    engine = await bench.start()
    workflow = await engine.create_workflow("ask", WAITING)
    execution = await set_aside(bench, engine, workflow.id)
    with defect(Recover):
        await engine.release("P")
        await rest(engine)
    assert (await names(engine, execution))[2:] == ["ExecutionQuarantined", "ExecutionReleased", "ExecutionQuarantined"]
    await engine.release("P")
    assert await engine.resume("P", {}) == "restarted"


async def test_the_run_is_read_from_its_first_event(bench: Bench, monkeypatch: Any) -> None:
    """Neither what was in memory nor a snapshot is trusted, once; a state that was wrong there does not come back."""
    engine = await bench.start()
    waits = {"Type": "Task", "Resource": "wait_for_resume", "ResultPath": None, "Next": "Again"}
    again = {"Type": "Choice", "Choices": [{"Variable": "$.n", "IsPresent": True, "Next": "Ask"}], "Default": "Done"}
    states = {"Ask": waits, "Again": again, "Done": {"Type": "Succeed"}}
    workflow = await engine.create_workflow("often", {"StartAt": "Ask", "States": states})
    execution = await engine.trigger(workflow.id, {"n": 1}, process_id="P")
    for _ in range(100):
        await engine.resume("P", {})
    assert await bench.store.snapshot(bytes.fromhex(execution.id.replace("-", ""))) is not None
    with defect(Resume), pytest.raises(Unavailable):
        await engine.resume("P", {})
    await rest(engine)
    read, real = list[str](), {name: getattr(Loader, name) for name in ("from_snapshot", "from_the_start")}

    def noting(name: str) -> Any:
        async def note(self: Loader, row: StreamRow) -> Any:
            read.append(name)
            return await real[name](self, row)

        return note

    for name in real:
        monkeypatch.setattr(Loader, name, noting(name))
    await engine.release("P")
    await rest(engine)
    assert read[-1] == "from_the_start"
    read.clear()
    await engine.resume("P", {})
    assert read == ["from_snapshot"]


async def test_only_what_is_set_aside_can_be_released(bench: Bench) -> None:
    """What runs is told so, and what is not there cannot be found."""
    engine = await bench.start()
    workflow = await engine.create_workflow("ask", WAITING)
    await engine.trigger(workflow.id, process_id="P")
    with pytest.raises(Conflict, match="not quarantined: it is waiting"):
        await engine.release("P")
    with pytest.raises(NotFound):
        await engine.release("Q")


async def test_a_run_stays_set_aside_over_a_restart_until_it_is_released(bench: Bench) -> None:
    """The next start leaves it alone, and a release there is as good."""
    engine = await bench.start()
    workflow = await engine.create_workflow("ask", WAITING)
    execution = await set_aside(bench, engine, workflow.id)
    await bench.crash(engine)
    engine = await bench.start()
    assert (await names(engine, execution))[-1] == "ExecutionQuarantined"
    await engine.release("P")
    assert await engine.resume("P", {}) == "restarted"


async def test_a_suspect_that_was_set_aside_has_its_turn(bench: Bench, monkeypatch: Any) -> None:
    """It was held at the start: others that are held go on meanwhile, and it does after its release."""
    calls, steps = list[str](), Registry()

    @steps.step("charge")
    async def charge(value: Any) -> Any:
        calls.append(value["name"])
        await asyncio.Event().wait()

    engine = await bench.start(steps)
    workflow = await engine.create_workflow("charge", CALLING)
    for name in ("a", "b"):
        await engine.trigger(workflow.id, {"name": name}, process_id=name)
    for _ in range(2):
        await bench.crash(engine)
        engine = await bench.start(steps)
    await bench.crash(engine)
    real, tries = decide_module._DECIDE[Redispatch], list[Any]()

    def broken(state: Any, command: Any, facts: Any) -> Any:
        tries.append(facts)
        if len(tries) == 1:
            raise ZeroDivisionError
        return real(state, command, facts)

    calls.clear()
    monkeypatch.setitem(decide_module._DECIDE, Redispatch, broken)
    engine = await bench.start(steps)
    await eventually(lambda: calls)
    (good,), (bad,) = calls, {"a", "b"} - set(calls)
    await engine.terminate(good)
    await eventually(engine.node.recovery._job.done)  # type: ignore[union-attr]  # nobody waits for a turn any more
    await engine.release(bad)
    await eventually(lambda: calls == [good, bad])
