"""What a node measures, and what its log lines are bound to."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest
import structlog
from prometheus_client.parser import text_string_to_metric_families

from perdure.engine import Engine
from perdure.engine.core import decide as decide_module
from perdure.engine.core.commands import Resume
from perdure.engine.errors import NotWaiting, Unavailable
from perdure.engine.runtime.telemetry.instruments import SECONDS, Counter, Histogram, Instruments, exposition
from perdure.engine.runtime.telemetry.metrics import Metrics
from perdure.engine.runtime.telemetry.request_context import bind_request
from perdure.engine.steps import Registry, StepContext
from perdure.store.errors import StoreUnavailable

from .conftest import WAITING, Bench, eventually, rest

SLEEPING: dict[str, Any] = {
    "StartAt": "Sleep",
    "States": {"Sleep": {"Type": "Wait", "Seconds": 60, "End": True}},
}
CALLING: dict[str, Any] = {
    "StartAt": "First",
    "States": {
        "First": {"Type": "Task", "Resource": "say", "ResultPath": None, "Next": "Second"},
        "Second": {"Type": "Task", "Resource": "say", "End": True},
    },
}
MERGED = [structlog.contextvars.merge_contextvars]


async def shown(engine: Engine) -> dict[str, float]:
    """Everything that Prometheus would see, by name and labels."""
    await engine.node.metrics.count_live(engine.store)
    text = exposition(engine.node.metrics).decode()
    return {
        "|".join([sample.name.removeprefix("perdure_"), *sample.labels.values()]): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


# --- metrics -------------------------------------------------------------------------------------------------------


async def test_runs_are_counted_by_workflow_and_status(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """As they start and as they end, each once: also those that do both in one commit, and whatever comes after."""
    engine = await bench.start()
    failing = await engine.create_workflow("fail", {"StartAt": "F", "States": {"F": {"Type": "Fail", "Error": "E"}}})
    asking = await engine.create_workflow("ask", WAITING)
    for _ in range(2):
        await engine.trigger(failing.id)
    for name in ("A", "B", "C"):
        await engine.trigger(asking.id, process_id=name)
    await engine.resume("A", {})
    await engine.terminate("B")
    assert await engine.terminate("B") == "already terminated"
    await rest(engine)
    found = {name: value for name, value in (await shown(engine)).items() if name.startswith("runs_total")}
    assert found == {
        f"runs_total|started|{failing.id}": 2,
        f"runs_total|failed|{failing.id}": 2,
        f"runs_total|started|{asking.id}": 3,
        f"runs_total|completed|{asking.id}": 1,
        f"runs_total|terminated|{asking.id}": 1,
    }
    monkeypatch.setattr("perdure.engine.runtime.telemetry.metrics.WORKFLOWS_MAX", 2)
    third = await engine.create_workflow("ask again", WAITING)
    await engine.trigger(third.id)
    await rest(engine)
    assert (await shown(engine))["runs_total|started|others"] == 1


async def test_orders_and_commits_are_counted(bench: Bench) -> None:
    """By outcome; a commit with how many streams and events it had. What stays in memory is the organization."""
    engine = await bench.start()
    workflow = await engine.create_workflow("ask", WAITING)
    before = await shown(engine)
    run = await engine.trigger(workflow.id, process_id="P")
    with pytest.raises(NotWaiting):
        await engine.resume("P", {}, state="Nowhere", hold=0)
    await engine.resume("P", {})
    await rest(engine)
    after = await shown(engine)

    def grown(name: str) -> float:
        return after[name] - before[name]

    assert (grown("orders_total|told"), grown("orders_total|denied")) == (2, 1)
    assert grown("commits_total|appended") == grown("commit_seconds_count") == grown("commit_streams_count")
    assert grown("commit_streams_sum") == grown("commits_total|appended")
    assert grown("commit_events_sum") == len([event async for event in engine.events(run.id)])
    assert after["commit_seconds_bucket|+Inf"] == after["commit_seconds_count"]
    assert (after["queue_length"], after["hot_streams"], after["tasks_running"]) == (0, 1, 0)  # the organization stays


async def test_live_executions_are_right_after_a_restart(bench: Bench) -> None:
    """They are read from the store: what waits, what sleeps, and nothing that is over."""
    engine = await bench.start()
    asking = await engine.create_workflow("ask", WAITING)
    sleeping = await engine.create_workflow("sleep", SLEEPING)
    for number in range(3):
        await engine.trigger(asking.id, process_id=f"P{number}")
    await engine.trigger(sleeping.id)
    await engine.resume("P0", {})
    await bench.crash(engine)
    engine = await bench.start()
    found = await shown(engine)
    assert {name: value for name, value in found.items() if name.startswith("executions|")} == {
        "executions|pending": 0,
        "executions|running": 1,
        "executions|waiting": 2,
    }
    assert found["recovered_executions_total"] == 0  # what only sleeps is a row, and nobody need read it


async def test_numbers_from_the_store_are_kept_while_they_are_fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reading them takes a twentieth of the time at most, however often and by however many it is asked."""
    metrics, asked, now = Metrics(), 0, 100.0
    monkeypatch.setattr(time, "perf_counter", lambda: now)

    class Slow:
        async def live_counts(self) -> dict[str, int]:
            nonlocal asked, now
            asked += 1
            now += 2
            await asyncio.sleep(0)
            return {"waiting": asked}

        async def paused_counts(self) -> dict[str, int]:
            return {"operator": asked}

    await asyncio.gather(*(metrics.count_live(Slow()) for _ in range(5)))  # type: ignore[arg-type]
    now += 39
    await metrics.count_live(Slow())  # type: ignore[arg-type]
    assert (asked, metrics.live.values["waiting"]) == (1, 1)
    now += 2
    await metrics.count_live(Slow())  # type: ignore[arg-type]
    assert (asked, metrics.live.values["waiting"]) == (2, 2)
    assert metrics.paused.values == {"operator": 2, "events": 0, "bytes": 0, "transitions": 0}


async def test_the_lateness_of_a_timer_is_from_due_to_recorded(bench: Bench) -> None:
    """A timer that came due while nobody was there is as late as the outage was long."""
    engine = await bench.start()
    workflow = await engine.create_workflow("sleep", SLEEPING)
    await engine.trigger(workflow.id)
    await bench.push(engine, 60_000)
    assert (await shown(engine))["timer_lateness_seconds_sum"] == 0
    await engine.trigger(workflow.id)
    await bench.crash(engine)
    bench.clock.push(62_500)
    engine = await bench.start()
    await eventually(lambda: engine.node.metrics.timer_lateness._spreads[()].total)
    found = await shown(engine)
    assert (found["timer_lateness_seconds_count"], found["timer_lateness_seconds_sum"]) == (1, 2.5)


async def test_a_clock_that_was_ahead_makes_no_timer_late(bench: Bench) -> None:
    """What is recorded after it has the instant of then, for the log never goes back; the timer was fired in time."""
    engine = await bench.start()
    ask = {"Type": "Task", "Resource": "wait_for_resume", "Next": "Sleep"}
    sleep = {"Type": "Wait", "Seconds": 60, "End": True}
    workflow = await engine.create_workflow("ask", {"StartAt": "Ask", "States": {"Ask": ask, "Sleep": sleep}})
    await engine.trigger(workflow.id, process_id="P")
    bench.clock.push(86_400_000)
    with pytest.raises(NotWaiting):
        await engine.resume("P", {}, state="Sleep", hold=0)
    bench.clock.push(-86_400_000)
    await engine.resume("P", {})
    await bench.push(engine, 60_000)
    found = await shown(engine)
    assert (found["timer_lateness_seconds_count"], found["timer_lateness_seconds_sum"]) == (1, 0)


async def test_a_held_resume_shows_while_it_is_held(bench: Bench) -> None:
    """The gauge goes up with the hold, and down with its end."""
    engine = await bench.start()
    workflow = await engine.create_workflow("sleep", SLEEPING)
    await engine.trigger(workflow.id, process_id="P")
    held = asyncio.create_task(engine.resume("P", {}, hold=2))
    await eventually(engine.node.metrics.resumes_held.read)
    await bench.push(engine, 2000)
    with pytest.raises(NotWaiting):
        await held
    assert engine.node.metrics.resumes_held.read() == 0


async def test_failures_are_counted_by_the_name_of_their_line(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """A commit that the store refused, and a defect that sets an execution aside."""
    engine = await bench.start()
    workflow = await engine.create_workflow("ask", WAITING)
    bench.store.fail_next.append(StoreUnavailable("busy"))
    with pytest.raises(Unavailable):
        await engine.trigger(workflow.id)
    await engine.trigger(workflow.id, process_id="P")

    def broken(*_: Any) -> Any:
        raise ZeroDivisionError

    monkeypatch.setitem(decide_module._DECIDE, Resume, broken)
    with pytest.raises(Unavailable):
        await engine.resume("P", {})
    await rest(engine)
    found = await shown(engine)
    assert (found["failures_total|append_failed"], found["commits_total|failed"]) == (1, 1)
    assert (found["failures_total|decision_failed"], found["quarantined_executions_total"]) == (1, 1)
    assert found["orders_total|failed"] == 2


async def test_steps_are_counted_by_outcome(bench: Bench) -> None:
    """Each call of a step, whether it succeeded or failed."""
    steps = Registry()

    @steps.step("say")
    async def say(value: Any) -> Any:
        return 1 // value["n"]

    engine = await bench.start(steps)
    workflow = await engine.create_workflow("call", CALLING)
    for number in (0, 1):
        await engine.result((await engine.trigger(workflow.id, {"n": number})).id)
    found = await shown(engine)
    assert (found["steps_total|succeeded"], found["steps_total|failed"]) == (2, 1)


def test_nothing_is_shared_between_nodes() -> None:
    """Two nodes in one process count for themselves, and both can be shown."""
    one, other = Metrics(), Metrics()
    one.requests.add("told")
    assert b'perdure_orders_total{outcome="told"} 1.0' in exposition(one)
    assert b'perdure_orders_total{outcome="told"} 0.0' in exposition(other)


def test_a_histogram_counts_what_is_at_a_bound_below_it() -> None:
    """Prometheus's bounds are inclusive, and its buckets add up."""

    class Group(Instruments):
        def __init__(self) -> None:
            self.sizes = Histogram("sizes", "Sizes.", (1.0, 2.0), ("kind",))
            self.seen = Counter("seen", "Seen.")

    group = Group()
    for value in (1, 1.5, 2, 3):
        group.sizes.observe(value, "a")
    text = exposition(group).decode()
    for bound, count in (("1.0", 1), ("2.0", 3), ("+Inf", 4)):
        assert f'perdure_sizes_bucket{{kind="a",le="{bound}"}} {count}.0' in text
    assert "perdure_seen_total 0.0" in text
    assert "_created" not in text


def test_counting_is_cheap() -> None:
    """A count and an observation together take a microsecond or two; twenty times that would be a mistake."""
    metrics, rounds = Metrics(), 20_000
    started = time.process_time()
    for _ in range(rounds):
        metrics.requests.add("told")
        metrics.timer_lateness.observe(SECONDS[3])
    assert (time.process_time() - started) / rounds < 40e-6


# --- lines of the log ----------------------------------------------------------------------------------------------


async def test_a_step_logs_under_its_execution_and_the_request_that_set_it_going(bench: Bench) -> None:
    """Also the step after it, a plain function in its thread, and a logger that knows nothing of us."""
    steps = Registry()

    @steps.step("say")
    def say(_value: Any, context: StepContext) -> None:
        structlog.get_logger("other").info("foreign")
        context.logger.info("own")

    engine = await bench.start(steps)
    workflow = await engine.create_workflow("call", CALLING)
    with structlog.testing.capture_logs(processors=MERGED) as lines:
        with bind_request("r-1"):
            first = await engine.trigger(workflow.id, process_id="P")
        with bind_request("r-2"):
            second = await engine.trigger(workflow.id)
        await engine.result(first.id)
        await engine.result(second.id)
    said = {
        (line["event"], line["execution_id"], line["process_id"], line["state"], line["request_id"]) for line in lines
    }
    assert said == {
        (event, execution, process, state, request)
        for event in ("foreign", "own")
        for execution, process, request in ((first.id, "P", "r-1"), (second.id, second.id, "r-2"))
        for state in ("First", "Second")
    }


async def test_each_decision_is_logged_for_its_own_request(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of two requests decided in one go, each failure names its own execution, process id and request."""
    engine = await bench.start()
    workflow = await engine.create_workflow("ask", WAITING)
    started = {name: (await engine.trigger(workflow.id, process_id=name)).id for name in ("P", "Q")}

    def broken(*_: Any) -> Any:
        raise ZeroDivisionError

    monkeypatch.setitem(decide_module._DECIDE, Resume, broken)

    async def resume(name: str) -> None:
        with bind_request(f"request of {name}"), pytest.raises(Unavailable):
            await engine.resume(name, {})

    with structlog.testing.capture_logs(processors=MERGED) as lines:
        await asyncio.gather(resume("P"), resume("Q"))
    failed = [line for line in lines if line["event"] == "decision_failed"]
    assert {(line["execution_id"], line["process_id"], line["request_id"]) for line in failed} == {
        (started[name], name, f"request of {name}") for name in ("P", "Q")
    }


async def test_what_a_timer_sets_off_is_nobodys_request(bench: Bench) -> None:
    """Nor does a step that had to wait for room take the place of the one that made room."""
    steps = Registry()

    @steps.step("say")
    async def say(_value: Any, context: StepContext) -> None:
        await asyncio.sleep(0)
        context.logger.info("said")

    definition = {
        "StartAt": "Sleep",
        "States": {**CALLING["States"], "Sleep": {"Type": "Wait", "Seconds": 60, "Next": "First"}},
    }
    engine = await bench.start(steps)
    engine.node.tasks._on_loop.limit = 1  # type: ignore[attr-defined]
    workflow = await engine.create_workflow("sleep", definition)
    with bind_request("r-1"):
        runs = [await engine.trigger(workflow.id) for _ in range(5)]
    with structlog.testing.capture_logs(processors=MERGED) as lines:
        await bench.push(engine, 60_000)
        for run in runs:
            await engine.result(run.id)
    assert not any("request_id" in line for line in lines)
    assert sorted(line["execution_id"] for line in lines) == sorted(run.id for run in runs for _ in range(2))
    assert all(line["process_id"] == line["execution_id"] for line in lines)


async def test_an_embedding_program_keeps_its_own_bindings(bench: Bench) -> None:
    """Outside a request nothing is bound in the caller's context."""
    engine = await bench.start()
    workflow = await engine.create_workflow("ask", WAITING)
    await engine.trigger(workflow.id, process_id="P")
    await engine.resume("P", {})
    assert structlog.contextvars.get_contextvars() == {}
