"""Timeline handlers: one function for each event type; those of failures are in `failing.py`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from perdure.engine.core import chance_events as ce
from perdure.engine.core import events as e
from perdure.engine.core import limit_events as le
from perdure.engine.core.dispatch import Dispatch
from perdure.engine.core.pause_events import ExecutionPaused, ExecutionUnpaused
from perdure.engine.core.sandbox_events import TaskSimulated
from perdure.engine.core.state import TOP
from perdure.engine.core.vocabulary import EXECUTION_EVENTS
from perdure.engine.history import failing
from perdure.engine.history.failing import end_wait
from perdure.engine.history.fold import HistoryFold
from perdure.engine.history.timeline import TimeLimits, Timeline, TimelineEntry, Visit, VisitCall, VisitFork, VisitWait
from perdure.engine.language.model.resources import parse_resource

TIMEOUT_DEFAULT_S: Final = 99_999_999
"""The limit of a task that has none of its own (States Language, TimeoutSeconds)."""


def follow(events: Iterable[e.Recorded]) -> Timeline:
    """Fold events, ascending by seq, into a timeline."""
    fold = HistoryFold()
    for recorded in events:
        take(fold, recorded)
    return fold.finish()


def take(fold: HistoryFold, recorded: e.Recorded) -> None:
    """Fold one more event."""
    fold.take(recorded)
    handle = HANDLERS.get(type(recorded.event))
    if handle is not None:
        if _begins_anew(recorded.event):
            fold.start_all()
        handle(fold, recorded.event, recorded)


def _begins_anew(event: e.Event) -> bool:
    """Whether an event is the first one of what is done in one go, before which all that was scheduled has started."""
    return isinstance(event, _FROM_OUTSIDE) or getattr(event, "attempt", 0) > 0


_FROM_OUTSIDE: Final = (
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
    e.ExecutionTimedOut,
    e.ExecutionTerminated,
)


# --- the execution, and states that pass ----------------------------------------------------------------------


def _execution_started(fold: HistoryFold, event: e.ExecutionStarted, _: e.Recorded) -> None:
    if event.origin is not None and event.origin.kind == "fork":
        fold.copied_until = event.origin.seq
    fold.arrivals[TOP] = event.input
    fold.note("started", value=event.input)


def _state_passed(fold: HistoryFold, event: e.StatePassed, recorded: e.Recorded) -> None:
    _leave(fold, fold.enter(recorded, event.scope, event.state, event.type), event, recorded)


def _leave(
    fold: HistoryFold,
    visit: Visit,
    event: e.StatePassed | e.TaskSucceeded | e.WaitResumed | e.TimerFired | e.StateExited,
    recorded: e.Recorded,
) -> None:
    visit.assigned = event.assigned
    fold.leave(recorded, visit, event.output, event.next)


def _execution_succeeded(fold: HistoryFold, event: e.ExecutionSucceeded, recorded: e.Recorded) -> None:
    fold.stop(recorded)
    fold.note("ended", value=event.output)


def _execution_timed_out(fold: HistoryFold, _event: e.ExecutionTimedOut, recorded: e.Recorded) -> None:
    fold.stop(recorded)
    fold.note("timed_out")


def _execution_terminated(fold: HistoryFold, event: e.ExecutionTerminated, recorded: e.Recorded) -> None:
    fold.stop(recorded)
    fold.note("aborted", value=event.reason)


def _execution_redriven(fold: HistoryFold, event: ce.ExecutionRedriven, _: e.Recorded) -> None:
    fold.is_paused = False
    fold.add(TimelineEntry("redriven", value=event.reason, redrives=event.count))
    fold.bring_back(TOP)


def _iteration_redriven(fold: HistoryFold, event: ce.IterationRedriven, _: e.Recorded) -> None:
    fold.bring_back_iteration(event.scope)


def _execution_forked(fold: HistoryFold, event: ce.ExecutionForked, _: e.Recorded) -> None:
    fold.is_paused = False
    fold.enter_anew(event.scope, event.input)


# --- tasks, waits, timers --------------------------------------------------------------------------------------


def _task_scheduled(fold: HistoryFold, event: e.TaskScheduled, recorded: e.Recorded) -> None:
    if event.wait is None:
        visit = _called(fold, event, recorded)
    else:  # `WaitOpened` came before, with the limits
        visit = fold.inside(recorded, event.scope, event.state, "Task")
    visit.resource, visit.attempts = event.resource, event.attempt + 1
    visit.parameters = event.parameters
    fold.add(TimelineEntry("scheduled", visit, event.parameters, limits=visit.limits))
    fold.start_later(TimelineEntry("begun", visit))


def _wait_opened(fold: HistoryFold, event: e.WaitOpened, recorded: e.Recorded) -> None:
    visit = _called(fold, event, recorded)
    visit.resource, visit.attempts = event.resource, event.attempt + 1
    visit.parameters = event.parameters
    visit.waits.append(VisitWait(event.wait, recorded.recorded_at, event.parameters, visit.due_at))
    if parse_resource(event.resource).kind == "wait":  # no step is called: `TaskScheduled` will not follow
        fold.add(TimelineEntry("scheduled", visit, event.parameters, limits=visit.limits))
        fold.start_later(TimelineEntry("begun", visit), TimelineEntry("submitted", visit))


def _called(fold: HistoryFold, event: e.TaskScheduled | e.WaitOpened, recorded: e.Recorded) -> Visit:
    """The visit whose state calls, with the limits of this call: begun by it, or tried again."""
    find = fold.inside if event.attempt else fold.enter
    visit = find(recorded, event.scope, event.state, "Task")
    timeout_s = None
    if event.due_at is not None and recorded.seq > fold.copied_until:
        timeout_s = -(-(event.due_at - recorded.recorded_at) // 1000)  # AWS knows whole seconds
    heartbeat_ms = event.heartbeat_ms if isinstance(event, e.WaitOpened) else None
    heartbeat_s = None if heartbeat_ms is None else heartbeat_ms // 1000
    visit.limits = TimeLimits(None if timeout_s == TIMEOUT_DEFAULT_S else timeout_s, heartbeat_s)
    visit.due_at = _due_at(event)
    visit.calls.append(VisitCall(recorded.recorded_at))
    return visit


def _due_at(event: e.TaskScheduled | e.TaskStarted | e.WaitOpened) -> int | None:
    first_at = None if isinstance(event, e.TaskScheduled) else event.heartbeat_due_at
    return event.due_at if first_at is None else first_at


def _task_heartbeat(fold: HistoryFold, event: e.TaskHeartbeat, recorded: e.Recorded) -> None:
    """AWS tells nothing of it; but the task does not time out yet."""
    fold.inside(recorded, event.scope, event.state, "Task").due_at = event.due_at


def _task_queued(fold: HistoryFold, event: e.TaskQueued, recorded: e.Recorded) -> None:
    visit = fold.inside(recorded, event.scope, event.state, "Task")
    visit.due_at = None
    fold.queue(visit)


def _task_started(fold: HistoryFold, event: e.TaskStarted, recorded: e.Recorded) -> None:
    visit = fold.inside(recorded, event.scope, event.state, "Task")
    visit.due_at = _due_at(event)
    fold.begin(TimelineEntry("begun", visit))


def _task_submitted(fold: HistoryFold, event: e.TaskSubmitted, recorded: e.Recorded) -> None:
    fold.note("submitted", _in_task(fold, event, recorded), event.result)


def _task_succeeded(fold: HistoryFold, event: e.TaskSucceeded, recorded: e.Recorded) -> None:
    visit = _in_task(fold, event, recorded)
    fold.note("task_succeeded", visit, event.result)
    _leave(fold, visit, event, recorded)


def _in_task(fold: HistoryFold, event: e.TaskSubmitted | e.TaskSucceeded, recorded: e.Recorded) -> Visit:
    visit = fold.inside(recorded, event.scope, event.state, "Task")
    visit.attempts = event.attempt + 1
    return visit


def _wait_resumed(fold: HistoryFold, event: e.WaitResumed, recorded: e.Recorded) -> None:
    visit = fold.inside(recorded, event.scope, event.state, "Task")
    end_wait(visit, "resumed", recorded, event.result)
    fold.note("task_succeeded", visit, event.result)
    _leave(fold, visit, event, recorded)


def _timer_set(fold: HistoryFold, event: e.TimerSet, recorded: e.Recorded) -> None:
    fold.enter(recorded, event.scope, event.state, "Wait")


def _timer_fired(fold: HistoryFold, event: e.TimerFired, recorded: e.Recorded) -> None:
    _leave(fold, fold.inside(recorded, event.scope, event.state, "Wait"), event, recorded)


# --- Parallel and Map states -------------------------------------------------------------------------------------


def _branches_started(fold: HistoryFold, event: e.BranchesStarted, recorded: e.Recorded) -> None:
    count = len(event.start_at)
    fork = VisitFork(recorded.seq, event.state, "Parallel", count=count)
    _begin_fork(fold, event, recorded, fork)
    for index in range(count):
        fold.begin_scope(fork, index, event.input)


def _map_started(fold: HistoryFold, event: e.MapStarted, recorded: e.Recorded) -> None:
    fork = VisitFork(recorded.seq, event.state, "Map", count=event.count)
    fork.concurrency, fork.tolerated = event.concurrency, event.tolerated
    _begin_fork(fold, event, recorded, fork)


def _begin_fork(
    fold: HistoryFold, event: e.BranchesStarted | e.MapStarted, recorded: e.Recorded, fork: VisitFork
) -> None:
    find = fold.inside if event.attempt else fold.enter
    visit = find(recorded, event.scope, event.state, fork.type)
    visit.attempts = event.attempt + 1
    visit.calls.append(VisitCall(recorded.recorded_at))
    fold.begin_fork(fork, visit)


def _iteration_started(fold: HistoryFold, event: e.IterationStarted, _: e.Recorded) -> None:
    fold.begin_iteration(event.scope, event.state, event.input)


def _state_exited(fold: HistoryFold, event: e.StateExited, recorded: e.Recorded) -> None:
    visit = fold.inside(recorded, event.scope, event.state, event.type)
    fold.end_fork(visit)
    fold.note("fork_succeeded", visit)
    _leave(fold, visit, event, recorded)


def _paused(fold: HistoryFold, _event: ExecutionPaused, _: e.Recorded) -> None:
    """AWS knows no pauses; but what times out meanwhile does so by events of its own."""
    fold.is_paused = True


def _unpaused(fold: HistoryFold, event: ExecutionUnpaused, _: e.Recorded) -> None:
    fold.is_paused = False
    for visit in fold.open.values():
        if visit.due_at is not None:
            visit.due_at += event.shift_ms
            if visit.waits and visit.waits[-1].outcome is None:
                visit.waits[-1].due_at = visit.due_at


BESIDE: Final[frozenset[type[e.Event]]] = frozenset(
    {
        *(e.TaskInterrupted, e.TaskRedispatched, e.ExecutionQuarantined, e.ExecutionReleased),
        *(e.CommandRefused, e.ResultIgnored, TaskSimulated),
        *(le.ExecutionAdmitted, le.ExecutionQueued, le.PlacesReturned, le.RetryDue, le.TimeoutDeferred),
    }
)
"""Events that tell nothing of the way through the states. All others are in `HANDLERS`."""

HANDLERS: Final = (
    Dispatch[HistoryFold, [e.Recorded], None](__name__)
    .on(e.ExecutionStarted, _execution_started)
    .on(e.StatePassed, _state_passed)
    .on(e.TaskScheduled, _task_scheduled)
    .on(e.TaskQueued, _task_queued)
    .on(e.TaskStarted, _task_started)
    .on(e.TaskSubmitted, _task_submitted)
    .on(e.TaskSucceeded, _task_succeeded)
    .on(e.TaskFailed, failing.task_failed)
    .on(e.TaskTimedOut, failing.task_timed_out)
    .on(e.TaskHeartbeat, _task_heartbeat)
    .on(e.WaitOpened, _wait_opened)
    .on(e.WaitResumed, _wait_resumed)
    .on(e.WaitExpired, failing.task_timed_out)
    .on(e.TimerSet, _timer_set)
    .on(e.TimerFired, _timer_fired)
    .on(e.BranchesStarted, _branches_started)
    .on(e.MapStarted, _map_started)
    .on(e.IterationStarted, _iteration_started)
    .on(e.StateExited, _state_exited)
    .on(e.StateFailed, failing.state_failed)
    .on(e.ExecutionSucceeded, _execution_succeeded)
    .on(e.ExecutionFailed, failing.execution_failed)
    .on(e.ExecutionTimedOut, _execution_timed_out)
    .on(e.ExecutionTerminated, _execution_terminated)
    .on(ce.ExecutionRedriven, _execution_redriven)
    .on(ce.IterationRedriven, _iteration_redriven)
    .on(ce.ExecutionForked, _execution_forked)
    .on(ExecutionPaused, _paused)
    .on(ExecutionUnpaused, _unpaused)
    .over(EXECUTION_EVENTS, beside=BESIDE)
)
