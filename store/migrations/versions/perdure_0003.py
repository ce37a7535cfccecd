"""Keys are listed in pages, also of one workspace, and show when they were last used."""

import sqlalchemy as sa
from alembic import op

revision = "perdure_0003"
down_revision = "perdure_0002"


def upgrade() -> None:
    """Make the table of uses, and the indexes by which operators and the pages of a workspace are found."""
    op.create_table(
        "key_uses",
        sa.Column("key_id", sa.LargeBinary(16), primary_key=True),
        sa.Column("used_at", sa.BigInteger, nullable=False),
        sqlite_with_rowid=False,
    )
    is_operator = sa.text("instr(' ' || scopes || ' ', ' operator ') > 0")
    op.create_index("api_keys_of_operators", "api_keys", ["organization_id"], sqlite_where=is_operator)
    op.create_index("api_keys_of_workspace", "api_keys", ["organization_id", "workspace_id", "key_id"])
