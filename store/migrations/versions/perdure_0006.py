"""The table of endings: the end of a large run is one row, and the writer processes the rest in pieces."""

import sqlalchemy as sa
from alembic import op

revision = "perdure_0006"
down_revision = "perdure_0005"


def upgrade() -> None:
    """Add the table of what is to be done."""
    op.create_table(
        "endings",
        sa.Column("execution_id", sa.LargeBinary, nullable=False),
        sa.Column("seq", sa.Integer, nullable=False),
        sa.Column("ended_at", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("execution_id", "seq"),
        sqlite_with_rowid=False,
    )
