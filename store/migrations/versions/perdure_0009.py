"""Settings of versions and organizations, and places in limits."""

revision = "perdure_0009"
down_revision = "perdure_0008"


def upgrade() -> None:
    """Change nothing yet."""
