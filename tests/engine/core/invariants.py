"""What holds in every state and of every event, worked out anew from the frames alone."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import Any

import msgspec
from msgspec.structs import replace

from perdure.engine.core import events as e
from perdure.engine.core import state as state_module
from perdure.engine.core.chance_events import ExecutionForked
from perdure.engine.core.evolve import evolve
from perdure.engine.core.refs import resolve
from perdure.engine.core.snapshots import decode_state, encode_state
from perdure.engine.core.state import (
    EXECUTION_TIMER,
    SETTINGS_TIMER,
    TOP,
    Fork,
    InFork,
    InRetry,
    InTask,
    InTimer,
    InWait,
    State,
    Timer,
    fork_and_index,
    initial_state,
    scope_of,
)
from perdure.engine.core.transitions import TRANSITIONS
from perdure.engine.history import states_history
from perdure.engine.history.fold import HistoryFold
from perdure.engine.history.handlers import take

AFTER_THE_END = frozenset({"ResultIgnored", "CommandRefused"})
REFERENCES = frozenset({"input", "items", "output", "parameters", "result", "error_ref", "cause", "reason"})


def frame_moves() -> set[tuple[str, str, str]]:
    """What the docstring of `engine.core.state` says: from where to where an event moves the frame of its scope."""
    rows = re.findall(r"^    (\w+) +-> ([\w, ]+?)  +(\w.*)$", state_module.__doc__ or "", re.MULTILINE)
    return {(start, name, end) for start, ends, names in rows for end in ends.split(", ") for name in names.split()}


FRAME_MOVES = frame_moves()
SEEN: set[tuple[str, str, str]] = set()
"""The moves of frames that this process has seen."""


def _check_frame(before: State, event: Any, after: State) -> None:
    """The event moves the frame of its scope as the docstring says."""
    if hasattr(event, "scope") and not isinstance(event, e.ResultIgnored | ExecutionForked):
        move = (_place(before, event.scope), type(event).__name__, _place(after, event.scope))
        assert move in FRAME_MOVES
        SEEN.add(move)


def _place(state: State, scope: str) -> str:
    frame = state.frames.get(scope)
    return "gone" if frame is None else "ready" if frame.phase is None else type(frame.phase).__name__


def check_event(before: State, recorded: e.Recorded, after: State) -> None:
    """One event: its place, its time, its cause, and the move that it makes."""
    name = type(recorded.event).__name__
    assert after.status in TRANSITIONS[before.status, name]
    assert recorded.recorded_at >= before.recorded_at
    assert recorded.caused_by is None or 1 <= recorded.caused_by < recorded.seq
    assert not before.is_over or name in AFTER_THE_END or name == "ExecutionRedriven"
    _check_frame(before, recorded.event, after)
    check_remains(before, after)
    if after.is_over:
        assert after.status == before.status or not before.is_over
        assert not any((after.frames, after.forks, after.waits, after.timers, after.ready, after.actionable_forks))
        assert (after.active, after.delayed, after.is_idle) == (0, 0, True)
    else:
        check_state(after)


def check_remains(before: State, after: State) -> None:
    """What is kept of failures hangs together: nothing of it is in a fork that is gone, and nothing stands alone."""
    if after.is_over:
        assert (TOP in after.fallen) == (after.status != "completed")
        assert after.fallen or not after.fallen_forks
    if before.is_over and not after.is_over:
        assert TOP not in after.fallen
    for scope in after.fallen:
        if scope != TOP:
            seq, index = fork_and_index(scope)
            fork = after.fallen_forks.get(seq) or after.forks[seq]
            assert index < fork.started
            assert index not in fork.outputs
    named = {frame.phase.seq for frame in after.fallen.values() if isinstance(frame.phase, InFork)}
    assert set(after.fallen_forks) <= named | {0}
    for seq in after.fallen_forks:
        fork = after.fallen_forks[seq]
        kept = {scope_of(seq, index) for index in range(fork.started) if index not in fork.outputs}
        assert kept <= set(after.fallen) | set(after.frames)


def check_state(state: State) -> None:
    """Whatever a state keeps beside its frames, so that nobody needs to look for it, is what the frames say."""
    phases = {scope: frame.phase for scope, frame in state.frames.items()}
    assert set(state.ready) == {scope for scope, phase in phases.items() if phase is None}
    assert len(state.ready) == len(set(state.ready))
    tasks = [phase for phase in phases.values() if isinstance(phase, InTask)]
    assert state.active == len(state.ready) + sum(not task.is_submitted for task in tasks)
    assert state.called == sum(task.queued is None and not task.is_held for task in tasks)
    assert state.children == sum(task.is_submitted for task in tasks)
    delays = sum(isinstance(phase, InTimer | InRetry) for phase in phases.values())
    assert state.delayed == delays + sum(task.is_submitted for task in tasks)
    assert state.frames[TOP].state == state.current
    assert state.scopes()[0] == TOP
    _check_forks(state)
    _check_waits_and_timers(state)
    is_still = not (state.active or state.delayed or state.actionable_forks)
    moved = "waiting" if is_still and state.waits else "running"
    assert state.status == (moved if state.queue is None else "pending")
    assert state.waits or not is_still, "nothing will ever move it"


def _check_forks(state: State) -> None:
    inside = {scope_of(fork.seq, index) for fork in state.forks.values() for index in fork.live}
    assert set(state.frames) == {TOP, *inside}, "a frame without its fork, or the other way round"
    entered = {frame.phase.seq: scope for scope, frame in state.frames.items() if isinstance(frame.phase, InFork)}
    assert entered == {seq: fork.scope for seq, fork in state.forks.items()}
    at_work = set()
    for seq, fork in state.forks.items():
        assert (fork.seq, fork.state) == (seq, state.frames[fork.scope].state)
        ended = len(fork.outputs) + fork.failures
        assert fork.started == len(fork.live) + ended + len(fork.again)
        assert not set(fork.again) & (set(fork.live) | set(fork.outputs))
        assert fork.started <= fork.count
        assert not set(fork.live) & set(fork.outputs)
        assert max([*fork.live, *fork.outputs, *fork.again], default=-1) < fork.started
        assert not fork.concurrency or len(fork.live) <= fork.concurrency
        assert fork.has_failed == (fork.failures > fork.tolerated)
        if fork.has_failed or ended == fork.count or may_begin(fork):
            at_work.add(seq)
    assert set(state.actionable_forks) == at_work
    assert len(state.actionable_forks) == len(at_work)


ENTERED = re.compile(r"executing the state '(.*?)' \(entered at the event id #(\d+)\)\. ", re.DOTALL)


def check_numbers(events: Iterable[e.Recorded]) -> None:
    """The state counts what a history tells, event by event, and whatever names a state's entry names the right one.

    A step that is queued later was told to have started: what names an entry that came between has a number too many.
    """
    events = list(events)
    queued = sum(isinstance(recorded.event, e.TaskQueued) for recorded in events)
    fold, state, told = HistoryFold(), initial_state(), 0
    for recorded in events:
        state, counted = evolve(state, recorded), len(fold.timeline.entries)
        take(fold, recorded)
        told += sum(entry.what != "branch_ended" for entry in islice(fold.timeline.entries, counted, None))
        told -= isinstance(recorded.event, e.TaskQueued)
        assert state.is_over or state.told == told, f"event {recorded.seq}: {recorded.event}"
    history = None
    for recorded in events:
        cause = (recorded.payload or {}).get("cause")
        match = ENTERED.match(cause.removeprefix("An error occurred while ")) if type(cause) is str else None
        if match is not None:
            history = history or states_history(events)
            name, number = match.groups()
            entries = history[max(int(number) - 1 - queued, 0) : int(number)]
            assert name in [each["details"]["name"] for each in entries if each["type"].endswith("StateEntered")]


def may_begin(fork: Fork) -> bool:
    """Whether an iteration is left, and there is room for it."""
    return (bool(fork.again) or fork.started < fork.count) and (
        not fork.concurrency or len(fork.live) < fork.concurrency
    )


def _check_waits_and_timers(state: State) -> None:
    waits, timers = {}, {}
    for scope, frame in state.frames.items():
        phase = frame.phase
        if isinstance(phase, InTask | InWait) and phase.wait is not None:
            waits[phase.wait] = (scope, frame.state)
        if phase is not None and phase.timer is not None:
            timers[phase.timer] = scope
    assert {wait: (opened.scope, opened.state) for wait, opened in state.waits.items()} == waits
    assert [wait for wait, _ in state.open_waits()] == sorted(waits, key=lambda wait: state.waits[wait].seq)
    is_set, stopped = dict(state.timers.items()), dict(state.stopped.items())
    assert is_set.keys().isdisjoint(stopped)
    _check_pause(state, is_set, stopped)
    known = is_set | stopped
    for name in {EXECUTION_TIMER, SETTINGS_TIMER} & set(known):  # neither is the seq of a state
        assert name not in timers
        timers[name] = TOP
    assert {name: timer.scope for name, timer in known.items()} == timers
    for name, timer in known.items():
        assert timer.deadline is None or timer.due_at <= timer.deadline
        wait = getattr(state.frames[timer.scope].phase, "wait", None)
        if name not in (EXECUTION_TIMER, SETTINGS_TIMER) and wait is not None:
            assert state.waits[wait].due_at == (None if name in stopped else timer.due_at)


def _check_pause(state: State, is_set: Mapping[int, Timer], stopped: Mapping[int, Timer]) -> None:
    """Of a paused run no retry delay comes to an end, and with frozen clocks nothing does."""
    assert state.is_quiescent == (state.pause is not None and not state.called)
    if state.pause is None:
        assert not stopped
    elif state.pause.frozen_at is not None:
        assert not is_set
    else:
        phases = (frame.phase for frame in state.frames.values())
        assert stopped.keys() == {phase.timer for phase in phases if isinstance(phase, InRetry)}


def check_snapshot(state: State) -> State:
    """Give the state as its snapshot says it, which is the same, and has the same bytes."""
    kept = encode_state(state)
    restored = decode_state(kept)
    assert restored == state
    assert encode_state(restored) == kept
    assert list(restored.ended_waits) == list(state.ended_waits)
    return restored


def nested_scopes(state: State, scope: str) -> set[str]:
    """The scopes below one, by their names alone."""
    found = set()
    for other in state.frames:
        outer = other
        while outer != TOP:
            outer = state.forks[fork_and_index(outer)[0]].scope
            if outer == scope:
                found.add(other)
    return found


def references(event: Any) -> Iterator[str]:
    """The references that an event carries, also in what follows a failure."""
    for name in event.__struct_fields__:
        value = getattr(event, name)
        if value is None:
            continue
        if name in REFERENCES:
            yield value
        elif name == "assigned":
            yield from value.values()
        elif name == "then":
            yield from references(value)


def meaning(events: Iterable[e.Recorded], payloads: Mapping[int, Any]) -> list[Any]:
    """Events with values in place of references: which of two equal values is referred to has no meaning."""
    events = list(events)
    known = {**payloads, **{recorded.seq: recorded.payload for recorded in events}}
    return [
        (replace(recorded, event=type(recorded.event), payload=None), _meant(recorded.event, known))
        for recorded in events
    ]


def _meant(event: Any, known: Mapping[int, Any]) -> dict[str, Any]:
    told = msgspec.structs.asdict(event)
    for name, value in told.items():
        if value is None:
            continue
        if name in REFERENCES:
            told[name] = resolve(value, known)
        elif name == "assigned":
            told[name] = {variable: resolve(place, known) for variable, place in value.items()}
        elif name == "then":
            told[name] = (type(value), _meant(value, known))
    return told
