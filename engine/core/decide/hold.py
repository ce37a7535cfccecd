"""Holds of a run: it does not go on while it queues for its places, or when its time is over.

Asked where all decisions meet (`engine.core.decide.enter.advance`), so that no command has to ask. What comes from
outside to a run that may not go on is recorded all the same (an answer, a time-out of a wait), and what follows from
it waits: the frames stand ready.

The time limit of a workflow's settings gives way to a step's own `TimeoutSeconds`: while such a step is under way the
run is not ended, nothing else of it is begun, and when no such step is left it times out. (If the run has come to its
end by then, it has.)
"""

from __future__ import annotations

from perdure.engine.core import limit_events as le
from perdure.engine.core.decide.draft import ExecutionDraft
from perdure.engine.core.decide.fail import finish
from perdure.engine.core.effects import FillPlaces
from perdure.engine.core.events import ExecutionTimedOut
from perdure.engine.core.state import EXECUTION_TIMER, SETTINGS_TIMER, Frame, InTask, InWait, State
from perdure.engine.language import TaskState


def is_held(state: State) -> bool:
    """Whether nothing of a run is begun for now."""
    return state.queue is not None or state.is_overdue


def may_not_go_on(draft: ExecutionDraft) -> bool:
    """Whether the run must not move: it queues, or is about to, or its time is over, which may end it."""
    state = draft.state
    if state.queue is not None:
        return True
    if state.is_overdue:
        end_overdue(draft)
        return True
    if state.limits and not state.places and state.status == "running":
        _queue_again(draft)
        return True
    return False


def give_places_back(draft: ExecutionDraft) -> None:
    """Give the places of a run back that only waits, if such runs do not count."""
    state = draft.state
    if state.places and state.counts == "active" and state.status == "waiting":
        draft.emit(le.PlacesReturned())
        draft.effects.append(FillPlaces(state.limit_keys))


def end_overdue(draft: ExecutionDraft) -> None:
    """End a run whose time is over, unless a step with a limit of its own is under way."""
    if not draft.state.is_over and not has_own_limit(draft):
        finish(draft, ExecutionTimedOut())


def has_own_limit(draft: ExecutionDraft) -> bool:
    """Whether a step is under way that has its own `TimeoutSeconds`."""
    return any(_is_limited(draft, scope, frame) for scope, frame in draft.state.frames.items())


def _is_limited(draft: ExecutionDraft, scope: str, frame: Frame) -> bool:
    if not isinstance(frame.phase, InTask | InWait):
        return False
    state = draft.state_of(scope)
    return isinstance(state, TaskState) and state.timeout is not None


def _queue_again(draft: ExecutionDraft) -> None:
    """Queue for the places that were given back while the run waited; its time limits stand still meanwhile."""
    timers, now = draft.state.timers, draft.facts.now
    left = [
        None if (timer := timers.get(name)) is None else max(timer.due_at - now, 0)
        for name in (EXECUTION_TIMER, SETTINGS_TIMER)
    ]
    draft.emit(le.ExecutionQueued(*left))
    draft.effects.append(FillPlaces(draft.state.limit_keys[:1]))
