"""Changes made by the events of second chances: what `evolve` does for a redrive and for a fork.

All functions change the copy of the state that `evolve` is making.
"""

from __future__ import annotations

from msgspec.structs import replace

from perdure.engine.core.chance_events import ExecutionForked, ExecutionRedriven, IterationRedriven
from perdure.engine.core.events import Recorded
from perdure.engine.core.frames import cancel_all_waits, close, put
from perdure.engine.core.persistent import EMPTY, PersistentMap
from perdure.engine.core.places import set_time_limits
from perdure.engine.core.remains import bring_back, bring_back_iteration
from perdure.engine.core.state import EXECUTION_TIMER, SETTINGS_TIMER, TOP, InFork, State, Timer


def execution_redriven(state: State, event: ExecutionRedriven, _: Recorded) -> None:
    """A run that had ended goes on: nothing of its end is left, and what remained is under way again."""
    state.redrives = event.count
    state.ended_at = state.output = state.error = state.error_ref = state.cause = None
    state.is_quarantined = False  # of one that was set aside, and terminated
    state.is_overdue = False
    # Of a run with limits the places went with its end: what goes on first queues for them (`decide.hold`).
    set_time_limits(state, event.due_at, event.limit_at)
    bring_back(state, TOP)


def iteration_redriven(state: State, event: IterationRedriven, _: Recorded) -> None:
    """An iteration goes on where it was."""
    bring_back_iteration(state, event.scope)


def execution_forked(state: State, event: ExecutionForked, _: Recorded) -> None:
    """Whatever is in progress is entered anew: nothing of it has been done in this run."""
    cancel_all_waits(state)
    state.is_quarantined = False
    timers = dict(state.timers.items()) | dict(state.stopped.items())
    limits: dict[int, Timer] = {name: timers[name] for name in (EXECUTION_TIMER, SETTINGS_TIMER) if name in timers}
    state.pause, state.stopped, state.is_overdue = None, EMPTY, False
    for scope in state.scopes():
        frame = state.frames[scope]
        if scope in state.fallen:  # it was failing: the origin's next event would have said what follows
            close(state, scope)
            bring_back(state, scope)
        elif frame.phase is not None and not isinstance(frame.phase, InFork):
            put(state, scope, frame, replace(frame, phase=None, retries=(), parameters=None))
    state.timers = PersistentMap(limits)
    if event.input is not None:
        frame = state.frames[event.scope]
        state.frames = state.frames.set(event.scope, replace(frame, input=event.input))
