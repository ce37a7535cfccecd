"""Results of calls about one run, in the form of `results`."""

from __future__ import annotations

from typing import Any

from msgspec import UNSET

from perdure.api.client.many_results import RunFound
from perdure.api.client.results import Result


class Executed(Result, frozen=True):
    """The run is on disk, and goes on: running, or pending as long as it queues for a place."""

    execution_id: str
    process_id: str
    status: str
    started_at: str


class LogShown(Result, frozen=True):
    """A line of a run's log: debug, info, warn or error; of the step `node_id` if that is not null."""

    at: str
    level: str
    node_id: str | None
    message: str
    data: Any = UNSET


class FailureShown(Result, frozen=True):
    """The error that a run did not end well by, and the step that it came from."""

    code: str
    message: str | None
    node_id: str | None


class WaitingShown(Result, frozen=True):
    """Something that a run waits for: approval, wait or pause."""

    kind: str
    id: str | None
    node_id: str | None
    title: str | None
    since: str
    due_at: str | None


class ApprovalAnswered(Result, frozen=True):
    """One answer to an approval: approve or reject; null where it was erased."""

    decision: str | None
    by: str | None
    at: str | None
    comment: str | None


class ApprovalShown(Result, frozen=True):
    """A question to people: pending, approved, rejected, expired or cancelled."""

    id: str
    node_id: str
    title: str | None
    description: str | None
    approvers: list[str]
    required: int
    status: str
    requested_at: str
    due_at: str | None
    answers: list[ApprovalAnswered]


class RunWhole(RunFound, frozen=True, kw_only=True):
    """A run with its values and the last lines of its log."""

    input: Any
    output: Any
    failure: FailureShown | None
    waiting_for: list[WaitingShown]
    approvals: list[ApprovalShown]
    queue_position: int | None
    logs: list[LogShown]
    logs_truncated: bool


class RetriedRun(Result, frozen=True):
    """The run that goes on: the same one (redrive), or another one that was made from it (rerun, fork)."""

    kind: str
    execution_id: str
    status: str
