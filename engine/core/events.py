"""The events of an execution: immutable facts, in the past tense.

An event is two parts. The struct is `data`: what the machine needs and an auditor must always see. The payload, a
mapping beside it, is business data, which can be erased; `data` refers to it (`refs.py`). So `evolve` reads structs
only, and an erased stream still replays.

Released events are frozen: a change is a new version with an upcaster, and `tests/golden` holds the bytes of each.
Members at their default are not written. `scope` names the branch or iteration that an event belongs to, "" being
the execution's own top level.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

import msgspec

from engine.core.refs import Ref


class Event(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """What all events of all streams have in common: their type's name is the class's.

    A member that is not known is an error: what a newer program meant by it must not be passed over.
    """


class ExecutionStarted(Event, frozen=True):
    """The first event. Payload: `input`, and `process_id` if the caller chose one."""

    kind: Literal["execution"]
    workspace: str
    workflow: str
    workflow_version: int
    definition_sha256: str
    trigger: str
    start_at: str
    input: Ref
    is_test: bool = False


class StatePassed(Event, frozen=True):
    """A Pass, Choice or Succeed state was entered and left. Payload: `output`, unless it is an earlier value."""

    state: str
    type: Literal["Pass", "Choice", "Succeed"]
    output: Ref
    next: str | None = None
    scope: str = ""


class TaskScheduled(Event, frozen=True):
    """A Task state was entered (attempt 0) or tried again, and its step is to be called.

    `visit` counts how often the scope has entered this state. `wait` is set by `.waitForResume`: the wait that was
    opened just before. Payload: `parameters`, unless they are an earlier value.
    """

    state: str
    resource: str
    parameters: Ref
    visit: int = 1
    attempt: int = 0
    wait: str | None = None
    scope: str = ""


class TaskSucceeded(Event, frozen=True):
    """The step's result, the state's output, and where it goes. Payload: `result`, and `output` if that differs.

    Here and below a null `output` says that it could not be computed; the failure follows.
    """

    state: str
    result: Ref
    output: Ref | None = None
    next: str | None = None
    attempt: int = 0
    scope: str = ""


class TaskSubmitted(Event, frozen=True):
    """The step of a `.waitForResume` returned; the state stays until its wait ends. Payload: `result`."""

    state: str
    result: Ref
    attempt: int = 0
    scope: str = ""


class TaskFailed(Event, frozen=True):
    """The step failed. `error` is a reserved or literal name, else it stands in the payload, as `cause` does."""

    state: str
    error: str | None = None
    error_ref: Ref | None = None
    cause: Ref | None = None
    attempt: int = 0
    scope: str = ""


class TaskInterrupted(Event, frozen=True):
    """The process ended while the step ran; `deaths` counts how often uncleanly.

    `deaths_alone`: how often while it was the only suspect that ran. `is_held`: it is a suspect, and waits its turn.
    """

    state: str
    deaths: int
    deaths_alone: int = 0
    is_held: bool = False
    scope: str = ""


class TaskRedispatched(Event, frozen=True):
    """A suspect that was held back is dispatched, with no other suspect beside it."""

    state: str
    scope: str = ""


class WaitOpened(Event, frozen=True):
    """The execution pauses until an outside party resumes it. Payload: `parameters`, unless an earlier value."""

    state: str
    wait: str
    resource: str
    parameters: Ref
    visit: int = 1
    scope: str = ""


class WaitResumed(Event, frozen=True):
    """The one resume that ended the wait. Payload: `result`, and `output` if that differs."""

    state: str
    wait: str
    result: Ref
    output: Ref | None = None
    next: str | None = None
    scope: str = ""


class TimerSet(Event, frozen=True):
    """A Wait state was entered. The timer's name is this event's seq."""

    state: str
    due_at: int
    scope: str = ""


class TimerFired(Event, frozen=True):
    """The timer of that seq came due and its Wait state was left. Payload: `output`, unless an earlier value."""

    state: str
    timer: int
    output: Ref | None = None
    next: str | None = None
    scope: str = ""


class ExecutionSucceeded(Event, frozen=True):
    """The end: completed."""

    output: Ref


class ExecutionFailed(Event, frozen=True):
    """The end: failed. `entered` is set if the state that failed left no event of its own."""

    error: str | None = None
    error_ref: Ref | None = None
    cause: Ref | None = None
    state: str | None = None
    entered: str | None = None


class ExecutionTerminated(Event, frozen=True):
    """The end: terminated from outside. Payload: `reason`."""

    reason: Ref


class ExecutionQuarantined(Event, frozen=True):
    """Deciding a command raised: a defect of ours. Only a termination is accepted from here on."""

    command: str
    defect: str


class CommandRefused(Event, frozen=True):
    """An authenticated, well-formed command that the state did not allow. `count` is how many there were so far."""

    command: str
    code: str
    count: int


class ResultIgnored(Event, frozen=True):
    """What a step gave after its state had been left. Payload: `result`, or `error` and `cause`."""

    state: str
    outcome: Literal["succeeded", "failed"]
    attempt: int = 0
    visit: int = 1
    scope: str = ""


class Recorded(NamedTuple):
    """An event at its place in a stream. `payload` is null, or a mapping of business data by name."""

    seq: int
    recorded_at: int
    actor: str
    caused_by: int | None
    event: Event
    payload: Mapping[str, Any] | None
