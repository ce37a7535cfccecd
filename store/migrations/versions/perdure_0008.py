"""Schedules of workflows, several each."""

revision = "perdure_0008"
down_revision = "perdure_0007"


def upgrade() -> None:
    """Change nothing yet."""
