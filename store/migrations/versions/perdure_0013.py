"""Versions with the documents that they were made from; who sees a workflow."""

revision = "perdure_0013"
down_revision = "perdure_0012"


def upgrade() -> None:
    """Nothing yet."""
