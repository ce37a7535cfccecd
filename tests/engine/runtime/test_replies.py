"""Answers are told from what is on disk, and from nothing else."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from perdure.engine import Engine
from perdure.engine.core import ids
from perdure.engine.core.commands import Resume, Terminate
from perdure.engine.core.events import WaitOpened
from perdure.engine.errors import Conflict, EngineFailed, NotFound, NotWaiting, Unavailable
from perdure.engine.steps import Registry
from perdure.store.errors import CommitUnknown, StoreFull
from perdure.store.memory import MemoryStore
from tests.present import present

from .conftest import WAITING, Bench, eventually, rest


async def names(engine: Engine, execution_id: str) -> list[str]:
    return [type(recorded.event).__name__ async for recorded in engine.events(execution_id)]


async def waiting(bench: Bench, **settings: Any) -> tuple[Engine, str]:
    """An engine with one execution that waits."""
    engine = await bench.start(**settings)
    workflow = await engine.create_workflow("ask", WAITING)
    execution = await engine.trigger(workflow.id, {"n": 1}, process_id="P-1")
    return engine, execution.id


async def test_no_answer_before_the_commit(bench: Bench) -> None:
    """Neither the winner of a race nor its losers hear anything while the commit is under way."""
    engine, execution_id = await waiting(bench)
    bench.store.gate.clear()
    calls = [asyncio.create_task(engine.resume("P-1", {"by": n})) for n in range(64)]
    await eventually(lambda: len(bench.store.attempts[-1]) == 1 and bench.store.attempts[-1][0].events)
    for _ in range(50):
        await asyncio.sleep(0)
    assert not any(call.done() for call in calls)
    bench.store.gate.set()
    answers = await asyncio.gather(*calls)
    assert sorted(answers) == ["already restarted"] * 63 + ["restarted"]
    assert (await names(engine, execution_id)).count("WaitResumed") == 1


async def test_a_crash_between_decision_and_commit_takes_back_nothing_that_was_told(bench: Bench) -> None:
    """What was decided and not committed was told to nobody; after the restart the wait is still open."""
    engine, execution_id = await waiting(bench)
    bench.store.gate.clear()
    calls = [asyncio.create_task(engine.resume("P-1", {"by": n})) for n in range(8)]
    await eventually(lambda: bench.store.attempts[-1][0].events)
    assert not any(call.done() for call in calls)
    for call in calls:
        call.cancel()
    await bench.crash(engine)
    bench.store.gate.set()

    engine = await bench.start()
    assert "WaitResumed" not in await names(engine, execution_id)
    assert await engine.resume("P-1", {"by": "after"}) == "restarted"
    result = await engine.result(execution_id)
    assert result.output == {"n": 1, "answer": {"by": "after"}}


async def test_a_batch_is_handed_over_before_anything_else_has_its_turn(bench: Bench) -> None:
    """The store begins to write as soon as the batch is decided, however much else the loop has to do."""
    engine = await bench.start()
    workflow = await engine.create_workflow("ask", WAITING)
    handed_over, seen = handing_over(bench), []
    starting = asyncio.create_task(engine.trigger(workflow.id, {"n": 1}))
    await asyncio.sleep(0)  # it has sent its order, which is decided in the next turn
    asyncio.get_running_loop().call_soon(lambda: seen.append(len(handed_over)))
    await starting
    assert seen == [1]


async def test_the_next_commit_begins_before_the_answers_of_the_last(bench: Bench) -> None:
    """What an answer sets going does not keep the store waiting; and nothing is told of a commit under way."""
    engine, execution_id = await waiting(bench)
    bench.store.gate.clear()
    before = len(bench.store.attempts)
    first = engine.node.send(ids.parse(execution_id), Resume({"by": 1}))
    await eventually(lambda: len(bench.store.attempts) > before)
    second = engine.node.send(ids.parse(execution_id), Resume({"by": 2}))
    third = engine.node.send(ids.parse(execution_id), Terminate("late"))  # a refusal that is recorded
    for _ in range(50):
        await asyncio.sleep(0)
    handed_over = handing_over(bench, lambda: (first.done(), second.done(), third.done()))
    bench.store.gate.set()
    await asyncio.gather(first, second, third)
    assert handed_over == [(False, False, False)]


async def test_nothing_more_is_handed_over_after_a_failure(bench: Bench) -> None:
    """A commit that ends after the engine has stopped does not begin the next one, whose requests were told of it."""
    engine, execution_id = await waiting(bench)
    bench.store.gate.clear()
    before = len(bench.store.attempts)
    first = engine.node.send(ids.parse(execution_id), Resume({"by": 1}))
    await eventually(lambda: len(bench.store.attempts) > before)
    second = engine.node.send(ids.parse(execution_id), Terminate("late"))
    for _ in range(50):
        await asyncio.sleep(0)
    handed_over = handing_over(bench)
    engine.node.processor.stop(RuntimeError("a defect elsewhere"))
    bench.store.gate.set()
    for _ in range(50):
        await asyncio.sleep(0)
    assert handed_over == []
    assert [type(reply.exception()) for reply in (first, second)] == [EngineFailed, EngineFailed]


async def test_a_store_that_fails_as_it_takes_a_batch_stops_the_engine(bench: Bench) -> None:
    """Nobody waits for ever, whatever the store raises and when."""
    engine, _ = await waiting(bench)

    def append(batch: Any) -> Any:
        raise RuntimeError("a defect of the store")

    bench.store.append = append  # type: ignore[method-assign]
    async with asyncio.timeout(5):
        with pytest.raises(EngineFailed):
            await engine.resume("P-1", {"by": 1})


def handing_over(bench: Bench, look: Callable[[], Any] = lambda: None) -> list[Any]:
    """What `look` gives at the moment of each append."""
    seen: list[Any] = []
    real = bench.store.append

    def append(batch: Any) -> Any:
        seen.append(look())
        return real(batch)

    bench.store.append = append  # type: ignore[method-assign]
    return seen


async def test_a_refusal_waits_for_the_commit_that_it_rests_on(bench: Bench) -> None:
    """A conflict with a termination that is not yet on disk is not told before that is."""
    engine, _ = await waiting(bench)
    bench.store.gate.clear()
    ending = asyncio.create_task(engine.terminate("P-1"))
    await eventually(lambda: bench.store.attempts[-1][0].events)
    refused = asyncio.create_task(engine.resume("P-1", {}))
    again = asyncio.create_task(engine.terminate("P-1"))
    for _ in range(50):
        await asyncio.sleep(0)
    assert not any(call.done() for call in (ending, refused, again))
    bench.store.gate.set()
    assert await ending == "terminated"
    assert await again == "already terminated"
    with pytest.raises(Conflict):
        await refused


async def test_another_writer_makes_the_decision_start_over(bench: Bench) -> None:
    """When somebody else has moved the stream, what was decided from the old state is decided again."""
    engine, execution_id = await waiting(bench)
    other = await Engine.start(bench.store, clock=bench.clock)
    bench.engines.append(other)
    bench.store.gate.clear()
    ours = asyncio.create_task(engine.resume("P-1", {"by": "us"}))
    theirs = asyncio.create_task(other.resume("P-1", {"by": "them"}))
    await eventually(lambda: sum(bool(batch[0].events) for batch in bench.store.attempts[-2:]) == 2)
    bench.store.gate.set()
    assert sorted([await ours, await theirs]) == ["already restarted", "restarted"]
    assert (await names(engine, execution_id)).count("WaitResumed") == 1


async def test_a_full_disk_is_told_and_passes(bench: Bench) -> None:
    """While the store takes nothing a caller gets `Unavailable` and nothing has changed; afterwards all goes on."""
    engine, execution_id = await waiting(bench)
    bench.store.fail_next = [StoreFull("no space left")]
    with pytest.raises(Unavailable):
        await engine.resume("P-1", {"by": 1})
    assert "WaitResumed" not in await names(engine, execution_id)
    assert await engine.resume("P-1", {"by": 2}) == "restarted"


async def test_a_step_result_survives_a_full_disk(bench: Bench) -> None:
    """The result of a step is not lost when the store refuses it once: it is recorded a second later."""
    steps = Registry()

    @steps.step("charge")
    async def charge(value: Any) -> Any:
        bench.store.fail_next.append(StoreFull("no space left"))
        return {"charged": value["amount"]}

    engine = await bench.start(steps)
    definition = {"StartAt": "A", "States": {"A": {"Type": "Task", "Resource": "charge", "End": True}}}
    workflow = await engine.create_workflow("charge", definition)
    execution = await engine.trigger(workflow.id, {"amount": 5})
    await eventually(lambda: not bench.store.fail_next)
    await eventually(lambda: bench.clock.next_due() is not None)
    await bench.push(engine, 1000)
    result = await engine.result(execution.id)
    assert result.output == {"charged": 5}


async def test_a_commit_of_unknown_fate_stops_the_engine(bench: Bench) -> None:
    """After an error from COMMIT nothing more is said: calls in flight and calls to come fail."""
    failures: list[Exception] = []
    engine, _ = await waiting(bench, on_failure=failures.append)
    bench.store.fail_next = [CommitUnknown("EIO")]
    with pytest.raises(EngineFailed):
        await engine.resume("P-1", {})
    with pytest.raises(EngineFailed):
        await engine.trigger((await engine.executions()).items[0].workflow_id, {})
    assert len(failures) == 1


async def test_who_waits_for_the_disk_hears_that_the_engine_has_stopped(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A call whose decision is being read for when a commit fails is told so too, and does not wait for ever."""
    engine, _ = await waiting(bench)
    real, read, go_on = bench.store.wait, asyncio.Event(), asyncio.Event()

    async def slow(wait_id: bytes) -> Any:
        read.set()
        await go_on.wait()
        return await real(wait_id)

    monkeypatch.setattr(bench.store, "wait", slow)
    wait = "01900000-0000-7000-8000-000000000001"
    reading = asyncio.create_task(engine.resume("P-1", {}, wait_id=wait, hold=0))
    await read.wait()
    bench.store.fail_next = [CommitUnknown("EIO")]
    with pytest.raises(EngineFailed):
        await engine.terminate("P-1")
    go_on.set()
    async with asyncio.timeout(5):
        with pytest.raises(EngineFailed):
            await reading


async def test_an_early_resume_is_held_until_its_wait_opens(bench: Bench) -> None:
    """A call that comes before the wait is answered as soon as the wait opens."""
    engine = await bench.start()
    definition = {
        "StartAt": "Rest",
        "States": {
            "Rest": {"Type": "Wait", "Seconds": 1, "Next": "Ask"},
            "Ask": {"Type": "Task", "Resource": "wait_for_resume", "End": True},
        },
    }
    workflow = await engine.create_workflow("rest", definition)
    await engine.trigger(workflow.id, process_id="P-2")
    early = asyncio.create_task(engine.resume("P-2", {"early": True}, hold=2))
    await rest(engine)
    assert not early.done()
    await bench.push(engine, 1000)
    assert await early == "restarted"


async def test_an_early_resume_is_refused_when_its_time_is_up(bench: Bench) -> None:
    """A call that is held in vain gets `NotWaiting` with the run's status and state, and that is recorded once."""
    engine = await bench.start()
    definition = {"StartAt": "Rest", "States": {"Rest": {"Type": "Wait", "Seconds": 60, "End": True}}}
    workflow = await engine.create_workflow("rest", definition)
    execution = await engine.trigger(workflow.id, process_id="P-3")
    early = asyncio.create_task(engine.resume("P-3", {}, hold=2))
    await rest(engine)
    await bench.push(engine, 1999)
    assert not early.done()
    await bench.push(engine, 1)
    with pytest.raises(NotWaiting) as refused:
        await early
    assert refused.value.details == {"status": "running", "state": "Rest"}
    assert (await names(engine, execution.id)).count("CommandRefused") == 1


async def test_a_held_resume_is_answered_when_the_run_ends(bench: Bench) -> None:
    """A run that is terminated while a call is held answers it at once."""
    engine = await bench.start()
    definition = {"StartAt": "Rest", "States": {"Rest": {"Type": "Wait", "Seconds": 60, "End": True}}}
    workflow = await engine.create_workflow("rest", definition)
    await engine.trigger(workflow.id, process_id="P-4")
    early = asyncio.create_task(engine.resume("P-4", {}, hold=30))
    await rest(engine)
    await engine.terminate("P-4")
    with pytest.raises(Conflict):
        await early


async def test_a_held_resume_is_answered_when_the_node_drains(bench: Bench) -> None:
    """Draining answers held calls with `Unavailable` at once: they are not lost, they can be repeated."""
    engine = await bench.start()
    definition = {"StartAt": "Rest", "States": {"Rest": {"Type": "Wait", "Seconds": 60, "End": True}}}
    workflow = await engine.create_workflow("rest", definition)
    await engine.trigger(workflow.id, process_id="P-5")
    early = asyncio.create_task(engine.resume("P-5", {}, hold=30))
    await rest(engine)
    await bench.stop(engine)
    with pytest.raises(Unavailable):
        await early


async def test_trigger_once_under_a_race(bench: Bench) -> None:
    """64 triggers with one process id and input start one execution; another input is refused, and recorded."""
    engine = await bench.start()
    workflow = await engine.create_workflow("ask", WAITING)
    calls = [engine.trigger(workflow.id, {"n": 1, "m": 2.0}, process_id="INV-7") for _ in range(64)]
    executions = await asyncio.gather(*calls)
    assert len({execution.id for execution in executions}) == 1
    same = await engine.trigger(workflow.id, {"m": 2, "n": 1}, process_id="INV-7")
    assert same.id == executions[0].id
    with pytest.raises(Conflict):
        await engine.trigger(workflow.id, {"n": 2}, process_id="INV-7")
    assert (await names(engine, same.id))[-1] == "CommandRefused"
    assert len((await engine.executions()).items) == 1


async def test_a_process_id_may_not_be_another_runs_id(bench: Bench) -> None:
    """Chosen and implied process ids share one namespace."""
    engine = await bench.start()
    workflow = await engine.create_workflow("ask", WAITING)
    first = await engine.trigger(workflow.id, {"n": 1})
    again = await engine.trigger(workflow.id, {"n": 1}, process_id=first.id)
    assert again.id == first.id
    with pytest.raises(Conflict):
        await engine.trigger(workflow.id, {"n": 2}, process_id=first.id)


async def test_the_id_of_a_run_with_a_process_id_is_no_others(bench: Bench) -> None:
    """A run is also found by its id, so that no other may take that for its process id, and be resumed in its place."""
    engine = await bench.start()
    workflow = await engine.create_workflow("ask", WAITING)
    first = await engine.trigger(workflow.id, {"n": 1}, process_id="INV-7")
    for value in ({"n": 1}, {"n": 2}):
        with pytest.raises(Conflict, match=first.id):
            await engine.trigger(workflow.id, value, process_id=first.id)
    assert await engine.resume(first.id, {}) == "restarted"
    assert (await names(engine, first.id)).count("WaitResumed") == 1


async def test_an_idempotency_key_is_kept_for_a_run_named_by_its_id(bench: Bench) -> None:
    """Of a trigger, too, that only finds the run whose id it names."""
    engine = await bench.start()
    workflow = await engine.create_workflow("ask", WAITING)
    first = await engine.trigger(workflow.id, {"n": 1})
    for _ in range(2):
        again = await engine.trigger(workflow.id, {"n": 1}, process_id=first.id, idempotency_key="k")
        assert again.id == first.id
    with pytest.raises(Conflict):
        await engine.trigger(workflow.id, {"n": 2}, idempotency_key="k")
    assert len((await engine.executions()).items) == 1


async def test_an_idempotency_key_gets_the_first_answer_again(bench: Bench) -> None:
    """The winner's call repeated says `restarted` again, and never ends a later wait."""
    engine = await bench.start()
    definition = {
        "StartAt": "First",
        "States": {
            "First": {"Type": "Task", "Resource": "wait_for_resume", "Next": "Second"},
            "Second": {"Type": "Task", "Resource": "wait_for_resume", "End": True},
        },
    }
    workflow = await engine.create_workflow("two", definition)
    execution = await engine.trigger(workflow.id, process_id="P-6", idempotency_key="t-1")
    assert (await engine.trigger(workflow.id, process_id="P-6", idempotency_key="t-1")).id == execution.id
    calls = [engine.resume("P-6", {"n": 1}, idempotency_key="r-1") for _ in range(16)]
    assert await asyncio.gather(*calls) == ["restarted"] * 16
    assert (await names(engine, execution.id)).count("WaitResumed") == 1
    with pytest.raises(Conflict):
        await engine.resume("P-6", {"n": 2}, idempotency_key="r-1")
    assert await engine.resume("P-6", {"n": 2}, state="Second") == "restarted"
    assert await engine.resume("P-6", {"n": 3}, idempotency_key="r-2") == "already restarted"
    assert await engine.resume("P-6", {"n": 3}, idempotency_key="r-2") == "already restarted"


async def test_an_idempotency_key_outlives_a_crash(bench: Bench) -> None:
    """The remembered answer is on disk with the event that it reports."""
    engine, _ = await waiting(bench)
    assert await engine.resume("P-1", {"n": 1}, idempotency_key="k") == "restarted"
    await bench.crash(engine)
    engine = await bench.start()
    assert await engine.resume("P-1", {"n": 1}, idempotency_key="k") == "restarted"
    assert await engine.resume("P-1", {"n": 1}) == "already restarted"


async def test_unknown_processes_are_not_found(bench: Bench) -> None:
    """A process id that nobody has used, of whatever form, is `NotFound`."""
    engine, execution_id = await waiting(bench)
    for name in ("P-99", "01900000-0000-7000-8000-000000000001"):
        with pytest.raises(NotFound):
            await engine.resume(name, {})
    assert await engine.resume(execution_id, {}) == "restarted"


async def test_a_step_result_survives_a_store_that_cannot_be_read(bench: Bench) -> None:
    """A result whose execution has left memory, and cannot be read for a moment, is recorded a second later."""
    steps = Registry()
    gate = asyncio.Event()

    @steps.step("charge")
    async def charge(value: Any) -> Any:
        await gate.wait()
        return value

    engine = await bench.start(steps)
    definition = {"StartAt": "A", "States": {"A": {"Type": "Task", "Resource": "charge", "End": True}}}
    workflow = await engine.create_workflow("charge", definition)
    execution = await engine.trigger(workflow.id, {"amount": 5})
    engine.node.processor.hot.drop(ids.parse(execution.id))
    bench.store.fail_reads = 1
    gate.set()
    await eventually(lambda: not bench.store.fail_reads)
    await eventually(lambda: bench.clock.next_due() is not None)
    await bench.push(engine, 1000)
    assert (await engine.result(execution.id)).output == {"amount": 5}


async def test_a_wait_whose_end_is_not_yet_on_disk_is_known_to_have_ended(bench: Bench) -> None:
    """A resume by the id of a wait that two later commits have left behind waits for them: already restarted."""
    engine = await bench.start()
    definition = {
        "StartAt": "Ask",
        "States": {
            "Ask": {"Type": "Task", "Resource": "wait_for_resume", "Next": "More"},
            "More": {
                "Type": "Choice",
                "Choices": [{"Variable": "$.more", "BooleanEquals": True, "Next": "Ask"}],
                "Default": "Done",
            },
            "Done": {"Type": "Succeed"},
        },
    }
    workflow = await engine.create_workflow("again", definition)
    execution = await engine.trigger(workflow.id, process_id="P-7")
    first = [recorded.event async for recorded in engine.events(execution.id)][-1]
    assert isinstance(first, WaitOpened)
    bench.store.gate.clear()
    calls = [asyncio.create_task(engine.resume("P-7", {"more": True})) for _ in range(2)]
    await eventually(lambda: bench.store.attempts[-1][0].events)
    await rest_of_the_queue()
    late = asyncio.create_task(engine.resume("P-7", {}, wait_id=first.wait))
    await rest_of_the_queue()
    assert not late.done()
    bench.store.gate.set()
    assert [await call for call in calls] == ["restarted"] * 2
    assert await late == "already restarted"
    assert "CommandRefused" not in await names(engine, execution.id)


async def rest_of_the_queue() -> None:
    """Let everything that is ready on the loop have its turn, while the store is held."""
    for _ in range(50):
        await asyncio.sleep(0)


@pytest.mark.parametrize("wait_id", ["nonsense", "", "01900000-0000-7000-8000-000000000001"])
async def test_a_wait_id_that_names_nothing_harms_nobody(bench: Bench, wait_id: str) -> None:
    """A wait id that is no id, or no wait of the run, is refused; the engine goes on."""
    engine, _ = await waiting(bench)
    with pytest.raises(NotWaiting):
        await engine.resume("P-1", {}, wait_id=wait_id)
    assert await engine.resume("P-1", {}) == "restarted"


async def test_a_result_is_told_however_the_ended_run_came_into_memory(bench: Bench) -> None:
    """A repeated call whose answer is only to be remembered has the run in memory, and no commit tells of its end."""
    engine, execution_id = await waiting(bench)
    await engine.terminate("P-1")
    await rest(engine)
    bench.store.gate.clear()
    again = asyncio.create_task(engine.terminate("P-1", idempotency_key="K"))
    await eventually(lambda: engine.node.processor.hot.get(ids.parse(execution_id)))
    assert (await asyncio.wait_for(engine.result(execution_id), 5)).status == "terminated"
    bench.store.gate.set()
    assert await again == "already terminated"


async def test_a_result_is_told_although_the_next_batch_only_remembers_something(bench: Bench) -> None:
    """Its end is on disk with one commit; that the next has a no-op of the same run is no reason to wait on."""
    engine, execution_id = await waiting(bench)
    result = asyncio.create_task(engine.result(execution_id))
    bench.store.gate.clear()
    commits = len(bench.store.attempts)
    first = asyncio.create_task(engine.terminate("P-1"))
    await eventually(lambda: len(bench.store.attempts) > commits)
    hot = present(engine.node.processor.hot.get(ids.parse(execution_id)))
    before = hot.batch
    again = asyncio.create_task(engine.terminate("P-1", idempotency_key="K"))
    await eventually(lambda: hot.batch is not before)
    bench.store.gate.set()
    assert (await asyncio.wait_for(result, 5)).status == "terminated"
    assert [await first, await again] == ["terminated", "already terminated"]


@pytest.mark.parametrize("is_closed", [True, False])
async def test_who_waits_for_a_run_hears_that_the_engine_is_gone(*, is_closed: bool) -> None:
    """Closed or failed: neither its result nor its next event will come."""
    engine = await Engine.start(MemoryStore())
    workflow = await engine.create_workflow("w", WAITING)
    run = await engine.trigger(workflow.id)

    async def follow() -> None:
        async for _ in engine.events(run.id, follow=True):
            pass

    waiting: list[asyncio.Future[Any]] = [
        asyncio.ensure_future(engine.result(run.id)),
        asyncio.ensure_future(follow()),
    ]
    await rest(engine)
    if not is_closed:
        engine.node.processor.stop(CommitUnknown("the disk is gone"))
        await asyncio.wait(waiting, timeout=5)
    await engine.close(0)
    for each in waiting:
        with pytest.raises(EngineFailed, match="closed" if is_closed else "stopped"):
            await asyncio.wait_for(each, 5)
