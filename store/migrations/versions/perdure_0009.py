"""Settings of versions and organizations, and places in limits; executions show that they are paused."""

import sqlalchemy as sa
from alembic import op

revision = "perdure_0009"
down_revision = "perdure_0008"


def upgrade() -> None:
    """Add the columns; no run is paused yet."""
    _add_pauses()


def _add_pauses() -> None:
    for name, kind in (
        *(("paused_seq", sa.Integer()), ("paused_at", sa.BigInteger())),
        *(("paused_quota", sa.Text()), ("in_flight", sa.Integer())),
    ):
        op.add_column("executions", sa.Column(name, kind, nullable=True))
    op.create_index("executions_paused", "executions", ["execution_id"], sqlite_where=sa.text("paused_seq IS NOT NULL"))
