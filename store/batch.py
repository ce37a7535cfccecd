"""Checks and preparation of a batch, shared by all stores; done before anything is written."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

from perdure.store.records import (
    ApiKeyRow,
    BulkRow,
    EventRow,
    ExecutionRow,
    Head,
    IdempotencyRow,
    OrganizationRow,
    Owned,
    ProcessIdRow,
    QueueRow,
    Row,
    ScheduleRow,
    SlotRow,
    SnapshotRow,
    StreamAppend,
    StreamKind,
    TimerRow,
    WaitRow,
    WorkflowRow,
    WorkflowVersionRow,
    WorkspaceRow,
)

KEY_COLUMNS: Final[dict[type[tuple[Any, ...]], int]] = {
    OrganizationRow: 1,
    WorkspaceRow: 1,
    ApiKeyRow: 1,
    WorkflowRow: 1,
    WorkflowVersionRow: 2,
    ExecutionRow: 1,
    WaitRow: 1,
    TimerRow: 3,
    ScheduleRow: 1,
    QueueRow: 1,
    SlotRow: 2,
    BulkRow: 1,
    SnapshotRow: 1,
    ProcessIdRow: 3,
    IdempotencyRow: 3,
}
"""By row type: the number of columns, from the first on, that are its primary key."""

OWNERS: Final[dict[type[Owned], tuple[StreamKind, str]]] = {
    ExecutionRow: ("execution", "execution_id"),
    WaitRow: ("execution", "execution_id"),
    TimerRow: ("execution", "execution_id"),
    QueueRow: ("execution", "execution_id"),
    SlotRow: ("execution", "stream_id"),
    ProcessIdRow: ("execution", "stream_id"),
    BulkRow: ("bulk", "bulk_id"),
    WorkflowRow: ("workflow", "workflow_id"),
    WorkflowVersionRow: ("workflow", "workflow_id"),
    ScheduleRow: ("workflow", "workflow_id"),
    OrganizationRow: ("organization", "organization_id"),
    WorkspaceRow: ("organization", "organization_id"),
    ApiKeyRow: ("organization", "organization_id"),
}

ANSWERERS: Final[tuple[StreamKind, ...]] = ("execution", "workflow")
"""The kinds of streams that answer requests which carry an idempotency key."""
"""By row type: the type of the stream that the row is derived from, and the column that names the stream."""

FIXED_COLUMNS: Final[dict[type[tuple[Any, ...]], frozenset[str]]] = {
    ExecutionRow: frozenset(
        {
            *("organization_id", "workspace_id", "workflow_id", "workflow_version", "trigger_type"),
            *("created_at", "input_ref", "parent_id", "awaited_by", "origin_id"),
        }
    ),
    BulkRow: frozenset({"organization_id", "workspace_id", "action", "created_at", "created_by", "expected"}),
    OrganizationRow: frozenset({"secret", "created_at"}),
    WaitRow: frozenset(
        {"execution_id", "organization_id", "workspace_id", "workflow_id", "state", "opened_seq", "opened_at"}
    ),
    ScheduleRow: frozenset({"workflow_id", "organization_id", "workspace_id", "is_main", "created_at", "created_by"}),
}
"""Columns that are written once: a later put of the row leaves them, and their indexes, as they are."""


OPERATOR: Final = "operator"
"""What stands for a quota where a pause was made by somebody."""


def check_batch(batch: Sequence[StreamAppend]) -> None:
    """Check that a batch keeps the contract of `Store.append`.

    Raises ValueError (a bug of the caller's) if a stream stands in it twice.
    """
    seen: set[bytes] = set()
    for part in batch:
        if part.stream_id in seen:
            raise ValueError(f"stream {part.stream_id.hex()} stands twice in a batch")
        seen.add(part.stream_id)


def head_after(part: StreamAppend, rows: Sequence[EventRow]) -> Head:
    """The head of a stream once these rows of it are written."""
    return Head(rows[-1].seq, rows[-1].hash, part.expected.epoch)


def net_puts(parts: Iterable[StreamAppend]) -> dict[type[Row], list[Row]]:
    """The rows to put, by type; of several with one key only the last is kept, at the position of the first."""
    tables: dict[type[Row], dict[tuple[Any, ...], Row]] = {}
    for part in parts:
        for row in part.puts:
            kind = type(row)
            if kind not in tables:
                tables[kind] = {}
            tables[kind][row[: KEY_COLUMNS[kind]]] = row
    return {kind: list(rows.values()) for kind, rows in tables.items()}


def net_counts(parts: Iterable[StreamAppend]) -> list[tuple[tuple[bytes, bytes, str], int]]:
    """What is to be added to each count, by workspace, workflow and status; what comes to nothing is left out."""
    changes: dict[tuple[bytes, bytes, str], int] = {}
    for part in parts:
        for workspace_id, workflow_id, status, change in part.counts:
            key = (workspace_id, workflow_id, status)
            changes[key] = changes.get(key, 0) + change
    return [(key, change) for key, change in changes.items() if change]


def execution_scope(
    organization_id: bytes | None, workspace_id: bytes | None, workflow_id: bytes | None
) -> tuple[str, bytes]:
    """The column whose index a page of executions is read along, and its value.

    Raises ValueError unless it is of an organization, of a workspace, or of a workflow in a workspace.
    """
    if workflow_id is not None and workspace_id is not None and organization_id is None:
        return "workflow_id", workflow_id
    if workflow_id is None and workspace_id is not None and organization_id is None:
        return "workspace_id", workspace_id
    if workflow_id is None and workspace_id is None and organization_id is not None:
        return "organization_id", organization_id
    raise ValueError("a page of executions is of an organization_id, a workspace_id, or a workflow_id in one")
