"""The resource API's requests and answers, as types."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, ClassVar, Final, Literal, TypeAlias

import msgspec
from msgspec import UNSET, UnsetType

from perdure.api.dialects.resource.schedule_schemas import CronText, ScheduleList, WholeList, Zone
from perdure.api.dialects.resource.setting_schemas import RunSettings, SettingsShown
from perdure.api.dialects.schemas import (
    Count,
    Instant,
    JsonObject,
    Number,
    RunStatus,
    Scope,
    Shape,
    Version,
    Warned,
)
from perdure.api.http.headers import HOLD_MAX_S
from perdure.api.http.paging import LIMIT_DEFAULT, PageNumber, WideLimit
from perdure.api.validation import Request, Uuid
from perdure.engine.services.task_tokens import CAUSE_MAX, ERROR_MAX

EVENTS_DEFAULT: Final = 100

# A name is one line; a description may have more.
Name: TypeAlias = Annotated[
    str,
    msgspec.Meta(
        min_length=1,
        max_length=120,
        pattern=r"^[^\x00-\x1f\x7f-\x9f\u2028\u2029]*\Z",
        extra={"accepts": "a text of 1 to 120 characters, none of them a control character"},
    ),
]
Description: TypeAlias = Annotated[
    str,
    msgspec.Meta(max_length=500, pattern=r"^[^\x00]*\Z", extra={"accepts": "a text of at most 500 characters"}),
]
Definition: TypeAlias = Annotated[
    dict[str, Any], msgspec.Meta(extra={"accepts": "an object in Amazon States Language"})
]
ScopeName: TypeAlias = Annotated[str, msgspec.Meta(extra_json_schema={"pattern": ""})]
"""A scope in any dialect's spelling; the document shows those of the server's dialects."""
Moment: TypeAlias = Annotated[datetime, msgspec.Meta(extra_json_schema={"format": "date-time"})]
WorkflowStatus: TypeAlias = Literal["draft", "published", "paused", "archived"]
TriggeredBy: TypeAlias = Literal["manual", "schedule"]
EventLimit: TypeAlias = Annotated[int, msgspec.Meta(ge=1, le=1000)]
Position: TypeAlias = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
StepMs: TypeAlias = Annotated[int, msgspec.Meta(ge=-(2**53), le=2**53)]
Seconds: TypeAlias = Annotated[int, msgspec.Meta(ge=0, le=HOLD_MAX_S)]
Payloads: TypeAlias = Literal["full", "digest"]


# --- pages -------------------------------------------------------------------------------------------------------


class Numbered(Shape, frozen=True):
    """The number of this page, and the number of items on all of them."""

    page: Number
    limit: Number
    total: Count


class After(Shape, frozen=True):
    """`after`: the position of the next page, if there is one."""

    limit: Number
    has_more: bool
    after: Uuid | None


_SCHEDULES_ELSEWHERE: Final = "schedules are given where a workflow is created or changed, or to its schedules"

# --- workflows ---------------------------------------------------------------------------------------------------


class Named(Request, frozen=True):
    """A name in a path."""

    name: Name


class NewWorkflow(Request, frozen=True):
    """A workflow and its first version."""

    name: Name
    definition: Definition
    description: Description | None = None
    status: Annotated[Literal["published", "draft"], msgspec.Meta(extra={"accepts": "'published' or 'draft'"})] = (
        "published"
    )
    settings: RunSettings = RunSettings()
    trigger_type: TriggeredBy | None = None
    cron_expression: CronText | None = None
    timezone: Zone | UnsetType = UNSET
    schedules: ScheduleList | None = None
    mock_payload: dict[str, Any] | None = None

    not_yet: ClassVar[Mapping[str, str]] = {
        "nodes": "send a definition in Amazon States Language",
        "edges": "send a definition in Amazon States Language",
        "steps": "send a definition in Amazon States Language",
    }


class AppliedWorkflow(Request, frozen=True):
    """The definition that the workflow of a name is to have; what is not said stays as it is."""

    definition: Definition
    description: Description | None = None
    status: Annotated[Literal["published", "draft"], msgspec.Meta(extra={"accepts": "'published' or 'draft'"})] = (
        "published"
    )
    settings: RunSettings | msgspec.UnsetType = msgspec.UNSET

    not_yet: ClassVar[Mapping[str, str]] = {
        **NewWorkflow.not_yet,
        **dict.fromkeys(("trigger_type", "cron_expression", "timezone", "schedules"), _SCHEDULES_ELSEWHERE),
    }


class WorkflowChange(Request, frozen=True):
    """The members to be changed; the rest stays."""

    name: Name | msgspec.UnsetType = msgspec.UNSET
    description: Description | msgspec.UnsetType = msgspec.UNSET
    definition: Definition | msgspec.UnsetType = msgspec.UNSET
    status: (
        Annotated[
            Literal["published", "draft"],
            msgspec.Meta(extra={"accepts": "'published' or 'draft' (DELETE archives)"}),
        ]
        | msgspec.UnsetType
    ) = msgspec.UNSET

    settings: RunSettings | msgspec.UnsetType = msgspec.UNSET
    trigger_type: TriggeredBy | msgspec.UnsetType = msgspec.UNSET
    cron_expression: CronText | msgspec.UnsetType | None = msgspec.UNSET
    timezone: Zone | msgspec.UnsetType = msgspec.UNSET
    schedules: WholeList | msgspec.UnsetType = msgspec.UNSET

    not_yet: ClassVar[Mapping[str, str]] = NewWorkflow.not_yet


class WorkflowsQuery(Request, frozen=True):
    """A page of workflows; `search` is a part of the name, without regard to case."""

    page: PageNumber = 1
    limit: WideLimit = LIMIT_DEFAULT
    status: WorkflowStatus | None = None
    search: Annotated[str, msgspec.Meta(min_length=1, max_length=120)] | None = None


class WorkflowQuery(Request, frozen=True):
    """The version of a workflow; without one the latest."""

    version: Version | None = None


class WorkflowShown(Shape, frozen=True):
    """A workflow."""

    id: Uuid
    name: str
    description: str | None
    status: WorkflowStatus
    version: Number
    trigger_type: TriggeredBy
    cron_expression: str | None
    timezone: str | None
    created_at: Instant
    created_by: str
    updated_at: Instant
    updated_by: str | None


class WorkflowWhole(WorkflowShown, frozen=True):
    """A workflow with its latest version, or with the one that was asked for: `shown_version`."""

    definition: JsonObject
    mock_payload: JsonObject | None
    shown_version: Number
    published_at: Instant | None
    settings: SettingsShown


class WorkflowSaved(WorkflowWhole, frozen=True):
    """A workflow after a change."""

    warnings: list[Warned]


class WorkflowApplied(WorkflowSaved, frozen=True):
    """A workflow after a definition was applied, and what that came to."""

    outcome: Literal["created", "changed", "unchanged"]


# --- keys --------------------------------------------------------------------------------------------------------


class NewKey(Request, frozen=True):
    """A key. Organization and workspace are given by name, and only an operator may name others than its own."""

    name: Name
    scopes: Annotated[list[ScopeName], msgspec.Meta(min_length=1, max_length=64)]
    organization: Name | None = None
    workspace: Name | None = None
    expires_at: Moment | None = None


class KeysQuery(Request, frozen=True):
    """A page of keys; `after` is the last key's id before it."""

    limit: WideLimit = LIMIT_DEFAULT
    after: Uuid | None = None


class RevokeQuery(Request, frozen=True):
    """`with_children`: the keys that it made, too; without it: unless it has the scope operator."""

    with_children: bool | None = None


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


# --- executions, and their waits ---------------------------------------------------------------------------------


class ResumeAny(Request, frozen=True):
    """The output of the state that waited: any JSON value, null too."""

    payload: Any


class Released(Shape, frozen=True):
    """`released`: it is tried again. If that fails as before, it is set aside again."""

    message: Literal["released"]


class WaitsQuery(Request, frozen=True):
    """A page of open waits, of one process or workflow if it is named; `after` is the last wait's id before it."""

    process_id: str | None = None
    workflow_id: Uuid | None = None
    limit: WideLimit = LIMIT_DEFAULT
    after: Uuid | None = None


class WaitShown(Shape, frozen=True):
    """A wait that is open."""

    wait_id: Uuid
    process_id: str
    execution_id: Uuid
    workflow_id: Uuid
    state: str
    opened_at: Instant
    due_at: Instant | None


# --- tasks -------------------------------------------------------------------------------------------------------


class TaskSuccess(Request, frozen=True):
    """The output of the task: any JSON value, null too."""

    output: Any


class TaskCompleted(Shape, frozen=True):
    """The answer is on disk, and the run goes on."""

    message: Literal["completed"]


class TaskFailure(Request, frozen=True):
    """The failure of the task: an error name, which Retry and Catch can name, and a cause for a person."""

    error: Annotated[str, msgspec.Meta(max_length=ERROR_MAX)] | None = None
    cause: Annotated[str, msgspec.Meta(max_length=CAUSE_MAX)] | None = None


class Following(Shape, frozen=True):
    """The step after a failure: the task is tried again, its Catch leads to another state, or its state has failed."""

    kind: Literal["retry", "catch", "end"]
    retry_at: Instant | UnsetType = UNSET
    next: str | UnsetType = UNSET


class TaskFailed(TaskCompleted, frozen=True):
    """The answer is on disk, and this is what follows."""

    then: Following


class TaskAlive(Shape, frozen=True):
    """The task has its time again, up to its time limit."""

    message: Literal["alive"]


# --- the clock ---------------------------------------------------------------------------------------------------


class ClockStep(Request, frozen=True):
    """The step that is accepted, as it was shown; of another one that has come since nothing is accepted.

    Without it the step is accepted that there is.
    """

    step_ms: StepMs | None = None


class ClockShown(Shape, frozen=True):
    """The server's clock (`now`), the computer's (`wall`), and why nothing is fired, if that is so.

    `step_ms`: so far the computer's clock was set forward, or back if it is less than 0; 0 while the server's is
    trusted.
    """

    now: Instant
    wall: Instant
    is_trusted: bool
    step_ms: int
    problem: str | None


class ClockAnswer(Shape, frozen=True):
    """The answer to an acceptance, and by how much the server's clock was moved."""

    message: Literal["accepted", "nothing to accept"]
    step_ms: int


# --- events ------------------------------------------------------------------------------------------------------


class EventsQuery(Request, frozen=True):
    """A page of a run's events, beyond the seq `after`; `types` are names of events, separated by commas."""

    after: Position | None = None
    limit: EventLimit = EVENTS_DEFAULT
    order: Literal["asc", "desc"] = "asc"
    types: Annotated[str, msgspec.Meta(min_length=1, max_length=1000)] | None = None
    payloads: Payloads = "full"
    wait: Seconds = 0


class LogQuery(Request, frozen=True):
    """A page of the log, above the position `after`."""

    after: Position = 0
    limit: EventLimit = EVENTS_DEFAULT
    payloads: Payloads = "full"
    wait: Seconds = 0


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
    """`after`: the seq for the next page, if there is one; and the run as it was just before this page was read."""

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
