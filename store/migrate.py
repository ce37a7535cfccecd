"""Migrates a database to the schema of this program.

The check is plain SQL and costs nothing; alembic is imported (half a second) only when there is something to do.
"""

from __future__ import annotations

import io
import threading
from pathlib import Path
from typing import Final

from sqlalchemy import Connection, inspect, text

from perdure.store.errors import SchemaError

REVISIONS: Final = (
    "perdure_0001",
    "perdure_0002",
    "perdure_0003",
    "perdure_0004",
    "perdure_0005",
    "perdure_0006",
    "perdure_0007",
    "perdure_0008",
    "perdure_0009",
    "perdure_0010",
    "perdure_0011",
    "perdure_0012",
    "perdure_0013",
    "perdure_0014",
)
"""Every revision, the oldest first. The names tell our databases from others that alembic made."""

_VERSION_TABLE: Final = "alembic_version"
_SCRIPTS: Final = Path(__file__).with_name("migrations")

_ONE_AT_A_TIME: Final = threading.Lock()
"""Alembic has one place in the process for what it is at: two upgrades at once would use each other's connections."""


def is_behind(connection: Connection) -> bool:
    """Whether `migrate` has work to do; true for an empty database.

    Raises SchemaError if the database is not one of Perdure's, or if a newer program has changed it.
    """
    tables = inspect(connection)
    if not tables.has_table(_VERSION_TABLE):
        if tables.get_table_names():
            raise SchemaError("the database holds tables that are not Perdure's; name another one")
        return True
    found = connection.execute(text(f"SELECT version_num FROM {_VERSION_TABLE}")).scalars().all()  # noqa: S608
    if len(found) != 1 or not str(found[0]).startswith("perdure_"):
        raise SchemaError("the database belongs to another program; name another one")
    if found[0] not in REVISIONS:
        raise SchemaError(f"the database is at {found[0]}, newer than {REVISIONS[-1]}, the last this program knows")
    return bool(found[0] != REVISIONS[-1])


def migrate(connection: Connection) -> None:
    """Run the missing migrations in the transaction that the caller has begun, and will commit.

    Being in one transaction, they are all there after a crash or none is.
    """
    from alembic import command  # noqa: PLC0415
    from alembic.config import Config  # noqa: PLC0415

    config = Config(stdout=io.StringIO(), attributes={"connection": connection})
    config.set_main_option("script_location", str(_SCRIPTS).replace("%", "%%"))
    with _ONE_AT_A_TIME:
        command.upgrade(config, "head")
