"""The commands of an execution: requests that `decide` answers. Each is about one stream.

A command says what somebody wants or what has happened, and never what is to follow: that is decided. Whoever sends one
may be late, so it names what it is about by something that never comes back: the seq of the event that scheduled the
task or set the timer, the id of the wait. What concerns another execution (a parent, a child) is a command to that one,
sent by an effect; no decision writes two streams.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import msgspec

from perdure.engine.core.events import Origin, Parent, Recorded, RunLimit
from perdure.engine.core.pause_events import Clocks
from perdure.engine.core.settings import VERSION_DEFAULTS, VersionSettings


class Trigger(msgspec.Struct, frozen=True, gc=False):
    """Start the execution. Ids are text; `process_id` is the caller's own name for it, if any was chosen.

    `origin` is the execution that it repeats, for the `reason` that was given.
    With `limits` it begins when it is admitted. `live` is given in a sandbox: the workspace that it is paired with.
    """

    workspace: str
    workflow: str
    workflow_version: int
    definition_sha256: str
    trigger: str
    input: Any
    process_id: str | None = None
    is_test: bool = False
    parent: Parent | None = None
    settings: VersionSettings = VERSION_DEFAULTS
    origin: Origin | None = None
    reason: str | None = None
    limits: tuple[RunLimit, ...] = ()
    live: str | None = None


class ForkExecution(msgspec.Struct, frozen=True, gc=False):
    """Start the execution with the history of its `origin` up to an event, and go on from there.

    `events` are those of the origin, from the first one to that event, with their payloads. `input`: the one state that
    is in progress there is given this JSON value in place of its own.
    """

    origin: Origin
    events: tuple[Recorded, ...]
    trigger: str
    settings: VersionSettings = VERSION_DEFAULTS
    limits: tuple[RunLimit, ...] = ()
    process_id: str | None = None
    reason: str | None = None
    input: Any = msgspec.UNSET


class Admit(msgspec.Struct, frozen=True, gc=False):
    """Admit the execution, which queues since the event of that seq: these places in its limits are free."""

    seq: int
    places: tuple[int, ...]


class Advance(msgspec.Struct, frozen=True, gc=False):
    """Continue an execution whose last decision stopped at `Facts.transitions_max`."""


class TaskSuccess(msgspec.Struct, frozen=True, gc=False):
    """The outcome of a step that returned this JSON value; or that was simulated, and not called."""

    result: Any
    is_simulated: bool = False


class TaskFailure(msgspec.Struct, frozen=True, gc=False):
    """The outcome of a step that failed. `error`: its name; `cause`: text. Unless `is_retryable`, Retry is skipped."""

    error: str | None
    cause: str | None
    is_retryable: bool = True


class CompleteTask(msgspec.Struct, frozen=True, gc=False):
    """The outcome of the step that was called for the `TaskScheduled` event of that seq."""

    scope: str
    state: str
    seq: int
    attempt: int
    visit: int
    outcome: TaskSuccess | TaskFailure


class QueueTask(msgspec.Struct, frozen=True, gc=False):
    """The step of the `TaskScheduled` of that seq waits for a slot since an instant (ms)."""

    scope: str
    seq: int
    since: int


class StartTask(msgspec.Struct, frozen=True, gc=False):
    """The queued step has a slot now: call it."""

    scope: str
    seq: int


class ChildStarted(msgspec.Struct, frozen=True, gc=False):
    """The child of the task with that `TaskScheduled` was started.

    `result` is the JSON value that the task has if it does not await the child.
    """

    scope: str
    seq: int
    result: Any


class AnswerTask(msgspec.Struct, frozen=True, gc=False):
    """The task's outcome, given by the holder of the task token of this wait."""

    wait: str
    outcome: TaskSuccess | TaskFailure


class Beat(msgspec.Struct, frozen=True, gc=False):
    """A heartbeat from the holder of the task token of this wait."""

    wait: str


class FireTimer(msgspec.Struct, frozen=True, gc=False):
    """Fire the timer that the event of that seq set; it is due."""

    timer: int


class Resume(msgspec.Struct, frozen=True, gc=False):
    """End a wait with this payload as its result: the wait of that id, or at that state, or the only open one.

    With `may_hold` a refusal that time may lift is not recorded: the caller holds the request and asks again. A call
    `is_keyed` whose idempotency key tells it from every other call, so that its repetition cannot end a later wait.
    """

    payload: Any
    wait: str | None = None
    state: str | None = None
    may_hold: bool = False
    is_keyed: bool = False


class Terminate(msgspec.Struct, frozen=True, gc=False):
    """End the execution from outside. `data`: what the caller says beside the reason; it is kept."""

    reason: str
    data: dict[str, Any] | None = None


class Recover(msgspec.Struct, frozen=True, gc=False):
    """The process that owned the execution is gone; `died` says that it did not stop cleanly.

    `seq` is where the execution stood then: a task that was scheduled later runs already. Null: none was.

    With `bytes_max` only so many tasks are taken up as have parameters of so many bytes, and one at least; the answer
    is then the scope of the last of them, with which to go on `after` it. Null: that was all.
    """

    died: bool
    seq: int | None = None
    after: str | None = None
    bytes_max: int | None = None


class Redispatch(msgspec.Struct, frozen=True, gc=False):
    """Dispatch the suspect task that is held in this scope, with so many others `beside` it."""

    scope: str
    beside: int = 0


class Quarantine(msgspec.Struct, frozen=True, gc=False):
    """Quarantine the execution: deciding `command` raised `defect`, the name of an exception."""

    command: str
    defect: str


class Release(msgspec.Struct, frozen=True, gc=False):
    """Release the execution from quarantine, and try again."""


class RedriveExecution(msgspec.Struct, frozen=True, gc=False):
    """Go on with an execution that did not end well, at the states that failed or were cut short.

    `settings` are those of its version of the workflow: its time limit is counted anew.
    """

    reason: str | None = None
    settings: VersionSettings = VERSION_DEFAULTS


class PauseExecution(msgspec.Struct, frozen=True, gc=False):
    """Stop the execution for a while: enter nothing, call nothing. `clocks` says whether time goes on meanwhile."""

    reason: str
    clocks: Clocks = "run"


class UnpauseExecution(msgspec.Struct, frozen=True, gc=False):
    """Let a paused execution go on where it stands."""

    reason: str | None = None


class Confirm(msgspec.Struct, frozen=True, gc=False):
    """Change nothing: the answer is only stored under an idempotency key."""

    answer: Any


class Refuse(msgspec.Struct, frozen=True, gc=False):
    """Record that a command about this execution was refused before it could be decided here."""

    command: str
    message: str


Command: TypeAlias = (
    Trigger
    | ForkExecution
    | Admit
    | Advance
    | QueueTask
    | StartTask
    | CompleteTask
    | ChildStarted
    | AnswerTask
    | Beat
    | FireTimer
    | Resume
    | Terminate
    | Recover
    | Redispatch
    | Quarantine
    | Release
    | RedriveExecution
    | PauseExecution
    | UnpauseExecution
    | Confirm
    | Refuse
)
