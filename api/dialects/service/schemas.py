"""Requests and answers of the service API, as types."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Final, Generic, Literal, TypeAlias, TypeVar

import msgspec
from msgspec import UNSET, UnsetType

from perdure.api.dialects.schemas import Count, Instant, Number, Shape, Warned
from perdure.api.http.paging import WideLimit
from perdure.api.validation import Request, Uuid

T = TypeVar("T")

LIMIT: Final = 50
OFFSET_MAX: Final = 10_000
STEPS_MAX: Final = 50
SHARED_MAX: Final = 1_000

WorkflowName: TypeAlias = Annotated[
    str,
    msgspec.Meta(
        min_length=1,
        max_length=120,
        pattern=r"^[^\x00-\x1f\x7f-\x9f\u2028\u2029]*\Z",
        extra={"accepts": "a text of 1 to 120 characters, none of them a control character"},
    ),
]
About: TypeAlias = Annotated[
    str, msgspec.Meta(max_length=500, pattern=r"^[^\x00]*\Z", extra={"accepts": "a text of at most 500 characters"})
]
ServiceSteps: TypeAlias = Annotated[
    list[Any],
    msgspec.Meta(
        min_length=1,
        max_length=STEPS_MAX,
        description="In order; each is `{step_type, step_config}`, or `{type, config}`.",
        extra={"accepts": f"a list of 1 to {STEPS_MAX} steps, each of them {{step_type, step_config}}"},
    ),
]
CronText: TypeAlias = Annotated[
    str,
    msgspec.Meta(min_length=1, max_length=200, extra={"accepts": "a cron expression of 5 fields such as 0 9 * * *"}),
]
Zone: TypeAlias = Annotated[
    str, msgspec.Meta(min_length=1, max_length=100, extra={"accepts": "the name of a time zone such as Europe/London"})
]
Offset: TypeAlias = Annotated[
    int,
    msgspec.Meta(
        ge=0,
        le=OFFSET_MAX,
        extra={
            "accepts": f"an integer from 0 to {OFFSET_MAX:,}; to go on beyond that send `cursor`, which costs the same "
            "however far it is, as `meta.cursor` has it"
        },
    ),
]
PersonName: TypeAlias = Annotated[
    str,
    msgspec.Meta(
        min_length=1,
        max_length=128,
        pattern=r"^[\x21-\x7e]*\Z",
        extra={"accepts": "a text of 1 to 128 printable ASCII characters without spaces"},
    ),
]
People: TypeAlias = Annotated[
    list[PersonName],
    msgspec.Meta(max_length=SHARED_MAX, extra={"accepts": f"a list of at most {SHARED_MAX:,} ids"}),
]
TriggerKind: TypeAlias = Literal["schedule", "manual"]
ActiveOrPaused: TypeAlias = Literal["active", "paused"]
VisibleTo: TypeAlias = Literal["private", "tenant", "shared"]
ServiceStatus: TypeAlias = Literal["draft", "active", "paused", "archived"]
ServiceWord: TypeAlias = Literal["queued", "running", "completed", "failed"]
OurWord: TypeAlias = Literal["pending", "running", "waiting", "completed", "failed", "timed_out", "terminated"]
StartedBy: TypeAlias = Literal["api", "schedule", "webhook", "form", "manual"]
StepWord: TypeAlias = Literal["pending", "running", "retrying", "completed", "failed", "skipped"]

# --- envelopes ---------------------------------------------------------------------------------------------------


class ServiceData(Shape, Generic[T], frozen=True):
    """A success."""

    data: T


class OffsetMeta(Shape, frozen=True):
    """The place of a page. `offset` is null where it was asked for by a cursor; `cursor` asks for the next page."""

    limit: Number
    offset: Count | None
    has_more: bool
    cursor: str | None


class OffsetPage(Shape, Generic[T], frozen=True):
    """A page, and where it stands."""

    data: list[T]
    meta: OffsetMeta


# --- workflows ---------------------------------------------------------------------------------------------------

_NOT_YET: Final = {"definition": "send steps; definitions in Amazon States Language go to /v1/workflows"}


class ServiceWorkflow(Request, frozen=True):
    """A workflow: its steps in order, and when they run. `schedule` is another name of `cron_expression`."""

    name: WorkflowName
    steps: ServiceSteps
    description: About | None = None
    trigger_type: TriggerKind = "schedule"
    cron_expression: CronText | None = None
    schedule: CronText | None = None
    timezone: Zone = "UTC"
    status: ActiveOrPaused = "active"
    visibility: VisibleTo = "tenant"
    shared_user_ids: People = msgspec.field(default_factory=list)
    shared_role_ids: People = msgspec.field(default_factory=list)

    not_yet: ClassVar = _NOT_YET


class ServiceWorkflowChange(Request, frozen=True):
    """The members to be changed; the rest stays."""

    name: WorkflowName | UnsetType = UNSET
    steps: ServiceSteps | UnsetType = UNSET
    description: About | UnsetType | None = UNSET
    trigger_type: TriggerKind | UnsetType = UNSET
    cron_expression: CronText | UnsetType | None = UNSET
    schedule: CronText | UnsetType | None = UNSET
    timezone: Zone | UnsetType = UNSET
    status: ActiveOrPaused | UnsetType = UNSET
    visibility: VisibleTo | UnsetType = UNSET
    shared_user_ids: People | UnsetType = UNSET
    shared_role_ids: People | UnsetType = UNSET

    not_yet: ClassVar = _NOT_YET


class ServiceWorkflowsQuery(Request, frozen=True):
    """A page of workflows, by `offset` or by `cursor`; `search` is a part of the name, without regard to case."""

    limit: WideLimit = LIMIT
    offset: Offset | None = None
    cursor: Uuid | None = None
    status: ServiceStatus | None = None
    search: Annotated[str, msgspec.Meta(min_length=1, max_length=120)] | None = None


class ServiceWorkflowListed(Shape, frozen=True):
    """A workflow. `next_run_at`: when its schedule is due; null if nothing of it starts by itself."""

    id: Uuid
    name: str
    description: str | None
    status: ServiceStatus
    trigger_type: TriggerKind
    cron_expression: str | None
    timezone: str
    next_run_at: Instant | None
    visibility: VisibleTo
    shared_user_ids: list[str]
    shared_role_ids: list[str]
    version: Number
    created_at: Instant
    created_by: str
    updated_at: Instant
    updated_by: str | None


class ServiceWorkflowShown(ServiceWorkflowListed, frozen=True):
    """A workflow with its steps: as they were written, or as its states show."""

    steps: list[Any]


class ServiceWorkflowSaved(ServiceWorkflowShown, frozen=True):
    """A workflow after a change; `warnings` are of its steps."""

    warnings: list[Warned]


# --- runs --------------------------------------------------------------------------------------------------------


class ServiceRunStarted(Shape, frozen=True):
    """The run that is to begin, and that it is queued."""

    run_id: Uuid
    status: Annotated[str, msgspec.Meta(extra_json_schema={"const": "queued"})]


class ServiceRunsQuery(Request, frozen=True):
    """A page of runs, by `offset` or by `cursor`. `status` takes several words, separated by commas."""

    limit: WideLimit = LIMIT
    offset: Offset | None = None
    cursor: str | None = None
    status: str | None = None


class AllRunsQuery(ServiceRunsQuery, frozen=True):
    """A page of runs; of one workflow, if it is named."""

    workflow_id: Uuid | None = None


class ServiceFault(Shape, frozen=True):
    """An error: its code, and what it says."""

    code: str
    message: str | None


class ServiceRunFault(ServiceFault, frozen=True):
    """The error of a run, and the id of the step that it came from."""

    step: str | None


class ServiceStepRun(Shape, frozen=True):
    """A step of a run. `attempts` is how often it was called; `parts` are iterations or branches of it."""

    id: str
    name: str
    step_type: str
    status: StepWord
    started_at: Instant | None
    finished_at: Instant | None
    attempts: Count
    error: ServiceFault | None
    output: Any | UnsetType = UNSET
    parts: list[ServicePart] | UnsetType = UNSET


class ServicePart(Shape, frozen=True):
    """An iteration of a loop, or a branch; `number` counts from 0."""

    kind: Literal["iteration", "branch"]
    number: Count
    steps: list[ServiceStepRun]


class ServiceRun(Shape, frozen=True):
    """A run. `status_detail` is our word for its status. `truncated`: it has more steps than these."""

    run_id: Uuid
    workflow_id: Uuid
    workflow_name: str | None
    status: ServiceWord
    status_detail: OurWord
    trigger: StartedBy
    started_at: Instant | None
    finished_at: Instant | None
    error: ServiceRunFault | None
    steps: list[ServiceStepRun]
    truncated: bool | UnsetType = UNSET


# --- step types --------------------------------------------------------------------------------------------------


class StepTypesQuery(Request, frozen=True):
    """With `all`, what else a step can do here."""

    all: bool = False


class StepTypeShown(Shape, frozen=True):
    """A step type. One that is not `available` is refused by name; its description says what it comes with.

    A type that `is_summary` `needs_delivery`: `send_email` or `create_notification` must follow it.
    """

    step_type: str
    title: str
    description: str
    category: str
    config_schema: dict[str, Any]
    is_summary: bool
    needs_delivery: bool
    available: bool


class StepTypesListed(Shape, frozen=True):
    """Step types."""

    data: list[StepTypeShown]
