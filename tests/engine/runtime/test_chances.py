"""Second chances on a node beside limits, time-outs, pauses, parents and schedules; and over crashes."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from perdure.engine import Engine
from perdure.engine.audit.store_audit import verify
from perdure.engine.core import ids
from perdure.engine.core.chance_events import ExecutionForked
from perdure.engine.core.commands import Quarantine, RedriveExecution, Terminate
from perdure.engine.core.settings import VersionSettings
from perdure.engine.errors import Conflict
from perdure.engine.runtime.processing.requests import Accepted, from_inside

from .conftest import Bench, eventually
from .test_limits import ASK_THEN_WORK, WORK, Works, cap, rests, row_of, statuses


async def names(engine: Engine, execution_id: str) -> list[str]:
    return [type(r.event).__name__ for r in await engine.services.queries.events(ids.parse(execution_id))]


async def is_sound(engine: Engine) -> bool:
    """Whether an auditor finds nothing."""
    return not (await verify(engine.store)).breaks


# --- forks and limits ------------------------------------------------------------------------------------------------


async def test_a_fork_of_a_run_with_limits_queues_for_a_place_of_its_own(bench: Bench) -> None:
    """The place of its origin is its origin's: as long as that has it, the fork waits; and then it goes on."""
    works = Works()
    engine = await bench.start(works.steps)
    workflow = await engine.create_workflow("w", WORK, settings={"concurrencyLimit": 1})
    run = await engine.trigger(workflow.id, {"n": 0})
    await rests(engine)
    for seq in (1, 2, 3):  # it queued; it was admitted; its step was called
        fork = await engine.fork(run.id, seq, state_input={"n": seq})
        await rests(engine)
        assert (await row_of(engine, fork.id)).status == "pending"
        assert list(works.running) == [0]
        assert len(bench.store._slots.rows) == 1
        assert (await names(engine, fork.id))[seq:] == ["ExecutionForked", "ExecutionQueued"]
        assert await is_sound(engine)
    for n in range(4):
        assert list(works.running) == [n]
        await works.let_go(engine, n)
    assert works.most["all"] == 1
    assert not bench.store._slots.rows
    assert await is_sound(engine)


async def test_a_fork_has_the_limits_of_today(bench: Bench) -> None:
    """Of a run with limits none is left if none holds now; and one without has that of its organization."""
    works = Works()
    engine = await bench.start(works.steps)
    workflow = await engine.create_workflow("w", WORK, settings={"concurrencyLimit": 1})
    other = await engine.create_workflow("free", WORK)
    run = await engine.trigger(workflow.id, {"n": 0})
    free = await engine.trigger(other.id, {"n": 1})
    await rests(engine)
    caller = await engine._caller()
    await engine.services.workflows.change(caller, ids.parse(workflow.id), settings={"concurrencyLimit": None})
    await rests(engine)
    fork = await engine.fork(run.id, 3, state_input={"n": 2})
    await rests(engine)
    forked = (await engine.services.queries.events(ids.parse(fork.id)))[3].event
    assert isinstance(forked, ExecutionForked)
    assert forked.limits == ()
    assert sorted(works.running) == [0, 1, 2]
    await cap(engine, 1)
    capped = await engine.fork(free.id, 2, state_input={"n": 3})
    await rests(engine)
    assert (await row_of(engine, capped.id)).status == "running"  # who began before the cap does not count
    late = await engine.fork(capped.id, 2, state_input={"n": 4})
    await rests(engine)
    assert (await row_of(engine, late.id)).status == "pending"
    assert await is_sound(engine)
    works.is_open = True
    for n in list(works.running):
        await works.let_go(engine, n)
    await eventually(lambda: not bench.store._queue.rows and not bench.store._slots.rows)
    assert await is_sound(engine)


# --- redrives beside limits, time-outs, pauses, parents --------------------------------------------------------------


async def test_redrives_of_runs_with_a_limit_go_one_after_the_other(bench: Bench) -> None:
    """Sixty-four at once: each run is redriven once and queues again, and never two have the place."""
    works = Works()
    works.is_open = True
    engine = await bench.start(works.steps)
    workflow = await engine.create_workflow("w", WORK, settings={"concurrencyLimit": 1})
    engine.node.admission.halt()
    runs = [(await engine.trigger(workflow.id, {"n": n})).id for n in range(4)]
    for run in runs:
        await engine.terminate(run, "stop")
    engine.node.admission.start()
    calls = [engine.redrive(runs[number % 4]) for number in range(64)]
    replies = await asyncio.gather(*calls, return_exceptions=True)
    assert sum(not isinstance(reply, BaseException) for reply in replies) == 4
    assert all(isinstance(reply, Conflict) for reply in replies if isinstance(reply, BaseException))
    await eventually(lambda: not bench.store._queue.rows and not bench.store._slots.rows)
    await rests(engine)
    assert await statuses(engine, runs) == ["completed"] * 4
    assert works.most["all"] == 1
    for run in runs:
        told = [name for name in await names(engine, run) if name != "CommandRefused"]
        assert told.count("ExecutionRedriven") == 1
        assert told[told.index("ExecutionRedriven") :][:3] == [
            *("ExecutionRedriven", "ExecutionQueued", "ExecutionAdmitted")
        ]
    assert await is_sound(engine)


async def test_a_run_that_had_timed_out_by_its_settings_has_all_its_time_again(bench: Bench) -> None:
    """Overdue or not, in a queue or not; and its limit of today holds."""
    works = Works()
    engine = await bench.start(works.steps)
    settings = {"timeoutMs": 60_000, "concurrencyLimit": 1}
    workflow = await engine.create_workflow("w", WORK, settings=settings)
    run = (await engine.trigger(workflow.id, {"n": 0})).id
    await rests(engine)
    bench.clock.push(60_000)
    await eventually(lambda: not works.running)
    await rests(engine)
    assert (await row_of(engine, run)).status == "timed_out"
    await engine.redrive(run)
    await rests(engine)
    bench.clock.push(59_000)
    await rests(engine)
    assert (await row_of(engine, run)).status == "running"
    assert await is_sound(engine)
    bench.clock.push(1_000)
    await eventually(lambda: not works.running)
    await rests(engine)
    assert (await row_of(engine, run)).status == "timed_out"
    await engine.redrive(run)
    await rests(engine)
    await works.let_go(engine, 0)
    assert (await row_of(engine, run)).status == "completed"
    assert await is_sound(engine)


@pytest.mark.parametrize("clocks", ["run", "freeze"])
async def test_a_run_that_was_paused_and_terminated_goes_on_and_is_paused_no_more(bench: Bench, clocks: Any) -> None:
    """A redrive and a fork know nothing of the pause; the time limits are those of a run that begins."""
    works = Works()
    engine = await bench.start(works.steps)
    workflow = await engine.create_workflow("w", ASK_THEN_WORK, settings={"timeoutMs": 60_000})
    run = (await engine.trigger(workflow.id, {"n": 0})).id
    caller = await engine._caller()
    await engine.services.runs.pause(caller, run, reason="look", clocks=clocks)
    bench.clock.push(1_000)
    await engine.terminate(run, "stop")
    await engine.redrive(run)
    row = await row_of(engine, run)
    assert (row.status, row.paused_seq) == ("waiting", None)
    (timer,) = await engine.store.timers_of(row.execution_id)
    assert timer.due_at == bench.clock.now() + 60_000
    await engine.services.runs.pause(caller, run, reason="look", clocks=clocks)
    bench.clock.push(30_000)
    await engine.services.runs.unpause(caller, run)
    events = await engine.services.queries.events(row.execution_id)
    for seq in (2, 3, events[-2].seq, events[-1].seq):
        fork = await engine.fork(run, seq)
        forked = await row_of(engine, fork.id)
        assert (forked.status, forked.paused_seq) == ("waiting", None)
        (timer,) = await engine.store.timers_of(forked.execution_id)
        assert timer.due_at == bench.clock.now() + 60_000
    assert await is_sound(engine)


async def test_a_run_that_was_set_aside_and_terminated_is_redriven(bench: Bench) -> None:
    """A restart finds it again, and it goes on; a fork of one that is set aside is not."""
    works = Works()
    engine = await bench.start(works.steps)
    workflow = await engine.create_workflow("w", ASK_THEN_WORK)
    run = (await engine.trigger(workflow.id, {"n": 0})).id
    await engine.node.processor.submit(from_inside(ids.parse(run), Quarantine("Resume", "KeyError"), "engine:test"))
    fork = await engine.fork(run, 3)
    assert (await row_of(engine, fork.id)).status == "waiting"
    assert await engine.resume(fork.id, {"n": 1}) == "restarted"
    await engine.terminate(run, "stop")
    await engine.redrive(run)
    await bench.crash(engine)
    engine = await bench.start(works.steps)
    assert await engine.resume(run, {"n": 2}) == "restarted"
    await rests(engine)
    for n in (1, 2):
        await works.let_go(engine, n)
    assert await statuses(engine, [run, fork.id]) == ["completed"] * 2
    assert await is_sound(engine)


async def test_redrives_that_a_crash_cuts_off_are_done_once(bench: Bench) -> None:
    """With its key a call is repeated after the crash: the run was redriven, or is so now; never twice."""
    works = Works()
    engine = await bench.start(works.steps)
    workflow = await engine.create_workflow("w", WORK, settings={"concurrencyLimit": 2})
    runs = [(await engine.trigger(workflow.id, {"n": n})).id for n in range(4)]
    for run in runs:
        await engine.terminate(run, "stop")
    await rests(engine)
    await engine.redrive(runs[0], idempotency_key="k0")
    bench.store.gate.clear()
    calls = [asyncio.ensure_future(engine.redrive(run, idempotency_key=f"k{n}")) for n, run in enumerate(runs)]
    await asyncio.sleep(0)
    await bench.crash(engine)
    for call in calls:
        call.cancel()
    await asyncio.gather(*calls, return_exceptions=True)
    bench.store.gate.set()
    works.running.clear()
    engine = await bench.start(works.steps)
    for n, run in enumerate(runs):
        await engine.redrive(run, idempotency_key=f"k{n}")
    await rests(engine)
    assert len(works.running) == 2
    works.is_open = True
    for n in list(works.running):
        await works.let_go(engine, n)
    await eventually(lambda: not bench.store._queue.rows and not bench.store._slots.rows)
    await rests(engine)
    assert await statuses(engine, runs) == ["completed"] * 4
    for run in runs:
        assert (await names(engine, run)).count("ExecutionRedriven") == 1
    assert await is_sound(engine)


async def test_what_is_terminated_and_redriven_in_one_batch_stands_in_line_again(bench: Bench) -> None:
    """The row that goes with the end and the one that comes with the redrive are of one run, and one commit."""
    works = Works()
    engine = await bench.start(works.steps)
    workflow = await engine.create_workflow("w", WORK, settings={"concurrencyLimit": 1})
    first, second = [(await engine.trigger(workflow.id, {"n": n})).id for n in range(2)]
    await rests(engine)
    sender, settings = engine.node.processor, VersionSettings(concurrency_limit=1)
    for run in (second, first):
        commands = (Terminate("stop"), RedriveExecution(None, settings))
        replies = await asyncio.gather(
            *(sender.submit(from_inside(ids.parse(run), command, "key:test")) for command in commands)
        )
        assert all(isinstance(reply, Accepted) for reply in replies)
        assert await is_sound(engine)
    await rests(engine)
    assert await statuses(engine, [first, second]) == ["pending", "running"]
    assert await is_sound(engine)
    works.is_open = True
    await works.let_go(engine, 1)
    await eventually(lambda: not bench.store._queue.rows and not bench.store._slots.rows)
    await rests(engine)
    assert await statuses(engine, [first, second]) == ["completed"] * 2
    assert await is_sound(engine)
