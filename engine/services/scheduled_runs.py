"""Scheduled runs: slots that are due are decided, and the runs that come of it are started.

A run is started as a child execution is: its id stands in the log before anything is done, its process id belongs to
the slot, and the schedule asks for it again after a crash until it is told what became of it. The runs of a workflow's
schedules are started in one lane, some at once, and acknowledged together.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Coroutine, Iterable, Sequence
from typing import Any, Final, TypeAlias

import structlog

from perdure.engine.core import effects as fx
from perdure.engine.core import ids
from perdure.engine.core import schedules as s
from perdure.engine.core.refs import resolve, seq_of
from perdure.engine.errors import Conflict, EngineFailed, NotFound, PerdureError, RateLimited, Unavailable
from perdure.engine.language import StatesError
from perdure.engine.log.codec import decode_json, encode_json
from perdure.engine.runtime.callers import Caller
from perdure.engine.runtime.node import NodeParts
from perdure.engine.runtime.processing.requests import Accepted, ClaimConflict, CommandReply, Rejected, from_inside
from perdure.engine.runtime.streams.stream import HotStream
from perdure.engine.services.open_runs import StartRules
from perdure.engine.services.schedule_inputs import input_of
from perdure.engine.services.slots import asked_process_id, due, facts_of, process_id
from perdure.engine.services.starting import Start, implied
from perdure.engine.services.workflows import Published, Workflows
from perdure.store.errors import StoreError
from perdure.store.records import ExecutionRow, ScheduleRow, TimerRow

_log = structlog.get_logger("perdure.schedules")

TRIGGER: Final = "SCHEDULE"

AT_ONCE: Final = 64
"""So many slots of a workflow are decided in one go; so many runs of it are started at once, and acknowledged so."""

LANES_MAX: Final = 64
"""So many workflows have runs of theirs started at once; the others wait."""

TRIES: Final = 5
"""So often a slot is looked at again that has moved on meanwhile."""

RETRY_MS: Final = 1000
FOLLOW_MS: Final = 60_000
"""So often a run is looked at again whose end a slot waits for, in case that nobody has told of it."""

RECOVERED_AT_ONCE: Final = 256
CLOSE_S: Final = 1.0


class _Lane:
    """The runs of one workflow that are to be started; its stream stays in memory meanwhile, to be told of them."""

    def __init__(self, hot: HotStream, workspace_id: bytes) -> None:
        self.hot = hot
        self.workflow_id = hot.stream_id
        self.organization_id = hot.organization_id
        self.workspace_id = workspace_id
        self.wanted: deque[fx.StartScheduled] = deque()
        hot.pin()

    def caller(self, schedule: str) -> Caller:
        """A schedule, as whoever starts a run."""
        return Caller(self.organization_id, self.workspace_id, f"schedule:{schedule}")


_Refused: TypeAlias = s.RunRefusal | None


class _NotNow(Exception):
    """The run could not be started for a reason that will pass."""


def _together(wanted: Iterable[s.Due]) -> list[tuple[s.Due, ...]]:
    """What is due of one workflow, as it is decided: some slots at once, and what many have come of alone."""
    together: list[tuple[s.Due, ...]] = []
    some: list[s.Due] = []
    for due_of_one in wanted:
        if len(due_of_one.slots) > 1:
            together.append((due_of_one,))
            continue
        some.append(due_of_one)
        if len(some) == AT_ONCE:
            together.append(tuple(some))
            some = []
    return [*together, tuple(some)] if some else together


def _by_schedule(known: Sequence[fx.StartScheduled], refusals: Sequence[_Refused]) -> tuple[s.RunsOf, ...]:
    """What became of runs, schedule by schedule."""
    own: dict[str, list[tuple[str, _Refused]]] = {}
    for wanted, refusal in zip(known, refusals, strict=True):
        own.setdefault(wanted.schedule, []).append((wanted.run, refusal))
    return tuple(
        s.RunsOf(
            schedule,
            tuple(run for run, refusal in pairs if refusal is None),
            tuple(refusal for _, refusal in pairs if refusal is not None),
        )
        for schedule, pairs in own.items()
    )


class ScheduledRuns:
    """The scheduled runs of a node. Implements `engine.runtime.workers.schedules.ScheduleRunner`."""

    def __init__(self, node: NodeParts, workflows: Workflows, rules: StartRules) -> None:
        self._rules = rules
        self._node = node
        self._store = node.store
        self._workflows = workflows
        self._lanes: dict[bytes, _Lane] = {}
        self._turns = asyncio.Semaphore(LANES_MAX)
        self._followed: set[tuple[str, int]] = set()
        self._waiting: dict[str, asyncio.Future[None]] = {}
        self._jobs: set[asyncio.Task[None]] = set()
        self._followers: set[asyncio.Task[None]] = set()
        self._is_closing = False

    # --- slots ---------------------------------------------------------------------------------------------------

    async def fire(self, rows: list[TimerRow]) -> list[TimerRow]:
        """Decide the slots of schedules that are due; gives those of which that failed."""
        found = await self._store.schedules_by_id([row.execution_id for row in rows])
        named = {row.execution_id: row for row in rows}
        of_workflow: dict[bytes, list[ScheduleRow]] = {}
        for row in found.values():
            of_workflow.setdefault(row.workflow_id, []).append(row)
        replies = await asyncio.gather(
            *(self._decide(workflow_id, some) for workflow_id, some in of_workflow.items()), return_exceptions=True
        )
        failed: list[TimerRow] = []
        for some, left in zip(of_workflow.values(), replies, strict=True):
            if isinstance(left, BaseException):
                failed += [named[row.schedule_id] for row in some]
                if isinstance(left, Exception) and not isinstance(left, StoreError | EngineFailed):
                    _log.error("slots_not_decided", exc_info=left)
                    self._node.metrics.fail("slots_not_decided")
            else:
                failed += [named[schedule_id] for schedule_id in left]
        return failed

    async def _decide(self, workflow_id: bytes, rows: Sequence[ScheduleRow]) -> Sequence[bytes]:
        """Decide what is due of a workflow's schedules, again of those that moved on meanwhile; gives those left."""
        left: Sequence[bytes] = [row.schedule_id for row in rows]
        for _ in range(TRIES):
            now = self._node.clock.now()
            wanted = await self.due_of((row for row in rows if row.due_at is not None), now)
            left = []
            together = _together(wanted.values())
            replies = await asyncio.gather(*(self._tell(workflow_id, s.DecideSlots(some)) for some in together))
            for some, reply in zip(together, replies, strict=True):
                stale = frozenset(reply.answer if isinstance(reply, Accepted) else [each.schedule for each in some])
                for each in some:
                    if each.schedule in stale:
                        left.append(ids.parse(each.schedule))
                    else:
                        self._node.metrics.timer_lateness.observe(max(0, now - each.slots[-1]) / 1000)
            if not left:
                break
            rows = list((await self._store.schedules_by_id(left)).values())
        return left

    async def _last_run(self, row: ScheduleRow) -> ExecutionRow | None:
        if row.overlap == "allow" or row.last_run_id is None:
            return None
        return await self._store.execution(row.last_run_id)

    async def due_of(self, rows: Iterable[ScheduleRow], now: int) -> dict[bytes, s.Due]:
        """The slots of these schedules that have come and are not decided."""
        found = {row.schedule_id: due(row, now, await self._last_run(row)) for row in rows}
        return {name: each for name, each in found.items() if each is not None}

    def _tell(self, workflow_id: bytes, command: s.ScheduleCommand) -> asyncio.Future[CommandReply]:
        request = from_inside(workflow_id, command, self._node.sender.actor)
        request.kind = "workflow"
        return self._node.processor.submit(request)

    # --- starting ------------------------------------------------------------------------------------------------

    def start(self, hot: HotStream, wanted: fx.StartScheduled) -> None:
        """Start a run; while this node closes, leave it to the next one."""
        if self._is_closing or self._node.processor.failure is not None or hot.workspace_id is None:
            return
        lane = self._lanes.get(hot.stream_id)
        if lane is None:
            lane = self._lanes[hot.stream_id] = _Lane(hot, hot.workspace_id)
            self._go(self._work(lane))
        lane.wanted.append(wanted)

    async def started(self, run: str) -> None:
        """Wait until a run that was decided on has started or was refused, or until it is left to the next node."""
        if self._is_closing or await self._store.execution(ids.parse(run)) is not None:
            return
        waiting = self._waiting.setdefault(run, asyncio.get_running_loop().create_future())
        async with asyncio.timeout(CLOSE_S):
            await asyncio.shield(waiting)

    def _go(self, work: Coroutine[Any, Any, None]) -> None:
        job = asyncio.get_running_loop().create_task(work)
        self._jobs.add(job)
        job.add_done_callback(self._jobs.discard)

    async def _work(self, lane: _Lane) -> None:
        """Start what is wanted; what cannot be now is tried again later."""
        try:
            async with self._turns:
                while lane.wanted and not self._is_closing:
                    some = [lane.wanted[index] for index in range(min(AT_ONCE, len(lane.wanted)))]
                    await self._start_all(lane, some)
                    for _ in some:
                        lane.wanted.popleft()
        except (StoreError, _NotNow, Unavailable) as error:
            if self._node.processor.failure is None:
                _log.error("schedule_not_served", workflow_id=ids.text(lane.workflow_id), error=str(error))
                self._node.metrics.fail("schedule_not_served")
                self._node.clock.call_later(RETRY_MS, lambda: self._again(lane))
            return
        except Exception as defect:  # noqa: BLE001 a defect, or a stream that cannot be read: the others go on
            _log.error("schedule_failed", workflow_id=ids.text(lane.workflow_id), exc_info=defect)
            self._node.metrics.fail("schedule_failed")
        self._lanes.pop(lane.workflow_id, None)
        lane.hot.unpin()
        self._node.processor.hot.settle(lane.hot)

    def _again(self, lane: _Lane) -> None:
        if not self._is_closing and self._node.processor.failure is None:
            self._go(self._work(lane))

    async def _start_all(self, lane: _Lane, some: Sequence[fx.StartScheduled]) -> None:
        """Start some runs, and tell each schedule what became of its own."""
        version = await self._runnable(lane)
        found = await asyncio.gather(*(self._start(lane, each, version) for each in some), return_exceptions=True)
        refusals: list[s.RunRefusal | None] = []
        known: list[fx.StartScheduled] = []
        for wanted, outcome in zip(some, found, strict=True):
            if isinstance(outcome, StoreError | _NotNow | EngineFailed) or not isinstance(
                outcome, Exception | None | s.RunRefusal
            ):
                raise outcome
            if isinstance(outcome, Exception):  # a defect: this run is asked for again at the next start
                _log.error("schedule_failed", execution_id=wanted.run, exc_info=outcome)
                self._node.metrics.fail("schedule_failed")
            else:
                known.append(wanted)
                refusals.append(outcome)
        if known:
            await self._tell(lane.workflow_id, s.AcknowledgeRuns(_by_schedule(known, refusals)))
        for wanted in some:
            waiting = self._waiting.pop(wanted.run, None)
            if waiting is not None and not waiting.done():
                waiting.set_result(None)

    async def _start(self, lane: _Lane, wanted: fx.StartScheduled, found: Published | PerdureError) -> _Refused:
        """Start a run, unless it has been; the reason if it cannot be."""
        refusal = await self._try(lane, wanted, found)
        if refusal is not None and await self._store.execution(ids.parse(wanted.run)) is not None:
            return None  # it was started before a crash; since then something else may have come in its way
        return refusal

    async def _try(self, lane: _Lane, wanted: fx.StartScheduled, found: Published | PerdureError) -> _Refused:
        if isinstance(found, PerdureError):
            return s.RunRefusal(wanted.run, found.code, found.message)
        caller, schedule, is_asked_for = lane.caller(wanted.schedule), wanted.schedule, wanted.is_asked_for
        name = asked_process_id(schedule, wanted.run) if is_asked_for else process_id(schedule, wanted.at)
        try:
            start = Start(found, await self._input(lane, wanted), name, TRIGGER)
            start = await self._rules.limited(caller, start)
            return await self._trigger(caller, ids.parse(wanted.run), start)
        except (RateLimited, Unavailable) as later:
            raise _NotNow(later.message) from None
        except PerdureError as problem:
            return s.RunRefusal(wanted.run, problem.code, problem.message)
        except StatesError as error:
            return s.RunRefusal(wanted.run, "VALIDATION_ERROR", f"input: {error.cause}")

    async def _runnable(self, lane: _Lane) -> Published | PerdureError:
        """The version that runs now, for all that are started together; the reason if there is none."""
        try:
            return await self._workflows.runnable(lane.caller(""), lane.workflow_id, None)
        except (RateLimited, Unavailable) as later:
            raise _NotNow(later.message) from None
        except PerdureError as problem:
            return problem

    async def _trigger(self, caller: Caller, run: bytes, start: Start) -> _Refused:
        request = from_inside(run, start.command(caller), caller.actor)
        request.organization_id, request.workspace_id = caller.organization_id, caller.workspace_id
        request.machine = start.found.machine
        request.process_id = start.claim(caller, run, self._node.random(16))
        reply = await self._node.processor.submit(request)
        if isinstance(reply, ClaimConflict):
            name = start.process_id or ""
            row = await self._store.process_id(caller.organization_id, caller.workspace_id, name)
            if row is None and await implied(self._store, caller, name) is None:
                raise _NotNow(f"the process id {name!r} is being claimed")
            if row is None or row.stream_id != run:
                raise Conflict(f"the process id {name!r} belongs to another execution")
        elif isinstance(reply, Rejected):
            return s.RunRefusal(ids.text(run), reply.rejection.code, reply.rejection.message)
        return None

    async def _input(self, lane: _Lane, wanted: fx.StartScheduled) -> Any:
        """The input of a run. Raises `Conflict`: it is too large."""
        template = None
        if wanted.input is not None:
            seq = seq_of(wanted.input)
            template = resolve(wanted.input, await self._node.loader.payloads(lane.workflow_id, [seq]))
        facts = facts_of(wanted.schedule, wanted.at, wanted.timezone)
        made = decode_json(encode_json(input_of(template, facts, wanted.run)))
        size = len(encode_json(made))
        if size > self._node.limits.payload_max_bytes:
            raise Conflict(f"its input has {size} bytes of JSON, and {self._node.limits.payload_max_bytes} are allowed")
        return made

    # --- buffered slots ------------------------------------------------------------------------------------------

    def follow(self, hot: HotStream, wanted: fx.FollowScheduled) -> None:
        """Have a buffered slot decided once the run that it waits for has ended."""
        key = (wanted.run, wanted.slot)
        if self._is_closing or key in self._followed:
            return
        self._followed.add(key)
        job = asyncio.get_running_loop().create_task(self._follow(hot.stream_id, wanted))
        self._followers.add(job)
        job.add_done_callback(self._followers.discard)
        job.add_done_callback(lambda _: self._followed.discard(key))

    async def _follow(self, workflow_id: bytes, wanted: fx.FollowScheduled) -> None:
        clock, run = self._node.clock, ids.parse(wanted.run)
        with self._node.processor.watchers.watch(run, for_end=True) as watch:
            while not self._is_closing and self._node.processor.failure is None:
                watch.clear()
                try:
                    schedule = await self._store.schedule(ids.parse(wanted.schedule))
                    if schedule is None or schedule.buffered_at != wanted.slot:
                        return
                    row = await self._store.execution(run)
                    if row is not None and row.ended_at is not None:
                        await self._tell(workflow_id, s.TakeBuffered(wanted.schedule, wanted.slot, wanted.run))
                        return
                except StoreError as error:
                    _log.error("schedule_not_served", workflow_id=ids.text(workflow_id), error=str(error))
                    self._node.metrics.fail("schedule_not_served")
                await watch.wait(clock, clock.ticks() + FOLLOW_MS)

    # --- life ----------------------------------------------------------------------------------------------------

    def recover(self) -> None:
        """Take up what was starting, and what is buffered, in the background."""
        self._go(self._recover())

    async def _recover(self) -> None:
        after = b""
        try:
            while page := await self._store.unsettled_schedules(after=after, limit=RECOVERED_AT_ONCE):
                after = page[-1].schedule_id
                workflows = dict.fromkeys(row.workflow_id for row in page)
                await asyncio.gather(*(self._tell(each, s.RecoverSchedules()) for each in workflows))
        except StoreError as error:
            _log.error("schedule_not_served", error=str(error))
            self._node.metrics.fail("schedule_not_served")
            self._node.clock.call_later(RETRY_MS, self._recover_again)
        except (EngineFailed, NotFound) as error:
            _log.error("schedule_failed", error=str(error))

    def _recover_again(self) -> None:
        if not self._is_closing and self._node.processor.failure is None:
            self.recover()

    async def close(self, grace_s: float) -> None:
        """Start nothing more, and let what is under way come to its end; what does not is done at the next start."""
        self._is_closing = True
        for follower in self._followers:
            follower.cancel()
        try:
            async with asyncio.timeout(max(grace_s, CLOSE_S)):
                while self._jobs:
                    await asyncio.wait(self._jobs)
        except TimeoutError:
            for job in self._jobs:
                job.cancel()
        await asyncio.gather(*self._jobs, *self._followers, return_exceptions=True)
