"""Requests and answers about workflows, as types."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Final, Literal

import msgspec
from msgspec import UNSET, UnsetType

from perdure.api.dialects.resource.fields import Definition, Description, Name, TriggeredBy, WorkflowStatus
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
