"""Effects: work to do after the append, never before the events that caused it are on disk.

An effect may be lost with the process, so what it is for stands in the state: `Recover` asks for it again. And it may
be done twice, so each carries what makes a repetition harmless: a step its idempotency key, a child its id; a timer is
compared with the state when it fires; what is told a parent or a child is looked at in the light of its own state.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import msgspec

from perdure.engine.core.events import Parent


class RunTask(msgspec.Struct, frozen=True, gc=False):
    """Call a step. `seq` is the `TaskScheduled` that says so.

    Repeated after a crash it carries the same `idempotency_key`, and the same parameters under it. `is_queued`: send
    `StartTask` when it is its turn, and call it only by the effect of that.
    """

    scope: str
    state: str
    seq: int
    attempt: int
    visit: int
    resource: str
    parameters: Any
    idempotency_key: str
    wait: str | None = None
    is_queued: bool = False


class CancelTask(msgspec.Struct, frozen=True, gc=False):
    """The step that was called for the `TaskScheduled` of that seq is of no use any more."""

    seq: int


class StartChild(msgspec.Struct, frozen=True, gc=False):
    """Start the execution `parent` tells of, under this id; harmless if it has been started."""

    child: str
    parent: Parent
    parameters: Any


class FollowChild(msgspec.Struct, frozen=True, gc=False):
    """Find out whether this child has ended meanwhile, and complete its task if so."""

    child: str
    parent: Parent


class EndChild(msgspec.Struct, frozen=True, gc=False):
    """Terminate this child: the task that awaited it was given up."""

    child: str


class TellParent(msgspec.Struct, frozen=True, gc=False):
    """This execution is over: complete the task that awaited it."""

    parent: Parent


class FollowParent(msgspec.Struct, frozen=True, gc=False):
    """Find out whether the task that awaits this execution is still there, and terminate it if not."""

    parent: Parent


class SetTimer(msgspec.Struct, frozen=True, gc=False):
    """Something of this execution comes due at this instant (ms)."""

    due_at: int


class Continue(msgspec.Struct, frozen=True, gc=False):
    """The decision stopped at the limit of transitions: send `Advance`."""


class TakeUp(msgspec.Struct, frozen=True, gc=False):
    """The execution has left quarantine: fold it anew from its events, and send `Recover`."""


class HoldSuspect(msgspec.Struct, frozen=True, gc=False):
    """A task that may be what takes processes down waits in this scope: send `Redispatch` when it is its turn.

    `seq` is its `TaskScheduled`. At how many deaths it was there says how long it is to be watched, and at how many of
    those while it was watched says how suspect it is.
    """

    scope: str
    state: str
    seq: int
    deaths: int
    deaths_watched: int


Effect: TypeAlias = (
    RunTask
    | CancelTask
    | StartChild
    | FollowChild
    | EndChild
    | TellParent
    | FollowParent
    | SetTimer
    | Continue
    | TakeUp
    | HoldSuspect
)

AFTER_THE_END: tuple[type, ...] = (CancelTask, EndChild, TellParent)
"""What is still done for an execution that is over."""
