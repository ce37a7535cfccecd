"""Schedules of workflows as types: what requests give, and what answers show."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Final, Literal, TypeAlias

import msgspec
from msgspec import UNSET, UnsetType

from perdure.api.dialects.schemas import Count, Instant, JsonObject, Number, Shape, Yes
from perdure.api.validation import Request, Uuid, milliseconds
from perdure.engine.calendar import INTERVAL_MAX
from perdure.engine.core.schedules import SCHEDULES_MAX
from perdure.engine.services.schedules import GivenSchedule

CRON_MAX: Final = 1000

CronText: TypeAlias = Annotated[
    str,
    msgspec.Meta(
        min_length=1,
        max_length=CRON_MAX,
        extra={"accepts": "five fields: minute, hour, day of month, month, day of week"},
    ),
]
Zone: TypeAlias = Annotated[
    str, msgspec.Meta(min_length=1, max_length=64, extra={"accepts": "the name of an IANA time zone, or UTC"})
]
Bound: TypeAlias = Annotated[datetime, msgspec.Meta(extra_json_schema={"format": "date-time"})]
"""The instant at which a schedule begins or ends."""

OverlapPolicy: TypeAlias = Literal["allow", "skip", "buffer_one"]
CatchUpPolicy: TypeAlias = Literal["none", "latest", "all"]
Template: TypeAlias = Annotated[dict[str, Any], msgspec.Meta(extra={"accepts": "an object: a payload template"})]


class GivenInterval(Request, frozen=True):
    """So many units apart, in time that passes: a day is 24 hours, whatever clocks do."""

    value: Annotated[int, msgspec.Meta(ge=1, le=INTERVAL_MAX)]
    unit: Literal["minutes", "hours", "days", "weeks"]


class NewSchedule(Request, frozen=True):
    """A schedule: a cron expression in a time zone, or an interval.

    It has no slot before `start_at` and none after `end_at`. `overlap` says what becomes of a slot while the run before
    it goes on, `catch_up` what is made up for after an outage. `input` is a payload template over the slot.
    """

    cron_expression: CronText | UnsetType = UNSET
    interval: GivenInterval | UnsetType = UNSET
    timezone: Zone | UnsetType = UNSET
    enabled: bool | UnsetType = UNSET
    start_at: Bound | UnsetType | None = UNSET
    end_at: Bound | UnsetType | None = UNSET
    overlap: OverlapPolicy | UnsetType = UNSET
    catch_up: CatchUpPolicy | UnsetType = UNSET
    input: Template | UnsetType | None = UNSET


class ListedSchedule(NewSchedule, frozen=True):
    """A schedule of the whole list that a workflow is to have; one with an `id` is there already."""

    id: Uuid | UnsetType = UNSET


ScheduleList: TypeAlias = Annotated[
    list[NewSchedule], msgspec.Meta(max_length=SCHEDULES_MAX, extra={"accepts": "a list of schedules"})
]
WholeList: TypeAlias = Annotated[
    list[ListedSchedule], msgspec.Meta(max_length=SCHEDULES_MAX, extra={"accepts": "a list of schedules"})
]


class SlotShown(Shape, frozen=True):
    """A slot, in UTC and as the clocks of its zone show it."""

    utc: Instant
    local: str


class DecisionShown(Shape, frozen=True):
    """The outcome of a slot, or of `count` slots from `first` to `last`.

    `refused`: the run that was decided on could not start, for the reason that is said. `execution_id` is the run that
    was started, or because of which a slot was skipped.
    """

    outcome: Literal["fired", "caught_up", "missed", "skipped_overlap", "skipped_paused", "refused"]
    first: Instant | None
    last: Instant | None
    count: Number
    execution_id: Uuid | None
    reason: str | None
    at: Instant


class IntervalShown(Shape, frozen=True):
    """So many units apart."""

    value: Number
    unit: Literal["minutes", "hours", "days", "weeks"]


class ScheduleShown(Shape, frozen=True):
    """A schedule with its last decisions, and the next slots that its calendar has.

    `is_main`: the workflow's `cron_expression` is this one's. `buffered_slot` waits for the end of the run before it.
    """

    id: Uuid
    workflow_id: Uuid
    status: Literal["active", "paused", "ended"]
    enabled: bool
    is_main: bool
    cron_expression: str | None
    interval: IntervalShown | None
    in_words: str
    timezone: str
    start_at: Instant | None
    end_at: Instant | None
    overlap: OverlapPolicy
    catch_up: CatchUpPolicy
    input: JsonObject | None
    next_slots: list[SlotShown]
    last_decisions: list[DecisionShown]
    buffered_slot: Instant | None
    last_execution_id: Uuid | None
    runs_starting: Count
    created_at: Instant
    created_by: str
    updated_at: Instant
    updated_by: str


class SchedulesListed(Shape, frozen=True):
    """The schedules of a workflow."""

    success: Yes
    data: list[ScheduleShown]


class RemovedSchedule(Shape, frozen=True):
    """The schedule that is no more."""

    id: Uuid
    removed: Yes


class RunStarted(Shape, frozen=True):
    """The run that was started."""

    execution_id: Uuid
    process_id: str


def given(body: NewSchedule) -> GivenSchedule:
    """What a request gives of a schedule. Raises `Invalid` for an instant that is none."""
    interval = body.interval
    return GivenSchedule(
        cron=body.cron_expression,
        interval=UNSET if isinstance(interval, UnsetType) else (interval.value, interval.unit),
        timezone=body.timezone,
        start_at=_instant("start_at", body.start_at),
        end_at=_instant("end_at", body.end_at),
        overlap=body.overlap,
        catch_up=body.catch_up,
        is_enabled=body.enabled,
        input=body.input,
    )


def _instant(field: str, instant: datetime | UnsetType | None) -> int | UnsetType | None:
    return instant if instant is None or isinstance(instant, UnsetType) else milliseconds(field, instant)
