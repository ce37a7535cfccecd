"""`evolve`: one event's change of state; `replay`: the fold over many.

They copy what events carry. They compute, validate and read nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, cast

from msgspec.structs import replace

from engine.core import events as e
from engine.core.refs import Ref
from engine.core.state import (
    TOP,
    EndedWait,
    Frame,
    InTask,
    InTimer,
    InWait,
    Phase,
    State,
    initial_state,
    open_wait,
    visit_key,
)
from engine.core.transitions import IllegalTransition, Status, may_follow


class OutOfOrder(Exception):
    """The events do not follow each other by 1: the log is damaged, or read wrongly."""


def replay(events: Iterable[e.Recorded], state: State | None = None) -> State:
    """Fold events, in order, from the beginning or from a snapshot's state."""
    state = state or initial_state()
    for recorded in events:
        state = evolve(state, recorded)
    return state


def evolve(state: State, recorded: e.Recorded) -> State:
    """The state after one more event. `state` itself is left as it is.

    Raises `OutOfOrder` unless the event is the next one, `IllegalTransition` if the table does not allow it.
    """
    if recorded.seq != state.seq + 1:
        message = f"event {recorded.seq} follows event {state.seq}"
        raise OutOfOrder(message)
    name = type(recorded.event).__name__
    allowed = may_follow(state.status, name)
    after = replace(state, seq=recorded.seq, recorded_at=recorded.recorded_at)
    if name != "CommandRefused" and not recorded.actor.startswith("engine:"):
        after.modified_by = recorded.actor
    _EVOLVE[name](after, recorded.event, recorded)
    if after.status not in allowed:
        raise IllegalTransition(state.status, name, after.status)
    return after


# --- frames ------------------------------------------------------------------------------------------------------


def _put(state: State, scope: str, frame: Frame) -> None:
    state.frames = {**state.frames, scope: frame}
    if scope == TOP:
        state.current = frame.state
    state.status = _status(state.frames)


def _status(frames: dict[str, Frame]) -> Status:
    """`waiting` if every frame is in an open wait and no step of it is under way."""
    for frame in frames.values():
        if not isinstance(frame.phase, InWait):
            return "running"
    return "waiting"


def _task(state: State, scope: str) -> InTask:
    return cast("InTask", state.frames[scope].phase)  # of anything else, `replace` cannot set a task's fields


def _stay(state: State, scope: str, phase: Phase | None) -> None:
    frame = state.frames[scope]
    _put(state, scope, Frame(frame.state, frame.input, frame.entered_at, phase))


def _leave(state: State, scope: str, output: Ref | None, following: str | None) -> None:
    """Leave a state: on to the next one, or stop at the end of the scope with `output` as its output."""
    frame = state.frames[scope]
    if output is None:  # it could not be computed: the failure is the next event
        _put(state, scope, Frame(frame.state, frame.input, frame.entered_at))
        return
    if scope == TOP:
        state.output = output
    _put(state, scope, Frame(following or frame.state, output, state.recorded_at))


def _visit(state: State, scope: str, name: str, count: int) -> None:
    state.visits = {**state.visits, visit_key(scope, name): count}


def _end_wait(state: State, scope: str, outcome: Any) -> None:
    frame = state.frames[scope]
    wait = open_wait(frame.phase)
    if wait is None:
        return
    others = {name: ended for name, ended in state.ended_waits.items() if name != frame.state}
    state.ended_waits = {**others, frame.state: EndedWait(wait.wait, frame.state, outcome)}


def _end(state: State, status: Status) -> None:
    for scope in state.frames:
        _end_wait(state, scope, "cancelled")
    state.frames = {}
    state.ended_at = state.recorded_at
    state.status = status


# --- one function an event ---------------------------------------------------------------------------------------


def _execution_started(state: State, event: e.ExecutionStarted, recorded: e.Recorded) -> None:
    state.started_at = recorded.recorded_at
    state.workspace = event.workspace
    state.workflow = event.workflow
    state.workflow_version = event.workflow_version
    state.definition_sha256 = event.definition_sha256
    state.trigger = event.trigger
    state.input = event.input
    _put(state, TOP, Frame(event.start_at, event.input, recorded.recorded_at))


def _state_passed(state: State, event: e.StatePassed, _: e.Recorded) -> None:
    _leave(state, event.scope, event.output, event.next)


def _task_scheduled(state: State, event: e.TaskScheduled, recorded: e.Recorded) -> None:
    wait = open_wait(state.frames[event.scope].phase) if event.wait else None
    _visit(state, event.scope, event.state, event.visit)
    _stay(
        state,
        event.scope,
        InTask(recorded.seq, event.resource, event.parameters, event.attempt, wait),
    )


def _task_succeeded(state: State, event: e.TaskSucceeded, _: e.Recorded) -> None:
    _leave(state, event.scope, event.output, event.next)


def _task_submitted(state: State, event: e.TaskSubmitted, _: e.Recorded) -> None:
    _stay(state, event.scope, open_wait(state.frames[event.scope].phase))


def _task_failed(state: State, event: e.TaskFailed, _: e.Recorded) -> None:
    _end_wait(state, event.scope, "cancelled")
    _stay(state, event.scope, None)


def _task_interrupted(state: State, event: e.TaskInterrupted, _: e.Recorded) -> None:
    task = _task(state, event.scope)
    counted = replace(task, deaths=event.deaths, deaths_alone=event.deaths_alone, is_held=event.is_held)
    _stay(state, event.scope, counted)


def _task_redispatched(state: State, event: e.TaskRedispatched, _: e.Recorded) -> None:
    _stay(state, event.scope, replace(_task(state, event.scope), is_held=False))


def _wait_opened(state: State, event: e.WaitOpened, recorded: e.Recorded) -> None:
    _visit(state, event.scope, event.state, event.visit)
    _stay(state, event.scope, InWait(recorded.seq, event.wait, recorded.recorded_at))


def _wait_resumed(state: State, event: e.WaitResumed, _: e.Recorded) -> None:
    _end_wait(state, event.scope, "resumed")
    _leave(state, event.scope, event.output, event.next)


def _timer_set(state: State, event: e.TimerSet, recorded: e.Recorded) -> None:
    _stay(state, event.scope, InTimer(recorded.seq, event.due_at))


def _timer_fired(state: State, event: e.TimerFired, _: e.Recorded) -> None:
    _leave(state, event.scope, event.output, event.next)


def _execution_succeeded(state: State, event: e.ExecutionSucceeded, _: e.Recorded) -> None:
    state.output = event.output
    _end(state, "completed")


def _execution_failed(state: State, event: e.ExecutionFailed, _: e.Recorded) -> None:
    state.error, state.error_ref, state.cause = event.error, event.error_ref, event.cause
    state.output = None
    _end(state, "failed")


def _execution_terminated(state: State, event: e.ExecutionTerminated, _: e.Recorded) -> None:
    state.cause = event.reason
    state.output = None
    _end(state, "terminated")


def _execution_quarantined(state: State, _event: e.ExecutionQuarantined, _: e.Recorded) -> None:
    state.is_quarantined = True


def _command_refused(state: State, event: e.CommandRefused, _: e.Recorded) -> None:
    state.refusals = event.count


def _result_ignored(_state: State, _event: e.ResultIgnored, _: e.Recorded) -> None:
    """Nothing changes: that is the point of it."""


_EVOLVE: dict[str, Callable[[State, Any, e.Recorded], None]] = {
    "ExecutionStarted": _execution_started,
    "StatePassed": _state_passed,
    "TaskScheduled": _task_scheduled,
    "TaskSucceeded": _task_succeeded,
    "TaskSubmitted": _task_submitted,
    "TaskFailed": _task_failed,
    "TaskInterrupted": _task_interrupted,
    "TaskRedispatched": _task_redispatched,
    "WaitOpened": _wait_opened,
    "WaitResumed": _wait_resumed,
    "TimerSet": _timer_set,
    "TimerFired": _timer_fired,
    "ExecutionSucceeded": _execution_succeeded,
    "ExecutionFailed": _execution_failed,
    "ExecutionTerminated": _execution_terminated,
    "ExecutionQuarantined": _execution_quarantined,
    "CommandRefused": _command_refused,
    "ResultIgnored": _result_ignored,
}
