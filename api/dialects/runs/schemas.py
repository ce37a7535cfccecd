"""Requests and answers of the runs API, as types; members are in camelCase."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Final, Generic, Literal, TypeAlias, TypeVar

import msgspec
from msgspec import UNSET, UnsetType

from perdure.api.dialects.schemas import Count, Instant, JsonObject, Number, Shape, Warned, Yes
from perdure.api.http.paging import WideLimit
from perdure.api.validation import Request, Uuid

T = TypeVar("T")

LIMIT: Final = 50
REASON_MAX: Final = 1024

StepWorkflowName: TypeAlias = Annotated[
    str,
    msgspec.Meta(
        min_length=1,
        max_length=255,
        pattern=r"^[^\x00-\x1f\x7f-\x9f\u2028\u2029]*\Z",
        extra={"accepts": "a text of 1 to 255 characters, none of them a control character"},
    ),
]
Words: TypeAlias = Annotated[
    str, msgspec.Meta(max_length=500, pattern=r"^[^\x00]*\Z", extra={"accepts": "a text of at most 500 characters"})
]
Reason: TypeAlias = Annotated[str, msgspec.Meta(max_length=REASON_MAX, pattern=r"^[^\x00]*\Z")]
RunsStatus: TypeAlias = Literal["draft", "active", "paused", "archived"]
RunWord: TypeAlias = Literal["pending", "running", "completed", "failed", "timed_out", "cancelled"]
RunTrigger: TypeAlias = Literal["api", "schedule", "webhook", "form", "manual"]
RunStepStatus: TypeAlias = Literal["pending", "running", "retrying", "completed", "failed", "skipped"]
StepDocuments: TypeAlias = Annotated[list[Any], msgspec.Meta(extra={"accepts": "a list of steps"})]

# --- envelopes ---------------------------------------------------------------------------------------------------


class CursorMeta(Shape, frozen=True, rename="camel"):
    """The place of a page: `cursor` asks for the next one, null if there is none."""

    cursor: str | None
    has_more: bool


class CursorPage(Shape, Generic[T], frozen=True):
    """A page, and how the next one is asked for."""

    success: Yes
    data: list[T]
    meta: CursorMeta


# --- workflows ---------------------------------------------------------------------------------------------------


class StepWorkflow(Request, frozen=True, rename="camel"):
    """A workflow as a list of steps, whole; a draft unless it is to be `active` at once."""

    name: StepWorkflowName
    steps: StepDocuments
    description: Words | None = None
    trigger: JsonObject | None = None
    variables: JsonObject | None = None
    input_schema: JsonObject | None = None
    output_schema: JsonObject | None = None
    settings: JsonObject | None = None
    status: Literal["draft", "active"] | None = None
    change_summary: Words | None = None

    not_yet: ClassVar = {"definition": "send steps; definitions in Amazon States Language go to /v1/workflows"}


class StepWorkflowChange(Request, frozen=True, rename="camel"):
    """The members to be changed; the rest stays. A member of `settings` that is null is back at its default."""

    name: StepWorkflowName | UnsetType = UNSET
    steps: StepDocuments | UnsetType = UNSET
    description: Words | UnsetType = UNSET
    trigger: JsonObject | UnsetType | None = UNSET
    variables: JsonObject | UnsetType | None = UNSET
    input_schema: JsonObject | UnsetType | None = UNSET
    output_schema: JsonObject | UnsetType | None = UNSET
    settings: JsonObject | UnsetType | None = UNSET
    status: Literal["draft", "active"] | UnsetType = UNSET
    change_summary: Words | UnsetType = UNSET


class StepWorkflowsQuery(Request, frozen=True, rename="camel"):
    """A page of workflows; `search` is a part of the name, without regard to case."""

    status: RunsStatus | None = None
    search: Annotated[str, msgspec.Meta(min_length=1, max_length=255)] | None = None
    limit: WideLimit = LIMIT
    cursor: Uuid | None = None


class StepWorkflowListed(Shape, frozen=True, rename="camel"):
    """A workflow."""

    id: Uuid
    name: str
    description: str | None
    status: RunsStatus
    version: Number
    created_at: Instant
    created_by: str
    updated_at: Instant
    updated_by: str | None


class StepWorkflowShown(StepWorkflowListed, frozen=True, rename="camel"):
    """A workflow with its latest version: as it was written, or as its states show as steps."""

    format: Literal["asl", "graph", "service", "steps"]
    trigger: JsonObject
    steps: list[Any]
    variables: JsonObject | None
    input_schema: JsonObject | None
    output_schema: JsonObject | None
    settings: JsonObject
    change_summary: str | None
    published_at: Instant | None


class StepWorkflowSaved(StepWorkflowShown, frozen=True, rename="camel"):
    """A workflow after a change; `warnings` are of its document."""

    warnings: list[Warned]


class VersionsQuery(Request, frozen=True, rename="camel"):
    """A page of versions."""

    limit: WideLimit = LIMIT
    cursor: Annotated[int, msgspec.Meta(ge=1)] | None = None


class StepVersionShown(Shape, frozen=True, rename="camel"):
    """A version of a workflow."""

    version: Number
    status: Literal["draft", "published"]
    format: Literal["asl", "graph", "service", "steps"]
    change_summary: str | None
    created_at: Instant
    created_by: str
    published_at: Instant | None


# --- runs --------------------------------------------------------------------------------------------------------


class RunStart(Request, frozen=True, rename="camel"):
    """The input of a run, an empty object if none is given; `idempotencyKey` is as the header of that name."""

    input: JsonObject | UnsetType = UNSET
    idempotency_key: Annotated[str, msgspec.Meta(min_length=1, max_length=255)] | None = None

    not_yet: ClassVar = {"connectionId": "it comes with connections"}


class RunStartQuery(Request, frozen=True):
    """`test`: a draft runs, too; if no input is given, it is the mock payload."""

    test: bool = False


class RunStarted(Shape, frozen=True, rename="camel"):
    """A run that is on disk, and begins."""

    run_id: Uuid
    status: Literal["pending"]
    workflow_id: Uuid
    workflow_version: Number


class StepRunsQuery(Request, frozen=True, rename="camel"):
    """A page of runs. `status` takes this API's words, Perdure's, and `suspended`; several are separated by commas."""

    workflow_id: Uuid | None = None
    status: Annotated[str, msgspec.Meta(min_length=1, max_length=200)] | None = None
    from_: Annotated[str, msgspec.Meta(min_length=1, max_length=40)] | None = msgspec.field(default=None, name="from")
    to: Annotated[str, msgspec.Meta(min_length=1, max_length=40)] | None = None
    limit: WideLimit = LIMIT
    cursor: Annotated[str, msgspec.Meta(min_length=1, max_length=100)] | None = None


class PlaceQuery(Request, frozen=True):
    """A page of what a run has in order."""

    limit: WideLimit = LIMIT
    cursor: Annotated[int, msgspec.Meta(ge=0, le=2**31)] | None = None


class RunFault(Shape, frozen=True):
    """An error; `step` is the id of the step that it came from."""

    code: str
    message: str | None
    step: str | UnsetType | None = UNSET


class StepAttemptShown(Shape, frozen=True, rename="camel"):
    """One attempt of a step, from 1."""

    attempt: Number
    started_at: Instant | None
    completed_at: Instant | None
    error: RunFault | UnsetType = UNSET


class StepPartShown(Shape, frozen=True):
    """One iteration of a loop, or one branch; `number` counts from 0."""

    kind: Literal["iteration", "branch"]
    number: Count
    steps: list[StepShown]


class StepShown(Shape, frozen=True, rename="camel"):
    """A step of a run. `attempts` is how often it was called, and `attemptLog` has each; `parts` are in it."""

    id: str
    name: str
    type: str
    status: RunStepStatus
    started_at: Instant | None
    completed_at: Instant | None
    duration_ms: Count | None
    attempts: Count
    attempt_log: list[StepAttemptShown]
    input: Any
    output: Any
    error: RunFault | UnsetType = UNSET
    parts: list[StepPartShown] | UnsetType = UNSET


class AnswerShown(Shape, frozen=True):
    """One answer to an approval."""

    decision: Literal["approve", "reject"] | None
    by: str | None
    at: Instant | None
    comment: str | None


class RunApproval(Shape, frozen=True, rename="camel"):
    """Something that a run has asked people."""

    id: Uuid
    step_id: str
    title: str | None
    description: str | None
    approvers: list[str]
    required: Count
    status: Literal["pending", "approved", "rejected", "expired", "cancelled"]
    requested_at: Instant
    due_at: Instant | None
    answers: list[AnswerShown]


class WaitingForShown(Shape, frozen=True, rename="camel"):
    """Something that a run waits for."""

    kind: Literal["approval", "wait", "pause"]
    id: Uuid | None
    step_id: str | None
    title: str | None
    since: Instant
    due_at: Instant | None


class RunShown(Shape, frozen=True, rename="camel"):
    """A run. One that waits for somebody is `running`, and `suspended`. `truncated`: it has more steps than these."""

    id: Uuid
    workflow_id: Uuid
    workflow_version: Number
    status: RunWord
    suspended: bool
    waiting_for: list[WaitingForShown]
    trigger_type: RunTrigger
    input: Any
    output: Any
    error: RunFault | None
    steps: list[StepShown]
    approvals: list[RunApproval]
    started_at: Instant | None
    completed_at: Instant | None
    duration_ms: Count | None
    created_at: Instant
    queue_position: Number | UnsetType = UNSET
    truncated: bool | UnsetType = UNSET


class RunLogLine(Shape, frozen=True, rename="camel"):
    """A line of a run's log; `nodeId` is the id of the step, null of the run itself."""

    at: Instant
    level: Literal["debug", "info", "warn", "error"]
    node_id: str | None
    message: str
    data: Any | UnsetType = UNSET


class RunEvent(Shape, frozen=True, rename="camel"):
    """An event of a run as it stands in the log."""

    seq: Number
    position: Number
    type: str
    version: Number
    at: Instant
    actor: str
    data: JsonObject
    payload: JsonObject | None
    hash: str


class CancelRun(Request, frozen=True):
    """A reason to cancel a run."""

    reason: Reason | None = None


class RunCancelled(Shape, frozen=True):
    """A run that was cancelled, by this call or an earlier one."""

    id: Uuid
    status: Literal["cancelled"]


class RetryRun(Request, frozen=True, rename="camel"):
    """The place to begin again; without more the run goes on where it failed."""

    from_step: Annotated[str, msgspec.Meta(min_length=1, max_length=80)] | UnsetType = UNSET
    input: JsonObject | UnsetType = UNSET
    reason: Reason | None = None


class RunRetried(Shape, frozen=True, rename="camel"):
    """The run that goes on: the same one (`redrive`), or another (`rerun`, `fork`)."""

    run_id: Uuid
    kind: Literal["redrive", "rerun", "fork"]
    retry_of: Uuid


class ApprovalDecided(Request, frozen=True):
    """The answer to an approval."""

    decision: Literal["approve", "reject"]
    comment: Annotated[str, msgspec.Meta(max_length=10_000)] | None = None
