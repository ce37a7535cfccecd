"""A node: the processor and everything around it, from start to drain."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable
from typing import ClassVar, Final, NamedTuple

import structlog

from perdure.engine.core import commands as c
from perdure.engine.core import effects as fx
from perdure.engine.core.dispatch import Dispatch
from perdure.engine.limits import Limits
from perdure.engine.runtime.clock import Clock
from perdure.engine.runtime.holds import Holds
from perdure.engine.runtime.processing.processor import Processor
from perdure.engine.runtime.processing.quotas import QuotaSource
from perdure.engine.runtime.processing.requests import Accepted
from perdure.engine.runtime.processing.sender import Sender
from perdure.engine.runtime.streams.loader import Definitions, Loader
from perdure.engine.runtime.streams.stream import HotStream
from perdure.engine.runtime.telemetry.metrics import Metrics
from perdure.engine.runtime.workers.admission import Admission
from perdure.engine.runtime.workers.children import ChildRunner
from perdure.engine.runtime.workers.clock_guard import ClockGuard
from perdure.engine.runtime.workers.crash_loop import CrashLoop
from perdure.engine.runtime.workers.jobs import JobRunner
from perdure.engine.runtime.workers.pins import Pins
from perdure.engine.runtime.workers.recovery import Recovery
from perdure.engine.runtime.workers.schedules import ScheduleRunner
from perdure.engine.runtime.workers.step_slots import TaskKey
from perdure.engine.runtime.workers.suspects import Suspects
from perdure.engine.runtime.workers.tasks import TaskRunner
from perdure.engine.runtime.workers.timers import Timers
from perdure.store.errors import StoreError
from perdure.store.protocols import Store
from perdure.store.records import NodeRow, TimerRow

_log = structlog.get_logger("perdure.node")


HOME_S: Final = 1.5
"""So long at least a drain gives the last commits, whatever the steps before them took."""


class Randomness:
    """The system's randomness, fetched in larger pieces: a call into the kernel costs more than the bytes."""

    _PIECE = 4096

    def __init__(self) -> None:
        self._bytes = b""
        self._at = 0

    def draw(self, count: int) -> bytes:
        """So many random bytes, given to nobody else."""
        if self._at + count > len(self._bytes):
            self._bytes = os.urandom(max(count, self._PIECE))
            self._at = 0
        self._at += count
        return self._bytes[self._at - count : self._at]


class NodeParts(NamedTuple):
    """The parts of a node that all its workers and services share."""

    store: Store
    clock: Clock
    guard: ClockGuard
    limits: Limits
    random: Callable[[int], bytes]
    definitions: Definitions
    loader: Loader
    metrics: Metrics
    processor: Processor
    holds: Holds
    draining: asyncio.Event
    sender: Sender
    quotas: QuotaSource


class Workers(NamedTuple):
    """The workers of a node: each acts on its own."""

    tasks: TaskRunner
    timers: Timers
    suspects: Suspects
    recovery: Recovery
    pins: Pins
    children: ChildRunner
    jobs: JobRunner
    admission: Admission
    slots: Timers
    scheduled: ScheduleRunner


class Node:
    """One process that serves a store. `start` before use; `drain` at the end, once. `engine.compose` builds it."""

    def __init__(self, parts: NodeParts, workers: Workers) -> None:
        self.parts = parts
        self.store = parts.store
        self.clock = parts.clock
        self.limits = parts.limits
        self.definitions = parts.definitions
        self.metrics = parts.metrics
        self.processor = parts.processor
        self.holds = parts.holds
        self.draining = parts.draining
        self.send = parts.sender.send
        self.tasks = workers.tasks
        self.timers = workers.timers
        self.suspects = workers.suspects
        self.recovery = workers.recovery
        self.pins = workers.pins
        self.children = workers.children
        self.jobs = workers.jobs
        self.admission = workers.admission
        self.slots = workers.slots
        self.scheduled = workers.scheduled
        self.id = parts.sender.id
        self._cancelled: dict[TaskKey, HotStream] = {}
        self.crash_loop: CrashLoop | None = None

    # --- life ----------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Take up what was under way; from here on requests are taken in."""
        self.parts.guard.begin()
        await self.look()
        await self.recovery.survey()
        now = self.clock.now()
        row = NodeRow(self.id, self.parts.sender.name, now, now, None)
        dead = await self.store.node_started(row)
        self.crash_loop = loop = CrashLoop(self.store, row, dead)
        await loop.begin(self.clock)
        self.pins.begin()
        if dead:
            await self.pins.pin()
        self.processor.be_careful(is_careful=loop.is_careful)
        self.recovery.start(died=bool(dead), loop=loop)
        if not loop.is_careful:
            await self.timers.start()
            self.admission.start()
            self.scheduled.recover()
            await self.slots.start()
        self.jobs.begin()

    async def look(self) -> None:
        """See where the log stands, and which ids there are: new ones sort above, wherever the clock has been since."""
        seen = [
            row.execution_id
            for organization in await self.store.organizations()
            for row in await self.store.execution_page(organization_id=organization.organization_id, limit=1)
        ]
        seen += [row.bulk_id for row in await self.store.bulk_jobs_under_way()]  # what starts after them is not theirs
        self.processor.resume_at(await self.store.position(), seen)

    def begin_drain(self) -> None:
        """Refuse what is new from now on, and wake the calls that are held."""
        self.processor.stop_intake()
        self.draining.set()
        self.processor.watchers.notify_all()

    async def drain(self, grace_s: float = 5.0) -> bool:
        """Refuse what is new, let what runs end or be cancelled, bring everything to disk, and say goodbye.

        Whether that came to its end: if not, a commit is still under way, and the store cannot be closed.
        """
        end = time.monotonic() + grace_s
        self.begin_drain()
        self.parts.guard.close()
        await self.recovery.close()
        await self.jobs.close()
        if self.crash_loop is not None:
            self.crash_loop.close()
        await self.timers.close()
        await self.slots.close()
        await self.admission.close()
        await self.tasks.close(grace_s)
        await self.scheduled.close(end - time.monotonic())
        await self.children.close(end - time.monotonic())
        is_home = self.processor.failure is not None or await self._go_home(end)
        if is_home:
            await self._say_goodbye()
        self.processor.close()
        return is_home

    async def _say_goodbye(self) -> None:
        """Say that this was no death; after a failed commit as well, if the store still can: no step is to blame."""
        try:
            async with asyncio.timeout(HOME_S):
                await self.store.node_stopped(self.id, self.clock.now())
        except (StoreError, TimeoutError) as error:  # the next start says then that this one was not clean
            _log.error("node_not_stopped", error=str(error))

    async def _go_home(self, end: float) -> bool:
        """Bring everything to disk, and pin it; whether nothing is being committed any more."""
        if not await self.processor.bring_home(max(end - time.monotonic(), HOME_S)):
            return False
        await self.pins.close(HOME_S)
        await self.pins.pin()
        return await self.processor.bring_home(HOME_S)

    # --- effects -------------------------------------------------------------------------------------------------

    def run_effect(self, hot: HotStream, effect: fx.Effect) -> None:
        """Do what an effect says, unless the engine has failed."""
        if self.processor.failure is None:
            self._EFFECTS[type(effect)](self, effect, hot)

    def halt(self) -> None:
        """After a commit of unknown fate nothing is begun: no step, no timer, no child."""
        self.tasks.halt()
        self.timers.halt()
        self.admission.halt()
        self.slots.halt()

    def begin_schedules(self) -> None:
        """Take up schedules after a careful start, once every run has had its turn."""
        if not self.draining.is_set() and self.processor.failure is None:
            self.scheduled.recover()
            self.slots.begin()

    def _cancel(self, cancelled: fx.CancelTask, hot: HotStream) -> None:
        """Stop a step. Its run stays in memory until it has told its end: hundreds may do so, one after another."""
        if self.tasks.cancel(hot, cancelled.seq):
            hot.pin()
            self._cancelled[TaskKey(hot.stream_id, cancelled.seq)] = hot

    def _go_on(self, _: fx.Continue, hot: HotStream) -> None:
        """Continue an execution that stopped at the limit of transitions; while draining, leave it to the next node."""
        if not self.draining.is_set() and self.processor.failure is None:
            self.parts.sender.post(hot.stream_id, c.Advance())

    def _hold(self, held: fx.HoldSuspect, hot: HotStream) -> None:
        self.suspects.hold(hot, held)
        self.recovery.go_on()

    def _take_up(self, _: fx.TakeUp, hot: HotStream) -> None:
        """Load an execution anew and recover it: it was released from quarantine."""
        self.timers.free(hot.stream_id)
        self.parts.loader.distrust(hot.stream_id)
        self.processor.hot.forget(hot)
        if not self.draining.is_set():
            self.parts.sender.post(hot.stream_id, c.Recover(died=False))

    _EFFECTS: ClassVar = (
        Dispatch["Node", [HotStream], object](__name__)
        .on(fx.RunTask, lambda node, task, hot: node.tasks.run(hot, task))
        .on(fx.CancelTask, _cancel)
        .on(fx.SetTimer, lambda node, effect, _: node.timers.arm(effect.due_at))
        .on(fx.FillPlaces, lambda node, effect, _: node.admission.fill(effect.keys))
        .on(fx.Continue, _go_on)
        .on(fx.TakeUp, _take_up)
        .on(fx.HoldSuspect, _hold)
        .on(fx.Withhold, lambda node, _, hot: node.tasks.withhold(hot.stream_id))
        .on(fx.CallWithheld, lambda node, _, hot: node.tasks.call_withheld(hot.stream_id))
        .on(fx.StartChild, lambda node, effect, hot: node.children.start(hot, effect))
        .on(fx.FollowChild, lambda node, effect, hot: node.children.follow(hot, effect))
        .on(fx.EndChild, lambda node, effect, hot: node.children.end(hot, effect.child))
        .on(fx.TellParent, lambda node, effect, hot: node.children.tell_parent(hot, effect))
        .on(fx.FollowParent, lambda node, effect, hot: node.children.follow_parent(hot, effect))
        .on(fx.SetSchedule, lambda node, effect, _: node.slots.arm(effect.due_at))
        .on(fx.StartScheduled, lambda node, effect, hot: node.scheduled.start(hot, effect))
        .on(fx.FollowScheduled, lambda node, effect, hot: node.scheduled.follow(hot, effect))
        .over(fx.Effect)
    )
    """What is done for each kind of effect; also by who records without a start (`Engine.recorder`)."""

    def complete(self, hot: HotStream, command: c.CompleteTask) -> None:
        """Record the outcome of a step."""
        self.metrics.steps.add("failed" if isinstance(command.outcome, c.TaskFailure) else "succeeded")
        if self.processor.failure is not None:
            return
        key = TaskKey(hot.stream_id, command.seq)
        ended, kept = self.suspects.ending(key), self._cancelled.pop(key, None)
        if ended is None and kept is None:
            self.parts.sender.post(hot.stream_id, command)
            return
        told = self.send(hot.stream_id, command)
        if ended is not None:
            told.add_done_callback(lambda _: _done(ended))
        if kept is not None:
            told.add_done_callback(lambda _: self._let_go(kept))

    def _let_go(self, hot: HotStream) -> None:
        hot.unpin()
        if not hot.pins:
            self.processor.hot.settle(hot)

    async def fire(self, due: list[TimerRow]) -> list[TimerRow]:
        """Fire timers; gives those that could not be fired."""
        replies = await asyncio.gather(
            *(self.send(timer.execution_id, c.FireTimer(timer.timer)) for timer in due),
            return_exceptions=True,
        )
        for timer, reply in zip(due, replies, strict=True):
            if isinstance(reply, Accepted) and reply.recorded_at is not None:
                fired_at = min(reply.recorded_at, self.clock.now())  # the log stands still if the clock was ahead
                self.metrics.timer_lateness.observe((fired_at - timer.due_at) / 1000)
        return [timer for timer, reply in zip(due, replies, strict=True) if not isinstance(reply, Accepted)]


def _done(future: asyncio.Future[None]) -> None:
    if not future.done():  # or nobody waits for it any more
        future.set_result(None)
