"""Requests and answers about runs, their waits, tasks and events, as types."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, UnsetType

from perdure.api.dialects.resource.fields import EVENTS_DEFAULT, EventLimit, Payloads, Position, Seconds
from perdure.api.dialects.schemas import (
    Count,
    Instant,
    JsonObject,
    Number,
    RunStatus,
    Shape,
)
from perdure.api.http.paging import LIMIT_DEFAULT, WideLimit
from perdure.api.validation import Request, Uuid
from perdure.engine.services.task_tokens import CAUSE_MAX, ERROR_MAX


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
