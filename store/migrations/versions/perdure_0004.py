"""A version of a workflow says what a resume of its runs must say."""

import sqlalchemy as sa
from alembic import op

revision = "perdure_0004"
down_revision = "perdure_0003"


def upgrade() -> None:
    """Add the column; what is there goes on as it was, so that any resume may mean whichever wait is open."""
    op.add_column("workflow_versions", sa.Column("resume", sa.Text(), nullable=False, server_default="any"))
