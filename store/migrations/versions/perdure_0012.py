"""Bulk jobs."""

import sqlalchemy as sa
from alembic import op

revision = "perdure_0012"
down_revision = "perdure_0011"

_UNDER_WAY = "ended_at IS NULL"


def upgrade() -> None:
    """Make the table of jobs, and the indexes by which they are listed and taken up."""
    op.create_table(
        "bulk_jobs",
        sa.Column("bulk_id", sa.LargeBinary(16), primary_key=True),
        *(sa.Column(name, sa.LargeBinary(16), nullable=False) for name in ("organization_id", "workspace_id")),
        *(sa.Column(name, sa.Text, nullable=False) for name in ("action", "status")),
        sa.Column("seq", sa.Integer, nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("created_by", sa.Text, nullable=False),
        sa.Column("modified_at", sa.BigInteger, nullable=False),
        sa.Column("modified_by", sa.Text, nullable=False),
        *(sa.Column(name, sa.BigInteger, nullable=True) for name in ("ended_at", "expected")),
        *(sa.Column(name, sa.BigInteger, nullable=False) for name in ("done", "unchanged", "failed")),
        *(sa.Column(name, sa.Text, nullable=False) for name in ("codes", "listed")),
        sa.Column("why", sa.Text, nullable=True),
        sqlite_with_rowid=False,
    )
    where = sa.text(_UNDER_WAY)
    op.create_index("bulk_jobs_of_workspace", "bulk_jobs", ["workspace_id", "bulk_id"])
    op.create_index("bulk_jobs_under_way", "bulk_jobs", ["bulk_id"], sqlite_where=where, postgresql_where=where)
