"""Changes of tasks, made by `evolve`: called, queued, submitted, beating, interrupted.

All functions change the copy of the state that `evolve` is making. How a task ends is not here: its state is left then,
or fails, as any state does.
"""

from __future__ import annotations

from typing import cast

from msgspec.structs import replace

from perdure.engine.core import events as e
from perdure.engine.core.frames import put, stay
from perdure.engine.core.state import InTask, InWait, Queued, State, Timer


def task_scheduled(state: State, event: e.TaskScheduled, recorded: e.Recorded) -> None:
    """A task waits to be called, or is called: its frame is in that task from here on.

    The event includes entering the state, unless this is another attempt. Its seq is the task's name in the stream: an
    outcome that names another one comes late, and is ignored.
    """
    scope, seq = event.scope, recorded.seq
    frame = state.frames[scope]
    before = frame.phase
    # A wait that goes with it was opened by the event before, with a timer for both. It passes on to the task, which is
    # the frame's phase from here on; a timer that no phase holds is void (`frames.put`).
    timer = before.timer if event.wait is not None and before is not None else None
    if event.due_at is not None:
        timer = seq
        state.timers = state.timers.set(seq, Timer(scope, event.due_at, event.due_at))
    called_at = recorded.recorded_at
    task = InTask(
        seq, event.resource, event.attempt, event.wait, timer, event.child, event.is_awaited, called_at=called_at
    )
    visits = frame.visits.set(event.state, event.visit)
    entry = frame.entry or state.told + 1
    called = replace(frame, phase=task, entry=entry, parameters=event.parameters, visits=visits)
    put(state, scope, frame, called)


def task_queued(state: State, event: e.TaskQueued, _: e.Recorded) -> None:
    """A task waits for a slot.

    Steps that run at once are limited, and a step that was never called must not time out as if it had run.
    """
    # Its timer goes, and what was left of it is kept: no limit runs while it waits for its turn.
    task = _task(state, event.scope)
    _call_by(state, event.scope, replace(task, timer=None, queued=Queued(event.left_ms, event.heartbeat_ms)), None)


def task_started(state: State, event: e.TaskStarted, recorded: e.Recorded) -> None:
    """A task that had waited for a slot is called: its limits run anew, with what was left of them."""
    task = replace(_task(state, event.scope), timer=None, queued=None, called_at=recorded.recorded_at)
    if event.due_at is None:
        _call_by(state, event.scope, task, None)
        return
    due_at = event.due_at if event.heartbeat_due_at is None else event.heartbeat_due_at
    state.timers = state.timers.set(recorded.seq, Timer(event.scope, due_at, event.due_at, event.heartbeat_ms))
    _call_by(state, event.scope, replace(task, timer=recorded.seq), due_at)


def task_submitted(state: State, event: e.TaskSubmitted, _: e.Recorded) -> None:
    """The step of a task has returned, and the task goes on without it: by its token, or as a child."""
    task = _task(state, event.scope)
    if task.wait is None or task.is_awaited:  # a child runs
        stay(state, event.scope, replace(task, is_submitted=True))
        return
    # The step has done its part: from here on it is a wait like one that was opened without a step. The timer is kept.
    opened = state.waits[task.wait]
    stay(state, event.scope, InWait(opened.seq, task.wait, task.attempt, task.timer))


def task_heartbeat(state: State, event: e.TaskHeartbeat, _: e.Recorded) -> None:
    """A task is alive: its heartbeat is due later."""
    # The timer keeps its name, that of the event which set it. Whoever was to wake at the earlier instant comes then,
    # and finds that it is not due yet.
    phase = state.frames[event.scope].phase
    name = cast("int", phase and phase.timer)
    state.timers = state.timers.set(name, replace(state.timers[name], due_at=event.due_at))
    state.waits = state.waits.set(event.wait, replace(state.waits[event.wait], due_at=event.due_at))


def task_interrupted(state: State, event: e.TaskInterrupted, recorded: e.Recorded) -> None:
    """The process has died while a task ran.

    One that was there at several deaths is a suspect: it is held until it can run with few others beside it.
    """
    # It is called again right after this, unless it is held; either way its time is counted from here.
    task = replace(
        _task(state, event.scope),
        deaths=event.deaths,
        deaths_alone=event.deaths_alone,
        deaths_watched=event.deaths_watched,
        is_held=event.is_held,
        beside=0,
        called_at=recorded.recorded_at,
    )
    stay(state, event.scope, task)


def task_redispatched(state: State, event: e.TaskRedispatched, recorded: e.Recorded) -> None:
    """A held task has its turn."""
    task = _task(state, event.scope)
    stay(state, event.scope, replace(task, is_held=False, beside=event.beside, called_at=recorded.recorded_at))


def _call_by(state: State, scope: str, task: InTask, due_at: int | None) -> None:
    """Set the time limit of a task anew, and of the wait that goes with it: callers are shown when that is due."""
    stay(state, scope, task)
    if task.wait is not None:
        state.waits = state.waits.set(task.wait, replace(state.waits[task.wait], due_at=due_at))


def _task(state: State, scope: str) -> InTask:
    """The task that a scope is in."""
    return cast("InTask", state.frames[scope].phase)  # of anything else, `replace` cannot set a task's fields
