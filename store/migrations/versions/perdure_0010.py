"""Origins of runs: a rerun or a fork of another."""

revision = "perdure_0010"
down_revision = "perdure_0009"


def upgrade() -> None:
    """Change nothing yet."""
