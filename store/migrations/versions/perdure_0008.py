"""Schedules of workflows, several each."""

import sqlalchemy as sa
from alembic import op

revision = "perdure_0008"
down_revision = "perdure_0007"


def _id(name: str, *, key: bool = False, null: bool = False) -> sa.Column[bytes]:
    return sa.Column(name, sa.LargeBinary(16), primary_key=key, nullable=null)


def _text(name: str, *, null: bool = False) -> sa.Column[str]:
    return sa.Column(name, sa.Text, nullable=null)


def _big(name: str, *, null: bool = False) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger, nullable=null)


def _number(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.Integer, nullable=False)


def _index(name: str, columns: list[str], where: str) -> None:
    op.create_index(name, "schedules", columns, sqlite_where=sa.text(where), postgresql_where=sa.text(where))


def upgrade() -> None:
    """Make the table anew: nothing has written to it yet."""
    op.drop_table("schedules")
    op.create_table(
        "schedules",
        _id("schedule_id", key=True),
        _id("workflow_id"),
        _id("organization_id"),
        _id("workspace_id"),
        _text("status"),
        _text("timing"),
        _text("overlap"),
        _text("catch_up"),
        _number("is_main"),
        _text("input_ref", null=True),
        _big("due_at", null=True),
        _big("next_at", null=True),
        _big("buffered_at", null=True),
        _id("last_run_id", null=True),
        _number("starting"),
        _text("decisions"),
        _number("revision"),
        _big("created_at"),
        _text("created_by"),
        _big("modified_at"),
        _text("modified_by"),
        sqlite_with_rowid=False,
    )
    op.create_index("schedules_of_workflow", "schedules", ["workflow_id", "schedule_id"])
    _index("schedules_due", ["due_at", "schedule_id"], "due_at IS NOT NULL")
    _index("schedules_unsettled", ["schedule_id"], "(starting > 0 OR buffered_at IS NOT NULL)")
