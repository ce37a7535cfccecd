"""Children name their parents, so that those that only wait are found after a crash; workflows are found by name."""

import json
import uuid

import sqlalchemy as sa
from alembic import op

revision = "perdure_0002"
down_revision = "perdure_0001"

_LIVE = "(status IN ('pending', 'running') OR status = 'waiting' AND awaited_by IS NOT NULL)"


def upgrade() -> None:
    """Add the columns, fill them from the log as a rebuild would, and make the indexes that they are for."""
    for name in ("parent_id", "awaited_by"):
        op.add_column("executions", sa.Column(name, sa.LargeBinary(16), nullable=True))
    _fill()
    op.drop_index("executions_live", "executions")
    where = sa.text(_LIVE)
    op.create_index("executions_live", "executions", ["execution_id"], sqlite_where=where, postgresql_where=where)
    op.create_index("workflows_named", "workflows", ["workspace_id", "name", "workflow_id"])


def _fill() -> None:
    """Bring the rows of children up to date; their first events, of version 1, say whose they are."""
    bind = op.get_bind()
    first = sa.text(
        "SELECT execution_id, data FROM executions JOIN events ON stream_id = execution_id AND events.seq = 1 "
        """WHERE data LIKE '%"parent"%'"""
    )
    children = []
    for execution_id, data in bind.execute(first):
        parent = json.loads(data).get("parent")
        if parent is not None:
            parent_id = uuid.UUID(parent["execution"]).bytes
            awaited_by = parent_id if parent.get("is_awaited") else None
            children.append({"id": execution_id, "parent_id": parent_id, "awaited_by": awaited_by})
    if children:
        statement = "UPDATE executions SET parent_id = :parent_id, awaited_by = :awaited_by WHERE execution_id = :id"
        bind.execute(sa.text(statement), children)
