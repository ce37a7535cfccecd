"""Results of calls about schedules, in the form of `results`."""

from __future__ import annotations

from perdure.api.client.results import JsonObject, Result


class SlotShown(Result, frozen=True):
    """A slot of a schedule, in UTC and as the clocks of its zone show it."""

    utc: str
    local: str


class DecisionShown(Result, frozen=True):
    """The outcome of `count` slots from `first` to `last`.

    It is fired, caught_up, missed, skipped_overlap, skipped_paused, or refused, with the `reason`.
    """

    outcome: str
    first: str | None
    last: str | None
    count: int
    execution_id: str | None
    reason: str | None
    at: str


class IntervalShown(Result, frozen=True):
    """So many units apart: minutes, hours, days or weeks."""

    value: int
    unit: str


class ScheduleShown(Result, frozen=True):
    """A schedule, its last decisions (the latest first), and its next slots; it is active, paused or ended."""

    id: str
    workflow_id: str
    status: str
    enabled: bool
    is_main: bool
    cron_expression: str | None
    interval: IntervalShown | None
    in_words: str
    timezone: str
    start_at: str | None
    end_at: str | None
    overlap: str
    catch_up: str
    input: JsonObject | None
    next_slots: list[SlotShown]
    last_decisions: list[DecisionShown]
    buffered_slot: str | None
    last_execution_id: str | None
    runs_starting: int
    created_at: str
    created_by: str
    updated_at: str
    updated_by: str


class RemovedSchedule(Result, frozen=True):
    """The schedule that is no more."""

    id: str
    removed: bool


class RunStarted(Result, frozen=True):
    """The run that was started."""

    execution_id: str
    process_id: str


class Toggled(Result, frozen=True):
    """The schedules of a workflow: PAUSED or ACTIVE."""

    message: str
    workflow_id: str
    workflow_version: int
    status: str
