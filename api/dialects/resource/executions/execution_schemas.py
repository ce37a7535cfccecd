"""Requests and answers about one run: started, shown with its log, approved, and retried."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, UnsetType

from perdure.api.dialects.resource.executions.chance_schemas import ProcessId, Reason
from perdure.api.dialects.resource.executions.run_schemas import ExecutionStatus, RunFound
from perdure.api.dialects.schemas import Instant, Number, Shape, Version
from perdure.api.validation import Request, Uuid
from perdure.engine.services.approvals import COMMENT_MAX


class Execute(Request, frozen=True):
    """The input of a run, {} unless given; the name that the caller gives the run, and the version of the workflow."""

    input: dict[str, Any] | UnsetType = UNSET
    process_id: ProcessId | None = None
    version: Version | None = None


class ExecuteQuery(Request, frozen=True):
    """`test` runs drafts, too; without an input the mock payload is it."""

    test: bool = False


class Executed(Shape, frozen=True):
    """The run is on disk, and goes on: `running`, or `pending` as long as it queues for a place."""

    execution_id: Uuid
    process_id: str
    status: Literal["pending", "running"]
    started_at: Instant


class LogShown(Shape, frozen=True):
    """A line of a run's log, of the step `node_id` if that is not null; `data` is there if the step gave some."""

    at: Instant
    level: Literal["debug", "info", "warn", "error"]
    node_id: str | None
    message: str
    data: Any = UNSET


class FailureShown(Shape, frozen=True):
    """The error that a run did not end well by: its code, what it says, and the step that it came from."""

    code: str
    message: str | None
    node_id: str | None


class WaitingShown(Shape, frozen=True):
    """Something that a run waits for; `id` is the approval's or the wait's."""

    kind: Literal["approval", "wait", "pause"]
    id: str | None
    node_id: str | None
    title: str | None
    since: Instant
    due_at: Instant | None


class ApprovalAnswered(Shape, frozen=True):
    """One answer to an approval; null where it was erased."""

    decision: Literal["approve", "reject"] | None
    by: str | None
    at: Instant | None
    comment: str | None


class ApprovalShown(Shape, frozen=True):
    """A question to people: what is asked, who may answer (none named: whoever may resume), and the answers so far."""

    id: Uuid
    node_id: str
    title: str | None
    description: str | None
    approvers: list[str]
    required: Number
    status: Literal["pending", "approved", "rejected", "expired", "cancelled"]
    requested_at: Instant
    due_at: Instant | None
    answers: list[ApprovalAnswered]


class RunWhole(RunFound, frozen=True, kw_only=True):
    """A run with its values and its log. `logs` has its last lines; with `logs_truncated` there are more in its events.

    `failure`: how a run ended that did not complete. `queue_position`: its place in line, if it queues.
    """

    input: Any
    output: Any
    failure: FailureShown | None
    waiting_for: list[WaitingShown]
    approvals: list[ApprovalShown]
    queue_position: Number | None
    logs: list[LogShown]
    logs_truncated: bool


class DecisionWord(Request, frozen=True):
    """The answer to an approval."""

    decision: Annotated[Literal["approve", "reject"], msgspec.Meta(extra={"accepts": "'approve' or 'reject'"})]
    comment: Annotated[str, msgspec.Meta(max_length=COMMENT_MAX)] | None = None


class RetryRequest(Request, frozen=True):
    """A retry of a run: where it failed, or `from_step`, or from its start with another `input`."""

    from_step: Annotated[str, msgspec.Meta(min_length=1, max_length=1000)] | None = None
    input: Any = UNSET
    reason: Reason | None = None


class RetriedRun(Shape, frozen=True):
    """The run that goes on: the same one (`redrive`), or another one that was made from it."""

    kind: Literal["redrive", "rerun", "fork"]
    execution_id: Uuid
    status: ExecutionStatus
