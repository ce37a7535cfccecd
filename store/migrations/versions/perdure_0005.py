"""A node says how often those before it died, and which streams it is alone with: what kills at each start is found."""

import sqlalchemy as sa
from alembic import op

revision = "perdure_0005"
down_revision = "perdure_0004"


def upgrade() -> None:
    """Add both to the nodes."""
    op.add_column("nodes", sa.Column("crashes", sa.BigInteger, nullable=False, server_default=sa.text("0")))
    op.add_column("nodes", sa.Column("alone_with", sa.LargeBinary, nullable=False, server_default=sa.text("x''")))
