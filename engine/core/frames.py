"""Changes of frames, made by `evolve`: all go through here, so that the counters of `State` stay right.

All functions change the copy of the state that `evolve` is making.

What must hold after each of them (`tests/engine/core/invariants.py` counts anew):

- `ready` has exactly the scopes whose frames are in no phase, each once, in the order of their turns;
- `active` is the number of frames that the engine moves: those that are ready, and those in a task that is not a child
  on its way; `delayed` of those that time or a child moves. All others are moved by somebody outside, or by a fork;
- `called` is the number of tasks whose step was called or whose child was started, `children` that of the latter;
- `timers` and, while it is paused, `stopped` have exactly those that some frame's phase names, and the execution's own;
- `waits` has exactly those that some frame's phase has open.

So the status, and whether a run may leave memory, need no walk over its frames, of which there may be ten thousand.
"""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from perdure.engine.core.persistent import PersistentMap
from perdure.engine.core.refs import Ref
from perdure.engine.core.state import (
    ENGINE,
    TIME,
    TOP,
    EndedWait,
    Frame,
    InTask,
    Phase,
    State,
    WaitOutcome,
    is_called,
    is_child_running,
    open_wait,
    progressed_by,
)


def expect(state: State, scope: str, frame: Frame) -> None:
    """Begin a scope: its frame is ready to enter its first state."""
    state.frames = state.frames.set(scope, frame)
    state.ready = (*state.ready, scope)  # last: those that are there have their turn first
    state.active += 1
    if scope == TOP:
        state.current = frame.state


def stay(state: State, scope: str, phase: Phase | None, **called: Any) -> None:
    """Bring a frame into another phase of its state; a timer that the new one does not have is void.

    `called` are other members of the frame that change with it: what its state calls with. The first phase is the one
    that the state is entered by.
    """
    frame = state.frames[scope]
    put(state, scope, frame, replace(frame, phase=phase, entry=frame.entry or state.told + 1, **called))


def arrive(state: State, scope: str, following: str | None, output: Ref) -> None:
    """Bring a frame to the state that follows; none: it stays where it is, as the execution ends."""
    # Retries, parameters and the number of its entry belong to one visit of a state, and stay behind. How often each
    # state was visited, and the variables, belong to the scope.
    frame = state.frames[scope]
    name = following or frame.state
    there = Frame(name, output, state.recorded_at, visits=frame.visits, variables=frame.variables)
    put(state, scope, frame, there)
    if scope == TOP:
        state.current = name


def put(state: State, scope: str, before: Frame, after: Frame) -> None:
    """Replace the frame of a scope, and update the counters."""
    _recount(state, scope, before.phase, after.phase)
    state.frames = state.frames.set(scope, after)


def close(state: State, scope: str) -> None:
    """End a scope: its frame and its timer are removed."""
    frame = state.frames[scope]
    _recount(state, scope, frame.phase, None)  # as if it were ready: what it had set is void, and it counts as active
    state.ready = _without(state.ready, scope)
    state.active -= 1
    state.frames = state.frames.delete(scope)


def _recount(state: State, scope: str, before: Phase | None, after: Phase | None) -> None:
    """Keep the counts and lists that say who moves a run on: the engine, time, or somebody outside.

    They spare every decision a walk over all frames, of which a Map may have ten thousand.
    """
    if type(before) is InTask:
        state.called -= is_called(before)
        state.children -= is_child_running(before)
    if type(after) is InTask:
        state.called += is_called(after)
        state.children += is_child_running(after)
    was = ENGINE if before is None else progressed_by(before)
    now = ENGINE if after is None else progressed_by(after)
    if was != now:
        state.active += (now == ENGINE) - (was == ENGINE)
        state.delayed += (now == TIME) - (was == TIME)
    if before is None:
        if after is not None:
            state.ready = _without(state.ready, scope)
        elif len(state.ready) > 1:  # to the end: other scopes have their turn
            state.ready = (*_without(state.ready, scope), scope)
        return
    if after is None:
        state.ready = (*_without(state.ready, scope), scope)
    # One phase holds a timer at a time, and may hand it to the next one of the same state (a wait to its task, and
    # back). If it does not, nobody will ask for it.
    timer = before.timer
    if timer is not None and (after is None or after.timer != timer):
        state.timers = state.timers.delete(timer)
        state.stopped = state.stopped.delete(timer)


def _without(ready: tuple[str, ...], scope: str) -> tuple[str, ...]:
    """The ready scopes but this one, in their order."""
    if len(ready) == 1 and ready[0] == scope:
        return ()
    return tuple(other for other in ready if other != scope) if ready else ()


def close_all(state: State, scopes: list[str]) -> None:
    """End many scopes, in this order, with what they had set and the waits that are open: at the cost of one copy."""
    timers, waits = [], []
    for scope in scopes:
        frame = state.frames[scope]
        phase = frame.phase
        by = ENGINE if phase is None else progressed_by(phase)
        state.active -= by == ENGINE
        state.delayed -= by == TIME
        state.called -= is_called(phase)
        state.children -= is_child_running(phase)
        if phase is not None and phase.timer is not None:
            timers.append(phase.timer)
        wait = open_wait(phase)
        if wait is not None:
            waits.append((frame.state, wait))
    cancel_waits(state, waits)
    state.frames = state.frames.without(scopes)
    state.timers = state.timers.without([name for name in timers if name in state.timers])
    state.stopped = state.stopped.without([name for name in timers if name in state.stopped])
    if state.ready:
        gone = set(scopes)
        state.ready = tuple(scope for scope in state.ready if scope not in gone)


def cancel_waits(state: State, waits: list[tuple[str, str]]) -> None:
    """Close waits, given by state and id: of each state the last one is the one that is remembered."""
    if not waits:
        return
    ended: dict[str, EndedWait] = {}
    for name, wait in waits:
        ended.pop(name, None)  # so that it goes to the end: the order is that in which they ended
        ended[name] = EndedWait(wait, name, "cancelled")
    state.waits = state.waits.without([wait for _, wait in waits])
    state.ended_waits = {name: other for name, other in state.ended_waits.items() if name not in ended} | ended


def cancel_all_waits(state: State) -> None:
    """Close all waits that are open."""
    last: dict[str, tuple[int, str]] = {}
    for wait, opened in state.waits.items():
        known = last.get(opened.state)
        if known is None or known[0] < opened.seq:
            last[opened.state] = (opened.seq, wait)
    cancel_waits(state, [(name, wait) for name, (_, wait) in sorted(last.items(), key=lambda item: item[1])])
    state.waits = PersistentMap()


def end_wait(state: State, scope: str, outcome: WaitOutcome) -> None:
    """Close the wait that a scope has open, if it has one."""
    frame = state.frames[scope]
    wait = open_wait(frame.phase)
    if wait is None:
        return
    state.waits = state.waits.delete(wait)
    others = {name: ended for name, ended in state.ended_waits.items() if name != frame.state}
    state.ended_waits = {**others, frame.state: EndedWait(wait, frame.state, outcome)}
