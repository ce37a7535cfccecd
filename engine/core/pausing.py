"""Changes of a pause, made by `evolve`, and the count of transitions that a quota looks at.

All functions change the copy of the state that `evolve` is making.

A pause moves no frame: what was ready stays ready, and what comes in moves frames as ever. It is `advance` that stops.
What would go on by itself is stopped here: a timer that is in `State.stopped` has no row, so nobody fires it. With
frozen clocks these are all timers, and their instants are those of the run's own clock, which stands still at
`OngoingPause.frozen_at`; if the clocks go on they are those of retry delays alone, whose end would call a step.
"""

from __future__ import annotations

from typing import Final

from msgspec.structs import replace

from perdure.engine.core import events as e
from perdure.engine.core.pause_events import ExecutionPaused, ExecutionUnpaused
from perdure.engine.core.persistent import EMPTY, PersistentMap
from perdure.engine.core.state import InRetry, OngoingPause, OpenWait, State, Timer, open_wait

TRANSITION_EVENTS: Final = frozenset(
    {
        *(e.StatePassed, e.TaskScheduled, e.WaitOpened, e.TimerSet, e.StateFailed),
        *(e.BranchesStarted, e.MapStarted, e.IterationStarted),
    }
)
"""The events that enter a state, begin an iteration, or fail a state that may be entered again at once."""

WINDOW_MS: Final = 60_000
"""Over so long a time transitions are counted. A work that has an end may be in a hurry, a loop without one is so on
and on."""


def execution_paused(state: State, event: ExecutionPaused, recorded: e.Recorded) -> None:
    """The run is paused: what time would move on stands still, as far as its clocks say so."""
    by = recorded.actor
    state.pause = OngoingPause(recorded.seq, recorded.recorded_at, by, event.reason, event.quota, event.frozen_at)
    if event.frozen_at is None:
        stopped = {name: timer for name, timer in state.timers.items() if _is_retry(state, name, timer)}
        state.timers = state.timers.without(list(stopped))
        state.stopped = PersistentMap(stopped)
        return
    state.timers, state.stopped = EMPTY, state.timers
    _call_by(state, {wait: None for wait, opened in state.waits.items() if opened.due_at is not None})


def execution_unpaused(state: State, event: ExecutionUnpaused, recorded: e.Recorded) -> None:
    """The run goes on: what stood still is set again, later by as long as it stood."""
    shift = event.shift_ms
    moved = {name: _later(timer, shift) for name, timer in state.stopped.items()}
    state.pause, state.stopped = None, EMPTY
    if moved:
        state.timers = PersistentMap({**dict(state.timers.items()), **moved})
    waits = {name: _wait_of(state, name, timer) for name, timer in moved.items()}
    _call_by(state, {wait: moved[name].due_at for name, wait in waits.items() if wait is not None})
    state.events_until, state.bytes_until = event.events_until, event.bytes_until
    state.transitions, state.transitions_since = 0, recorded.recorded_at


def set_retry(state: State, name: int, timer: Timer) -> None:
    """Set the timer of a retry delay; while the run is paused it stands still from its beginning."""
    if state.pause is None:
        state.timers = state.timers.set(name, timer)
    else:
        state.stopped = state.stopped.set(name, timer)


def set_timer(state: State, name: int, timer: Timer) -> None:
    """Set a timer; while the clocks of a paused run stand still it does so too."""
    if state.pause is None or state.pause.frozen_at is None:
        state.timers = state.timers.set(name, timer)
    else:
        state.stopped = state.stopped.set(name, timer)


def count_transition(state: State) -> None:
    """Count one more, from anew when the minute since the first of them is over."""
    if state.recorded_at - state.transitions_since >= WINDOW_MS:
        state.transitions, state.transitions_since = 0, state.recorded_at
    state.transitions += 1


def _is_retry(state: State, name: int, timer: Timer) -> bool:
    """Whether a timer is that of a retry delay: the scope of the run's own limit may be in one, too."""
    phase = state.frames[timer.scope].phase
    return isinstance(phase, InRetry) and phase.timer == name


def _wait_of(state: State, name: int, timer: Timer) -> str | None:
    """The wait whose time limit this timer is."""
    phase = state.frames[timer.scope].phase
    return open_wait(phase) if phase is not None and phase.timer == name else None


def _later(timer: Timer, shift_ms: int) -> Timer:
    """A timer that is due later by so much, and so is its deadline."""
    deadline = None if timer.deadline is None else timer.deadline + shift_ms
    return replace(timer, due_at=timer.due_at + shift_ms, deadline=deadline)


def _call_by(state: State, due: dict[str, int | None]) -> None:
    """Give waits other time limits: callers are shown when they are due."""
    if not due:
        return
    moved: dict[str, OpenWait] = {wait: replace(state.waits[wait], due_at=due_at) for wait, due_at in due.items()}
    state.waits = PersistentMap({**dict(state.waits.items()), **moved})
