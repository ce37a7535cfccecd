"""Bulk jobs."""

revision = "perdure_0012"
down_revision = "perdure_0011"


def upgrade() -> None:
    """Change nothing yet."""
