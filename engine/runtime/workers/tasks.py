"""Tasks: calls steps, and sends their outcomes to the processor.

A step runs once its `TaskScheduled` is on disk. It may run again after a crash, under the same idempotency key; its
result is recorded at most once.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import sys
from collections.abc import Callable, Coroutine
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Final, NamedTuple, Protocol

import structlog

from perdure.engine.core.commands import CompleteTask, TaskFailure, TaskSuccess
from perdure.engine.core.effects import RunTask
from perdure.engine.limits import Limits
from perdure.engine.runtime.clock import Clock
from perdure.engine.runtime.streams.stream import HotStream
from perdure.engine.runtime.telemetry.request_context import bind_step, current_request
from perdure.engine.runtime.workers.sandbox import SandboxSteps
from perdure.engine.runtime.workers.step_slots import StepSlots, TaskKey, Tenant
from perdure.engine.runtime.workers.turns import Send, Turns
from perdure.engine.steps import Registry, Step, StepContext, StepFailed
from perdure.engine.steps.invoke import StepCall, call_for, called_of, failure_of

_log = structlog.get_logger("perdure.tasks")

Complete = Callable[[HotStream, CompleteTask], None]


class TaskRunner(Protocol):
    """Runs steps: `Tasks`, or in a simulation its source of outcomes."""

    def run(self, hot: HotStream, task: RunTask) -> None:
        """Call the task's step, and complete it some time later, never within this call."""
        ...

    def cancel(self, hot: HotStream, seq: int) -> bool:
        """Stop the step that was called for the `TaskScheduled` of that seq, if it can be; whether it tells its end."""
        ...

    def knows(self, key: TaskKey) -> bool:
        """Whether the step of that `TaskScheduled` runs here, or waits for a slot."""
        ...

    def withhold(self, stream_id: bytes) -> None:
        """Call none of the execution's steps that wait for a slot, and record that they wait: it is paused."""
        ...

    def call_withheld(self, stream_id: bytes) -> None:
        """Let the execution's steps that were withheld wait for a slot again."""
        ...

    def halt(self) -> None:
        """Call no more steps: the engine has failed. What runs goes on, and its outcome is dropped."""
        ...

    @property
    def running(self) -> int:
        """The number of steps that run now."""
        ...

    async def close(self, grace_s: float) -> None:
        """Start nothing more, and bring what runs to an end within about `grace_s` seconds."""
        ...


class _Work(NamedTuple):
    """A step to be called. It is called in a context of its own: whoever makes room for it is somebody else."""

    hot: HotStream
    task: RunTask
    step: Step
    call: StepCall
    context: contextvars.Context
    is_simulated: bool = False


class Tasks:
    """The steps that run now: async ones on the loop and plain functions in threads, as many as the limits say.

    A step has its place from its start to its end, which is when its asyncio task, or its thread, is done: what is
    cancelled before its first turn runs no line of its own that could give the place back.
    """

    def __init__(
        self,
        registry: Registry,
        complete: Complete,
        send: Send,
        clock: Clock,
        limits: Limits,
        sandbox: SandboxSteps,
    ) -> None:
        self._sandbox = sandbox
        self._payload_max: Final = limits.payload_max_bytes
        self._registry = registry
        self._complete = complete
        self._threads: Final = ThreadPoolExecutor(limits.step_threads, thread_name_prefix="perdure-step")
        self._on_loop: Final = StepSlots(limits.steps_max, self._start)
        self._in_threads: Final = StepSlots(limits.step_threads, self._start)
        self._turns: Final = Turns(send, clock, self._on_not_started)
        self._starting: dict[TaskKey, _Work] = {}
        self._withheld: dict[bytes, dict[TaskKey, _Work]] = {}
        self._jobs: dict[TaskKey, asyncio.Task[None]] = {}
        self._keys: dict[asyncio.Task[None], TaskKey] = {}
        self._ended: Final = self._on_ended  # one for all: a closure for each would be four objects for the collector
        self._is_closing = False

    def run(self, hot: HotStream, task: RunTask) -> None:
        """Call the task's step, now or when there is room; one that is called already is not called again."""
        if self._is_closing:
            return
        key = TaskKey(hot.stream_id, task.seq)
        work = self._starting.pop(key, None)
        if work is not None and not task.is_queued:  # that it starts has been recorded
            self._begin(key, work._replace(hot=hot, task=task))
            return
        if work is not None:  # its start was refused, as its run was paused: it waits for a slot again
            self._places(work.step).leave(key)
        try:
            call = call_for(task.resource, task.parameters)
        except Exception as problem:  # noqa: BLE001 only parameters can be wrong here: the resource was checked at creation
            self._finish(hot, task, failure_of(problem))
            return
        step = self._registry.get(call.step_name)
        if step is None:
            self._on_missing(hot, task, call)
            return
        simulated = self._sandbox.instead_of(step, call.parameters, hot.state)
        step = simulated or step
        places = self._places(step)
        if places.knows(key):
            if places.is_queued(key) and not task.is_queued:  # what was said of it may have been refused
                self._turns.wait(key, task.scope, is_queued=False)
            return
        tenant = Tenant(hot.state.workspace, hot.state.workflow)
        context = contextvars.copy_context()
        context.run(bind_step, hot.described(), task.state)
        if task.is_queued:
            self._turns.wait(key, task.scope, is_queued=True)
        places.enter(key, tenant, _Work(hot, task, step, call, context, simulated is not None))
        if places.is_queued(key) and not task.is_queued:
            self._turns.wait(key, task.scope, is_queued=False)

    def cancel(self, hot: HotStream, seq: int) -> bool:
        """Stop a step, or never start it; that it was cancelled is recorded as an ignored result.

        A plain function goes on in its thread, to nobody's use.
        """
        key = TaskKey(hot.stream_id, seq)
        job = self._jobs.get(key)
        if job is not None:
            return job.cancel()
        if key in self._starting:
            self._on_not_started(key)
        else:
            self._turns.forget(key)
            if self._on_loop.forget(key) is None and self._in_threads.forget(key) is None:
                self._forget_withheld(key)
        return False

    def _forget_withheld(self, key: TaskKey) -> None:
        withheld = self._withheld.get(key.stream_id)
        if withheld is not None and withheld.pop(key, None) is not None and not withheld:
            del self._withheld[key.stream_id]

    def withhold(self, stream_id: bytes) -> None:
        """Take the steps of an execution out of the queues, and record of each that it waits: it is paused.

        That it waits is recorded of those too for which no slot is looked for here.
        """
        withheld = self._withheld.setdefault(stream_id, {})
        for places in (self._on_loop, self._in_threads):
            for key in places.queued_of(stream_id):
                work = places.forget(key)
                if work is not None:
                    withheld[key] = work
        self._turns.report_all(stream_id)
        if not withheld:
            del self._withheld[stream_id]

    def call_withheld(self, stream_id: bytes) -> None:
        """Put the steps that were withheld back into the queues; what was recorded of them stays so."""
        for key, work in self._withheld.pop(stream_id, {}).items():
            places = self._places(work.step)
            if not places.knows(key):
                places.enter(key, Tenant(work.hot.state.workspace, work.hot.state.workflow), work)
                if places.is_queued(key):
                    self._turns.wait_again(key, work.task.scope)

    def knows(self, key: TaskKey) -> bool:
        """Whether the step of that `TaskScheduled` runs here, or waits for a slot."""
        return self._on_loop.knows(key) or self._in_threads.knows(key)

    # --- one step ------------------------------------------------------------------------------------------------

    def _places(self, step: Step) -> StepSlots[_Work]:
        return self._on_loop if step.is_async else self._in_threads

    def _start(self, key: TaskKey, work: _Work) -> None:
        """Call a step that has a slot; if it was recorded as queued, its start is recorded first."""
        if self._turns.is_recorded(key):
            self._starting[key] = work
            work.context.copy().run(self._turns.start, key, work.task.scope)
        else:
            self._begin(key, work)

    def _on_not_started(self, key: TaskKey) -> None:
        """Free the slot of a step that is not called, as its task has ended meanwhile."""
        work = self._starting.pop(key, None)
        if work is not None:
            self._places(work.step).leave(key)

    def _begin(self, key: TaskKey, work: _Work) -> None:
        """Call the step. If that cannot even be begun (no memory, no thread) its task fails, and its place is free."""
        try:
            if work.step.is_async:
                self._begin_on_loop(key, work)
            else:
                self._begin_in_thread(key, work)
        except Exception as problem:  # noqa: BLE001 whatever ends it ends its task
            _note(work, problem)
            self._places(work.step).leave(key)
            self._finish(work.hot, work.task, failure_of(problem))

    def _begin_on_loop(self, key: TaskKey, work: _Work) -> None:
        job = _task(self._work(work, None), work.context)
        if job.done():
            self._on_loop.leave(key)
            return
        self._jobs[key] = job
        self._keys[job] = key
        job.add_done_callback(self._ended)

    def _on_ended(self, job: asyncio.Task[None]) -> None:
        key = self._keys.pop(job)
        del self._jobs[key]
        self._on_loop.leave(key)

    def _begin_in_thread(self, key: TaskKey, work: _Work) -> None:
        loop = asyncio.get_running_loop()
        calling = _Calling(work)
        try:
            running: Future[Any] = self._threads.submit(calling)
        except BaseException:  # no thread could be started; but it is queued, and an older thread would come to it
            calling.is_off = True
            raise
        job = _task(self._work(work, running), work.context)
        running.add_done_callback(lambda _: _tell(loop, self._in_threads.leave, key))
        if not job.done():
            self._jobs[key] = job
            job.add_done_callback(lambda _: self._jobs.pop(key))

    async def _work(self, work: _Work, running: Future[Any] | None) -> None:
        """Call the step, unless it runs in a thread already, and complete its task."""
        outcome: TaskSuccess | TaskFailure
        try:
            if running is None:
                value = await work.step.call(work.call.input, _context_of(work))
            else:
                value = await asyncio.wrap_future(running)
            outcome = work.call.outcome(value, called_of(work.task.resource, work.task.state), self._payload_max)
            if work.is_simulated and isinstance(outcome, TaskSuccess):
                outcome = TaskSuccess(outcome.result, is_simulated=True)
        except asyncio.CancelledError:
            if self._is_closing:
                raise  # nothing is recorded: the task is dispatched again at the next start
            outcome = TaskFailure("States.TaskFailed", "the step was cancelled")
        except BaseException as problem:  # noqa: BLE001 other people's code: whatever ends it ends its task
            _note(work, problem)
            outcome = failure_of(problem)
        self._finish(work.hot, work.task, outcome)

    def _on_missing(self, hot: HotStream, task: RunTask, call: StepCall) -> None:
        """Deal with a step that this node does not have.

        One that the run itself names (`lambda:invoke`) is its error; one of the definition is a mistake of whoever
        started this node, and the task is queued until a node has the step.
        """
        if call.wrap is not None:
            cause = f"no step is registered under the name {call.step_name!r}"
            self._finish(hot, task, TaskFailure("Lambda.ResourceNotFoundException", cause))
            return
        self._turns.wait(TaskKey(hot.stream_id, task.seq), task.scope, is_queued=task.is_queued)
        _log.error(
            "step_missing", step=call.step_name, **hot.described(), state=task.state, request_id=current_request()
        )

    def _finish(self, hot: HotStream, task: RunTask, outcome: TaskSuccess | TaskFailure) -> None:
        self._complete(hot, CompleteTask(task.scope, task.state, task.seq, task.attempt, task.visit, outcome))

    # --- all of them ---------------------------------------------------------------------------------------------

    @property
    def running(self) -> int:
        """The number of steps that run now."""
        return self._on_loop.held + self._in_threads.held

    @property
    def queued(self) -> int:
        """The number of steps that wait for a slot."""
        return self._on_loop.queued + self._in_threads.queued

    def halt(self) -> None:
        """Call no more steps: the engine has failed. What runs goes on, and its outcome is dropped."""
        self._is_closing = True
        self._turns.close()
        self._on_loop.clear()
        self._in_threads.clear()
        for key in list(self._starting):
            self._on_not_started(key)

    async def close(self, grace_s: float) -> None:
        """Start nothing more, give what runs `grace_s` seconds to end, then cancel it."""
        self.halt()
        if self._jobs:
            await asyncio.wait(list(self._jobs.values()), timeout=grace_s)
        for job in self._jobs.values():
            job.cancel()
        if self._jobs:
            await asyncio.wait(list(self._jobs.values()), timeout=1)
        self._threads.shutdown(wait=False, cancel_futures=True)


class _Calling:
    """The call of a plain step, for a thread; none if it is called off before."""

    def __init__(self, work: _Work) -> None:
        self._work = work
        self.is_off = False

    def __call__(self) -> Any:
        work = self._work
        return None if self.is_off else work.context.copy().run(work.step.call, work.call.input, _context_of(work))


def _context_of(work: _Work) -> StepContext:
    task = work.task
    hot = work.hot
    return StepContext(
        hot.text, task.state, task.attempt, task.idempotency_key, task.wait, workspace_id=hot.state.workspace
    )


def _note(work: _Work, problem: BaseException) -> None:
    """A line for a step that failed; what it says of its own accord is no defect, and needs no traceback."""
    told = {**work.hot.described(), "state": work.task.state}
    if isinstance(problem, StepFailed):
        _log.warning("step_failed", **told, error=str(problem))
    else:
        _log.warning("step_failed", **told, exc_info=problem)


def _tell(loop: asyncio.AbstractEventLoop, function: Callable[[TaskKey], None], key: TaskKey) -> None:
    """Call a function on the loop, from a thread; a loop that is closed has nobody to be told."""
    with contextlib.suppress(RuntimeError):
        loop.call_soon_threadsafe(function, key)


def _task(work: Coroutine[Any, Any, None], context: contextvars.Context) -> asyncio.Task[None]:
    """A task that runs to its first suspension at once where Python can do that: many steps never suspend."""
    loop = asyncio.get_running_loop()
    if sys.version_info >= (3, 12):
        return asyncio.Task(work, loop=loop, eager_start=True, context=context)
    return loop.create_task(work, context=context)
