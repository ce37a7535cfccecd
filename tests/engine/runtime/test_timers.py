"""Timers are fired in rounds, and no round holds up another for long."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

from perdure.engine.core.commands import Terminate
from perdure.engine.runtime.clock import SystemClock
from perdure.engine.runtime.processing.batch import Batch
from perdure.engine.runtime.processing.inbox import Inbox
from perdure.engine.runtime.processing.requests import from_inside
from perdure.engine.runtime.telemetry.metrics import Metrics
from perdure.engine.runtime.workers.clock_guard import ClockGuard
from perdure.engine.runtime.workers.timers import Timers
from perdure.engine.testing import ManualClock
from perdure.store.records import TimerRow
from tests.engine.runtime.conftest import eventually


class Rows:
    """The timers that are set."""

    def __init__(self, *rows: TimerRow) -> None:
        self.rows = list(rows)
        self.read = 0

    async def due_timers(self, now: int, *, limit: int, after: TimerRow | None = None) -> list[TimerRow]:
        due = [row for row in sorted(self.rows) if row.due_at <= now and (after is None or row > after)][:limit]
        self.read += len(due)
        return due

    async def next_due(self, *, after: int | None = None) -> int | None:
        return min((row.due_at for row in self.rows if after is None or row.due_at > after), default=None)


async def test_a_timer_that_cannot_be_fired_makes_nobody_look_again() -> None:
    """It is left alone: nothing is read until the next one comes due, and it is forgotten when it is gone."""
    clock, fired = ManualClock(), list[int]()
    now = clock.now()
    stuck, later = TimerRow(now, b"aside", 1), TimerRow(now + 60_000, b"well", 2)
    store = Rows(stuck, later)

    async def fire(due: list[TimerRow]) -> list[TimerRow]:
        fired.extend(row.timer for row in due)
        failed = [row for row in due if row == stuck]
        store.rows = [row for row in store.rows if row not in due or row in failed]
        return failed

    timers = Timers(store, clock, fire, Metrics(), ClockGuard(clock, Metrics()))  # type: ignore[arg-type]
    await timers.start()
    clock.push(0)
    await timers.settle()
    assert fired == [1]
    assert clock.next_due() == later.due_at
    store.rows.remove(stuck)  # the run was terminated
    clock.push(60_000)
    await timers.settle()
    assert fired == [1, 2]
    assert not timers._stuck
    assert clock.next_due() is None
    await timers.close()


async def test_a_round_that_takes_its_time_holds_up_no_other() -> None:
    """Each timer is fired once all the same, and what comes due later is fired in its time."""
    clock, fired, gate = SystemClock(), list[int](), asyncio.Event()
    now = clock.now()
    store = Rows(TimerRow(now, b"slow", 1), TimerRow(now + 300, b"quick", 2))

    async def fire(due: list[TimerRow]) -> list[TimerRow]:
        fired.extend(row.timer for row in due)
        if due[0].timer == 1:
            await gate.wait()
        store.rows = [row for row in store.rows if row not in due]
        return []

    timers = Timers(store, clock, fire, Metrics(), ClockGuard(clock, Metrics()))  # type: ignore[arg-type]
    await timers.start()
    await eventually(lambda: fired == [1, 2])
    store.rows.append(TimerRow(clock.now(), b"quick", 3))
    timers.arm(clock.now())
    await eventually(lambda: fired == [1, 2, 3])
    gate.set()
    await eventually(lambda: not store.rows)
    await timers.close()
    assert fired == [1, 2, 3]


async def test_what_is_being_fired_is_not_read_again_and_again() -> None:
    """A backlog is gone through once, however many rounds are under way; then it is looked at from the beginning."""
    clock, gate = SystemClock(), asyncio.Event()
    now = clock.now()
    store = Rows(*(TimerRow(now - 10_000 + number, b"run", number) for number in range(6000)))
    fired: list[int] = []

    async def fire(due: list[TimerRow]) -> list[TimerRow]:
        fired.extend(row.timer for row in due)
        await gate.wait()
        gone = set(due)
        store.rows = [row for row in store.rows if row not in gone]
        return []

    timers = Timers(store, clock, fire, Metrics(), ClockGuard(clock, Metrics()))  # type: ignore[arg-type]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("perdure.engine.runtime.workers.timers.ROUND_TIME_S", 0.001)
        await timers.start()
        await eventually(lambda: len(fired) == 6000)
        assert store.read <= 6000 + 6000 + 500  # each once, and once more from the beginning while all are under way
        gate.set()
        await eventually(lambda: not store.rows)
        await timers.settle()
    await timers.close()
    assert fired == list(range(6000))


async def test_a_timer_that_is_set_behind_the_place_is_fired_before_the_rest() -> None:
    """A backlog is no reason to be late by more than the round that is under way."""
    clock, fired = SystemClock(), list[int]()
    now = clock.now()
    backlog = [TimerRow(now - 5000 + number, b"run", number) for number in range(3000)]
    store, urgent = Rows(*backlog), TimerRow(now - 9000, b"new", 7777)

    async def fire(due: list[TimerRow]) -> list[TimerRow]:
        if not fired:
            store.rows.append(urgent)
            timers.arm(urgent.due_at)
        fired.extend(row.timer for row in due)
        await asyncio.sleep(0)
        gone = set(due)
        store.rows = [row for row in store.rows if row not in gone]
        return []

    timers = Timers(store, clock, fire, Metrics(), ClockGuard(clock, Metrics()))  # type: ignore[arg-type]
    await timers.start()
    await eventually(lambda: not store.rows)
    await timers.close()
    assert fired.index(7777) == 500
    assert sorted(fired) == [*range(3000), 7777]


def test_a_turn_ends_when_its_time_is_up() -> None:
    """However many requests wait: each of them may take as long as the turn."""
    inbox, taken = Inbox(), list[Any]()
    for number in range(60):
        inbox.put(from_inside(bytes([number]), Terminate("x"), "a"))
    for order in inbox.take(Batch()):
        taken.append(order)
        time.sleep(0.005)
    assert 3 <= len(taken) <= 6
    assert len(inbox) == 60 - len(taken)
