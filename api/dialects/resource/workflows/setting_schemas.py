"""Settings of workflows and organizations, as they are sent and shown."""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

import msgspec

from perdure.api.dialects.schemas import Number, Shape
from perdure.api.validation import Request, Uuid
from perdure.engine.core.settings import PlanName
from perdure.engine.services.settings import BYTES_MIN, CONCURRENCY_MAX, EVENTS_MIN, KEY_TEXT_MAX, TIMEOUT_MS_MAX

ResumeRule: TypeAlias = Annotated[Literal["any", "named"], msgspec.Meta(extra={"accepts": "'any' or 'named'"})]


class QuotaRules(Request, frozen=True, rename="camel"):
    """Quotas of runs, none above the engine's own. Members that are not sent stay as they are; null takes one back.

    A run that has so many `events`, of so many `bytes`, or enters so many states a second over a minute
    (`transitionsPerSecond`) is paused. While a workflow has so many `openRuns` no further one is started. A task that
    would start a child nested deeper than `childDepth` fails.
    """

    events: Annotated[int, msgspec.Meta(ge=EVENTS_MIN)] | msgspec.UnsetType | None = msgspec.UNSET
    bytes: Annotated[int, msgspec.Meta(ge=BYTES_MIN)] | msgspec.UnsetType | None = msgspec.UNSET
    transitions_per_second: Annotated[int, msgspec.Meta(ge=1)] | msgspec.UnsetType | None = msgspec.UNSET
    open_runs: Annotated[int, msgspec.Meta(ge=1)] | msgspec.UnsetType | None = msgspec.UNSET
    child_depth: Annotated[int, msgspec.Meta(ge=1)] | msgspec.UnsetType | None = msgspec.UNSET


class QuotasShown(Shape, frozen=True, rename="camel"):
    """Quotas of runs; where one is null, that of the organization holds, else the engine's own."""

    events: Number | None
    bytes: Number | None
    transitions_per_second: Number | None
    open_runs: Number | None
    child_depth: Number | None


class RunSettings(Request, frozen=True, rename="camel"):
    """Rules for the runs of a workflow. Members that are not sent stay as they are; null takes one back.

    `resume` "named": a resume must say which wait it means. A run ends as `timed_out` when `timeoutMs` have passed
    since it began. Of `concurrencyLimit` runs that go on at once, with `concurrencyKey` (an expression over the input)
    so many of each key; with `concurrencyCounts` "active" a run that only waits does not count. `quotas` bound each
    run, and how many are open.
    """

    resume: ResumeRule | msgspec.UnsetType | None = msgspec.UNSET
    timeout_ms: Annotated[int, msgspec.Meta(ge=1, le=TIMEOUT_MS_MAX)] | msgspec.UnsetType | None = msgspec.UNSET
    concurrency_limit: Annotated[int, msgspec.Meta(ge=1, le=CONCURRENCY_MAX)] | msgspec.UnsetType | None = msgspec.UNSET
    concurrency_key: Annotated[str, msgspec.Meta(min_length=1, max_length=KEY_TEXT_MAX)] | msgspec.UnsetType | None = (
        msgspec.UNSET
    )
    concurrency_counts: (
        Annotated[Literal["all", "active"], msgspec.Meta(extra={"accepts": "'all' or 'active'"})]
        | msgspec.UnsetType
        | None
    ) = msgspec.UNSET
    quotas: QuotaRules | msgspec.UnsetType | None = msgspec.UNSET


class SettingsShown(Shape, frozen=True, rename="camel"):
    """Rules for the runs of a workflow; what is not set is null."""

    resume: Literal["any", "named"]
    timeout_ms: Number | None
    concurrency_limit: Number | None
    concurrency_key: str | None
    concurrency_counts: Literal["all", "active"]
    quotas: QuotasShown


class OrganizationRules(Request, frozen=True, rename="camel"):
    """Rules for all runs of an organization. Members that are not sent stay as they are; null takes one back.

    `concurrencyLimit`: so many of its runs go on at once, whatever their workflow. `quotas` hold for each of its
    workflows that has none of its own.
    """

    concurrency_limit: Annotated[int, msgspec.Meta(ge=1, le=CONCURRENCY_MAX)] | msgspec.UnsetType | None = msgspec.UNSET
    quotas: QuotaRules | msgspec.UnsetType | None = msgspec.UNSET


GivenPlan: TypeAlias = Annotated[
    PlanName, msgspec.Meta(extra={"accepts": "'free', 'starter', 'pro', 'business' or 'unlimited'"})
]


class OrganizationChange(Request, frozen=True):
    """A change of an organization; a plan that is null is `unlimited` again."""

    settings: OrganizationRules | msgspec.UnsetType = msgspec.UNSET
    plan: GivenPlan | msgspec.UnsetType | None = msgspec.UNSET


class OrganizationSettingsShown(Shape, frozen=True, rename="camel"):
    """Rules for all runs of an organization; what is not set is null."""

    concurrency_limit: Number | None
    quotas: QuotasShown


class OrganizationShown(Shape, frozen=True):
    """An organization with its plan, which bounds its requests, and its settings."""

    id: Uuid
    name: str
    plan: PlanName
    settings: OrganizationSettingsShown
