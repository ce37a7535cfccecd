"""Executions are found by status and by error, and counted by workflow and status."""

import sqlalchemy as sa
from alembic import op

revision = "perdure_0011"
down_revision = "perdure_0010"

_INDEXES = {
    "executions_by_status": (["workspace_id", "status"], "status NOT IN ('pending', 'running', 'completed')"),
    "executions_ended_badly": (["workflow_id", "status"], "status IN ('failed', 'timed_out', 'terminated')"),
    "executions_with_error": (["workspace_id", "error"], "error IS NOT NULL"),
}


def upgrade() -> None:
    """Make the indexes, and count what is there, in one walk over it."""
    for name, (columns, condition) in _INDEXES.items():
        where = sa.text(condition)
        op.create_index(name, "executions", [*columns, "execution_id"], sqlite_where=where, postgresql_where=where)
    op.create_table(
        "execution_counts",
        sa.Column("workspace_id", sa.LargeBinary(16), nullable=False),
        sa.Column("workflow_id", sa.LargeBinary(16), nullable=False),
        sa.Column("status", sa.Text, nullable=False),
        sa.Column("shard", sa.Integer, nullable=False),
        sa.Column("total", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("workspace_id", "workflow_id", "status", "shard"),
        sqlite_with_rowid=False,
    )
    op.execute(
        "INSERT INTO execution_counts SELECT workspace_id, workflow_id, status, 0, count(*) FROM executions "
        "GROUP BY workspace_id, workflow_id, status"
    )
