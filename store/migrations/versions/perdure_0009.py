"""Settings of versions and organizations, and places in limits; executions show that they are paused."""

import sqlalchemy as sa
from alembic import op

revision = "perdure_0009"
down_revision = "perdure_0008"


def upgrade() -> None:
    """Add the columns; the one setting that versions had, `resume`, stands among the others from now on."""
    op.add_column("workflow_versions", sa.Column("settings", sa.Text(), nullable=False, server_default="{}"))
    op.execute("""UPDATE workflow_versions SET settings = '{"resume":"named"}' WHERE resume = 'named'""")
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
