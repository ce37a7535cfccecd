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
    """Cancel the step that was called for the `TaskScheduled` of that seq: nothing awaits its result."""

    seq: int


class StartChild(msgspec.Struct, frozen=True, gc=False):
    """Start the child execution of the task `parent`, under this id; a no-op if it has been started."""

    child: str
    parent: Parent
    parameters: Any


class FollowChild(msgspec.Struct, frozen=True, gc=False):
    """Check whether this child has ended, and complete its task if so."""

    child: str
    parent: Parent


class EndChild(msgspec.Struct, frozen=True, gc=False):
    """Terminate this child: the task that awaited it has ended."""

    child: str


class TellParent(msgspec.Struct, frozen=True, gc=False):
    """Complete the task of the parent that awaits this execution: it has ended."""

    parent: Parent


class FollowParent(msgspec.Struct, frozen=True, gc=False):
    """Check whether the task that awaits this execution is still open, and terminate the execution if not."""

    parent: Parent


class SetTimer(msgspec.Struct, frozen=True, gc=False):
    """Wake this execution at this instant (ms): a timer comes due."""

    due_at: int


class FillPlaces(msgspec.Struct, frozen=True, gc=False):
    """See whether a run can be admitted to these limits, named by their keys: one queues, or gave its places back."""

    keys: tuple[str, ...]


class Continue(msgspec.Struct, frozen=True, gc=False):
    """Send `Advance`: the decision stopped at the limit of transitions."""


class TakeUp(msgspec.Struct, frozen=True, gc=False):
    """Fold the execution anew from its events, and send `Recover`: it was released from quarantine."""


class Withhold(msgspec.Struct, frozen=True, gc=False):
    """Call none of the steps of this execution that wait for a slot, and send `QueueTask` for each: it is paused."""


class CallWithheld(msgspec.Struct, frozen=True, gc=False):
    """Let the steps that were withheld wait for a slot again: the execution goes on."""


class HoldSuspect(msgspec.Struct, frozen=True, gc=False):
    """Hold a task that may have crashed the process, and send `Redispatch` when it is its turn.

    `seq` is its `TaskScheduled`. At how many deaths it was there says how long it is to be watched, and at how many of
    those while it was watched says how suspect it is.
    """

    scope: str
    state: str
    seq: int
    deaths: int
    deaths_watched: int


class SetSchedule(msgspec.Struct, frozen=True, gc=False):
    """Look for schedules that are due at this instant (ms): a slot of this workflow comes."""

    due_at: int


class StartScheduled(msgspec.Struct, frozen=True, gc=False):
    """Start a run of this workflow under this id, for a slot of a schedule or because it was asked for.

    `at` is the slot, or when it was asked for; `input` what its input is made from. A no-op if it has been started.
    """

    schedule: str
    run: str
    at: int
    timezone: str
    input: str | None = None
    is_asked_for: bool = False


class FollowScheduled(msgspec.Struct, frozen=True, gc=False):
    """Send `TakeBuffered` once this run of a schedule has ended: a slot waits for that."""

    schedule: str
    slot: int
    run: str


Effect: TypeAlias = (
    RunTask
    | CancelTask
    | StartChild
    | FollowChild
    | EndChild
    | TellParent
    | FollowParent
    | SetTimer
    | FillPlaces
    | Continue
    | TakeUp
    | HoldSuspect
    | SetSchedule
    | StartScheduled
    | FollowScheduled
    | Withhold
    | CallWithheld
)

AFTER_THE_END: tuple[type, ...] = (CancelTask, EndChild, TellParent, FillPlaces)
"""The effects that are still run for an execution that has ended."""
