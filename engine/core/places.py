"""Changes of places and time limits, made by `evolve`: admitted, queued again, given back, deferred.

All functions change the copy of the state that `evolve` is making.
"""

from __future__ import annotations

from perdure.engine.core import events as e
from perdure.engine.core import limit_events as le
from perdure.engine.core.frames import stay
from perdure.engine.core.pausing import set_timer
from perdure.engine.core.state import EXECUTION_TIMER, SETTINGS_TIMER, TOP, InQueue, State, Timer


def set_limits(state: State, event: e.ExecutionStarted, seq: int) -> None:
    """A run begins: with limits it queues, and its time limits are set when it is admitted."""
    set_time_limits(state, event.due_at, event.limit_at)
    if event.limits:
        state.limits, state.counts = event.limits, event.counts
        state.queue = InQueue(seq, event.timeout_ms, event.limit_ms)


def set_time_limits(state: State, due_at: int | None, limit_at: int | None) -> None:
    """The time limits of the whole run are set: the machine's, and that of the workflow's settings."""
    for name, at in ((EXECUTION_TIMER, due_at), (SETTINGS_TIMER, limit_at)):
        if at is not None:
            set_timer(state, name, Timer(TOP, at))


def execution_admitted(state: State, event: le.ExecutionAdmitted, recorded: e.Recorded) -> None:
    """A queued run has its places, and goes on."""
    state.queue = None
    state.places, state.placed_at = event.places, recorded.recorded_at
    set_time_limits(state, event.due_at, event.limit_at)


def places_returned(state: State, _event: le.PlacesReturned, _: e.Recorded) -> None:
    """A run that only waits has no places any more."""
    state.places = ()


def execution_queued(state: State, event: le.ExecutionQueued, recorded: e.Recorded) -> None:
    """A run queues again. Its time limits go, and what was left of them is kept."""
    state.queue = InQueue(recorded.seq, event.left_ms, event.limit_left_ms)
    state.timers = state.timers.without((EXECUTION_TIMER, SETTINGS_TIMER))


def retry_due(state: State, event: le.RetryDue, _: e.Recorded) -> None:
    """The delay before another attempt is over: the frame is ready to enter its state again."""
    stay(state, event.scope, None)


def timeout_deferred(state: State, _event: le.TimeoutDeferred, _: e.Recorded) -> None:
    """The settings' time limit has passed, and the run ends when the steps with limits of their own are over."""
    state.timers = state.timers.delete(SETTINGS_TIMER)
    state.is_overdue = True
