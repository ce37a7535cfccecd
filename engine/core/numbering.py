"""Numbering of the events in AWS's execution history: causes name the one with which their state was entered.

`engine.history.states_history` tells a log in that vocabulary; this counts what it tells, event by event, without
telling it, so that a decision knows the number of an entry (a test holds the two together). All functions are given
the copy of the state that `evolve` is making, as it was before the event.

Two things make it more than a sum. AWS tells that a task has *started* after all that was scheduled in the same go, so
these wait in `untold` until an event begins anew. And it tells more of some events than we write (a Pass is two, what
is cancelled below a fork is one each), and less of others.
"""

from __future__ import annotations

from typing import Final

from perdure.engine.core import chance_events as ce
from perdure.engine.core import events as e
from perdure.engine.core import limit_events as le
from perdure.engine.core.dispatch import Dispatch
from perdure.engine.core.pause_events import ExecutionPaused, ExecutionUnpaused
from perdure.engine.core.refs import seq_of
from perdure.engine.core.sandbox_events import TaskSimulated
from perdure.engine.core.state import TOP, Fork, Frame, InFork, InTask, InWait, State, fork_and_index, scope_of
from perdure.engine.core.vocabulary import EXECUTION_EVENTS
from perdure.engine.language.errors import QUERY_EVALUATION_ERROR, RUNTIME
from perdure.engine.language.model.resources import WAIT

_FROM_OUTSIDE: Final = frozenset(
    {
        e.TaskQueued,
        e.TaskStarted,
        e.TaskSubmitted,
        e.TaskSucceeded,
        e.TaskFailed,
        e.TaskTimedOut,
        e.TaskHeartbeat,
        e.WaitResumed,
        e.WaitExpired,
        e.TimerFired,
    }
)


def begin(state: State, kind: type[e.Event], event: e.Event) -> None:
    """Before an event that starts a new batch of work, count the starts of all tasks scheduled in the batch before."""
    if state.untold and (kind in _FROM_OUTSIDE or (kind is not e.ResultIgnored and getattr(event, "attempt", 0))):
        state.told += state.untold
        state.untold = 0
    if not state.untold:  # what is scheduled from here on belongs to this go
        state.untold_after = state.seq - 1


def count(state: State, kind: type[e.Event], recorded: e.Recorded) -> int:
    """The number of events in AWS's history for this one; 0 for the types in `_UNCOUNTED`."""
    counted = _COUNT.get(kind)
    return 0 if counted is None else counted(state, recorded.event, recorded)


def _one(_state: State, _event: e.Event, _: e.Recorded) -> int:
    """One entry of AWS's history."""
    return 1


def _done(state: State, event: e.TaskSucceeded | e.WaitResumed | e.StateExited, _: e.Recorded) -> int:
    """One event (the result, or the success of a fork), and those that `_left` counts."""
    return 1 + _left(state, event, _)


def _passed(state: State, event: e.StatePassed, _: e.Recorded) -> int:
    """The entry, unless the state failed before a redrive, and those that `_left` counts."""
    return _entry(state, event.scope) + _left(state, event, _)


def _entry(state: State, scope: str) -> int:
    """The entry of the state that a scope is in; none if it was told already, of an attempt before or a redrive."""
    return not state.frames[scope].entry


def _timer_set(state: State, event: e.TimerSet, _: e.Recorded) -> int:
    """The entry of a Wait state."""
    return _entry(state, event.scope)


def _left(
    state: State, event: e.StatePassed | e.TaskSucceeded | e.WaitResumed | e.StateExited | e.TimerFired, _: e.Recorded
) -> int:
    """The exit, and the end of the iteration; none if the output could not be computed."""
    if event.output is None:
        return 0
    is_end = event.next is None and event.scope != TOP
    return 1 + (is_end and _is_iteration(state, event.scope))


def _is_iteration(state: State, scope: str) -> bool:
    """Whether a scope is an iteration of a Map, and not a branch of a Parallel."""
    return state.forks[fork_and_index(scope)[0]].items is not None


def _scheduled(state: State, event: e.TaskScheduled, _: e.Recorded) -> int:
    """The entry, unless it was told already or a wait was opened with it; what is scheduled starts later."""
    state.untold += 1
    return 1 + (event.wait is None and _entry(state, event.scope))


def _unstarted_again(_state: State, _event: e.TaskQueued, _: e.Recorded) -> int:
    """Its start was counted with the tasks of its batch, and it was queued instead: one less from here on."""
    return -1


def _opened(state: State, event: e.WaitOpened, _: e.Recorded) -> int:
    """Of a bare wait AWS would tell that a task was scheduled, started and submitted."""
    is_bare = event.resource == WAIT
    state.untold += 2 * is_bare
    return is_bare + _entry(state, event.scope)


def _forked(state: State, event: e.BranchesStarted | e.MapStarted, _: e.Recorded) -> int:
    """The start of the fork, and the state's entry unless that was told already."""
    return 1 + _entry(state, event.scope)


def _task_failed(state: State, event: e.TaskFailed, _: e.Recorded) -> int:
    """The failure, and what follows it."""
    return 1 + _followed(state, event, is_task=True)


def _timed_out(state: State, event: e.TaskTimedOut | e.WaitExpired, recorded: e.Recorded) -> int:
    """The time-out, those of siblings at the same instant, and what follows."""
    beside = 0
    if event.then is None and event.scope != TOP and state.pause is None:  # if paused, each tells of itself
        fork = state.forks[fork_and_index(event.scope)[0]]
        if fork.failures + 1 > fork.tolerated:
            beside = _due_beside(state, fork, event.scope, _timed_out_at(state, event.scope, recorded))
    return 1 + beside + _followed(state, event, is_task=True)


def _timed_out_at(state: State, scope: str, recorded: e.Recorded) -> int:
    """The instant at which a scope was late: what its timer says, which in the copies of a fork is as in its origin."""
    phase = state.frames[scope].phase
    timer = None if phase is None or phase.timer is None else state.timers.get(phase.timer)
    return recorded.recorded_at if timer is None else timer.due_at


def _due_beside(state: State, fork: Fork, scope: str, at: int) -> int:
    """Timeouts at the same instant in sibling scopes: AWS reports each, and our log has the first one only."""
    frames = [state.frames[other] for index in fork.live if (other := scope_of(fork.seq, index)) != scope]
    return sum(_is_due(state, frame, at) for frame in frames)


def _is_due(state: State, frame: Frame, at: int) -> bool:
    """Whether a time limit of a frame is over at an instant."""
    phase = frame.phase
    if not isinstance(phase, InTask | InWait) or phase.timer is None:
        return False
    timer = state.timers.get(phase.timer)
    return timer is not None and timer.due_at <= at


def _state_failed(state: State, event: e.StateFailed, recorded: e.Recorded) -> int:
    """The failures that AWS tells of a state which failed by itself: of its fork, of an expression, of itself."""
    then = event.then
    is_own = event.cause is not None and seq_of(event.cause) == recorded.seq
    is_over = then is None or (isinstance(then, e.Caught) and then.output is not None)
    is_fork = event.type in {"Parallel", "Map"}
    return (
        event.is_entry
        + (is_own and event.error == QUERY_EVALUATION_ERROR)
        + _aborted(state, state.frames[event.scope])
        + (is_fork and is_over and not (is_own and event.error == RUNTIME))
        + _followed(state, event, is_task=event.type in {"Task", "Wait"})
    )


def _followed(
    state: State, event: e.TaskFailed | e.TaskTimedOut | e.WaitExpired | e.StateFailed, *, is_task: bool
) -> int:
    """The consequence of a failure: the exit by a Catch, or the end of the iteration and of the state in it."""
    if isinstance(event.then, e.Caught):
        return int(event.then.output is not None)
    if event.then is not None or event.scope == TOP:
        return 0
    return is_task + _is_iteration(state, event.scope)


def _aborted(state: State, frame: Frame) -> int:
    """Events for the scopes below a state that has failed: each iteration, and the state that it is in."""
    phase = frame.phase
    if not isinstance(phase, InFork):
        return 0
    fork = state.forks[phase.seq]
    told = 0
    for index in fork.live:
        inner = state.frames[scope_of(fork.seq, index)]
        told += (fork.items is not None) + bool(inner.entry) + _aborted(state, inner)
        state.untold -= _unstarted(state, inner)
    return told


def _unstarted(state: State, frame: Frame) -> int:
    """The events that would have been counted later for a frame that was scheduled in this batch."""
    phase = frame.phase
    if not isinstance(phase, InTask | InWait) or phase.seq <= state.untold_after:
        return 0
    return 1 if isinstance(phase, InTask) else 2


def _ended(state: State, _event: e.Event, _: e.Recorded) -> int:
    """The end, and what was scheduled and has not been told to have started."""
    told, state.untold = 1 + state.untold, 0
    return told


def _execution_failed(state: State, event: e.ExecutionFailed, recorded: e.Recorded) -> int:
    """The end, and before it the failure of the state that caused it, unless an event of its own told that."""
    is_own = event.cause is not None and seq_of(event.cause) == recorded.seq
    if event.state is None or not (is_own or event.entered is not None):
        return _ended(state, event, recorded)
    frame = state.frames[TOP]
    kept = state.fallen.get(TOP, frame)  # of a fork that was left already, and without an output
    is_fork = event.entered in {"Parallel", "Map"} or isinstance(kept.phase, InFork)
    told = (
        (event.entered is not None)
        + (is_own and event.error == QUERY_EVALUATION_ERROR)
        + _aborted(state, frame)
        + (is_fork and not (is_own and event.error == RUNTIME))
    )
    return told + _ended(state, event, recorded)


_UNCOUNTED: Final = frozenset(
    {
        *(e.TaskHeartbeat, e.TaskInterrupted, e.TaskRedispatched, e.ExecutionSucceeded),
        *(e.ExecutionQuarantined, e.ExecutionReleased, e.CommandRefused, e.ResultIgnored),
        *(ce.IterationRedriven, ce.ExecutionForked, TaskSimulated),
        *(ExecutionPaused, ExecutionUnpaused),
        *(le.ExecutionAdmitted, le.ExecutionQueued, le.PlacesReturned, le.RetryDue, le.TimeoutDeferred),
    }
)
"""What AWS tells nothing of, and the end that nothing follows."""

_COUNT: Final = (
    Dispatch[State, [e.Recorded], int](__name__)
    .on(e.ExecutionStarted, _one)
    .on(e.StatePassed, _passed)
    .on(e.TaskScheduled, _scheduled)
    .on(e.TaskQueued, _unstarted_again)
    .on(e.TaskStarted, _one)
    .on(e.TaskSubmitted, _one)
    .on(e.TaskSucceeded, _done)
    .on(e.TaskFailed, _task_failed)
    .on(e.TaskTimedOut, _timed_out)
    .on(e.WaitOpened, _opened)
    .on(e.WaitResumed, _done)
    .on(e.WaitExpired, _timed_out)
    .on(e.TimerSet, _timer_set)
    .on(e.TimerFired, _left)
    .on(e.BranchesStarted, _forked)
    .on(e.MapStarted, _forked)
    .on(e.IterationStarted, _one)
    .on(e.StateExited, _done)
    .on(e.StateFailed, _state_failed)
    .on(e.ExecutionFailed, _execution_failed)
    .on(e.ExecutionTimedOut, _ended)
    .on(e.ExecutionTerminated, _ended)
    .on(ce.ExecutionRedriven, _one)
    .over(EXECUTION_EVENTS, beside=_UNCOUNTED)
)
