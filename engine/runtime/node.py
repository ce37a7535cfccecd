"""A node: the processor and everything around it, from start to drain."""

from __future__ import annotations

import asyncio
import os
import platform
import time
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Final

import structlog

from perdure.engine.core import commands as c
from perdure.engine.core import effects as fx
from perdure.engine.core import ids
from perdure.engine.core.dispatch import Dispatch
from perdure.engine.limits import DEFAULT_LIMITS, Limits
from perdure.engine.runtime.clock import Clock
from perdure.engine.runtime.holds import Holds
from perdure.engine.runtime.processing.processor import Processor
from perdure.engine.runtime.processing.requests import Accepted, CommandReply, from_inside
from perdure.engine.runtime.streams.loader import Definitions, Loader
from perdure.engine.runtime.streams.stream import HotStream
from perdure.engine.runtime.telemetry.metrics import Metrics
from perdure.engine.runtime.workers.children import ChildRunner
from perdure.engine.runtime.workers.crash_loop import CrashLoop
from perdure.engine.runtime.workers.pins import PIN_EVERY, Pins
from perdure.engine.runtime.workers.recovery import Recovery
from perdure.engine.runtime.workers.step_slots import TaskKey
from perdure.engine.runtime.workers.suspects import Suspects
from perdure.engine.runtime.workers.tasks import Complete, TaskRunner
from perdure.engine.runtime.workers.timers import Timers
from perdure.engine.runtime.workers.turns import Send
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


class Node:
    """One process that serves a store. `start` before use; `drain` at the end, once.

    `tasks` makes what runs steps, given what to call with their outcomes, and what sends a command about their runs.
    `children` starts and follows child executions; it is set once, before `start`. `names` are those that the context
    object shows (`engine.core.decision.Facts`).
    """

    children: ChildRunner

    def __init__(
        self,
        store: Store,
        clock: Clock,
        tasks: Callable[[Complete, Send], TaskRunner],
        *,
        random: Callable[[int], bytes] | None = None,
        names: Mapping[str, str] | None = None,
        limits: Limits = DEFAULT_LIMITS,
    ) -> None:
        random = random or Randomness().draw
        self.store = store
        self.clock = clock
        self.limits = limits
        self.definitions = Definitions(store)
        self.metrics = Metrics()
        self._loader = loader = Loader(store, self.definitions, self.metrics)
        self.processor = Processor(
            store,
            loader,
            clock,
            random,
            metrics=self.metrics,
            names=names or {},
            limits=limits,
        )
        self.processor.teller.on_effect = self._on_effect
        self.processor.on_stop = self._halt
        self.tasks = tasks(self._complete, self.send)
        self.metrics.tasks_running.read = lambda: self.tasks.running
        self.timers = Timers(store, clock, self._fire, self.metrics)
        self.suspects = Suspects(self.send, clock, self.tasks, self.metrics)
        self.recovery = Recovery(store, self.send, self.timers, self.suspects, self.metrics)
        self.recovery.on_done = self._open
        self.random = random
        self._cancelled: dict[TaskKey, HotStream] = {}
        self.id = self.processor.new_id()
        self.name = f"{platform.node() or 'node'}:{os.getpid()}"
        self.actor = f"engine:{ids.text(self.id)}"  # every tenant reads it: `nodes` and our log lines know the host
        self.pins = Pins(store, self.processor, self.actor)
        self.crash_loop: CrashLoop | None = None
        self.holds = Holds()
        self.draining = asyncio.Event()

    # --- life ----------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Take up what was under way; from here on requests are taken in."""
        await self._seed_ids()
        await self.recovery.survey()
        now = self.clock.now()
        row = NodeRow(self.id, self.name, now, now, None)
        dead = await self.store.node_started(row)
        self.crash_loop = loop = CrashLoop(self.store, row, dead)
        await loop.begin(self.clock)
        self.processor.position = await self.store.position()
        self.processor.pin_due = self.processor.position + PIN_EVERY
        if dead:
            await self.pins.pin()
        self.processor.is_careful = loop.is_careful
        self.recovery.start(died=bool(dead), loop=loop)
        if not loop.is_careful:
            await self.timers.start()

    def _open(self) -> None:
        """All had their turns: from here on nobody is alone."""
        self.processor.is_careful = False

    async def _seed_ids(self) -> None:
        """New ids sort above all that exist, wherever the clock has been since."""
        for organization in await self.store.organizations():
            for row in await self.store.execution_page(organization_id=organization.organization_id, limit=1):
                self.processor.seed_ids(row.execution_id)

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
        await self.recovery.close()
        if self.crash_loop is not None:
            self.crash_loop.close()
        await self.timers.close()
        await self.tasks.close(grace_s)
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

    # --- sending -------------------------------------------------------------------------------------------------

    def send(self, stream_id: bytes, command: Any) -> asyncio.Future[CommandReply]:
        """Send a command of the engine's own about an execution that exists."""
        return self.processor.submit(from_inside(stream_id, command, self.actor))

    # --- effects -------------------------------------------------------------------------------------------------

    def _on_effect(self, hot: HotStream, effect: fx.Effect) -> None:
        if self.processor.failure is None:
            self._EFFECTS[type(effect)](self, effect, hot)

    def _halt(self) -> None:
        """After a commit of unknown fate nothing is begun: no step, no timer, no child."""
        self.tasks.halt()
        self.timers.halt()

    def _cancel(self, cancelled: fx.CancelTask, hot: HotStream) -> None:
        """Stop a step. Its run stays in memory until it has told its end: hundreds may do so, one after another."""
        if self.tasks.cancel(hot, cancelled.seq):
            hot.pins += 1
            self._cancelled[TaskKey(hot.stream_id, cancelled.seq)] = hot

    def _go_on(self, _: fx.Continue, hot: HotStream) -> None:
        """Let an execution go on that has stopped for breath; while this node drains, leave it to the next one."""
        if not self.draining.is_set() and self.processor.failure is None:
            self.processor.post(from_inside(hot.stream_id, c.Advance(), self.actor))

    def _hold(self, held: fx.HoldSuspect, hot: HotStream) -> None:
        self.suspects.hold(hot, held)
        self.recovery.go_on()

    def _take_up(self, _: fx.TakeUp, hot: HotStream) -> None:
        """Try an execution again that was set aside, with nothing of what was in memory of it."""
        self.timers.free(hot.stream_id)
        self._loader.distrust(hot.stream_id)
        self.processor.hot.forget(hot)
        if not self.draining.is_set():
            self.processor.post(from_inside(hot.stream_id, c.Recover(died=False), self.actor))

    _EFFECTS: ClassVar = (
        Dispatch["Node", [HotStream], object](__name__)
        .on(fx.RunTask, lambda node, task, hot: node.tasks.run(hot, task))
        .on(fx.CancelTask, _cancel)
        .on(fx.SetTimer, lambda node, effect, _: node.timers.arm(effect.due_at))
        .on(fx.Continue, _go_on)
        .on(fx.TakeUp, _take_up)
        .on(fx.HoldSuspect, _hold)
        .on(fx.StartChild, lambda node, effect, hot: node.children.start(hot, effect))
        .on(fx.FollowChild, lambda node, effect, hot: node.children.follow(hot, effect))
        .on(fx.EndChild, lambda node, effect, hot: node.children.end(hot, effect.child))
        .on(fx.TellParent, lambda node, effect, hot: node.children.tell_parent(hot, effect))
        .on(fx.FollowParent, lambda node, effect, hot: node.children.follow_parent(hot, effect))
        .over(fx.Effect)
    )
    """What is done for each kind of effect; also by who records without a start (`api.cli.targets.database`)."""

    def _complete(self, hot: HotStream, command: c.CompleteTask) -> None:
        self.metrics.steps.add("failed" if isinstance(command.outcome, c.TaskFailure) else "succeeded")
        if self.processor.failure is not None:
            return
        order = from_inside(hot.stream_id, command, self.actor)
        key = TaskKey(hot.stream_id, command.seq)
        ended, kept = self.suspects.ending(key), self._cancelled.pop(key, None)
        if ended is None and kept is None:
            self.processor.post(order)
            return
        told = self.processor.submit(order)
        if ended is not None:
            told.add_done_callback(lambda _: _done(ended))
        if kept is not None:
            told.add_done_callback(lambda _: self._let_go(kept))

    def _let_go(self, hot: HotStream) -> None:
        hot.pins -= 1
        if not hot.pins:
            self.processor.hot.settle(hot)

    async def _fire(self, due: list[TimerRow]) -> list[TimerRow]:
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
