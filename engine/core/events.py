"""The events of an execution: immutable facts, in the past tense.

An event is two parts. The struct is `data`: what the machine needs and an auditor must always see. The payload, a
mapping beside it, is business data, which can be erased; `data` refers to it (`refs.py`). So `evolve` reads structs
only, and an erased stream still replays.

Released events are frozen: a change is a new version with an upcaster (`upcast.py`), and `tests/golden` holds the
bytes of each.
Members at their default are not written. `scope` names the branch or iteration that an event belongs to, "" being
the execution's own top level (`state.py`). `assigned` has the variables that a state sets, by name. Members that end
in `_at` are instants, those in `_ms` durations, in milliseconds.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, TypeAlias

import msgspec

from perdure.engine.core.refs import Ref


class Event(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True, gc=False):
    """The base of the events of all stream types. The name of an event's type is that of its class.

    A member that is not known is an error, here and in whatever an event holds: what a newer program meant by it must
    not be passed over.

    (`gc=False`, here and in all of the core: nothing of it is ever part of a cycle, so the collector of cycles need not
    look at it, and an embedding program need not tune that.)
    """


class Parent(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True, gc=False):
    """The task that started this execution: whose it is, and where in that execution.

    `is_awaited`: the task ends when this execution does (`.sync`), and ends it when it is itself given up. `wait` is
    the wait that a token of the task can end instead. `depth` is 1 for the child of a run that has no parent itself.
    """

    execution: str
    scope: str
    state: str
    seq: int
    visit: int
    attempt: int
    pattern: str
    is_awaited: bool = False
    wait: str | None = None
    depth: int = 1


class Origin(msgspec.Struct, frozen=True, forbid_unknown_fields=True, gc=False):
    """The execution that this one was made from, and the event of it whose hash (in hex) says which log was meant.

    `rerun`: it has the workflow and the input, as they are or edited, of that execution, whose first event it is.
    `fork`: it took over the history up to that event.
    """

    kind: Literal["rerun", "fork"]
    execution: str
    seq: int
    hash: str


ResumeRule: TypeAlias = Literal["any", "named"]
"""`any`: a resume may leave its wait unnamed; `named`: it must name it (`settings.resume` of a workflow)."""


CountsRule: TypeAlias = Literal["all", "active"]
"""Which runs have a place in a limit. `all`: from their admission to their end; `active`: not while they only wait."""


class RunLimit(msgspec.Struct, frozen=True, forbid_unknown_fields=True, gc=False):
    """A limit that a run needs a place in. Of the workflow or the value of a key it has only an HMAC, as hex digits."""

    kind: Literal["workflow", "key", "organization"]
    key: str


class Retry(msgspec.Struct, frozen=True, tag="retry", forbid_unknown_fields=True, gc=False):
    """After a failure: the state is tried again at `due_at`, by the retrier of that index."""

    retrier: int
    due_at: int


class Caught(msgspec.Struct, frozen=True, tag="catch", omit_defaults=True, forbid_unknown_fields=True, gc=False):
    """After a failure: the catcher of that index leads to the `next` state.

    No output: it could not be computed; the failure follows.
    """

    catcher: int
    next: str
    output: Ref | None = None
    assigned: dict[str, Ref] = {}


Then: TypeAlias = Retry | Caught
"""The consequence of a failure. Null: the scope has failed."""


class ExecutionStarted(Event, frozen=True):
    """The first event. Payload: `input`, `process_id` if the caller chose one, and `key_salt` if keys need one.

    `due_at`: when the execution times out (TimeoutSeconds of the machine); the timer's name is 1. `limit_at`: likewise
    by the workflow's settings; that timer's name is 0. With `limits` the run queues for a place in each of them, and
    its time limits, `timeout_ms` and `limit_ms`, begin when it is admitted. `origin`: the one that it was
    made from; the reason for that stands in the payload as `reason`, if one was given. `live`: `workspace` is a
    sandbox, paired with that one, whose workflow it is; steps that may change something outside are simulated.
    """

    kind: Literal["execution"]
    workspace: str
    workflow: str
    workflow_version: int
    definition_sha256: str
    trigger: str
    start_at: str
    input: Ref
    is_test: bool = False
    due_at: int | None = None
    parent: Parent | None = None
    resume: ResumeRule = "any"
    limit_at: int | None = None
    limits: tuple[RunLimit, ...] = ()
    counts: CountsRule = "all"
    timeout_ms: int | None = None
    limit_ms: int | None = None
    origin: Origin | None = None
    live: str | None = None


class StatePassed(Event, frozen=True):
    """A Pass, Choice or Succeed state was entered and left. Payload: `output`, unless it is an earlier value.

    `rule` is the index of the rule that a Choice took; null: its Default.
    """

    state: str
    type: Literal["Pass", "Choice", "Succeed"]
    output: Ref
    next: str | None = None
    assigned: dict[str, Ref] = {}
    scope: str = ""
    rule: int | None = None


class TaskScheduled(Event, frozen=True):
    """A Task state was entered (attempt 0) or tried again, and its step is to be called.

    `visit` counts how often the scope has entered this state. `wait` is set by `.waitForResume` and
    `.waitForTaskToken`: the wait that was opened just before; its time limits are the task's. `child` is the id of the
    execution that the task starts, `is_awaited` says that it ends when that does. Without a wait, `due_at` is when it
    times out at the latest, and the timer's name is this event's seq. Payload: `parameters`, unless they are an earlier
    value.
    """

    state: str
    resource: str
    parameters: Ref
    visit: int = 1
    attempt: int = 0
    wait: str | None = None
    child: str | None = None
    is_awaited: bool = False
    due_at: int | None = None
    scope: str = ""


class TaskQueued(Event, frozen=True):
    """The step could not be called yet: its node had no free slot, or does not have the step. No limit of it runs.

    `left_ms` is how much of its time limit was left when it began to wait; `heartbeat_ms` is that of the wait that
    goes with it.
    """

    state: str
    left_ms: int | None = None
    heartbeat_ms: int | None = None
    scope: str = ""


class TaskStarted(Event, frozen=True):
    """A queued step got a slot: it is called now, and the rest of its time limit runs from here.

    `due_at` is when it times out at the latest, and the timer's name is this event's seq. With `heartbeat_ms` the wait
    that goes with it expires at `heartbeat_due_at`, unless a heartbeat puts that off.
    """

    state: str
    due_at: int | None = None
    heartbeat_ms: int | None = None
    heartbeat_due_at: int | None = None
    scope: str = ""


class TaskSucceeded(Event, frozen=True):
    """The step's result, the state's output, and where it goes. Payload: `result`, and `output` if that differs.

    Here and below a null `output` says that it could not be computed; the failure follows.
    """

    state: str
    result: Ref
    output: Ref | None = None
    next: str | None = None
    assigned: dict[str, Ref] = {}
    attempt: int = 0
    scope: str = ""


class TaskSubmitted(Event, frozen=True):
    """The step that was called with a wait returned, or the child runs; the state stays until that ends.

    Payload: `result`.
    """

    state: str
    result: Ref
    attempt: int = 0
    scope: str = ""


class TaskFailed(Event, frozen=True):
    """The step failed. `error` is a reserved or literal name, else it stands in the payload, as `cause` does.

    `wait` is set if whoever held the task's token said so: the wait that the token was for. Here and below `then` says
    what follows; null: the scope has failed.
    """

    state: str
    error: str | None = None
    error_ref: Ref | None = None
    cause: Ref | None = None
    attempt: int = 0
    wait: str | None = None
    then: Then | None = None
    scope: str = ""


class TaskTimedOut(Event, frozen=True):
    """The step did not end in time (`limit` is `task`), or did not say in time that it is alive (`heartbeat`)."""

    state: str
    limit: Literal["task", "heartbeat"]
    error: str
    attempt: int = 0
    then: Then | None = None
    scope: str = ""


class TaskHeartbeat(Event, frozen=True):
    """A heartbeat from the holder of the wait's token; the time limit is now at `due_at`."""

    state: str
    wait: str
    due_at: int
    scope: str = ""


class TaskInterrupted(Event, frozen=True):
    """The process ended while the step ran; `deaths` counts how often uncleanly, of late.

    `deaths_watched`: how often while it was a suspect that was watched, `deaths_alone`: with no other beside it.
    `is_held`: it is a suspect, and waits its turn.
    """

    state: str
    deaths: int
    deaths_alone: int = 0
    is_held: bool = False
    scope: str = ""
    deaths_watched: int = 0


class TaskRedispatched(Event, frozen=True):
    """A suspect that was held back is dispatched, with so many others `beside` it."""

    state: str
    scope: str = ""
    beside: int = 0


class WaitOpened(Event, frozen=True):
    """The execution pauses until an outside party resumes it. Payload: `parameters`, unless an earlier value.

    `token_sha256` is the digest of the task token that also ends it. `due_at` is when it expires at the latest, and
    the timer's name is this event's seq. With `heartbeat_ms` it expires at `heartbeat_due_at`, unless a heartbeat puts
    that off by so much.
    """

    state: str
    wait: str
    resource: str
    parameters: Ref
    visit: int = 1
    attempt: int = 0
    token_sha256: str | None = None
    due_at: int | None = None
    heartbeat_ms: int | None = None
    heartbeat_due_at: int | None = None
    scope: str = ""


class WaitExpired(Event, frozen=True):
    """Nobody ended the wait in time (`limit` is `task`), or nobody said in time that they will (`heartbeat`)."""

    state: str
    wait: str
    limit: Literal["task", "heartbeat"]
    error: str
    attempt: int = 0
    then: Then | None = None
    scope: str = ""


class WaitResumed(Event, frozen=True):
    """The one resume that ended the wait. Payload: `result`, and `output` if that differs."""

    state: str
    wait: str
    result: Ref
    output: Ref | None = None
    next: str | None = None
    assigned: dict[str, Ref] = {}
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
    assigned: dict[str, Ref] = {}
    scope: str = ""


class BranchesStarted(Event, frozen=True):
    """A Parallel state was entered, or tried again: its branches begin, each in the scope SEQ.INDEX of this event.

    `start_at` has the first state of each; `visit` counts how often the scope has entered this state. Payload: `input`,
    unless it is an earlier value.
    """

    state: str
    input: Ref
    start_at: tuple[str, ...]
    visit: int = 1
    attempt: int = 0
    scope: str = ""


class MapStarted(Event, frozen=True):
    """A Map state was entered, or tried again: an iteration for each of `count` items, in the scope SEQ.INDEX.

    At most `concurrency` run at once (0: any number), at most `tolerated` may fail; `visit` counts how often the scope
    has entered this state. Payload: `items`, unless they are an earlier value.
    """

    state: str
    items: Ref
    count: int
    start_at: str
    concurrency: int = 0
    tolerated: int = 0
    visit: int = 1
    attempt: int = 0
    scope: str = ""


class IterationStarted(Event, frozen=True):
    """An iteration of a Map state begins; it ends with the last state of its scope.

    Payload: `input`, unless it is an earlier value.
    """

    state: str
    index: int
    input: Ref
    scope: str


class StateExited(Event, frozen=True):
    """A Parallel or Map state was left, since all its branches or iterations ended.

    Payload: `result`, and `output` if that differs.
    """

    state: str
    type: Literal["Parallel", "Map"]
    result: Ref
    output: Ref | None = None
    next: str | None = None
    assigned: dict[str, Ref] = {}
    scope: str = ""


class StateFailed(Event, frozen=True):
    """A state failed, by itself or as its branches or iterations did. Payload: `error`, `cause`, `output`.

    `is_entry`: it left no event of its own before. What ran below it is cancelled.
    """

    state: str
    type: str
    error: str | None = None
    error_ref: Ref | None = None
    cause: Ref | None = None
    is_entry: bool = False
    then: Then | None = None
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


class ExecutionTimedOut(Event, frozen=True):
    """The end: TimeoutSeconds of the machine have passed."""


class ExecutionTerminated(Event, frozen=True):
    """The end: terminated from outside. Payload: `reason`, and `data` if the caller said more than that."""

    reason: Ref


class ExecutionQuarantined(Event, frozen=True):
    """Deciding a command raised: a defect of ours. Only a termination or a release is accepted from here on."""

    command: str
    defect: str


class ExecutionReleased(Event, frozen=True):
    """The quarantine was ended by a caller: what was in progress is recovered."""


class CommandRefused(Event, frozen=True):
    """An authenticated, well-formed command that the state did not allow. `count` is how many there were so far."""

    command: str
    code: str
    count: int


class ResultIgnored(Event, frozen=True):
    """The result of a step whose state had been left already. Payload: `result`, or `error` and `cause`."""

    state: str
    outcome: Literal["succeeded", "failed"]
    attempt: int = 0
    visit: int = 1
    scope: str = ""


class Recorded(msgspec.Struct, frozen=True, gc=False):
    """An event with its seq in a stream. `payload` is null, or a mapping of business data by name."""

    seq: int
    recorded_at: int
    actor: str
    caused_by: int | None
    event: Event
    payload: Mapping[str, Any] | None
