"""The state of an execution: a fold over its events, and nothing else.

It holds references to business data, never copies (`refs.py`), so that it can be stored as a snapshot and outlive an
erasure. A state is never changed: `evolve` makes the next one from a shallow copy.

A *frame* is one place of control: the top level of the definition, and later each running branch or iteration, named
by its scope ("" is the top level).
"""

from __future__ import annotations

from typing import Literal, TypeAlias

import msgspec

from engine.core.refs import Ref
from engine.core.transitions import TERMINAL, Status

TOP: str = ""
"""The scope of the execution's own top level."""


class InTask(msgspec.Struct, frozen=True, tag="task"):
    """A step has been called, or is about to be; `seq` is its `TaskScheduled`.

    `deaths` counts unclean ends of the process while it ran; a suspect (`is_held`) waits for its turn.
    """

    seq: int
    resource: str
    parameters: Ref
    attempt: int
    wait: InWait | None = None
    deaths: int = 0
    deaths_alone: int = 0
    is_held: bool = False


class InWait(msgspec.Struct, frozen=True, tag="wait"):
    """An open wait; `seq` is its `WaitOpened`. `wait` is the wait's id as text."""

    seq: int
    wait: str
    opened_at: int


class InTimer(msgspec.Struct, frozen=True, tag="timer"):
    """A Wait state; `seq` is its `TimerSet`, and the timer's name."""

    seq: int
    due_at: int


Phase: TypeAlias = InTask | InWait | InTimer


class Frame(msgspec.Struct, frozen=True):
    """One place of control: a state, its raw input, and what it is in. No phase: it is about to be entered."""

    state: str
    input: Ref
    entered_at: int
    phase: Phase | None = None


class EndedWait(msgspec.Struct, frozen=True):
    """The last wait that a state had, and how it ended."""

    wait: str
    state: str
    outcome: Literal["resumed", "expired", "cancelled"]


class State(msgspec.Struct):
    """An execution. Instants are milliseconds since the epoch; ids are text.

    `ended_waits` has the last ended wait of each state of the definition, in the order in which they ended.
    `visits` counts entries by scope and state. `current` is the top-level state, or the last one after the end.
    """

    status: Status = "new"
    seq: int = 0
    recorded_at: int = 0
    started_at: int = 0
    workspace: str = ""
    workflow: str = ""
    workflow_version: int = 0
    definition_sha256: str = ""
    trigger: str = ""
    input: Ref = ""
    current: str | None = None
    frames: dict[str, Frame] = {}
    visits: dict[str, int] = {}
    ended_waits: dict[str, EndedWait] = {}
    ended_at: int | None = None
    output: Ref | None = None
    error: str | None = None
    error_ref: Ref | None = None
    cause: Ref | None = None
    modified_by: str | None = None
    refusals: int = 0
    is_quarantined: bool = False

    @property
    def is_over(self) -> bool:
        return self.status in TERMINAL

    def task(self, scope: str) -> InTask | None:
        """The task that a scope is in, if it is in one."""
        frame = self.frames.get(scope)
        return frame.phase if frame is not None and isinstance(frame.phase, InTask) else None

    def open_waits(self) -> list[tuple[str, Frame, InWait]]:
        """The open waits with their scopes and frames, in the order in which they were opened."""
        found = [
            (scope, frame, wait) for scope, frame in self.frames.items() if (wait := open_wait(frame.phase)) is not None
        ]
        return sorted(found, key=lambda item: item[2].seq) if len(found) > 1 else found

    def timers(self) -> list[InTimer]:
        """The timers that are set."""
        return [frame.phase for frame in self.frames.values() if isinstance(frame.phase, InTimer)]


def open_wait(phase: Phase | None) -> InWait | None:
    """The wait that is open in this phase, if any: a bare one, or that of a step called with `.waitForResume`."""
    if isinstance(phase, InTask):
        return phase.wait
    return phase if isinstance(phase, InWait) else None


def visit_key(scope: str, state: str) -> str:
    """The key of `State.visits`. No scope holds a line feed, and no state name may."""
    return f"{scope}\n{state}" if scope else state


def initial_state() -> State:
    """The state before the first event."""
    return State()
