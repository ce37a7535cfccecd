"""Changes of what remains of places that failed or were cut short, made by `evolve`: a redrive goes on from there.

All functions change the copy of the state that `evolve` is making.

A place that fails is not forgotten at once: its frame goes into `State.fallen`, its fork into `State.fallen_forks`, as
they were before, and there they stay as long as the failure decides something: until a Retry or Catch around it answers
it, a Map that tolerates it is left, or the run ends well. What a run holds at an end that is no success is kept
likewise. So the same tree of scopes stands there from the top level down, of which every branch or iteration is one of:
an output in its fork, a frame in `fallen`, or not begun yet.

A kept frame says by its phase what is known of its last call. In a task (which was under way at the end, or did not
answer in time) nobody knows what came of it: it is called again as the same piece of work, with the same parameters. In
no phase, or another one, its call has ended, and the next one is another piece of work.

All of it shares structure with the maps that it is taken from, and a run in which nothing fails pays nothing.
"""

from __future__ import annotations

from typing import Final, TypeVar

from msgspec.structs import replace

from perdure.engine.core.forks import put_fork
from perdure.engine.core.frames import expect
from perdure.engine.core.persistent import EMPTY, PersistentMap
from perdure.engine.core.state import TOP, Fork, Frame, InFork, InTask, State, fork_and_index, scope_of
from perdure.engine.language.errors import DATA_LIMIT_EXCEEDED

K = TypeVar("K")
V = TypeVar("V")


LASTING: Final = frozenset({"Task", "Wait", "Parallel", "Map"})
"""The types of states that take time: AWS's history tells of their entry once, however often they are redriven."""


def keep(state: State, scope: str, frame: Frame, *, entered: str | None = None) -> None:
    """Keep a frame that is about to fail, unless an event just before has kept it as it was then.

    `entered` is the type of the state if the event of the failure may tell of its entry, too.
    """
    if scope in state.fallen:
        return
    if entered in LASTING and not frame.entry:
        frame = replace(frame, entry=state.told + 1)
    state.fallen = state.fallen.set(scope, frame)


def keep_fork(state: State, scope: str) -> None:
    """Keep the state that a scope is in, with its fork and all that runs below, if it is in one."""
    frame = state.frames[scope]
    if not isinstance(frame.phase, InFork):
        return
    keep(state, scope, frame)
    fork = state.forks[frame.phase.seq]
    frames = {inner: state.frames[inner] for inner in state.below(fork)}
    seqs = [fork.seq, *(inner.phase.seq for inner in frames.values() if isinstance(inner.phase, InFork))]
    state.fallen = _merged(state.fallen, PersistentMap(frames))
    state.fallen_forks = _merged(state.fallen_forks, PersistentMap({seq: state.forks[seq] for seq in seqs}))


def keep_all(state: State) -> None:
    """Keep all that the run was in when it ended."""
    state.fallen = _merged(state.fallen, state.frames)
    state.fallen_forks = _merged(state.fallen_forks, state.forks)


def _merged(kept: PersistentMap[K, V], others: PersistentMap[K, V]) -> PersistentMap[K, V]:
    """Two maps as one; what the first has goes before. Mostly one of them is empty, and the other is taken as it is."""
    if not (kept and others):
        return kept or others
    return PersistentMap({**dict(others.items()), **dict(kept.items())})


def let_begin_anew(state: State, scope: str, error: str | None) -> bool:
    """Let a redrive begin a fork anew that is too large altogether, as AWS does, and keep nothing of it; whether it is.

    To assemble the same outputs once more could only fail once more.
    """
    frame = state.fallen.get(scope)
    if error != DATA_LIMIT_EXCEEDED or frame is None or not isinstance(frame.phase, InFork):
        return False
    fork = state.fallen_forks.get(frame.phase.seq) or state.forks[frame.phase.seq]
    if fork.has_failed or not fork.is_settled:
        return False
    forget(state, scope)
    _forget_in(state, fork)
    state.fallen = state.fallen.set(scope, replace(frame, phase=None))
    return True


def forget(state: State, scope: str) -> None:
    """Forget what was kept of a scope, and of all below it: its failure has been answered."""
    frame = state.fallen.get(scope)
    if frame is None:
        return
    state.fallen = state.fallen.delete(scope)
    if isinstance(frame.phase, InFork):
        fork = state.fallen_forks.get(frame.phase.seq)
        if fork is not None:
            state.fallen_forks = state.fallen_forks.delete(fork.seq)
            _forget_in(state, fork)


def forget_below(state: State, scope: str) -> None:
    """Forget what was kept below the fork that the state of a scope is in, if it is in one."""
    phase = state.frames[scope].phase
    if state.fallen and isinstance(phase, InFork):
        _forget_in(state, state.forks[phase.seq])


def _forget_in(state: State, fork: Fork) -> None:
    """Forget what was kept of the branches or iterations of a fork, those that still run included."""
    for index in _unfinished(fork):
        scope = scope_of(fork.seq, index)
        if scope in state.frames:
            forget_below(state, scope)
        forget(state, scope)


def forget_all(state: State) -> None:
    """Forget everything: the run has ended well."""
    state.fallen, state.fallen_forks = EMPTY, EMPTY


def bring_back(state: State, scope: str) -> None:
    """Go on with a scope where it was: at its state, or with the branches or iterations of that.

    Branches go on at once. Iterations wait for their turn, since only so many may run at once (`Fork.again`).
    """
    frame = state.fallen[scope]
    state.fallen = state.fallen.delete(scope)
    phase = frame.phase
    fork = state.fallen_forks.get(phase.seq) if isinstance(phase, InFork) else None
    if fork is None:
        expect(state, scope, entered_again(frame))
        return
    state.fallen_forks = state.fallen_forks.delete(fork.seq)
    state.frames = state.frames.set(scope, replace(frame, retries=()))
    if scope == TOP:
        state.current = frame.state
    rest = _unfinished(fork)
    is_map = fork.items is not None
    # Whatever it has failed of is to be done now, so it counts no failures any more.
    fork = replace(
        fork,
        live=EMPTY if is_map else PersistentMap(dict.fromkeys(rest)),
        again=tuple(rest) if is_map else (),
        failures=0,
        has_failed=False,
        error=None,
        error_ref=None,
        cause=None,
    )
    put_fork(state, fork)
    if not is_map:
        for index in rest:
            bring_back(state, scope_of(fork.seq, index))


def bring_back_iteration(state: State, scope: str) -> None:
    """Go on with the iteration of this scope, the next one of its fork that is to go on."""
    seq, index = fork_and_index(scope)
    fork = state.forks[seq]
    put_fork(state, replace(fork, live=fork.live.set(index, None), again=fork.again[1:]))
    bring_back(state, scope)


def entered_again(frame: Frame) -> Frame:
    """The frame of a state that is entered once more: its attempts are counted anew.

    With its parameters it is the same visit of the state, and the same piece of work; without, another one.
    """
    is_unknown = isinstance(frame.phase, InTask) and frame.phase.child is None
    return replace(frame, phase=None, retries=(), parameters=frame.parameters if is_unknown else None)


def _unfinished(fork: Fork) -> list[int]:
    """The indexes of the branches or iterations of a fork that have begun, and have given no output."""
    return [index for index in range(fork.started) if index not in fork.outputs]
