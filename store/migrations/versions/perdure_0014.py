"""Keys of people, and of sandboxes."""

revision = "perdure_0014"
down_revision = "perdure_0013"


def upgrade() -> None:
    """Nothing yet."""
