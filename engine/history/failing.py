"""Timeline handlers of failure events: of a step, of a state, of the scopes below it, of the execution."""

from __future__ import annotations

from typing import Final, Literal

from perdure.engine.core import events as e
from perdure.engine.core.refs import Ref, seq_of
from perdure.engine.core.state import TOP
from perdure.engine.history.fold import HistoryFold
from perdure.engine.history.timeline import Retried, TimelineEntry, Visit, VisitCall, VisitFailure

_EVALUATION: Final = "States.QueryEvaluationError"
_FATAL: Final = "States.Runtime"
"""An error found on entering a Map or Parallel state, which ends the execution at once: AWS does not say that the state
failed (recorded: scenarios/test_max_concurrency_path).
"""


def task_failed(fold: HistoryFold, event: e.TaskFailed, recorded: e.Recorded) -> None:
    """Add the failure of a step, and its consequence."""
    visit = fold.inside(recorded, event.scope, event.state, "Task")
    visit.attempts = event.attempt + 1
    failure = VisitFailure(event.error, event.error_ref, event.cause)
    if event.wait is not None:
        end_wait(visit, "failed", recorded)
    fold.add(TimelineEntry("task_failed", visit, failure=failure))
    _go_on(fold, recorded, visit, failure, event.then)


def task_timed_out(fold: HistoryFold, event: e.TaskTimedOut | e.WaitExpired, recorded: e.Recorded) -> None:
    """Add the timeout of a step or a wait, and its consequence."""
    visit = fold.inside(recorded, event.scope, event.state, "Task")
    visit.attempts = event.attempt + 1
    failure = VisitFailure(event.error)
    if isinstance(event, e.WaitExpired):
        end_wait(visit, "expired", recorded)
    fold.add(TimelineEntry("task_timed_out", visit, failure=failure))
    _go_on(fold, recorded, visit, failure, event.then, by_time=True)


def state_failed(fold: HistoryFold, event: e.StateFailed, recorded: e.Recorded) -> None:
    """Add the failure of a state, by itself or by its branches or iterations, and its consequence."""
    find = fold.enter if event.is_entry else fold.inside
    visit = find(recorded, event.scope, event.state, event.type)
    failure = VisitFailure(event.error, event.error_ref, event.cause)
    is_over = event.then is None or (isinstance(event.then, e.Caught) and event.then.output is not None)
    _collapse(fold, recorded, visit, failure, is_over=is_over)
    _go_on(fold, recorded, visit, failure, event.then)


def execution_failed(fold: HistoryFold, event: e.ExecutionFailed, recorded: e.Recorded) -> None:
    """Add the end, and before it the failure of the state that caused it, unless an event of its own had that."""
    failure = VisitFailure(event.error, event.error_ref, event.cause)
    if event.state is not None:
        if event.entered is not None:
            visit = fold.enter(recorded, TOP, event.state, event.entered)
        else:
            visit = fold.inside(recorded, TOP, event.state, "")
        visit.failure = failure
        if not visit.calls or visit.calls[-1].failure is None:  # no event of its own has told it
            _fail_call(fold, visit, failure, recorded.recorded_at)
        if event.entered is not None or _is_new(failure, recorded):
            _collapse(fold, recorded, visit, failure, is_over=True)
    fold.stop(recorded)
    fold.add(TimelineEntry("broken", failure=failure))


def _is_new(failure: VisitFailure, recorded: e.Recorded) -> bool:
    """Whether a failure is of this very event, and not handed on from an earlier one: its cause stands here."""
    return failure.cause is not None and seq_of(failure.cause) == recorded.seq


def _collapse(fold: HistoryFold, recorded: e.Recorded, visit: Visit, failure: VisitFailure, *, is_over: bool) -> None:
    """Tell that a state has failed: which expression did, what ran below it, and of Parallel and Map the state itself.

    Not `is_over`: it is tried again, and then AWS says the latter not (recorded: scenarios/test_map_state_retry).
    """
    is_own = _is_new(failure, recorded)
    if is_own and failure.error == _EVALUATION:
        fold.add(TimelineEntry("evaluation_failed", visit, failure=failure))
    fold.abort_below(recorded, visit)
    if visit.type in {"Parallel", "Map"} and is_over and not (is_own and failure.error == _FATAL):
        fold.note("fork_failed", visit)


def _go_on(
    fold: HistoryFold,
    recorded: e.Recorded,
    visit: Visit,
    failure: VisitFailure,
    then: e.Then | None,
    *,
    by_time: bool = False,
) -> None:
    """Do what follows a failure. If nothing saves the state, its scope fails; the top level does by an event."""
    # A copy in a fork was recorded later; so what counts is the instant that the log says, and not when it was seen.
    due_at = (visit.due_at or recorded.recorded_at) if by_time else None
    visit.failure, visit.due_at = failure, None
    _fail_call(fold, visit, failure, recorded.recorded_at)
    if isinstance(then, e.Retry):
        visit.failure = None
        visit.retries.append(Retried(recorded.recorded_at, failure, then.due_at))
    elif then is not None:
        visit.assigned = then.assigned
        fold.leave(recorded, visit, then.output, then.next)
    elif visit.scope != TOP:
        fold.fail_scope(recorded, visit, due_at)


def end_wait(
    visit: Visit, outcome: Literal["resumed", "failed", "expired"], recorded: e.Recorded, result: Ref | None = None
) -> None:
    """Note how the wait of a visit has ended, and who did it."""
    if visit.waits:  # else the log of its beginning is lost
        wait = visit.waits[-1]
        wait.outcome, wait.ended_at, wait.result, wait.actor = outcome, recorded.recorded_at, result, recorded.actor


def _fail_call(fold: HistoryFold, visit: Visit, failure: VisitFailure, at: int) -> None:
    """Note how the attempt of a visit has failed; one that failed before anything was begun is one, too."""
    if not visit.calls or visit.calls[-1].failure is not None:
        visit.calls.append(VisitCall(visit.entered_at if not visit.calls else at))
    call = visit.calls[-1]
    call.ended_at, call.failure, call.place = at, failure, len(fold.timeline.entries)
