"""When a run was last changed is when somebody from outside changed it, in rows of an earlier release too."""

from alembic import op

revision = "perdure_0007"
down_revision = "perdure_0006"

_OUTSIDE = """
FROM events WHERE stream_id = execution_id AND type <> 'CommandRefused' AND substr(actor, 1, 7) <> 'engine:'
"""


def upgrade() -> None:
    """Fill the column as a rebuild would: it had the instant of the last event of all."""
    last = f"SELECT recorded_at {_OUTSIDE} ORDER BY seq DESC LIMIT 1"
    op.execute(f"UPDATE executions SET modified_at = ({last}) WHERE EXISTS (SELECT 1 {_OUTSIDE})")  # noqa: S608
