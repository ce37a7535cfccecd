"""Changes made by the events of second chances: what `evolve` does for a redrive and for a fork.

All functions change the copy of the state that `evolve` is making.
"""

from __future__ import annotations

from msgspec.structs import replace

from perdure.engine.core.chance_events import ExecutionForked, ExecutionRedriven, IterationRedriven
from perdure.engine.core.events import Recorded
from perdure.engine.core.forks import close_fork
from perdure.engine.core.frames import cancel_all_waits, close, put
from perdure.engine.core.persistent import EMPTY
from perdure.engine.core.places import set_time_limits
from perdure.engine.core.refs import Ref
from perdure.engine.core.remains import bring_back, bring_back_iteration, keep_fork
from perdure.engine.core.state import TOP, Frame, InFork, State


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


def execution_forked(state: State, event: ExecutionForked, recorded: Recorded) -> None:
    """Whatever is in progress is entered anew: nothing of it has been done in this run.

    Nor has it any of what was its origin's alone: its pause, its places, its time limits, its haste.
    """
    cancel_all_waits(state)
    state.is_quarantined = False
    state.pause, state.is_overdue = None, False
    state.transitions, state.transitions_since = 0, recorded.recorded_at
    state.limits, state.counts, state.queue, state.places, state.placed_at = event.limits, event.counts, None, (), 0
    for scope in state.scopes():
        frame = state.frames.get(scope)
        if frame is None:  # an iteration that is to go on in its turn
            continue
        if scope in state.fallen or _has_failed(state, frame):  # the origin's next event would have said what follows
            keep_fork(state, scope)
            close_fork(state, scope)
            close(state, scope)
            bring_back(state, scope)
        elif frame.phase is not None and not isinstance(frame.phase, InFork):
            put(state, scope, frame, replace(frame, phase=None, retries=(), parameters=None))
    state.timers, state.stopped = EMPTY, EMPTY
    set_time_limits(state, event.due_at, event.limit_at)
    if event.input is not None:
        _give(state, event.scope, event.input)


def _has_failed(state: State, frame: Frame) -> bool:
    """Whether the fork that a frame is in has failed, and nothing has said so yet."""
    return isinstance(frame.phase, InFork) and state.forks[frame.phase.seq].has_failed


def _give(state: State, scope: str, given: Ref) -> None:
    """Give the state of a scope another input, also that of an iteration which waits for its turn."""
    if scope in state.frames:
        state.frames = state.frames.set(scope, replace(state.frames[scope], input=given))
    else:
        state.fallen = state.fallen.set(scope, replace(state.fallen[scope], input=given))
