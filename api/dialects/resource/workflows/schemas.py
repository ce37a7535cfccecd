"""Requests and answers about workflows, as types."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Final, Literal, TypeAlias

import msgspec
from msgspec import UNSET, UnsetType

from perdure.api.dialects.resource.fields import (
    CursorText,
    Definition,
    Description,
    DocumentFormat,
    Edges,
    GraphNodes,
    Name,
    People,
    StepList,
    Summary,
    TriggeredBy,
    Variables,
    VisibilityWord,
    WorkflowStatus,
)
from perdure.api.dialects.resource.workflows.schedule_schemas import CronText, ScheduleList, WholeList, Zone
from perdure.api.dialects.resource.workflows.setting_schemas import RunSettings, SettingsShown
from perdure.api.dialects.schemas import (
    Instant,
    JsonObject,
    Number,
    Shape,
    Version,
    Warned,
)
from perdure.api.http.paging import LIMIT_DEFAULT, PageNumber, WideLimit
from perdure.api.validation import Request, Uuid

_SCHEDULES_ELSEWHERE: Final = "schedules are given where a workflow is created or changed, or to its schedules"


class Named(Request, frozen=True):
    """A name in a path."""

    name: Name


PublishedOrDraft: TypeAlias = Annotated[
    Literal["published", "draft"], msgspec.Meta(extra={"accepts": "'published' or 'draft' (DELETE archives)"})
]


class WrittenWorkflow(Request, frozen=True):
    """A workflow as it is written: as a `definition` in Amazon States Language, as a graph, or as a list of `steps`."""

    definition: Definition | UnsetType = UNSET
    nodes: GraphNodes | UnsetType = UNSET
    edges: Edges | UnsetType = UNSET
    variables: Variables | UnsetType = UNSET
    steps: StepList | UnsetType = UNSET
    change_summary: Summary | None = None


class Shared(WrittenWorkflow, frozen=True):
    """A workflow as it is written, and who sees it: its workspace (`tenant`), its maker, or those who are named."""

    visibility: VisibilityWord | UnsetType = UNSET
    shared_user_ids: People | UnsetType = UNSET
    shared_role_ids: People | UnsetType = UNSET


class NewWorkflow(Shared, frozen=True, kw_only=True):
    """A workflow and its first version: published, or if it is no `definition` a draft, unless `status` says it."""

    name: Name
    description: Description | None = None
    status: PublishedOrDraft | UnsetType = UNSET
    settings: RunSettings = RunSettings()
    trigger_type: TriggeredBy | None = None
    cron_expression: CronText | None = None
    timezone: Zone | UnsetType = UNSET
    schedules: ScheduleList | None = None
    mock_payload: dict[str, Any] | None = None


class AppliedWorkflow(WrittenWorkflow, frozen=True):
    """The definition that the workflow of a name is to have; what is not said stays as it is."""

    description: Description | None = None
    status: PublishedOrDraft = "published"
    settings: RunSettings | msgspec.UnsetType = msgspec.UNSET

    not_yet: ClassVar[Mapping[str, str]] = dict.fromkeys(
        ("trigger_type", "cron_expression", "timezone", "schedules"), _SCHEDULES_ELSEWHERE
    )


class WorkflowChange(Shared, frozen=True):
    """The members to be changed; the rest stays: of a graph its `nodes`, `edges` and `variables` one by one, too."""

    name: Name | msgspec.UnsetType = msgspec.UNSET
    description: Description | msgspec.UnsetType = msgspec.UNSET
    status: PublishedOrDraft | msgspec.UnsetType = msgspec.UNSET

    settings: RunSettings | msgspec.UnsetType = msgspec.UNSET
    trigger_type: TriggeredBy | msgspec.UnsetType = msgspec.UNSET
    cron_expression: CronText | msgspec.UnsetType | None = msgspec.UNSET
    timezone: Zone | msgspec.UnsetType = msgspec.UNSET
    schedules: WholeList | msgspec.UnsetType = msgspec.UNSET


class WorkflowsQuery(Request, frozen=True):
    """A page of workflows, by its number or by a cursor; `search` is a part of the name, without regard to case."""

    page: PageNumber | None = None
    cursor: CursorText | None = None
    limit: WideLimit = LIMIT_DEFAULT
    status: WorkflowStatus | None = None
    search: Annotated[str, msgspec.Meta(min_length=1, max_length=120)] | None = None


class WorkflowQuery(Request, frozen=True):
    """The version of a workflow; without one the latest."""

    version: Version | None = None
    expand: Literal["definition", "document"] | None = None


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
    visibility: Literal["private", "tenant", "shared"]
    shared_user_ids: list[str]
    shared_role_ids: list[str]
    owner_user_id: str | None


class WorkflowWhole(WorkflowShown, frozen=True, kw_only=True):
    """A workflow with its latest version, or with the one that was asked for: `shown_version`.

    `nodes`, `edges` and `variables` are as they were written, or show what was. `definition` is there if that is what
    was written, or with `?expand=definition`: what it was compiled to; so is what was written itself, `document`.
    """

    format: DocumentFormat
    nodes: list[Any]
    edges: list[Any]
    variables: JsonObject
    definition: JsonObject | UnsetType = UNSET
    document: JsonObject | UnsetType = UNSET
    change_summary: str | None
    mock_payload: JsonObject | None
    shown_version: Number
    published_at: Instant | None
    settings: SettingsShown


class WorkflowSaved(WorkflowWhole, frozen=True, kw_only=True):
    """A workflow after a change."""

    warnings: list[Warned]


class WorkflowApplied(WorkflowSaved, frozen=True, kw_only=True):
    """A workflow after a definition was applied, and what that came to."""

    outcome: Literal["created", "changed", "unchanged"]
