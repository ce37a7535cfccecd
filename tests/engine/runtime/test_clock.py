"""The computer's clock: many waits on one timer of the event loop."""

from __future__ import annotations

import asyncio
from contextvars import ContextVar

from perdure.engine.runtime.clock import Handle, SystemClock

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
        clock.call_at(started + ms, lambda name=name: rung.note(name))

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
    clock.call_at(instant, lambda: [other.cancel() for other in others])
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
    clock, rung, name = SystemClock(), Rung(), ContextVar("name")
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
