"""Filters on runs, and counts of them."""

revision = "perdure_0011"
down_revision = "perdure_0010"


def upgrade() -> None:
    """Change nothing yet."""
