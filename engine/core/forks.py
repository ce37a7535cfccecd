"""Changes of forks, made by `evolve`: the branches of a Parallel state, the iterations of a Map state.

All functions change the copy of the state that `evolve` is making.

A fork is changed from below only: its branches and iterations begin and end, and it counts. It never moves the frame of
its own state; that is done by the event that leaves the state, or fails it. Between the two it is *settled*, and stands
in `actionable_forks` with those that have an iteration to begin, in the order in which they came to have something to
do. A fork that has nothing to do is in no list: a Map of ten thousand waits costs nothing until one of them ends.
"""

from __future__ import annotations

from msgspec.structs import replace

from perdure.engine.core import events as e
from perdure.engine.core.frames import close, close_all, expect
from perdure.engine.core.refs import Ref
from perdure.engine.core.state import Fork, Frame, InFork, State, fork_and_index


def start_iteration(state: State, scope: str, item: Ref, at: int) -> None:
    """Begin the iteration of this scope, the next one of its fork."""
    seq, index = fork_and_index(scope)
    fork = state.forks[seq]
    expect(state, scope, Frame(fork.start_at, item, at))
    put_fork(state, replace(fork, started=index + 1, live=fork.live.set(index, None)))


def end_scope(state: State, scope: str, output: Ref) -> None:
    """End a branch or an iteration with its output."""
    seq, index = fork_and_index(scope)
    fork = state.forks[seq]
    close(state, scope)
    put_fork(state, replace(fork, live=fork.live.delete(index), outputs=fork.outputs.set(index, output)))


def fail_scope(state: State, scope: str, event: e.TaskFailed | e.TaskTimedOut | e.WaitExpired | e.StateFailed) -> None:
    """End a branch or an iteration by a failure; if it is one too many, the fork has failed by it."""
    seq, index = fork_and_index(scope)
    fork = state.forks[seq]
    close(state, scope)
    fork = replace(fork, live=fork.live.delete(index), failures=fork.failures + 1)
    # While the run is paused others may fail before the fork is ended: it is the first one too many that counts.
    if (
        fork.failures > fork.tolerated and not fork.has_failed
    ):  # a Parallel tolerates none: its first failure is its own
        fork = replace(
            fork,
            has_failed=True,
            error=event.error,
            error_ref=getattr(event, "error_ref", None),
            cause=getattr(event, "cause", None),
        )
    put_fork(state, fork)


def close_fork(state: State, scope: str) -> None:
    """End the fork that a scope's state is in, if any, with everything below it."""
    phase = state.frames[scope].phase
    if not isinstance(phase, InFork):
        return
    # Of a fork that was left because all below it ended there is nothing left but itself. One that fails, or whose
    # state is given up, takes everything with it, at any depth, in one go.
    fork = state.forks[phase.seq]
    scopes = state.below(fork)
    inner = [phase.seq for scope in scopes if isinstance(phase := state.frames[scope].phase, InFork)]
    close_all(state, scopes)
    gone = {fork.seq, *inner}
    state.forks = state.forks.without(gone)
    state.actionable_forks = tuple(seq for seq in state.actionable_forks if seq not in gone)


def put_fork(state: State, fork: Fork) -> None:
    """Keep a fork as it is now, and whether it has something to do."""
    state.forks = state.forks.set(fork.seq, fork)
    is_listed = fork.seq in state.actionable_forks
    is_at_work = fork.is_settled or fork.has_room
    if is_at_work and not is_listed:
        state.actionable_forks = (*state.actionable_forks, fork.seq)
    elif is_listed and not is_at_work:
        state.actionable_forks = tuple(seq for seq in state.actionable_forks if seq != fork.seq)
