"""Places of steps: taken and given back whatever happens, and in fair turns."""

from __future__ import annotations

import asyncio
import functools
import pickle
import threading
import time
from typing import Any, cast

import pytest
import structlog.testing

from perdure.engine.limits import Limits
from perdure.engine.runtime.workers.step_slots import StepSlots, TaskKey, Tenant
from perdure.engine.runtime.workers.tasks import Tasks
from perdure.engine.steps import Registry, StepFailed
from perdure.store.errors import CommitUnknown
from tests.engine.runtime.conftest import Bench, eventually, rest


def calling(step: str, **more: Any) -> dict[str, Any]:
    """A machine of one state that calls a step."""
    return {"StartAt": "S", "States": {"S": {"Type": "Task", "Resource": step, "End": True, **more}}}


def mapping(step: str) -> dict[str, Any]:
    """A machine that calls a step for every item."""
    return {
        "StartAt": "M",
        "States": {"M": {"Type": "Map", "ItemsPath": "$.items", "ItemProcessor": calling(step), "End": True}},
    }


class Line:
    """Places whose steps never end by themselves; `started` are those that have begun, in order."""

    def __init__(self, limit: int) -> None:
        self.started: list[TaskKey] = []
        self.places: StepSlots[str] = StepSlots(limit, lambda key, _: self.started.append(key))
        self._seq = 0

    def enter(self, workflow: str, workspace: str = "W") -> TaskKey:
        self._seq += 1
        key = TaskKey(workflow.encode(), self._seq)
        self.places.enter(key, Tenant(workspace, workflow), workflow)
        return key


def test_no_workflow_takes_all_places() -> None:
    """However many steps one workflow has, the first step of another finds a place."""
    line = Line(1000)
    for _ in range(2000):
        line.enter("wide")
    assert line.places.held == 800
    late = line.enter("narrow")
    assert line.places.holds(late)


@pytest.mark.parametrize("limit", [1, 2, 3, 5, 8, 100])
def test_places_in_use_never_exceed_the_limit_and_are_all_of_use(limit: int) -> None:
    """Of any number of places at least one is in use while somebody waits, and never more than there are."""
    line = Line(limit)
    for number in range(limit * 3):
        line.enter(f"w{number % 7}", f"t{number % 2}")
    assert 0 < line.places.held <= limit
    for key in list(line.started):
        line.places.leave(key)
        assert 0 < line.places.held <= limit
    while line.places.held:
        line.places.leave(next(key for key in line.started if line.places.holds(key)))
    assert len(line.started) == limit * 3


def test_turns_go_round_by_workspace_and_workflow() -> None:
    """With one place, whoever came first of each has a turn before anybody has a second one."""
    line = Line(1)
    first = line.enter("a")
    for workflow, workspace in [("a", "W"), ("a", "W"), ("b", "W"), ("c", "X"), ("c", "X")]:
        line.enter(workflow, workspace)
    line.places.leave(first)
    while line.places.held:
        line.places.leave(line.started[-1])
    assert [key.stream_id.decode() for key in line.started] == ["a", "a", "c", "b", "c", "a"]


def test_ten_times_as_many_queued_steps_are_cancelled_in_ten_times_the_time() -> None:
    """To forget one that waits costs the same however many wait."""

    def seconds(count: int) -> float:
        line = Line(1)
        keys = [line.enter("wide") for _ in range(count)]
        started = time.process_time()
        for key in keys[1:]:
            assert line.places.forget(key) == "wide"
        return time.process_time() - started

    small = min(seconds(2_000) for _ in range(3))
    assert min(seconds(20_000) for _ in range(3)) < 40 * small


@pytest.mark.parametrize("is_async", [True, False])
async def test_a_step_cancelled_before_its_first_turn_gives_its_place_back(bench: Bench, *, is_async: bool) -> None:
    """One branch fails while the other's step has just been scheduled: no place is lost."""
    steps = Registry()

    async def later(_: Any) -> None: ...

    def at_once(_: Any) -> None: ...

    async def bad(_: Any) -> None:
        raise StepFailed("Bad")

    for name in ("first", "second"):
        steps.step(name)(functools.partial(later if is_async else at_once))
    steps.step("bad")(bad)
    first = {"Type": "Task", "Resource": "first", "Next": "B"}
    second = {"Type": "Task", "Resource": "second", "End": True}
    branches = [{"StartAt": "A", "States": {"A": first, "B": second}}, calling("bad")]
    parallel = {
        "Type": "Parallel",
        "Branches": branches,
        "Catch": [{"ErrorEquals": ["States.ALL"], "Next": "Done"}],
        "End": True,
    }
    engine = await bench.start(steps)
    workflow = await engine.create_workflow(
        "p", {"StartAt": "P", "States": {"P": parallel, "Done": {"Type": "Succeed"}}}
    )
    runs = await asyncio.gather(*(engine.trigger(workflow.id) for _ in range(40)))
    for run in runs:
        assert (await engine.result(run.id, timeout=30)).status == "completed"
    await eventually(lambda: engine.node.tasks.running == 0)


async def test_a_run_terminated_a_moment_after_its_trigger_gives_its_places_back(bench: Bench) -> None:
    """Whether its step has begun or not."""
    steps = Registry()

    @steps.step("slow")
    async def slow(_: Any) -> None:
        await asyncio.Event().wait()

    engine = await bench.start(steps)
    workflow = await engine.create_workflow("s", calling("slow"))
    for _ in range(20):
        run = await engine.trigger(workflow.id)
        await engine.terminate(run.id)
    await rest(engine)
    await eventually(lambda: engine.node.tasks.running == 0)


def test_what_ends_within_its_start_makes_room_without_going_deeper() -> None:
    """From Python 3.12 on a step may end before `start` returns: ten thousand of them are no recursion."""
    places: StepSlots[int]

    def start(key: TaskKey, _: int) -> None:
        places.leave(key)

    places = StepSlots(1, lambda _key, _: None)
    held = TaskKey(b"held", 0)
    places.enter(held, Tenant("W", "w"), 0)
    for seq in range(10_000):
        places.enter(TaskKey(b"x", seq), Tenant("W", "w"), seq)
    places._start = start
    places.leave(held)
    assert (places.held, places.queued) == (0, 0)


class Panic(BaseException):
    """What a Rust extension raises."""


RAISED = [Panic("x"), KeyboardInterrupt(), SystemExit(3), GeneratorExit(), asyncio.CancelledError(), RecursionError()]


@pytest.mark.parametrize("is_async", [True, False])
@pytest.mark.parametrize("raised", RAISED, ids=lambda each: type(each).__name__)
async def test_whatever_ends_a_step_ends_its_task(bench: Bench, raised: BaseException, *, is_async: bool) -> None:
    """An exception of any kind is the step's failure in the log; the engine goes on."""
    steps = Registry()

    async def on_loop(_: Any) -> None:
        raise raised

    def in_thread(_: Any) -> None:
        raise raised

    steps.step("panic")(on_loop if is_async else in_thread)
    engine = await bench.start(steps)
    workflow = await engine.create_workflow("w", calling("panic"))
    result = await engine.result((await engine.trigger(workflow.id)).id, timeout=30)
    assert result.status == "failed"
    assert (await engine.result((await engine.trigger(workflow.id)).id, timeout=30)).status == "failed"


@pytest.mark.parametrize("is_async", [True, False])
async def test_a_step_that_runs_or_waits_already_is_not_called_again(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, *, is_async: bool
) -> None:
    """Whoever asks for it a second time changes neither what is called nor what is counted."""
    steps, calls, gate = Registry(), 0, threading.Event()

    def work(_: Any) -> None:
        nonlocal calls
        calls += 1
        gate.wait()

    async def work_async(_: Any) -> None:
        nonlocal calls
        calls += 1
        await eventually(gate.is_set)

    steps.step("work")(work_async if is_async else work)
    engine = await bench.start(steps)
    tasks = engine.node.tasks
    seen: list[Any] = []
    real = tasks.run

    def run_seen(hot: Any, task: Any) -> None:
        seen.append((hot, task))
        real(hot, task)

    monkeypatch.setattr(tasks, "run", run_seen)
    workflow = await engine.create_workflow("w", mapping("work"))
    run = await engine.trigger(workflow.id, {"items": list(range(40))})
    await eventually(lambda: len(seen) == 40)
    running = tasks.running
    for hot, task in seen:
        real(hot, task)
    assert (tasks.running, tasks.running + tasks.queued) == (running, 40)  # type: ignore[attr-defined]
    gate.set()
    assert (await engine.result(run.id, timeout=30)).status == "completed"
    assert calls == 40


async def test_what_is_not_worth_a_retry_goes_to_catch(bench: Bench) -> None:
    """No Retry is asked, whatever it names; a Catch is."""
    steps, calls = Registry(), 0

    @steps.step("refused")
    async def refused(_: Any) -> None:
        nonlocal calls
        calls += 1
        raise StepFailed("Address.Refused", "private", is_retryable=False)

    state = calling(
        "refused",
        Retry=[{"ErrorEquals": ["States.ALL"]}],
        Catch=[{"ErrorEquals": ["States.ALL"], "Next": "Caught"}],
    )
    state["States"]["Caught"] = {"Type": "Succeed"}
    engine = await bench.start(steps)
    workflow = await engine.create_workflow("w", state)
    result = await engine.result((await engine.trigger(workflow.id)).id, timeout=30)
    assert (result.status, result.output["Error"], calls) == ("completed", "Address.Refused", 1)


def test_a_failure_that_is_not_worth_a_retry_stays_so_between_processes() -> None:
    """A step that works in processes of its own hands it on whole."""
    failure = pickle.loads(pickle.dumps(StepFailed("A", "b", is_retryable=False)))  # noqa: S301
    assert (failure.error, failure.cause, failure.is_retryable) == ("A", "b", False)


async def test_a_business_failure_is_one_line_of_the_log(bench: Bench) -> None:
    """What a step says of its own accord has no traceback; a defect has one."""
    steps = Registry()

    @steps.step("declined")
    async def declined(_: Any) -> None:
        raise StepFailed("Card.Declined", "no money")

    @steps.step("broken")
    async def broken(_: Any) -> None:
        raise ValueError("a bug")

    engine = await bench.start(steps)
    with structlog.testing.capture_logs() as lines:
        for step in ("declined", "broken"):
            workflow = await engine.create_workflow(step, calling(step))
            await engine.result((await engine.trigger(workflow.id)).id, timeout=30)
    failed = [line for line in lines if line["event"] == "step_failed"]
    assert [(line.get("error"), "exc_info" in line) for line in failed] == [
        ("Card.Declined: no money", False),
        (None, True),
    ]


async def test_nothing_is_called_after_the_engine_has_failed(bench: Bench) -> None:
    """Steps that wait for a place are never called once a commit's fate is unknown."""
    steps, gate, calls = Registry(), asyncio.Event(), 0

    @steps.step("slow")
    async def slow(_: Any) -> None:
        nonlocal calls
        calls += 1
        await gate.wait()

    engine = await bench.start(steps)
    workflow = await engine.create_workflow("m", mapping("slow"))
    await engine.trigger(workflow.id, {"items": list(range(1200))})
    await eventually(lambda: engine.node.tasks.running + engine.node.tasks.queued == 1200)  # type: ignore[attr-defined]
    before = calls
    engine.node.processor.stop(CommitUnknown("x"))
    gate.set()
    await eventually(lambda: engine.node.tasks.running == 0)
    assert calls == before == 800
    await bench.crash(engine)


@pytest.mark.parametrize("is_queued", [True, False])
async def test_a_step_whose_thread_cannot_be_started_fails_and_gives_its_place_back(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, *, is_queued: bool
) -> None:
    """Its task fails, whether it was its turn at once or later; nobody calls it afterwards, and the next one runs."""
    steps, gate, called = Registry(), threading.Event(), list[str]()

    def hold(_: Any) -> None:
        gate.wait()

    def work(given: Any) -> None:
        called.append(given["name"])

    steps.step("hold")(hold)
    steps.step("work")(work)
    engine = await bench.start(steps, limits=Limits(step_threads=2))
    tasks = cast("Tasks", engine.node.tasks)
    holding, working = [await engine.create_workflow(name, calling(name)) for name in ("hold", "work")]
    if is_queued:
        await engine.trigger(holding.id)
        await engine.trigger(holding.id)
        await rest(engine)
    started = threading.Thread.start

    def start(thread: threading.Thread) -> None:
        if thread.name.startswith("perdure-step"):
            raise RuntimeError("can't start new thread")
        started(thread)

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", start)
        if is_queued:
            real = tasks._threads.submit
            patch.setattr(tasks._threads, "submit", _refusing(real))
        first = await engine.trigger(working.id, {"name": "first"})
        await rest(engine)
        gate.set()
        result = await asyncio.wait_for(engine.result(first.id), 10)
    assert (result.status, result.error) == ("failed", "RuntimeError")
    await eventually(lambda: not tasks.running)
    second = await engine.trigger(working.id, {"name": "second"})
    assert (await asyncio.wait_for(engine.result(second.id), 10)).status == "completed"
    assert called == ["second"]


def _refusing(submit: Any) -> Any:
    """What queues the call and then fails, as an executor does that can start no thread."""

    def submit_and_fail(calling: Any) -> None:
        submit(calling)
        raise RuntimeError("can't start new thread")

    return submit_and_fail
