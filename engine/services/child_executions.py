"""Child executions: started, followed and ended for the tasks of their parents.

Parent and child are two streams, and a decision writes one. So what one wants of the other is asked for only after the
event that says so is on disk, is asked for again after a crash, and does no harm when it has been done before: a child
has a fixed id, and is terminated or tells its parent once.

What concerns one child happens in order, in its *lane*; no work of one execution waits inside another's, however long
the chain of parents is.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Final

import structlog

from perdure.engine.core import commands as c
from perdure.engine.core import effects as fx
from perdure.engine.core import ids
from perdure.engine.core.events import Parent
from perdure.engine.core.state import State
from perdure.engine.core.versions import Called
from perdure.engine.errors import Conflict, EngineFailed, Invalid, NotFound, Unavailable
from perdure.engine.language.errors import RUNTIME
from perdure.engine.runtime.callers import Caller
from perdure.engine.runtime.node import NodeParts
from perdure.engine.runtime.processing.requests import ClaimConflict, CommandReply, Rejected, from_inside
from perdure.engine.runtime.streams.fold import StreamFold
from perdure.engine.runtime.streams.loader import Loader
from perdure.engine.runtime.streams.stream import HotStream
from perdure.engine.services.calls import Calls, author_of, named
from perdure.engine.services.documents import input_schema_of
from perdure.engine.services.inputs import check_input
from perdure.engine.services.open_runs import StartRules
from perdure.engine.services.queries import Queries
from perdure.engine.services.starting import Start, check_process_id, implied
from perdure.engine.services.workflows import Published, Workflows
from perdure.engine.steps import StepFailed
from perdure.engine.steps.executions import (
    ALREADY_EXISTS,
    DELETING,
    DOES_NOT_EXIST,
    INVALID_ARN,
    INVALID_NAME,
    LIMIT_EXCEEDED,
    Ended,
    Wanted,
    outcome_for,
    readings_of,
    started,
    wanted_by,
)
from perdure.store.errors import StoreError
from perdure.store.records import ExecutionRow, StreamRow

_log = structlog.get_logger("perdure.children")

TRIGGER: Final = "REQUEST"
"""How a child was triggered: its parent asked for it."""

RETRY_MS: Final = 1000
CLOSE_S: Final = 1.0
TRIES: Final = 20


class _Lane:
    """The work that concerns one child, in order. `is_given_up`: it is not to start. `has_told`: its parent knows."""

    def __init__(self, child: str) -> None:
        self.child = child
        self.work: deque[Callable[[_Lane], Awaitable[None]]] = deque()
        self.is_given_up = False
        self.has_told = False


class ChildExecutions:
    """The child executions of a node. Implements `engine.runtime.workers.children.ChildRunner`."""

    def __init__(self, node: NodeParts, workflows: Workflows, calls: Calls, starting: StartRules) -> None:
        self._limits, self._open_runs = starting
        self._node = node
        self._store = node.store
        self._workflows = workflows
        self._calls = calls
        self._reading = Queries(node.store)
        self._loader = Loader(node.store, node.definitions, node.metrics)
        self._lanes: dict[str, _Lane] = {}
        self._jobs: set[asyncio.Task[None]] = set()
        self._folding = asyncio.Lock()
        self._folded: StreamFold | None = None
        self._is_closing = False
        self._is_closed = False

    # --- what is asked for ---------------------------------------------------------------------------------------

    def start(self, hot: HotStream, wanted: fx.StartChild) -> None:
        """Start a child; while this node closes, leave it to the next one, or a loop of starts would have no end."""
        if not self._is_closing:
            self._queue(wanted.child, lambda lane: self._start(lane, hot, wanted))

    def follow(self, hot: HotStream, wanted: fx.FollowChild) -> None:  # noqa: ARG002 the parent says it all
        self._queue(wanted.child, lambda lane: self._tell(lane, wanted.parent))

    def end(self, hot: HotStream, child: str) -> None:
        self._queue(child, lambda _: self._end(child, hot.text))
        if child in self._lanes:
            self._lanes[child].is_given_up = True

    def tell_parent(self, hot: HotStream, wanted: fx.TellParent) -> None:
        self._queue(hot.text, lambda lane: self._tell(lane, wanted.parent))

    def follow_parent(self, hot: HotStream, wanted: fx.FollowParent) -> None:
        self._queue(hot.text, lambda _: self._follow_parent(hot, wanted))

    # --- lanes ---------------------------------------------------------------------------------------------------

    def _queue(self, child: str, work: Callable[[_Lane], Awaitable[None]]) -> None:
        if self._is_closed or self._node.processor.failure is not None:
            return
        lane = self._lanes.get(child)
        if lane is None:
            lane = self._lanes[child] = _Lane(child)
            self._go(lane)
        lane.work.append(work)

    def _go(self, lane: _Lane) -> None:
        job = asyncio.get_running_loop().create_task(self._work(lane))
        self._jobs.add(job)
        job.add_done_callback(self._jobs.discard)

    async def _work(self, lane: _Lane) -> None:
        """Do what is queued; what the store did not serve is tried again later, with all that stands behind it."""
        while lane.work:
            try:
                await lane.work[0](lane)
            except StoreError as error:
                _log.error("child_not_served", execution_id=lane.child, error=str(error))
                self._node.metrics.fail("child_not_served")
                self._node.clock.call_later(RETRY_MS, lambda: self._again(lane))
                return
            except EngineFailed:
                break
            except Exception as defect:  # noqa: BLE001 a defect, or a stream that cannot be read: the others go on
                _log.error("child_failed", execution_id=lane.child, exc_info=defect)
                self._node.metrics.fail("child_failed")
            lane.work.popleft()
        self._lanes.pop(lane.child, None)

    def _again(self, lane: _Lane) -> None:
        if not self._is_closing and self._node.processor.failure is None:
            self._go(lane)

    async def close(self, grace_s: float) -> None:
        """Start nothing more, and let what is under way come to its end; what does not is done at the next start."""
        self._is_closing = True
        try:
            async with asyncio.timeout(max(grace_s, CLOSE_S)):
                while self._jobs:
                    await asyncio.wait(self._jobs)
        except TimeoutError:
            for job in self._jobs:
                job.cancel()
            await asyncio.gather(*self._jobs, return_exceptions=True)
        self._is_closed = True

    # --- starting ------------------------------------------------------------------------------------------------

    async def _start(self, lane: _Lane, hot: HotStream, wanted: fx.StartChild) -> None:
        """Start the child if it has not been, and tell the task so, or why it cannot be."""
        if lane.is_given_up:
            return
        parent, child = wanted.parent, ids.parse(wanted.child)
        row = await self._store.execution(child)
        if row is None:
            try:
                await self._trigger(hot, child, wanted)
            except StepFailed as problem:
                await self._complete(parent, c.TaskFailure(problem.error, problem.cause, problem.is_retryable))
                return
            row = await self._store.execution(child)
        if row is None:
            message = f"execution {wanted.child} was started and cannot be found"
            raise LookupError(message)
        told = c.ChildStarted(parent.scope, parent.seq, started(wanted.child, row.created_at))
        await self._node.sender.send(hot.stream_id, told)
        await self._tell(lane, parent)  # it may have ended before the crash after which it is started again

    async def _trigger(self, hot: HotStream, child: bytes, wanted: fx.StartChild) -> None:
        """Start the child. Raises `StepFailed` if that cannot be; a child that runs already is all right."""
        deepest, name = (await self._node.quotas.read((hot.organization_id, hot.state.workflow))).child_depth
        if wanted.parent.depth > deepest:
            said = f"Children are nested {deepest} deep at most ({name})."
            raise StepFailed(LIMIT_EXCEEDED, said, is_retryable=False)
        wish = wanted_by(wanted.parameters, self._node.limits.payload_max_bytes)
        _check_name(wish)
        caller, called = _acting(hot), await self._called(hot, wanted.parent)
        if called is None:
            state: State = hot.state
            author = await author_of(self._store, ids.parse(state.workflow), state.workflow_version)
            caller = caller._replace(author=author)
        found = await self._target(caller, wish.target, called)
        too_many = await self._open_runs.why_not(caller, found.version)
        if too_many is not None:
            raise StepFailed(LIMIT_EXCEEDED, f"The child is not started: {too_many.reason}.")
        start = Start(found, wish.input, wish.name, TRIGGER, parent=wanted.parent)
        try:
            check_input(wish.input, input_schema_of(found.version))
            start = await self._limits.limited(caller, start)
        except Invalid as problem:
            raise StepFailed(RUNTIME, f"The child could not be started: {problem.message}.") from None
        for _ in range(TRIES):
            if wish.name is not None and await self._is_taken(caller, wish.name):
                raise StepFailed(ALREADY_EXISTS, f"The process id {wish.name!r} belongs to another execution.")
            try:
                reply = await self._trigger_once(caller, child, start)
            except EngineFailed:
                raise
            except Unavailable as problem:
                raise StepFailed(RUNTIME, f"The child could not be started: {problem.message}.") from None
            if not isinstance(reply, ClaimConflict):
                return
        raise StepFailed(ALREADY_EXISTS, f"The process id {wish.name!r} is claimed by others again and again.")

    def _trigger_once(self, caller: Caller, child: bytes, start: Start) -> asyncio.Future[CommandReply]:
        request = from_inside(child, start.command(caller), caller.actor)
        request.organization_id, request.workspace_id = caller.organization_id, caller.workspace_id
        request.machine = start.found.machine
        request.process_id = start.claim(caller, child, self._node.random(16))
        return self._node.processor.submit(request)

    async def _is_taken(self, caller: Caller, name: str) -> bool:
        """Whether an execution has this process id; not the child, which has not been started."""
        row = await self._store.process_id(caller.organization_id, caller.workspace_id, name)
        return row is not None or await implied(self._store, caller, name) is not None

    async def _called(self, hot: HotStream, parent: Parent) -> Called | None:
        """What the task's state calls by name, if that was settled when its version was published."""
        state: State = hot.state
        calls = await self._calls.recorded(ids.parse(state.workflow), state.workflow_version)
        return calls.get(parent.state)

    async def _target(self, caller: Caller, target: str, called: Called | None) -> Published:
        """The version of a workflow of the parent's workspace that is meant: the `called` one, whatever its name is.

        That was found by whoever published the parent's version; any other is found by whoever wrote it.
        """
        if called is not None:
            said = f"{target!r} means the workflow that had this name when the calling version was published"
            return await self._runnable(caller, ids.parse(called.workflow), called.version, said)
        for name, version in readings_of(target):
            rows = await named(self._store, caller, name)
            if len(rows) > 1:
                raise StepFailed(INVALID_ARN, f"There are several workflows named {name!r}: name one by its id.")
            if rows:
                return await self._runnable(caller, rows[0].workflow_id, version)
        raise StepFailed(DOES_NOT_EXIST, f"There is no workflow {target!r} in the workspace of the execution.")

    async def _runnable(
        self, caller: Caller, workflow_id: bytes, version: int | None, said: str | None = None
    ) -> Published:
        try:
            return await self._workflows.runnable(caller, workflow_id, version)
        except NotFound as problem:
            raise StepFailed(DOES_NOT_EXIST, _explained(problem.message, said)) from None
        except Conflict as problem:
            row = await self._workflows.workflow(caller, workflow_id)
            error = DELETING if row.status == "archived" else DOES_NOT_EXIST
            raise StepFailed(error, _explained(problem.message, said)) from None

    # --- ends ----------------------------------------------------------------------------------------------------

    async def _tell(self, lane: _Lane, parent: Parent) -> None:
        """Complete the task that awaits the child, if the child is over."""
        if lane.has_told or not parent.is_awaited:
            return
        row = await self._store.execution(ids.parse(lane.child))
        if row is None or row.ended_at is None:
            return
        ended = await self._ended(row, row.ended_at)
        await self._complete(parent, outcome_for(ended, parent.pattern, self._node.limits.payload_max_bytes))
        lane.has_told = True

    async def _ended(self, row: ExecutionRow, ended_at: int) -> Ended:
        view = (await self._reading.views([row]))[0]
        return Ended(
            execution_id=ids.text(row.execution_id),
            name=view.process_id,
            workflow_id=ids.text(row.workflow_id),
            status=row.status,
            started_at=row.created_at,
            ended_at=ended_at,
            input=view.input,
            output=view.output,
            error=view.error,
            cause=view.cause,
        )

    async def _complete(self, parent: Parent, outcome: c.TaskSuccess | c.TaskFailure) -> None:
        command = c.CompleteTask(parent.scope, parent.state, parent.seq, parent.attempt, parent.visit, outcome)
        await self._node.sender.send(ids.parse(parent.execution), command)

    async def _end(self, child: str, parent: str) -> None:
        """Terminate a child, unless it never began or is over: a refusal in its log would mean nothing."""
        row = await self._store.execution(ids.parse(child))
        if row is None or row.ended_at is not None:
            return
        reason = f"Terminated with the task of execution {parent} that awaited it."
        request = from_inside(row.execution_id, c.Terminate(reason), _actor(parent))
        reply = await self._node.processor.submit(request)
        if isinstance(reply, Rejected):
            _log.info("child_was_over", execution_id=child, parent_execution_id=parent)

    async def _follow_parent(self, hot: HotStream, wanted: fx.FollowParent) -> None:
        parent = wanted.parent
        parent_id = ids.parse(parent.execution)
        row = await self._store.stream(parent_id)
        task = None if row is None else (await self._state(row)).task(parent.scope)
        if (task is not None and task.seq == parent.seq) or await self._was_answered(parent):
            return
        await self._end(hot.text, parent.execution)

    async def _was_answered(self, parent: Parent) -> bool:
        """Whether the task's token ended it: then nobody has given the child up."""
        row = None if parent.wait is None else await self._store.wait(ids.parse(parent.wait))
        return row is not None and row.outcome in ("resumed", "failed")

    async def _state(self, row: StreamRow) -> State:
        """The state of an execution as it is on disk; many children of one parent ask for it at once."""
        async with self._folding:
            if self._folded is None or self._folded.row != row:
                self._folded = await self._loader.from_snapshot(row) or await self._loader.from_the_start(row)
            state: State = self._folded.state
            return state


def _explained(message: str, said: str | None) -> str:
    return message if said is None else f"{message} ({said})"


def _check_name(wish: Wanted) -> None:
    if wish.name is None:
        return
    try:
        check_process_id(wish.name)
    except Invalid as problem:
        raise StepFailed(INVALID_NAME, problem.message) from None


def _acting(parent: HotStream) -> Caller:
    """The parent as a caller, in the workspace that its children are in too."""
    if parent.workspace_id is None:
        message = f"execution {parent.text} is in no workspace"
        raise TypeError(message)
    live = parent.state.live
    return Caller(
        parent.organization_id,
        parent.workspace_id,
        _actor(parent.text),
        live_workspace_id=None if live is None else ids.parse(live),
    )


def _actor(parent: str) -> str:
    return f"execution:{parent}"
