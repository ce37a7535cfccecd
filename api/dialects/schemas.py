"""Answers, as types: what the document of the API says of them, and what tests hold every answer against.

Handlers make plain objects, which is quicker. Members that need not be there default to `UNSET`; what may have members
that are not named here says so by its base.
"""

from __future__ import annotations

from typing import Annotated, Any, Generic, Literal, TypeAlias, TypeVar

import msgspec
from msgspec import UNSET, UnsetType

from perdure.api.validation import Uuid
from perdure.engine.services.access import SCOPES

T = TypeVar("T")
M = TypeVar("M")


class Shape(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An object with these members and no others."""


class OpenShape(msgspec.Struct, frozen=True, kw_only=True):
    """An object with these members, and others."""


Count: TypeAlias = Annotated[int, msgspec.Meta(ge=0)]
Number: TypeAlias = Annotated[int, msgspec.Meta(ge=1)]
Millis: TypeAlias = Annotated[int, msgspec.Meta(ge=0, description="Milliseconds since the epoch.")]
Instant: TypeAlias = Annotated[
    str,
    msgspec.Meta(pattern=r"Z\Z", description="ISO 8601, in UTC.", extra_json_schema={"format": "date-time"}),
]
JsonObject: TypeAlias = dict[str, Any]
Success: TypeAlias = Literal["success"]
Yes: TypeAlias = Annotated[bool, msgspec.Meta(extra_json_schema={"const": True})]
RunStatus: TypeAlias = Literal["pending", "running", "waiting", "completed", "failed", "timed_out", "terminated"]
TriggerType: TypeAlias = Literal["REQUEST", "SCHEDULE", "WEBHOOK", "FORM", "MANUAL"]
Scope: TypeAlias = Annotated[str, msgspec.Meta(extra_json_schema={"enum": list(SCOPES)})]


# --- the process API: runs ---------------------------------------------------------------------------------------


class Triggered(Shape, frozen=True):
    """The run is on disk, and starts."""

    message: Success
    looply_execution_id: Uuid


class Resumed(Shape, frozen=True):
    """`restarted`: this call ended the wait; `already restarted`: an earlier one did."""

    message: Literal["restarted", "already restarted"]


class Terminated(Shape, frozen=True):
    """`terminated`: by this call; `already terminated`: by an earlier one."""

    message: Literal["terminated", "already terminated"]


class Released(Shape, frozen=True):
    """`released`: it is tried again. If that fails as before, it is set aside again."""

    message: Literal["released"]


class EventShown(OpenShape, frozen=True):
    """An event; its further members depend on its type. Values of more than 1,024 bytes are cut."""

    seq: Number
    type: str
    at: Millis
    actor: str
    state: str | UnsetType = UNSET


class EventLog(Shape, frozen=True):
    """The events of a run in order; of many the first and the last."""

    count: Count
    truncated: bool
    events: list[EventShown]


class RetryShown(Shape, frozen=True):
    """An attempt that failed, and when the next one was due."""

    failed_on: Millis
    retry_on: Millis
    error: Any
    cause: Any | UnsetType = UNSET


class WithinShown(Shape, frozen=True):
    """The branch of a Parallel state or the iteration of a Map state, by its index."""

    state: str
    index: Count


class StepShown(Shape, frozen=True):
    """One entry of a state. `error` is there if it failed, `within` if it is below other states, outermost first.

    One that did not end by itself, but with what is around it, is `cancelled`.
    """

    state: str
    entered_on: Millis | None
    exited_on: Millis | None
    input: Any
    output: Any
    attempts: Count
    error: Any | UnsetType = UNSET
    cause: Any | UnsetType = UNSET
    cancelled: bool | UnsetType = UNSET
    retries: list[RetryShown] | UnsetType = UNSET
    scope: str | UnsetType = UNSET
    within: list[WithinShown] | UnsetType = UNSET


class CondensedLog(Shape, frozen=True):
    """A step for each entry of a state, in order."""

    count: Count
    truncated: bool
    steps: list[StepShown]


class StateShown(OpenShape, frozen=True):
    """A state of the definition, with its own fields."""

    name: str
    type: str


class Connection(Shape, frozen=True):
    """A way from a state to another. `label`: the condition of a choice, or the errors that are caught."""

    origin: str = msgspec.field(name="from")
    to: str
    kind: Literal["next", "choice", "default", "catch"]
    label: str | UnsetType = UNSET


class Outline(Shape, frozen=True):
    """The workflow as it was when the run started."""

    workflow_name: str
    workflow_steps: list[StateShown]
    workflow_connections: list[Connection]


class WorkflowNamed(Shape, frozen=True):
    """The workflow's name."""

    workflow_name: str


class RunDescribed(Shape, frozen=True, kw_only=True):
    """What is said of a run wherever it is shown. `parent_execution_id`: the run whose task started it."""

    workflow_id: Uuid
    workflow_execution_id: Uuid
    workflow_version: Number
    workflow_current_state: str | None
    workflow_trigger_type: TriggerType
    status: RunStatus
    process_id: str
    organization_id: Uuid
    workspace_id: Uuid
    created_on: Millis
    modified_on: Millis
    modified_by: str | None
    parent_execution_id: Uuid | UnsetType = UNSET
    workflow_event_log: EventLog


class RunListed(RunDescribed, frozen=True):
    """A run on a page: its last ten events."""

    workflow_details: WorkflowNamed


class RunItem(RunDescribed, frozen=True):
    """A run with its values and logs. `modified_on`: when somebody outside changed it last, so it may end later."""

    workflow_input_payload: Any
    workflow_output_payload: Any
    condensed_logs: CondensedLog
    workflow_details: Outline


class RunShown(Shape, frozen=True):
    """One run."""

    message: Success
    item: RunItem


class RunKey(Shape, frozen=True):
    """A position: sent back as query parameters it gives the page after it."""

    workflow_id: Uuid
    workflow_execution_id: Uuid


class RunPage(Shape, frozen=True):
    """Runs, newest first; `lastKey` is there exactly when another page exists."""

    message: Success
    count: Count
    items: list[RunListed]
    last_key: RunKey | UnsetType = msgspec.field(name="lastKey", default=UNSET)


# --- the process API: workflows ----------------------------------------------------------------------------------


class Dated(Shape, frozen=True):
    """A version, and who made it when."""

    workflow_id: Uuid
    workflow_version: Number
    created_on: Millis
    created_by: str
    modified_on: Millis
    modified_by: str | None


class VersionListed(Dated, frozen=True):
    """A version on a page."""

    workflow_name: str
    workflow_status: Literal["DRAFT", "ACTIVE", "PAUSED", "ARCHIVED"]
    workflow_status_version: Annotated[str, msgspec.Meta(pattern=r"^(DRAFT|ACTIVE|PAUSED|ARCHIVED)_[1-9][0-9]*\Z")]
    latest: Literal["true", "false"]
    organization_id: Uuid
    workspace_id: Uuid


class VersionItem(VersionListed, frozen=True):
    """A version with its states and the connections between them."""

    workflow_integrations: JsonObject
    workflow_steps: list[StateShown]
    workflow_connections: list[Connection]
    workflow_schema: JsonObject


class SchemaItem(Dated, frozen=True):
    """An example of a version's input, and a JSON Schema for it."""

    workflow_mock_payload: Any
    workflow_schema: JsonObject


class VersionShown(Shape, frozen=True):
    """One version."""

    message: Success
    item: VersionItem


class SchemaShown(Shape, frozen=True):
    """The input of one version."""

    message: Success
    item: SchemaItem


class VersionKey(Shape, frozen=True):
    """A position: sent back as query parameters it gives the page after it."""

    organization_id: Uuid
    workflow_id: Uuid
    workflow_version: Number


class VersionPage(Shape, frozen=True):
    """Versions, newest first; `lastKey` is there exactly when another page exists."""

    message: Success
    count: Count
    items: list[VersionListed]
    last_key: VersionKey | UnsetType = msgspec.field(name="lastKey", default=UNSET)


# --- the other dialects ------------------------------------------------------------------------------------------


class Data(Shape, Generic[T], frozen=True):
    """A success."""

    success: Yes
    data: T


class Page(Shape, Generic[T, M], frozen=True):
    """A page, and where it stands."""

    success: Yes
    data: list[T]
    meta: M


class WorkflowShown(Shape, frozen=True):
    """A workflow."""

    id: Uuid
    name: str
    description: str | None
    status: Literal["draft", "published", "archived"]
    version: Number
    trigger_type: Literal["manual"]
    created_at: Instant
    created_by: str
    updated_at: Instant
    updated_by: str | None


class SettingsShown(Shape, frozen=True):
    """Rules for the runs of a workflow. `resume` "named": a resume must say which wait it means."""

    resume: Literal["any", "named"]


class WorkflowWhole(WorkflowShown, frozen=True):
    """A workflow with its latest version, or with the one that was asked for: `shown_version`."""

    definition: JsonObject
    mock_payload: JsonObject | None
    shown_version: Number
    published_at: Instant | None
    settings: SettingsShown


class Warned(Shape, frozen=True):
    """What is allowed, and rarely meant; `path` is a JSON Pointer into the definition."""

    path: str
    message: str


class WorkflowSaved(WorkflowWhole, frozen=True):
    """A workflow after a change."""

    warnings: list[Warned]


class WorkflowApplied(WorkflowSaved, frozen=True):
    """A workflow after a definition was applied, and what that came to."""

    outcome: Literal["created", "changed", "unchanged"]


class Numbered(Shape, frozen=True):
    """Which page this is, and how many items there are on all of them."""

    page: Number
    limit: Number
    total: Count


class KeyShown(Shape, frozen=True):
    """A key, without its text. `last_used_at` is noted once a minute, some seconds late."""

    id: Uuid
    name: str
    scopes: list[Scope]
    organization_id: Uuid
    workspace_id: Uuid
    created_at: Instant
    expires_at: Instant | None
    revoked_at: Instant | None
    last_used_at: Instant | None


class KeyMade(KeyShown, frozen=True):
    """A key with its text, which is shown only now."""

    key: str


class WaitShown(Shape, frozen=True):
    """A wait that is open."""

    wait_id: Uuid
    process_id: str
    execution_id: Uuid
    workflow_id: Uuid
    state: str
    opened_at: Instant
    due_at: Instant | None


class StateTried(Shape, frozen=True):
    """What a state came to that was tried out by itself.

    `inspection` has the data after each step of its input and output processing, by the names of AWS TestState. Of a
    Task, Parallel or Map state for which neither `result` nor `error` was sent, only the input is processed:
    NEEDS_RESULT.
    """

    status: Literal["SUCCEEDED", "FAILED", "RETRIABLE", "CAUGHT_ERROR", "NEEDS_RESULT"]
    output: Any
    error: str | None
    cause: str | None
    next_state: str | None
    assigned: dict[str, Any]
    retry_delay_ms: Count | None
    wait_until: Instant | None
    inspection: dict[str, Any]


class TaskCompleted(Shape, frozen=True):
    """The answer is on disk, and the run goes on."""

    message: Literal["completed"]


class Following(Shape, frozen=True):
    """What follows a failure: the task is tried again, its Catch leads to another state, or its state has failed."""

    kind: Literal["retry", "catch", "end"]
    retry_at: Instant | UnsetType = UNSET
    next: str | UnsetType = UNSET


class TaskFailed(TaskCompleted, frozen=True):
    """The answer is on disk, and this is what follows."""

    then: Following


class TaskAlive(Shape, frozen=True):
    """The task has its time again, up to its time limit."""

    message: Literal["alive"]


class After(Shape, frozen=True):
    """`after`: the position of the next page, if there is one."""

    limit: Number
    has_more: bool
    after: Uuid | None


class EventStored(Shape, frozen=True):
    """An event as it stands in the log; `payload` is left out if digests were asked for.

    `data` is what an auditor must always see, and refers to the payload by `SEQ/POINTER`; `payload` is business data.
    `actor_name` is the name of the key that acted. An operator of another organization is `operator:elsewhere`.
    """

    position: Number
    stream_id: Uuid
    seq: Number
    type: str
    version: Number
    at: Instant
    actor: str
    actor_name: str | None
    caused_by: Number | None
    data: JsonObject
    payload_digest: str | None
    hash: str
    payload: JsonObject | UnsetType | None = UNSET


class AfterSeq(Shape, frozen=True):
    """Where the next page goes on, if there is one, and the run as it was just before this one was read."""

    limit: Number
    has_more: bool
    after: Count
    execution_id: Uuid
    workflow_id: Uuid
    status: RunStatus


class AfterPosition(Shape, frozen=True):
    """`after`: the position up to which nothing is left out."""

    limit: Number
    has_more: bool
    after: Count


class Health(Shape, frozen=True):
    """How it is."""

    status: Literal["live", "ready"]
