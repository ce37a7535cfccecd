"""Runs name the run that they were made from, by a rerun or a fork, so that these are found from there, too."""

import sqlalchemy as sa
from alembic import op

revision = "perdure_0010"
down_revision = "perdure_0009"


def upgrade() -> None:
    """Add the column and its index; no run in a database of an earlier version has an origin."""
    op.add_column("executions", sa.Column("origin_id", sa.LargeBinary(16), nullable=True))
    where = sa.text("origin_id IS NOT NULL")
    columns = ["origin_id", "execution_id"]
    op.create_index("executions_of_origin", "executions", columns, sqlite_where=where, postgresql_where=where)
