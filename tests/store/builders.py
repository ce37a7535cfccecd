"""Rows for tests, each with what matters to the test as arguments and the rest made up."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

from perdure.store.batch import head_after
from perdure.store.chain import sealed
from perdure.store.records import (
    NEW_STREAM,
    ApiKeyRow,
    BulkRow,
    Claim,
    Deleted,
    ExecutionRow,
    Head,
    IdempotencyRow,
    NewEvent,
    NodeRow,
    OrganizationRow,
    ProcessIdRow,
    Row,
    ScheduleRow,
    SnapshotRow,
    StreamAppend,
    WaitRow,
    WorkflowRow,
    WorkflowVersionRow,
    WorkspaceRow,
)

NOW = 1_700_000_000_000


def uid(number: int, *, space: int = 0) -> bytes:
    """An id; ids of one space ascend with the number."""
    return space.to_bytes(6, "big") + number.to_bytes(10, "big")


ORG, OTHER_ORG = uid(1, space=0xA), uid(2, space=0xA)
WORKSPACE, OTHER_WORKSPACE = uid(1, space=0xB), uid(2, space=0xB)
WORKFLOW, OTHER_WORKFLOW = uid(1, space=0xC), uid(2, space=0xC)


def digest(*parts: object) -> bytes:
    return hashlib.sha256(repr(parts).encode()).digest()


def event(seq: int, **changes: Any) -> NewEvent:
    """An event that is to be the one with this seq."""
    cause = seq - 1 or None
    new = NewEvent("TaskSucceeded", 1, NOW + seq, "engine:test", cause, '{"state":"A"}', '{"x":1}', bytes(16))
    return new._replace(**changes)


def part(
    stream_id: bytes,
    expected: Head = NEW_STREAM,
    *,
    events: int = 1,
    claims: Sequence[Claim] = (),
    puts: Sequence[Row] = (),
    deletes: Sequence[Deleted] = (),
    kind: Any = "execution",
    branch: str = "",
) -> StreamAppend:
    """What one stream gains; `branch` gives its events other hashes than those of the same seqs elsewhere."""
    seqs = range(expected.seq + 1, expected.seq + 1 + events)
    gained = tuple(event(seq, data=f'{{"branch":"{branch}"}}') for seq in seqs)
    claimed, put, deleted = tuple(claims), tuple(puts), tuple(deletes)
    return StreamAppend(stream_id, kind, ORG, WORKSPACE, expected, gained, claimed, put, deleted)


def head_of(appended: StreamAppend) -> Head:
    """Where the stream ends once a part of a batch is written."""
    return head_after(appended, sealed(appended)) if appended.events else appended.expected


def process_id(name: str, stream_id: bytes, **changes: Any) -> ProcessIdRow:
    row = ProcessIdRow(ORG, WORKSPACE, name, stream_id, WORKFLOW, 1, bytes(16), digest(name))
    return row._replace(**changes)


def idempotency(key: str, stream_id: bytes, **changes: Any) -> IdempotencyRow:
    row = IdempotencyRow(ORG, WORKSPACE, key, stream_id, bytes(16), digest(key), '{"message":"ok"}', NOW)
    return row._replace(**changes)


def execution(execution_id: bytes, **changes: Any) -> ExecutionRow:
    row = ExecutionRow(
        *(execution_id, ORG, WORKSPACE, WORKFLOW, 1, "REQUEST", "running", "A", 1, NOW, NOW, None, None),
        *("1/input", None, None, None, None, None, None, None),
    )
    return row._replace(**changes)


def wait(wait_id: bytes, execution_id: bytes, **changes: Any) -> WaitRow:
    row = WaitRow(
        *(wait_id, execution_id, ORG, WORKSPACE, WORKFLOW, "Ask", 2, NOW, None, None, None, None),
    )
    return row._replace(**changes)


def schedule(schedule_id: bytes, **changes: Any) -> ScheduleRow:
    timing, by = '{"cron":"* * * * *"}', "key:1"
    row = ScheduleRow(
        *(schedule_id, WORKFLOW, ORG, WORKSPACE, "active", timing, "allow", "latest", 0, None, NOW, NOW, None, None),
        *(0, "", 2, NOW, by, NOW, by),
    )
    return row._replace(**changes)


def bulk_job(bulk_id: bytes, **changes: Any) -> BulkRow:
    row = BulkRow(
        *(bulk_id, ORG, WORKSPACE, "terminate", "running", 1, NOW, "key:1", NOW, "engine:1", None, None),
        *(0, 0, 0, "{}", "[]", None),
    )
    return row._replace(**changes)


def snapshot(stream_id: bytes, **changes: Any) -> SnapshotRow:
    return SnapshotRow(stream_id, 1, digest("head"), 1, "{}", digest("{}"))._replace(**changes)


def organization(organization_id: bytes, name: str) -> OrganizationRow:
    return OrganizationRow(organization_id, name, bytes(32), NOW, "{}")


def workspace(workspace_id: bytes, name: str, organization_id: bytes = ORG) -> WorkspaceRow:
    return WorkspaceRow(workspace_id, organization_id, name, NOW, None)


def api_key(key_id: bytes, **changes: Any) -> ApiKeyRow:
    row = ApiKeyRow(
        *(key_id, ORG, WORKSPACE, "a key", digest(key_id), '["runs.view"]', NOW, "cli:test", None, None),
        "live",
        None,
        "[]",
    )
    return row._replace(**changes)


def workflow(workflow_id: bytes, **changes: Any) -> WorkflowRow:
    row = WorkflowRow(*(workflow_id, ORG, WORKSPACE, "a workflow", None, "published", 1, NOW, "key:1", NOW, None))
    return row._replace(**changes)


def version(workflow_id: bytes, number: int, **changes: Any) -> WorkflowVersionRow:
    row = WorkflowVersionRow(
        *(workflow_id, number, ORG, WORKSPACE, "{}", digest("{}"), None, NOW, "key:1", NOW + number, "any", "{}")
    )
    return row._replace(**changes)


def node(number: int, **changes: Any) -> NodeRow:
    return NodeRow(uid(number, space=0xD), f"node {number}", NOW + number, NOW + number, None)._replace(**changes)
