"""Tasks: calling steps, and bringing back what they give.

A step runs once its `TaskScheduled` is on disk. It may run again after a crash, under the same idempotency key; its
result is recorded at most once.
"""

from __future__ import annotations

import asyncio
import contextvars
import sys
from collections import deque
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, Protocol

import structlog

from engine.core.commands import CompleteTask, Failed, Succeeded
from engine.core.effects import RunTask
from engine.runtime.bound import bind_step, current_request, described
from engine.runtime.hot import HotStream
from engine.steps import Registry, Step, StepContext
from engine.steps.invoke import Call, call_for, failure_of

_log = structlog.get_logger("perdure.tasks")

Complete = Callable[[HotStream, CompleteTask], None]


class TaskRunner(Protocol):
    """What calls steps: `Tasks`, or in virtual time whoever is asked for their outcomes."""

    def run(self, hot: HotStream, task: RunTask) -> None:
        """Call the task's step, and complete it some time later, never within this call."""
        ...

    def cancel(self, hot: HotStream, seq: int) -> None:
        """Stop the step that was called for the `TaskScheduled` of that seq, if it can be; nobody waits for it."""
        ...

    @property
    def running(self) -> int:
        """How many steps run now."""
        ...

    async def close(self, grace_s: float) -> None:
        """Start nothing more, and bring what runs to an end within about `grace_s` seconds."""
        ...


class Tasks:
    """The steps that run now, at most `limit` at once; plain functions run in `threads` threads."""

    def __init__(self, registry: Registry, complete: Complete, *, limit: int = 1000, threads: int = 32) -> None:
        self._registry = registry
        self._complete = complete
        self._limit = limit
        self._threads: Final = ThreadPoolExecutor(threads, thread_name_prefix="perdure-step")
        self._waiting: deque[tuple[contextvars.Context, HotStream, RunTask]] = deque()
        self._running: dict[tuple[bytes, int], asyncio.Task[None]] = {}
        self._is_closing = False

    def run(self, hot: HotStream, task: RunTask) -> None:
        """Call the task's step, now or when there is room."""
        if not self._waiting and len(self._running) < self._limit and not self._is_closing:
            self._start(hot, task)
        else:
            # Room will be made by another execution's step, whose context is not this one's.
            self._waiting.append((contextvars.copy_context(), hot, task))

    def cancel(self, hot: HotStream, seq: int) -> None:
        """Stop a step, or never start it; that it was cancelled is recorded as an ignored result.

        A plain function goes on in its thread, to nobody's use.
        """
        job = self._running.get((hot.stream_id, seq))
        if job is not None:
            job.cancel()
            return
        waiting = [item for item in self._waiting if (item[1].stream_id, item[2].seq) != (hot.stream_id, seq)]
        if len(waiting) < len(self._waiting):
            self._waiting = deque(waiting)

    def _fill(self) -> None:
        while self._waiting and len(self._running) < self._limit and not self._is_closing:
            context, hot, task = self._waiting.popleft()
            context.run(self._start, hot, task)

    def _start(self, hot: HotStream, task: RunTask) -> None:
        try:
            call = call_for(task.resource, task.parameters)
        except Exception as problem:  # noqa: BLE001 only parameters can be wrong here: the resource was checked at creation
            self._finish(hot, task, failure_of(problem))
            return
        step = self._registry.get(call.step_name)
        if step is None:
            self._on_missing(hot, task, call)
            return
        job = _task(self._work(hot, task, step, call))
        if not job.done():
            self._running[hot.stream_id, task.seq] = job

    def _on_missing(self, hot: HotStream, task: RunTask, call: Call) -> None:
        """Deal with a step that this node does not have.

        One that the run itself names (`lambda:invoke`) is its error; one of the definition is a mistake of whoever
        started this node, and the task waits for the next start.
        """
        if call.wrap is not None:
            cause = f"no step is registered under the name {call.step_name!r}"
            self._finish(hot, task, Failed("Lambda.ResourceNotFoundException", cause))
            return
        _log.error(
            "step_missing", step=call.step_name, **described(hot), state=task.state, request_id=current_request()
        )

    async def _work(self, hot: HotStream, task: RunTask, step: Step, call: Call) -> None:
        bind_step(hot, task.state)
        context = StepContext(hot.text, task.state, task.attempt, task.idempotency_key, task.wait)
        outcome: Succeeded | Failed
        try:
            value = step.call(call.input, context) if step.is_async else self._in_thread(step, call.input, context)
            outcome = call.outcome(await value)
        except asyncio.CancelledError:
            if self._is_closing:
                raise  # nothing is recorded: the task is dispatched again at the next start
            outcome = Failed("States.TaskFailed", "the step was cancelled")
        except (Exception, SystemExit) as problem:  # noqa: BLE001 other people's code
            _log.warning("step_failed", **described(hot), state=task.state, exc_info=problem)
            outcome = failure_of(problem)
        finally:
            self._make_room(hot, task)
        self._finish(hot, task, outcome)

    def _in_thread(self, step: Step, value: Any, context: StepContext) -> asyncio.Future[Any]:
        run = contextvars.copy_context().run
        return asyncio.get_running_loop().run_in_executor(self._threads, lambda: run(step.call, value, context))

    def _finish(self, hot: HotStream, task: RunTask, outcome: Succeeded | Failed) -> None:
        self._complete(hot, CompleteTask(task.scope, task.state, task.seq, task.attempt, task.visit, outcome))

    def _make_room(self, hot: HotStream, task: RunTask) -> None:
        """A step has ended. A callback of its asyncio task would cost a turn of the loop."""
        self._running.pop((hot.stream_id, task.seq), None)
        if self._waiting:
            self._fill()

    @property
    def running(self) -> int:
        """How many steps run now."""
        return len(self._running)

    async def close(self, grace_s: float) -> None:
        """Start nothing more, give what runs `grace_s` seconds to end, then cancel it."""
        self._is_closing = True
        self._waiting.clear()
        if self._running:
            await asyncio.wait(self._running.values(), timeout=grace_s)
        for job in self._running.values():
            job.cancel()
        if self._running:
            await asyncio.wait(self._running.values(), timeout=1)
        self._threads.shutdown(wait=False, cancel_futures=True)


def _task(work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
    """A task that runs to its first suspension at once where Python can do that: many steps never suspend."""
    loop = asyncio.get_running_loop()
    if sys.version_info >= (3, 12):
        return asyncio.Task(work, loop=loop, eager_start=True)
    return loop.create_task(work)
