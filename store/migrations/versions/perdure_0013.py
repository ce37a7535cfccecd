"""Versions with the documents that they were made from; who sees a workflow."""

import sqlalchemy as sa
from alembic import op

revision = "perdure_0013"
down_revision = "perdure_0012"


def upgrade() -> None:
    """Add the columns: every version there is was written as its definition, and everybody sees every workflow."""
    op.add_column("workflows", sa.Column("visibility", sa.Text(), nullable=False, server_default="tenant"))
    for name in ("owner", "shared_users", "shared_roles"):
        op.add_column("workflows", sa.Column(name, sa.Text(), nullable=False, server_default=""))
    op.add_column("workflow_versions", sa.Column("format", sa.Text(), nullable=False, server_default="asl"))
    for name in ("source", "outline", "summary"):
        op.add_column("workflow_versions", sa.Column(name, sa.Text(), nullable=True))
    where = sa.text("visibility <> 'tenant'")
    op.create_index(
        "workflows_restricted",
        "workflows",
        ["organization_id", "workflow_id"],
        sqlite_where=where,
        postgresql_where=where,
    )
