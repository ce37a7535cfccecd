"""The whole format of the first release. Frozen: a later change is a revision of its own."""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "perdure_0001"
down_revision = None


def upgrade() -> None:
    """Make all tables, and the view that people read the log by."""
    _log()
    _claims()
    _nodes()
    _retention()
    _tenants()
    _workflows()
    _executions()
    _waits()
    _other_projections()
    bind = op.get_bind()
    if bind.dialect.name == "sqlite":
        bind.exec_driver_sql(_V_EVENTS)  # text() would take its colons for parameters


def _id(name: str, *, key: bool = False, null: bool = False) -> sa.Column[bytes]:
    return sa.Column(name, sa.LargeBinary(16), primary_key=key, nullable=null)


def _digest(name: str, *, key: bool = False, null: bool = False) -> sa.Column[bytes]:
    return sa.Column(name, sa.LargeBinary(32), primary_key=key, nullable=null)


def _text(name: str, *, key: bool = False, null: bool = False) -> sa.Column[str]:
    return sa.Column(name, sa.Text, primary_key=key, nullable=null)


def _number(name: str, *, key: bool = False, null: bool = False) -> sa.Column[int]:
    return sa.Column(name, sa.Integer, primary_key=key, autoincrement=False, nullable=null)


def _big(name: str, *, key: bool = False, null: bool = False) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger, primary_key=key, autoincrement=False, nullable=null)


def _position() -> sa.Column[int]:
    kind = sa.BigInteger().with_variant(sa.Integer, "sqlite")
    return sa.Column("position", kind, primary_key=True, autoincrement=False)


def _where(condition: str) -> dict[str, Any]:
    return {"sqlite_where": sa.text(condition), "postgresql_where": sa.text(condition)}


def _log() -> None:
    op.create_table(
        "events",
        _position(),
        _id("stream_id"),
        _number("seq"),
        _id("organization_id"),
        _text("type"),
        sa.Column("version", sa.SmallInteger, nullable=False),
        _big("recorded_at"),
        _text("actor"),
        _number("caused_by", null=True),
        _text("data"),
        _text("payload", null=True),
        _id("payload_salt", null=True),
        _digest("payload_digest", null=True),
        _digest("hash"),
        sa.UniqueConstraint("stream_id", "seq", name="events_in_stream"),
    )
    op.create_table(
        "streams",
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
    op.create_index("streams_not_executions", "streams", ["kind", "stream_id"], **_where("kind <> 'execution'"))


def _claims() -> None:
    op.create_table(
        "process_ids",
        _id("organization_id", key=True),
        _id("workspace_id", key=True),
        _text("process_id", key=True),
        _id("stream_id"),
        _id("workflow_id"),
        _number("workflow_version"),
        _id("salt"),
        _digest("request_digest"),
        sa.UniqueConstraint("stream_id", name="process_ids_of_stream"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "idempotency",
        _id("organization_id", key=True),
        _id("workspace_id", key=True),
        _text("key", key=True),
        _id("stream_id"),
        _id("salt"),
        _digest("request_digest"),
        _text("answer"),
        _big("created_at"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "slots",
        _digest("limit_key", key=True),
        _number("place", key=True),
        _id("organization_id"),
        _id("stream_id"),
        _big("taken_at"),
        sqlite_with_rowid=False,
    )


def _nodes() -> None:
    op.create_table(
        "nodes",
        _id("node_id", key=True),
        _text("name"),
        _big("started_at"),
        _big("heartbeat_at"),
        _big("stopped_at", null=True),
        sqlite_with_rowid=False,
    )


def _retention() -> None:
    op.create_table(
        "archived_streams",
        _id("stream_id", key=True),
        _text("kind"),
        _id("organization_id"),
        _id("workspace_id", null=True),
        _number("seq"),
        _digest("hash"),
        _big("position"),
        _id("workflow_id", null=True),
        _number("workflow_version", null=True),
        _text("status", null=True),
        _text("last_wait_outcome", null=True),
        _digest("archive_digest"),
        _big("archived_at"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "leaves",
        _position(),
        _id("organization_id"),
        _digest("leaf_hash"),
    )
    op.create_table(
        "checkpoints",
        _id("organization_id", key=True),
        _big("size", key=True),
        _big("position"),
        _digest("root"),
        _text("note"),
        _big("created_at"),
    )


def _tenants() -> None:
    op.create_table(
        "organizations",
        _id("organization_id", key=True),
        _text("name"),
        sa.Column("secret", sa.LargeBinary, nullable=False),
        _big("created_at"),
        sa.UniqueConstraint("name", name="organizations_named"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "workspaces",
        _id("workspace_id", key=True),
        _id("organization_id"),
        _text("name"),
        _big("created_at"),
        sa.UniqueConstraint("organization_id", "name", name="workspaces_named"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "api_keys",
        _id("key_id", key=True),
        _id("organization_id"),
        _id("workspace_id"),
        _text("name"),
        _digest("key_digest"),
        _text("scopes"),
        _big("created_at"),
        _text("created_by"),
        _big("expires_at", null=True),
        _big("revoked_at", null=True),
        sa.UniqueConstraint("key_digest", name="api_keys_by_digest"),
        sqlite_with_rowid=False,
    )
    op.create_index("api_keys_of_organization", "api_keys", ["organization_id", "key_id"])


def _workflows() -> None:
    op.create_table(
        "workflows",
        _id("workflow_id", key=True),
        _id("organization_id"),
        _id("workspace_id"),
        _text("name"),
        _text("description", null=True),
        _text("status"),
        _number("latest_version"),
        _big("created_at"),
        _text("created_by"),
        _big("modified_at"),
        _text("modified_by", null=True),
        sqlite_with_rowid=False,
    )
    op.create_index("workflows_of_workspace", "workflows", ["workspace_id", "workflow_id"])
    op.create_table(
        "workflow_versions",
        _id("workflow_id", key=True),
        _number("version", key=True),
        _id("organization_id"),
        _id("workspace_id"),
        _text("definition"),
        _digest("definition_digest"),
        _text("mock_payload", null=True),
        _big("created_at"),
        _text("created_by"),
        _big("published_at", null=True),
    )
    op.create_index(
        "workflow_versions_of_organization",
        "workflow_versions",
        ["organization_id", "workflow_id", "version"],
    )
    op.create_index("workflow_versions_of_workspace", "workflow_versions", ["workspace_id", "workflow_id", "version"])


def _executions() -> None:
    op.create_table(
        "executions",
        _id("execution_id", key=True),
        _id("organization_id"),
        _id("workspace_id"),
        _id("workflow_id"),
        _number("workflow_version"),
        _text("trigger_type"),
        _text("status"),
        _text("state", null=True),
        _number("seq"),
        _big("created_at"),
        _big("modified_at"),
        _text("modified_by", null=True),
        _big("ended_at", null=True),
        _text("input_ref"),
        _text("output_ref", null=True),
        _text("error", null=True),
        _text("error_ref", null=True),
        _text("cause_ref", null=True),
        sqlite_with_rowid=False,
    )
    op.create_index("executions_live", "executions", ["execution_id"], **_where("status IN ('pending', 'running')"))
    op.create_index("executions_of_organization", "executions", ["organization_id", "execution_id"])
    op.create_index("executions_of_workflow", "executions", ["workflow_id", "execution_id"])
    op.create_index("executions_of_workspace", "executions", ["workspace_id", "execution_id"])


def _waits() -> None:
    op.create_table(
        "waits",
        _id("wait_id", key=True),
        _id("execution_id"),
        _id("organization_id"),
        _id("workspace_id"),
        _id("workflow_id"),
        _text("state"),
        _number("opened_seq"),
        _big("opened_at"),
        _big("due_at", null=True),
        _text("outcome", null=True),
        _number("ended_seq", null=True),
        _big("ended_at", null=True),
        sqlite_with_rowid=False,
    )
    op.create_index("waits_of_execution", "waits", ["execution_id", "opened_seq", "wait_id"])
    op.create_index("waits_open_in_execution", "waits", ["execution_id", "wait_id"], **_where("outcome IS NULL"))
    op.create_index("waits_open_in_workspace", "waits", ["workspace_id", "wait_id"], **_where("outcome IS NULL"))
    op.create_table(
        "timers",
        _big("due_at", key=True),
        _id("execution_id", key=True),
        _number("timer", key=True),
        sqlite_with_rowid=False,
    )
    op.create_index("timers_of_execution", "timers", ["execution_id", "due_at", "timer"])


def _other_projections() -> None:
    op.create_table(
        "schedules",
        _id("workflow_id", key=True),
        _id("organization_id"),
        _id("workspace_id"),
        _number("workflow_version"),
        _text("cron_expression"),
        _text("timezone"),
        _text("status"),
        _big("due_at", null=True),
        _number("seq"),
        _big("modified_at"),
        _text("modified_by", null=True),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "snapshots",
        _id("stream_id", key=True),
        _number("seq"),
        _digest("hash"),
        _number("format"),
        _text("data"),
        _digest("digest"),
    )


def _uuid_text(column: str) -> str:
    digits = f"lower(hex({column}))"
    parts = ((1, 8), (9, 4), (13, 4), (17, 4), (21, 12))
    return " || '-' || ".join(f"substr({digits}, {start}, {length})" for start, length in parts)


# For people with a SQL shell: ids and hashes as text.
_V_EVENTS = f"""CREATE VIEW v_events AS SELECT
    position, {_uuid_text("stream_id")} AS stream_id, seq, {_uuid_text("organization_id")} AS organization_id,
    type, version, recorded_at, strftime('%Y-%m-%dT%H:%M:%S', recorded_at / 1000, 'unixepoch')
    || printf('.%03dZ', recorded_at % 1000) AS recorded, actor, caused_by, data, payload,
    nullif(lower(hex(payload_salt)), '') AS payload_salt,
    nullif(lower(hex(payload_digest)), '') AS payload_digest, lower(hex(hash)) AS hash FROM events"""  # noqa: S608
