"""The computer's clock: many waits on one timer of the event loop."""

from __future__ import annotations

import asyncio
from contextvars import ContextVar
from functools import partial
from typing import Any

import pytest

from perdure.engine import Engine
from perdure.engine.errors import NotWaiting
from perdure.engine.limits import Limits
from perdure.engine.runtime.clock import Handle, SystemClock
from perdure.engine.steps import Registry
from perdure.store.errors import StoreFull
from perdure.store.memory import MemoryStore
from tests.engine.runtime.conftest import GatedStore, eventually, rest
from tests.engine.runtime.test_places import calling

LATER = 3_600_000


class Rung(list[str]):
    """Who was called, in order; `done` once somebody says so."""

    def __init__(self) -> None:
        super().__init__()
        self.done = asyncio.Event()

    def note(self, name: str) -> None:
        self.append(name)
        if name == "last":
            self.done.set()

    async def all(self) -> list[str]:
        async with asyncio.timeout(10):
            await self.done.wait()
        return list(self)


async def test_alarms_ring_by_instant_and_never_early():
    """In the order of their instants, whatever the order of asking; those of one instant in that order."""
    clock, rung, started = SystemClock(), Rung(), SystemClock().now()
    for name, ms in (("last", 9), ("first", 1), ("second", 3), ("third", 3)):
        clock.call_at(started + ms, partial(rung.note, name))

    assert await rung.all() == ["first", "second", "third", "last"]
    assert clock.now() >= started + 9


async def test_an_alarm_that_is_called_off_does_not_ring():
    """Called off twice, or after it rang, it is as one that was called off."""
    clock, rung = SystemClock(), Rung()
    first = clock.call_at(clock.now(), lambda: rung.note("first"))
    never = clock.call_at(clock.now() + 1, lambda: rung.note("never"))
    clock.call_at(clock.now() + 2, lambda: rung.note("last"))
    never.cancel()
    never.cancel()

    assert await rung.all() == ["first", "last"]
    first.cancel()
    assert clock._called_off == 0


async def test_one_alarm_can_call_off_another_of_the_same_instant():
    """Whoever calls it off can rely on it, also in the very turn in which it would have rung."""
    clock, rung, instant = SystemClock(), Rung(), SystemClock().now() + 1
    others: list[Handle] = []

    def cancel_others() -> None:
        for other in others:
            other.cancel()

    clock.call_at(instant, cancel_others)
    others.append(clock.call_at(instant, lambda: rung.note("never")))
    clock.call_at(instant, lambda: rung.note("last"))

    assert await rung.all() == ["last"]


async def test_alarms_that_were_called_off_are_forgotten():
    """A deadline is nearly always called off: a hundred thousand of them an hour must not be kept for an hour."""
    clock = SystemClock()
    for _ in range(10_000):
        clock.call_at(clock.now() + LATER, lambda: None).cancel()

    assert len(clock._alarms) <= clock._CALLED_OFF_MAX + 1


async def test_one_that_fails_does_not_keep_the_others_from_ringing():
    """Each is called by itself."""
    clock, rung, failed = SystemClock(), Rung(), []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: failed.append(context["exception"]))
    clock.call_at(clock.now(), lambda: 1 / 0)
    clock.call_at(clock.now(), lambda: rung.note("last"))

    assert await rung.all() == ["last"]
    assert [type(error) for error in failed] == [ZeroDivisionError]


async def test_an_alarm_rings_in_the_context_that_it_was_set_in():
    """So that it is nobody else's request that a line of the log names."""
    clock, rung, name = SystemClock(), Rung(), ContextVar[str]("name")
    for value in ("first", "last"):
        name.set(value)
        clock.call_at(clock.now() + 1, lambda: rung.note(name.get()))
    name.set("none")

    assert await rung.all() == ["first", "last"]


def test_a_clock_outlives_an_event_loop():
    """What waited in one that is over never comes, and keeps nothing from coming in the next."""
    clock = SystemClock()

    async def leave() -> None:
        clock.call_at(clock.now(), lambda: None)

    async def ring() -> list[str]:
        rung = Rung()
        clock.call_at(clock.now() + 1, lambda: rung.note("last"))
        return await rung.all()

    asyncio.run(leave())
    assert asyncio.run(ring()) == ["last"]


class Corrected(SystemClock):
    """A clock that may be ahead for a moment, until it is set right."""

    ahead = 0

    def now(self) -> int:
        return super().now() + self.ahead


HOUR = 3_600_000


async def test_what_the_store_did_not_take_is_tried_again_soon_though_the_clock_was_ahead() -> None:
    """A second is a second, whatever the clock is set to meanwhile."""
    clock, store, steps = Corrected(), GatedStore(), Registry()
    steps.step("quick")(quick)
    async with Engine.open(store, steps=steps, clock=clock) as engine:
        workflow = await engine.create_workflow("w", calling("quick"))
        run = await engine.trigger(workflow.id)
        clock.ahead = HOUR
        store.fail_next.append(StoreFull("no space left"))
        await eventually(lambda: not store.fail_next)
        await rest(engine)
        clock.ahead = 0
        assert (await asyncio.wait_for(engine.result(run.id), 10)).status == "completed"


async def test_what_waits_for_a_place_is_said_to_though_the_clock_was_ahead() -> None:
    """Or it would time out without having been called."""
    clock, gate, steps = Corrected(), asyncio.Event(), Registry()

    async def slow(_: Any) -> None:
        await gate.wait()

    steps.step("slow")(slow)
    async with Engine.open(MemoryStore(), steps=steps, clock=clock, limits=Limits(steps_max=1)) as engine:
        workflow = await engine.create_workflow("w", calling("slow"))
        await engine.trigger(workflow.id)
        await rest(engine)
        clock.ahead = HOUR
        runs = [await engine.trigger(workflow.id)]
        await rest(engine)
        clock.ahead = 0
        runs.append(await engine.trigger(workflow.id))
        for run in runs:
            async with asyncio.timeout(10):
                async for each in engine.events(run.id, follow=True):
                    if type(each.event).__name__ == "TaskQueued":
                        break
        gate.set()


async def test_a_call_is_held_as_long_as_it_asks_for_though_the_clock_was_ahead() -> None:
    """And a result is waited for so long."""
    clock, steps = Corrected(), Registry()

    async def slow(_: Any) -> None:
        await asyncio.Event().wait()

    steps.step("slow")(slow)
    async with Engine.open(MemoryStore(), steps=steps, clock=clock) as engine:
        workflow = await engine.create_workflow("w", calling("slow"))
        run = await engine.trigger(workflow.id)
        clock.ahead = HOUR
        held = asyncio.ensure_future(engine.resume(run.id, {}, hold=0.3))
        awaited = asyncio.ensure_future(engine.result(run.id, timeout=0.3))
        await asyncio.sleep(0.1)
        clock.ahead = 0
        with pytest.raises(NotWaiting):
            await asyncio.wait_for(held, 5)
        with pytest.raises(TimeoutError, match="has not ended within"):
            await asyncio.wait_for(awaited, 5)
        await engine.close(0)


async def quick(_: Any) -> None:
    await asyncio.sleep(0.05)
