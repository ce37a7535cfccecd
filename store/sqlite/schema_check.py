"""What is defined in a SQLite file beside, or instead of, what Perdure's migrations make: a trigger, another view."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any, Final, TypeAlias

import msgspec
from sqlalchemy import column, create_engine, select, table

from perdure.store.sql.session import Statement

RECORD: Final = Path(__file__).with_name("schema.json")

SHAPE: Final[Statement] = select(column("type"), column("name"), column("sql")).select_from(table("sqlite_master"))

Shape: TypeAlias = Mapping[tuple[str, str], str]
"""The statement of each table, index, view and trigger, by type and name."""


def shape(rows: Iterable[Any]) -> Shape:
    """What the rows of `SHAPE` say, but for what SQLite makes by itself: indexes of keys, and its statistics."""
    return {
        (kind, name): " ".join(statement.split()) if isinstance(statement, str) else ""
        for kind, name, statement in rows
        if not (kind in {"table", "index"} and str(name).startswith("sqlite_"))
    }


def recorded() -> Shape:
    """The shape of a new database as it stands in `schema.json`; a test compares it with what the migrations make."""
    listed = msgspec.json.decode(RECORD.read_bytes(), type=list[tuple[str, str, str]])
    return {(kind, name): statement for kind, name, statement in listed}


@cache
def expected() -> Shape:
    """The shape of a new database, as this SQLite writes it down. It takes some 0.5 s the first time."""
    from perdure.store.migrate import migrate  # noqa: PLC0415 most files are as recorded

    engine = create_engine("sqlite://")
    with engine.begin() as connection:
        migrate(connection)
        made = shape(connection.execute(SHAPE))
    engine.dispose()
    return made


def shape_flaws(found: Shape) -> list[str]:
    """What of a file is not as in a new one."""
    if found == recorded():
        return []
    wanted = expected()
    return [
        *(f"{kind} {name} is none of Perdure's" for kind, name in found if (kind, name) not in wanted),
        *(f"{kind} {name} is missing" for kind, name in wanted if (kind, name) not in found),
        *(
            f"{kind} {name} is not as Perdure makes it"
            for (kind, name), statement in found.items()
            if wanted.get((kind, name), statement) != statement
        ),
    ]
