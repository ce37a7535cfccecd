"""Keys of people, and of sandboxes."""

import sqlalchemy as sa
from alembic import op

revision = "perdure_0014"
down_revision = "perdure_0013"


def upgrade() -> None:
    """Add the columns: every key that there is is live, and nobody's; no workspace is a sandbox."""
    op.add_column("workspaces", sa.Column("live_workspace_id", sa.LargeBinary(16), nullable=True))
    op.add_column("api_keys", sa.Column("mode", sa.Text(), nullable=False, server_default="live"))
    op.add_column("api_keys", sa.Column("user_id", sa.Text(), nullable=True))
    op.add_column("api_keys", sa.Column("role_ids", sa.Text(), nullable=False, server_default="[]"))
