"""Settings of versions and organizations, and places in limits."""

import sqlalchemy as sa
from alembic import op

revision = "perdure_0009"
down_revision = "perdure_0008"


def upgrade() -> None:
    """Add the columns; the one setting that versions had, `resume`, stands among the others from now on."""
    op.add_column("workflow_versions", sa.Column("settings", sa.Text(), nullable=False, server_default="{}"))
    op.execute("""UPDATE workflow_versions SET settings = '{"resume":"named"}' WHERE resume = 'named'""")
    op.add_column("organizations", sa.Column("settings", sa.Text(), nullable=False, server_default="{}"))
