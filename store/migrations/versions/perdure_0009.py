"""Settings of versions and organizations, and places in limits; executions show that they are paused."""

import sqlalchemy as sa
from alembic import op

revision = "perdure_0009"
down_revision = "perdure_0008"


def upgrade() -> None:
    """Add the columns; the one setting that versions had, `resume`, stands among the others from now on."""
    op.add_column("workflow_versions", sa.Column("settings", sa.Text(), nullable=False, server_default="{}"))
    op.execute("""UPDATE workflow_versions SET settings = '{"resume":"named"}' WHERE resume = 'named'""")
    op.create_table(
        "queue",
        sa.Column("execution_id", sa.LargeBinary(16), primary_key=True),
        sa.Column("organization_id", sa.LargeBinary(16), nullable=False),
        sa.Column("workflow_id", sa.LargeBinary(16), nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("limit_key", sa.LargeBinary(32), nullable=False),
        sa.Column("also_key", sa.LargeBinary(32)),
        sa.Column("seq", sa.Integer, nullable=False),
        sa.Column("position", sa.BigInteger, nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_index("queue_in_line", "queue", ["limit_key", "position"])
    op.create_index("slots_of_stream", "slots", ["stream_id"])
    op.add_column("organizations", sa.Column("settings", sa.Text(), nullable=False, server_default="{}"))
    _add_pauses()


def _add_pauses() -> None:
    """No run is paused yet."""
    for name, kind in (
        *(("paused_seq", sa.Integer()), ("paused_at", sa.BigInteger())),
        *(("paused_quota", sa.Text()), ("in_flight", sa.Integer())),
    ):
        op.add_column("executions", sa.Column(name, kind, nullable=True))
    op.create_index("executions_paused", "executions", ["execution_id"], sqlite_where=sa.text("paused_seq IS NOT NULL"))
