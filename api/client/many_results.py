"""Results of calls about many runs: found by filter, counted, and changed in bulk. See `api.client.results`."""

from __future__ import annotations

from typing import TypeAlias

from msgspec import UNSET, UnsetType

from perdure.api.client.pause_results import PauseOfRun
from perdure.api.client.results import After, Page, PagePlaced, Result


class RunFound(Result, frozen=True):
    """A run of a page that was asked for by filter. `error` may stand in its events instead.

    `status` is pending, running, completed or failed, `status_detail` the engine's word, which is one of several for
    it. `id` is `execution_id`, `started_at` `created_at`, and `completed_at` `ended_at`, however it ended.
    """

    id: str
    execution_id: str
    process_id: str
    workflow_id: str
    workflow_name: str | None
    workflow_version: int
    status: str
    status_detail: str
    state: str | None
    trigger: str
    error: str | None
    started_at: str
    completed_at: str | None
    created_at: str
    modified_at: str
    modified_by: str | None
    ended_at: str | None
    parent_execution_id: str | None
    pause: PauseOfRun | None


class AfterCursor(PagePlaced, frozen=True, kw_only=True):
    """`after`, and `next_cursor`: what asks for the next page, if there may be more; `total` may be too small."""

    after: str | None
    total_is_exact: bool | UnsetType = UNSET


class WorkflowTotals(Result, frozen=True):
    """The number of runs of a workflow, in all and by status."""

    workflow_id: str
    workflow_name: str | None
    total: int
    by_status: dict[str, int]


class RunTotals(Result, frozen=True):
    """The number of runs, in all, by status and by workflow."""

    total: int
    by_status: dict[str, int]
    by_workflow: list[WorkflowTotals]


class BulkAsked(Result, frozen=True, kw_only=True):
    """The job that was started, or with `dry_run` none: then it has no `id` and no `status`."""

    id: str | UnsetType = UNSET
    status: str | UnsetType = UNSET
    dry_run: bool
    action: str
    matching: int | None
    is_exact: bool


class BulkListed(Result, frozen=True):
    """A bulk job: running, stopping, stopped or completed."""

    id: str
    action: str
    status: str
    expected: int | None
    done: int
    unchanged: int
    failed: int
    failed_by_code: dict[str, int]
    why: str | None
    created_at: str
    created_by: str
    modified_at: str
    ended_at: str | None


class BulkFailure(Result, frozen=True):
    """A run that refused the command."""

    execution_id: str
    code: str
    message: str


class BulkWhole(BulkListed, frozen=True):
    """A bulk job with its order, and the first runs that refused."""

    filter: dict[str, str]
    reason: str | None
    failures: list[BulkFailure]


FoundPage: TypeAlias = Page[RunFound, AfterCursor]
BulkPage: TypeAlias = Page[BulkListed, After]
