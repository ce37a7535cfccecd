"""All tables, declared once for every database. Columns stand in the order of the rows in `records.py`.

Ids are 16 bytes, hashes and digests 32, instants integer milliseconds. An index is here only if a statement
asks for it: each costs some 6 µs a row. What is on disk is a promise: a change here comes with a migration. (What a
partial index is on for PostgreSQL stands in the migrations alone: said here it would import that dialect each time.)
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import (
    BigInteger,
    Column,
    Index,
    LargeBinary,
    SmallInteger,
    Table,
    Text,
    UniqueConstraint,
    text,
)

from perdure.store import columns
from perdure.store.records import (
    ApiKeyRow,
    BulkRow,
    Claim,
    ExecutionRow,
    IdempotencyRow,
    OrganizationRow,
    ProcessIdRow,
    QueueRow,
    Row,
    ScheduleRow,
    SlotRow,
    SnapshotRow,
    TimerRow,
    WaitRow,
    WorkflowRow,
    WorkflowVersionRow,
    WorkspaceRow,
)
from perdure.store.retained import archived_streams, checkpoints, leaves

metadata: Final = columns.metadata
_Position: Final = columns.POSITION
_id, _digest, _text = columns.id_column, columns.digest_column, columns.text_column
_number, _ms = columns.number_column, columns.ms_column


# --- primary: never rebuilt ---------------------------------------------------------------------------------

# A row id table: it appends at the end of one tree. The writer draws positions itself, so that none is used
# twice.
events = Table(
    "events",
    metadata,
    Column("position", _Position, primary_key=True, autoincrement=False),
    _id("stream_id"),
    _number("seq"),
    _id("organization_id"),
    _text("type"),
    Column("version", SmallInteger, nullable=False),
    _ms("recorded_at"),
    _text("actor"),
    _number("caused_by", null=True),
    _text("data"),
    _text("payload", null=True),
    Column("payload_salt", LargeBinary(16), nullable=True),
    _digest("payload_digest", null=True),
    _digest("hash"),
    UniqueConstraint("stream_id", "seq", name="events_in_stream"),
)

streams = Table(
    "streams",
    metadata,
    _id("stream_id", key=True),
    _text("kind"),
    _id("organization_id"),
    _id("workspace_id", null=True),
    _number("seq"),
    _digest("hash"),
    _id("owner", null=True),
    _number("epoch"),
    sqlite_with_rowid=False,
)
# The few streams that are not executions, found among millions that are.
NOT_EXECUTION: Final = text("kind <> 'execution'")
Index("streams_not_executions", streams.c.kind, streams.c.stream_id, sqlite_where=NOT_EXECUTION)

process_ids = Table(
    "process_ids",
    metadata,
    _id("organization_id", key=True),
    _id("workspace_id", key=True),
    _text("process_id", key=True),
    _id("stream_id"),
    _id("workflow_id"),
    _number("workflow_version"),
    Column("salt", LargeBinary(16), nullable=False),
    _digest("request_digest"),
    UniqueConstraint("stream_id", name="process_ids_of_stream"),
    sqlite_with_rowid=False,
)

idempotency = Table(
    "idempotency",
    metadata,
    _id("organization_id", key=True),
    _id("workspace_id", key=True),
    _text("key", key=True),
    _id("stream_id"),
    Column("salt", LargeBinary(16), nullable=False),
    _digest("request_digest"),
    _text("answer"),
    _ms("created_at"),
    sqlite_with_rowid=False,
)

# A place in a limit and who has it; the limit's key only as an HMAC.
slots = Table(
    "slots",
    metadata,
    _digest("limit_key", key=True),
    _number("place", key=True),
    *(_id("organization_id"), _id("stream_id")),
    _ms("taken_at"),
    Index("slots_of_stream", "stream_id"),
    sqlite_with_rowid=False,
)

nodes = Table(
    "nodes",
    metadata,
    _id("node_id", key=True),
    _text("name"),
    _ms("started_at"),
    _ms("heartbeat_at"),
    _ms("stopped_at", null=True),
    Column("crashes", BigInteger, nullable=False, server_default=text("0")),
    Column("alone_with", LargeBinary, nullable=False, server_default=text("x''")),
    sqlite_with_rowid=False,
)

organizations = Table(
    "organizations",
    metadata,
    _id("organization_id", key=True),
    _text("name"),
    Column("secret", LargeBinary, nullable=False),
    _ms("created_at"),
    Column("settings", Text, nullable=False, server_default="{}"),
    UniqueConstraint("name", name="organizations_named"),
    sqlite_with_rowid=False,
)

workspaces = Table(
    "workspaces",
    metadata,
    _id("workspace_id", key=True),
    _id("organization_id"),
    _text("name"),
    _ms("created_at"),
    _id("live_workspace_id", null=True),
    UniqueConstraint("organization_id", "name", name="workspaces_named"),
    sqlite_with_rowid=False,
)

IS_OPERATOR: Final = text("instr(' ' || scopes || ' ', ' operator ') > 0")
"""Whether a key may do everything. Of all keys, few may."""

api_keys = Table(
    "api_keys",
    metadata,
    _id("key_id", key=True),
    _id("organization_id"),
    _id("workspace_id"),
    _text("name"),
    _digest("key_digest"),
    _text("scopes"),
    _ms("created_at"),
    _text("created_by"),
    _ms("expires_at", null=True),
    _ms("revoked_at", null=True),
    Column("mode", Text, nullable=False, server_default="live"),
    _text("user_id", null=True),
    Column("role_ids", Text, nullable=False, server_default="[]"),
    UniqueConstraint("key_digest", name="api_keys_by_digest"),
    Index("api_keys_of_organization", "organization_id", "key_id"),
    Index("api_keys_of_workspace", "organization_id", "workspace_id", "key_id"),
    Index("api_keys_of_operators", "organization_id", sqlite_where=IS_OPERATOR),
    sqlite_with_rowid=False,
)

# Noted beside the log, to the minute; no answer but the list of keys rests on it.
key_uses = Table(
    "key_uses",
    metadata,
    _id("key_id", key=True),
    _ms("used_at"),
    sqlite_with_rowid=False,
)

workflows = Table(
    "workflows",
    metadata,
    _id("workflow_id", key=True),
    _id("organization_id"),
    _id("workspace_id"),
    _text("name"),
    _text("description", null=True),
    _text("status"),
    _number("latest_version"),
    _ms("created_at"),
    _text("created_by"),
    _ms("modified_at"),
    _text("modified_by", null=True),
    Column("visibility", Text, nullable=False, server_default="tenant"),
    *(Column(name, Text, nullable=False, server_default="") for name in ("owner", "shared_users", "shared_roles")),
    Index("workflows_of_workspace", "workspace_id", "workflow_id"),
    Index("workflows_named", "workspace_id", "name", "workflow_id"),
    sqlite_with_rowid=False,
)

# Those that not everybody sees: few, if any.
RESTRICTED: Final = text("visibility <> 'tenant'")
Index("workflows_restricted", workflows.c.organization_id, workflows.c.workflow_id, sqlite_where=RESTRICTED)

# With a row id: definitions are large, and a tree of large keys is deep.
workflow_versions = Table(
    "workflow_versions",
    metadata,
    _id("workflow_id", key=True),
    _number("version", key=True),
    _id("organization_id"),
    _id("workspace_id"),
    _text("definition"),
    _digest("definition_digest"),
    _text("mock_payload", null=True),
    _ms("created_at"),
    _text("created_by"),
    _ms("published_at", null=True),
    Column("resume", Text, nullable=False, server_default="any"),
    Column("settings", Text, nullable=False, server_default="{}"),
    Column("format", Text, nullable=False, server_default="asl"),
    *(_text(name, null=True) for name in ("source", "outline", "summary")),
    Index("workflow_versions_of_workspace", "workspace_id", "workflow_id", "version"),
    Index("workflow_versions_of_organization", "organization_id", "workflow_id", "version"),
)

# --- projections: dropped and rebuilt from the log ----------------------------------------------------------

executions = Table(
    "executions",
    metadata,
    _id("execution_id", key=True),
    _id("organization_id"),
    _id("workspace_id"),
    _id("workflow_id"),
    _number("workflow_version"),
    _text("trigger_type"),
    _text("status"),
    _text("state", null=True),
    _number("seq"),
    _ms("created_at"),
    _ms("modified_at"),
    _text("modified_by", null=True),
    _ms("ended_at", null=True),
    _text("input_ref"),
    _text("output_ref", null=True),
    _text("error", null=True),
    _text("error_ref", null=True),
    _text("cause_ref", null=True),
    _id("parent_id", null=True),
    _id("awaited_by", null=True),
    _number("paused_seq", null=True),
    _ms("paused_at", null=True),
    _text("paused_quota", null=True),
    _number("in_flight", null=True),
    _id("origin_id", null=True),
    Index("executions_of_workflow", "workflow_id", "execution_id"),
    Index("executions_of_workspace", "workspace_id", "execution_id"),
    Index("executions_of_organization", "organization_id", "execution_id"),
    sqlite_with_rowid=False,
)
# Spelled alike in the index and in the query: SQLite uses a partial index only if it finds the same words.
LIVE: Final = text("(status IN ('pending', 'running') OR status = 'waiting' AND awaited_by IS NOT NULL)")
HAS_ORIGIN: Final = text("origin_id IS NOT NULL")
Index("executions_of_origin", executions.c.origin_id, executions.c.execution_id, sqlite_where=HAS_ORIGIN)
Index("executions_live", executions.c.execution_id, sqlite_where=LIVE)
PAUSED: Final = text("paused_seq IS NOT NULL")
Index("executions_paused", executions.c.execution_id, sqlite_where=PAUSED)
# For filters. Of a run that completes without having waited none of them has an entry at any time.
BY_STATUS: Final = text("status NOT IN ('pending', 'running', 'completed')")
Index(
    *("executions_by_status", executions.c.workspace_id, executions.c.status, executions.c.execution_id),
    sqlite_where=BY_STATUS,
)
ENDED_BADLY: Final = text("status IN ('failed', 'timed_out', 'terminated')")
Index(
    *("executions_ended_badly", executions.c.workflow_id, executions.c.status, executions.c.execution_id),
    sqlite_where=ENDED_BADLY,
)
WITH_ERROR: Final = text("error IS NOT NULL")
Index(
    *("executions_with_error", executions.c.workspace_id, executions.c.error, executions.c.execution_id),
    sqlite_where=WITH_ERROR,
)

# A count is the sum of its shards: a database of several writers gives each one of its own, so that none waits for
# another's row. Here it is always 0.
execution_counts = Table(
    "execution_counts",
    metadata,
    _id("workspace_id", key=True),
    _id("workflow_id", key=True),
    _text("status", key=True),
    _number("shard", key=True),
    Column("total", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)

waits = Table(
    "waits",
    metadata,
    _id("wait_id", key=True),
    _id("execution_id"),
    _id("organization_id"),
    _id("workspace_id"),
    _id("workflow_id"),
    _text("state"),
    _number("opened_seq"),
    _ms("opened_at"),
    _ms("due_at", null=True),
    _text("outcome", null=True),
    _number("ended_seq", null=True),
    _ms("ended_at", null=True),
    Index("waits_of_execution", "execution_id", "opened_seq", "wait_id"),
    sqlite_with_rowid=False,
)
OPEN: Final = text("outcome IS NULL")
Index("waits_open_in_workspace", waits.c.workspace_id, waits.c.wait_id, sqlite_where=OPEN)
Index("waits_open_in_execution", waits.c.execution_id, waits.c.wait_id, sqlite_where=OPEN)

timers = Table(
    "timers",
    metadata,
    _ms("due_at", key=True),
    _id("execution_id", key=True),
    _number("timer", key=True),
    Index("timers_of_execution", "execution_id", "due_at", "timer"),
    sqlite_with_rowid=False,
)

# Of each row the open waits and the timers are over, though they may still stand in their tables: they are taken out by
# and by (`store.records.Ending`).
endings = Table(
    "endings",
    metadata,
    _id("execution_id", key=True),
    _number("seq", key=True),
    _ms("ended_at"),
    sqlite_with_rowid=False,
)

schedules = Table(
    "schedules",
    metadata,
    _id("schedule_id", key=True),
    _id("workflow_id"),
    _id("organization_id"),
    _id("workspace_id"),
    _text("status"),
    _text("timing"),
    _text("overlap"),
    _text("catch_up"),
    _number("is_main"),
    _text("input_ref", null=True),
    _ms("due_at", null=True),
    _ms("next_at", null=True),
    _ms("buffered_at", null=True),
    _id("last_run_id", null=True),
    _number("starting"),
    _text("decisions"),
    _number("revision"),
    _ms("created_at"),
    _text("created_by"),
    _ms("modified_at"),
    _text("modified_by"),
    Index("schedules_of_workflow", "workflow_id", "schedule_id"),
    sqlite_with_rowid=False,
)
DUE: Final = text("due_at IS NOT NULL")
Index("schedules_due", schedules.c.due_at, schedules.c.schedule_id, sqlite_where=DUE)
UNSETTLED: Final = text("(starting > 0 OR buffered_at IS NOT NULL)")
Index("schedules_unsettled", schedules.c.schedule_id, sqlite_where=UNSETTLED)

bulk_jobs = Table(
    "bulk_jobs",
    metadata,
    _id("bulk_id", key=True),
    _id("organization_id"),
    _id("workspace_id"),
    _text("action"),
    _text("status"),
    _number("seq"),
    _ms("created_at"),
    _text("created_by"),
    _ms("modified_at"),
    _text("modified_by"),
    _ms("ended_at", null=True),
    _ms("expected", null=True),
    _ms("done"),
    _ms("unchanged"),
    _ms("failed"),
    _text("codes"),
    _text("listed"),
    _text("why", null=True),
    Index("bulk_jobs_of_workspace", "workspace_id", "bulk_id"),
    sqlite_with_rowid=False,
)
UNDER_WAY: Final = text("ended_at IS NULL")
Index("bulk_jobs_under_way", bulk_jobs.c.bulk_id, sqlite_where=UNDER_WAY)

# With a row id: a fold may be large.
snapshots = Table(
    "snapshots",
    metadata,
    _id("stream_id", key=True),
    _number("seq"),
    _digest("hash"),
    _number("format"),
    _text("data"),
    _digest("digest"),
)

# An execution that stands in line: in one at a time. `position` is that of the event `seq`, filled in as it is written.
queue = Table(
    "queue",
    metadata,
    *(_id("execution_id", key=True), _id("organization_id"), _id("workflow_id"), _text("kind")),
    *(_digest("limit_key"), _digest("also_key", null=True), _number("seq"), _ms("position")),
    Index("queue_in_line", "limit_key", "position"),
    sqlite_with_rowid=False,
)

PRIMARY: Final = (
    *(events, streams, process_ids, idempotency, slots, nodes, organizations, workspaces, api_keys, key_uses),
    *(workflows, workflow_versions, archived_streams, leaves, checkpoints),
)
PROJECTIONS: Final = (executions, execution_counts, waits, timers, endings, queue, schedules, bulk_jobs, snapshots)

UNUSED: Final = (archived_streams, leaves, checkpoints)
"""Tables that nothing writes to yet: a row in them is nobody's."""

TABLE_OF: Final[dict[type[Row | Claim], Table]] = {
    OrganizationRow: organizations,
    WorkspaceRow: workspaces,
    ApiKeyRow: api_keys,
    WorkflowRow: workflows,
    WorkflowVersionRow: workflow_versions,
    ExecutionRow: executions,
    WaitRow: waits,
    TimerRow: timers,
    ScheduleRow: schedules,
    QueueRow: queue,
    SlotRow: slots,
    BulkRow: bulk_jobs,
    SnapshotRow: snapshots,
    ProcessIdRow: process_ids,
    IdempotencyRow: idempotency,
}
"""The tables of the row types of a batch."""
