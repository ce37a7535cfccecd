"""The computer's clock is set while the engine runs: nothing fires early, nothing twice, and nothing is lost."""

from __future__ import annotations

import asyncio
from typing import Any, Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from perdure.engine import Engine
from perdure.engine.core import ids
from perdure.engine.core import organization as o
from perdure.engine.core.events import Recorded
from perdure.engine.errors import Conflict
from perdure.engine.runtime.clock import SystemClock
from perdure.engine.runtime.streams.stream_types import STREAM_TYPES
from perdure.engine.runtime.workers.clock_guard import STEP_MS, described
from perdure.engine.runtime.workers.timers import DUE_MAX
from perdure.engine.steps import Registry
from perdure.engine.testing import START, ManualClock
from perdure.store.memory import MemoryStore
from tests.engine.runtime.conftest import WAITING, Bench, eventually, rest

MINUTE: Final = 60_000
HOUR: Final = 60 * MINUTE
YEAR: Final = 365 * 24 * HOUR
STEPS: Final = [-HOUR, HOUR, 10 * YEAR, -10 * YEAR, STEP_MS + 1, -STEP_MS - 1]

SLEEPING: Final[dict[str, Any]] = {
    "StartAt": "Sleep",
    "States": {"Sleep": {"Type": "Wait", "Seconds": 60, "End": True}},
}
RETRIED: Final[dict[str, Any]] = {
    "StartAt": "Call",
    "States": {
        "Call": {
            "Type": "Task",
            "Resource": "flaky",
            "Retry": [{"ErrorEquals": ["States.ALL"], "IntervalSeconds": 30, "MaxAttempts": 2}],
            "End": True,
        }
    },
}


async def recorded(engine: Engine, run: str) -> list[Recorded]:
    """The events of a run."""
    return [each async for each in engine.events(run)]


async def fired(engine: Engine, run: str) -> list[int]:
    """When timers of a run fired."""
    return [each.recorded_at for each in await recorded(engine, run) if type(each.event).__name__ == "TimerFired"]


async def accepted(engine: Engine) -> list[tuple[o.ClockAccepted, str]]:
    """The acceptances in the log, and who accepted."""
    vocabulary = STREAM_TYPES["organization"].vocabulary
    rows = [each.row async for each in engine.store.log(after=0)]
    return [
        (event, row.actor)
        for row in rows
        if row.type == "ClockAccepted" and isinstance(event := vocabulary.read(row).event, o.ClockAccepted)
    ]


async def asleep(engine: Engine) -> str:
    """A run that waits for a minute."""
    workflow = await engine.create_workflow("sleep", SLEEPING)
    return (await engine.trigger(workflow.id)).id


async def being_accepted(bench: Bench, engine: Engine) -> asyncio.Task[int]:
    """A step of an hour, whose acceptance is being committed until the store's gate is opened."""
    await engine._caller()
    before = len(bench.store.attempts)
    bench.clock.set_wall(HOUR)
    bench.store.gate.clear()
    accepting = asyncio.create_task(engine.accept_clock())
    await eventually(lambda: len(bench.store.attempts) > before)
    return accepting


@pytest.mark.parametrize("step", STEPS)
async def test_nothing_fires_after_a_step_until_it_is_undone(bench: Bench, step: int) -> None:
    """What came due meanwhile, by the engine's own clock, fires then, once; readiness says what is wrong."""
    engine = await bench.start()
    run = await asleep(engine)
    with capture_logs() as logs:
        bench.clock.set_wall(step)
        await bench.push(engine, 59_999)
        assert await fired(engine, run) == []
        assert engine.now() == START + 59_999
        await bench.push(engine, HOUR)
        assert await fired(engine, run) == []
        condition = engine.condition
        assert condition.clock is not None
        assert f"({step} ms)" in condition.clock
        assert condition.problem is None
        bench.clock.set_wall(-step)
        await rest(engine)
    assert engine.condition.clock is None
    assert await fired(engine, run) == [START + 59_999 + HOUR]
    assert [(each["event"], each["step_ms"]) for each in logs if each["event"].startswith("clock")] == [
        ("clock_stepped", step),
        ("clock_trusted", step),
    ]
    assert (await engine.status(run)).status == "completed"


@pytest.mark.parametrize("step", [HOUR, 10 * YEAR])
async def test_what_has_come_due_by_an_accepted_step_fires_then(bench: Bench, step: int) -> None:
    """At once, and once; the acceptance is in the log, with who accepted what, and at which node."""
    engine = await bench.start()
    run = await asleep(engine)
    bench.clock.set_wall(step)
    await bench.push(engine, 1000)
    assert await engine.accept_clock() == step
    await rest(engine)
    assert engine.now() == START + 1000 + step
    assert await fired(engine, run) == [START + 1000 + step]
    assert engine.condition.clock is None
    (event, actor), *others = await accepted(engine)
    assert (event, actor.partition(":")[0]) == (o.ClockAccepted(step, engine.node_id), "embedded")
    assert others == []
    assert await engine.accept_clock() == 0
    assert len(await accepted(engine)) == 1


@pytest.mark.parametrize("step", [-HOUR, -10 * YEAR])
async def test_timers_wait_after_an_accepted_step_back(bench: Bench, step: int) -> None:
    """Until their instants come again; no event is recorded before the one before it, and what is new counts anew."""
    engine = await bench.start()
    run = await asleep(engine)
    waiting = await engine.create_workflow("ask", WAITING)
    asked = await engine.trigger(waiting.id)
    bench.clock.set_wall(step)
    assert await engine.accept_clock() == step
    assert engine.now() == START + step
    later = await asleep(engine)
    await engine.resume(asked.id, {"ok": True})
    assert await fired(engine, run) == await fired(engine, later) == []
    await bench.push(engine, MINUTE)
    assert await fired(engine, later) == [START + step + MINUTE]
    assert await fired(engine, run) == []
    await bench.push(engine, -step)
    assert await fired(engine, run) == [START + MINUTE]
    instants = [each.recorded_at for each in await recorded(engine, asked.id)]
    assert instants == [START] * len(instants)
    assert ids.parse(later) > ids.parse(asked.id) > ids.parse(run)


@pytest.mark.parametrize("step", [STEP_MS, -STEP_MS, 1])
async def test_a_small_difference_stops_nothing(bench: Bench, step: int) -> None:
    """Timers fire by the engine's clock; there is nothing to accept."""
    engine = await bench.start()
    run = await asleep(engine)
    bench.clock.set_wall(step)
    assert engine.condition.clock is None
    assert await engine.accept_clock() == 0
    await bench.push(engine, MINUTE - 1)
    assert await fired(engine, run) == []
    await bench.push(engine, 1)
    assert await fired(engine, run) == [START + MINUTE]


async def test_small_steps_that_add_up_are_a_step(bench: Bench) -> None:
    """What counts is how far the clocks are apart."""
    engine = await bench.start()
    for apart in (-40_000, -80_000):
        bench.clock.set_wall(-40_000)
        assert (engine.condition.clock is None) == (apart >= -STEP_MS)
    assert "back by 1 min 20 s (-80000 ms)" in (engine.condition.clock or "")


async def test_requests_go_on_while_nothing_fires(bench: Bench) -> None:
    """Runs are started, resumed and ended; steps are called; what would be tried again later waits."""
    calls, steps = list[int](), Registry()

    @steps.step("flaky")
    async def flaky(_: Any) -> str:
        calls.append(1)
        if len(calls) == 1:
            raise ValueError
        return "done"

    engine = await bench.start(steps)
    bench.clock.set_wall(HOUR)
    retried = await engine.create_workflow("retried", RETRIED)
    waiting = await engine.create_workflow("ask", WAITING)
    flaky_run = await engine.trigger(retried.id)
    run = await engine.trigger(waiting.id)
    assert await engine.resume(run.id, {"ok": True}) == "restarted"
    assert await engine.terminate((await engine.trigger(waiting.id)).id) == "terminated"
    await eventually(lambda: calls)
    await bench.push(engine, MINUTE)
    assert calls == [1]
    bench.clock.set_wall(-HOUR)
    await eventually(lambda: calls == [1, 1])
    assert (await engine.result(flaky_run.id, timeout=None)).output == "done"


async def test_another_step_than_the_one_that_is_meant_is_not_accepted(bench: Bench) -> None:
    """Whoever accepts has looked before, and the clock may have been set again since."""
    engine = await bench.start()
    bench.clock.set_wall(HOUR)
    with pytest.raises(Conflict, match=r"forward by 1 h \(3600000 ms\)"):
        await engine.accept_clock(2 * HOUR)
    assert await accepted(engine) == []
    assert await engine.accept_clock(HOUR + 999) == HOUR
    assert [event.step_ms for event, _ in await accepted(engine)] == [HOUR]


async def test_a_step_that_changes_while_it_is_accepted_is_no_other(bench: Bench) -> None:
    """The clock is moved by what was recorded, or not at all: then nothing fires until the new step is accepted."""
    engine = await bench.start()
    accepting = await being_accepted(bench, engine)
    bench.clock.set_wall(-2 * HOUR)
    bench.store.gate.set()
    with pytest.raises(Conflict, match=r"back by 1 h \(-3600000 ms\), which is not the step of 3600000 ms"):
        await accepting
    assert engine.now() == START
    assert "back by 1 h (-3600000 ms)" in (engine.condition.clock or "")
    bench.clock.set_wall(HOUR)
    assert engine.condition.clock is None


async def test_two_who_accept_at_once_move_the_clock_once(bench: Bench) -> None:
    """Also if who asked first has hung up."""
    engine = await bench.start()
    first = await being_accepted(bench, engine)
    second = asyncio.ensure_future(engine.accept_clock())
    first.cancel()
    bench.store.gate.set()
    await second
    assert engine.now() == START + HOUR
    assert engine.condition.clock is None
    assert {event.step_ms for event, _ in await accepted(engine)} == {HOUR}


async def test_many_due_timers_fire_once_each_when_a_step_is_undone(bench: Bench) -> None:
    """More than are fired in one round."""
    engine = await bench.start()
    workflow = await engine.create_workflow("sleep", SLEEPING)
    runs = await asyncio.gather(*(engine.trigger(workflow.id) for _ in range(1200)))
    bench.clock.set_wall(10 * YEAR)
    await bench.push(engine, HOUR)
    assert len(await engine.store.due_timers(engine.now(), limit=DUE_MAX)) == len(runs)
    await engine.accept_clock()
    async with asyncio.timeout(20):
        results = await asyncio.gather(*(engine.result(run.id) for run in runs))
    assert {result.status for result in results} == {"completed"}
    log = [each.row.type async for each in engine.store.log(after=0)]
    assert log.count("TimerFired") == len(runs)


async def test_a_careful_start_fires_nothing_under_a_step(bench: Bench) -> None:
    """After several deaths in a row what is due is fired in groups, and those ask as well."""
    engine = await bench.start()
    run = await asleep(engine)
    for _ in range(2):
        await bench.crash(engine)
        engine = await bench.start()
    await bench.crash(engine)
    bench.clock.push(MINUTE)
    bench.clock.set_wall(HOUR)
    engine = await bench.start()
    assert engine.node.crash_loop is not None
    assert engine.node.crash_loop.is_careful
    await bench.push(engine, MINUTE)
    assert await fired(engine, run) == []
    bench.clock.set_wall(-HOUR)
    await rest(engine)
    assert await fired(engine, run) == [START + 2 * MINUTE]


@settings(max_examples=25, deadline=None)
@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("push"), st.sampled_from([1, 999, 30_000, MINUTE, HOUR])),
            st.tuples(st.just("set"), st.sampled_from([-HOUR, -MINUTE, -1, 1, 30_000, MINUTE, HOUR, YEAR])),
            st.tuples(st.just("accept"), st.just(0)),
            st.tuples(st.just("start"), st.just(0)),
        ),
        max_size=12,
    )
)
def test_whatever_is_done_to_the_clock_no_timer_is_early_or_twice(moves: list[tuple[str, int]]) -> None:
    """Each fires once, at or after its instant by the engine's clock, never under a step; instants never fall."""
    asyncio.run(_walk(moves))


async def _walk(moves: list[tuple[str, int]]) -> None:
    clock, store = ManualClock(), MemoryStore()
    async with Engine.open(store, clock=clock) as engine:
        workflow = await engine.create_workflow("sleep", SLEEPING)
        runs: dict[str, int] = {}  # by when each is due
        done: set[str] = set()
        for what, ms in [("start", 0), *moves, ("accept", 0), ("push", 20 * YEAR)]:
            if what == "push":
                clock.push(ms)
            elif what == "set":
                clock.set_wall(ms)
            elif what == "accept":
                await engine.accept_clock()
            else:
                due_at = engine.now() + MINUTE
                runs[(await engine.trigger(workflow.id)).id] = due_at
            await rest(engine)
            is_trusted = abs(clock.offset()) <= STEP_MS
            assert (engine.condition.clock is None) == is_trusted
            for run, due_at in runs.items():
                fired_at = await fired(engine, run)
                assert len(fired_at) <= 1
                if run not in done and fired_at:
                    assert is_trusted
                    assert engine.now() >= due_at
                    done.add(run)
                elif is_trusted:
                    assert bool(fired_at) or engine.now() < due_at
        assert done == set(runs)
        for run in runs:
            instants = [each.recorded_at for each in await recorded(engine, run)]
            assert instants == sorted(instants)


class Readings:
    """What a system clock reads: a computer's clock, and the time that has passed, in milliseconds."""

    def __init__(self) -> None:
        self.wall = START
        self.steady = 5_000_000
        self.slept = 7

    def pass_(self, ms: float, *, wall: float | None = None) -> None:
        """Let time pass; by the computer's clock it may be another."""
        self.steady += round(ms)
        self.wall += round(ms if wall is None else wall)

    def clock(self) -> SystemClock:
        return SystemClock(
            lambda: self.wall * 1_000_000, lambda: self.steady * 1_000_000, lambda: self.slept * 1_000_000
        )


def test_a_system_clock_goes_on_whatever_the_computers_does() -> None:
    """It is the wall at the start and the time that has passed; how far the wall is ahead is told."""
    readings = Readings()
    clock = readings.clock()
    readings.pass_(1000, wall=HOUR)
    assert (clock.now(), clock.offset()) == (START + 1000, HOUR - 1000)
    clock.move(HOUR - 1000)
    assert (clock.now(), clock.offset()) == (START + HOUR, 0)
    clock.move(-2 * HOUR)
    assert clock.now() == START - HOUR


def test_a_computer_that_slept_has_not_been_set() -> None:
    """The time that it slept has passed: what came due meanwhile is due, and there is no step."""
    readings = Readings()
    clock = readings.clock()
    readings.wall += 8 * HOUR
    readings.slept += 8 * HOUR
    assert clock.now() == START + 8 * HOUR
    assert clock.offset() == 0
    readings.slept += 3  # so inexact are two readings, one after the other
    assert (clock.offset(), clock.now()) == (0, START + 8 * HOUR)


@given(st.lists(st.tuples(st.integers(0, 10_000), st.integers(-STEP_MS, STEP_MS))))
def test_a_system_clock_follows_slowly_and_never_backwards(moves: list[tuple[int, int]]) -> None:
    """By one part in two thousand at most, and never beyond what was wanted."""
    readings = Readings()
    clock, before = readings.clock(), START
    for passed, wanted in moves:
        clock.follow(wanted)
        offset = clock.offset()
        readings.pass_(passed)
        now = clock.now()
        assert abs(now - before - passed) <= passed / 2000 + 1
        assert now >= before
        assert abs(clock.offset() - offset) <= abs(wanted) + 1
        before = now


@pytest.mark.parametrize("drift", [100e-6, -100e-6, 400e-6])
def test_a_slow_drift_is_followed_for_months(drift: float) -> None:
    """A time server slews the computer's clock all the time; that never adds up to a step."""
    readings, wall = Readings(), float(START)
    clock = readings.clock()
    for _ in range(100 * 24):  # a look an hour, of a hundred days; there is one a second
        readings.steady += HOUR
        wall += HOUR * (1 + drift)
        readings.wall = round(wall)
        assert abs(clock.offset()) <= HOUR * abs(drift) * 2 + 2
        clock.follow(clock.offset())
    assert abs(readings.wall - readings.steady - START + 5_000_000) > 800_000


async def test_an_alarm_of_a_system_clock_does_not_ring_early_for_a_step() -> None:
    """But for one that the clock is moved by, at once."""
    readings, rung = Readings(), list[str]()
    clock = readings.clock()
    clock.call_at(START + HOUR, lambda: rung.append("rung"))
    readings.wall += 2 * HOUR
    await asyncio.sleep(0.02)
    assert rung == []
    clock.move(2 * HOUR)
    await eventually(lambda: rung == ["rung"], seconds=0.9)


async def test_a_step_is_seen_by_itself_and_forgotten_by_a_restart(monkeypatch: pytest.MonkeyPatch) -> None:
    """The engine looks again and again. After a restart the wall counts that there is then."""
    monkeypatch.setattr(SystemClock, "_PIECE_S", 0.01)
    readings, store = Readings(), MemoryStore()
    engine = await Engine.start(store, clock=readings.clock())
    readings.wall += HOUR
    await eventually(lambda: engine.node.parts.guard.step_ms == HOUR)
    readings.wall -= HOUR - 500
    await eventually(lambda: engine.node.parts.guard.step_ms == 0)
    readings.wall += HOUR
    await eventually(lambda: engine.node.parts.guard.step_ms)
    await engine.node.drain(0)
    async with Engine.open(store, clock=readings.clock()) as engine:
        assert engine.condition.clock is None
        assert engine.now() == START + HOUR + 500


@pytest.mark.parametrize(
    ("step", "said"),
    [
        (HOUR, "forward by 1 h (3600000 ms)"),
        (-90 * MINUTE, "back by 1 h 30 min (-5400000 ms)"),
        (3650 * 24 * HOUR + 1500, "forward by 3650 d 2 s (315360001500 ms)"),
    ],
)
def test_a_step_is_told_in_words(step: int, said: str) -> None:
    """With its size to the millisecond, as an acceptance names it."""
    assert described(step) == said
