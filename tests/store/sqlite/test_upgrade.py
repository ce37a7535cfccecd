"""Databases that an earlier release has made: they come up to this one, with all that is in them.

Those in `tests/golden/databases` were made by the programs of their time: they are added to, never changed.
"""

from __future__ import annotations

import io
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import create_engine

import perdure.store.migrate
from perdure.engine import Engine
from perdure.engine.audit.store_audit import verify
from perdure.engine.testing import ManualClock
from perdure.store.chain import sealed
from perdure.store.errors import SchemaError
from perdure.store.sqlite import open_sqlite
from tests.store.builders import NOW, ORG, WORKFLOW, WORKSPACE, event, execution, part, uid, workflow
from tests.store.sqlite.conftest import content

GOLDEN = sorted((Path(__file__).parents[2] / "golden" / "databases").glob("*.sql"))
PARENT = uid(9, space=5)
AWAITED, STARTED, TOP = uid(1), uid(2), uid(3)
CHILD = """{"kind":"execution","parent":{"execution":"00000000-0005-0000-0000-000000000009","pattern":"sync"%s}}"""
FIRST_EVENTS = {
    AWAITED: CHILD % ',"is_awaited":true',
    STARTED: CHILD % "",
    TOP: """{"kind":"execution","start_at":"a \\"parent\\""}""",
}


def made_by_0001(database: Path) -> None:
    """A database of the first release, with runs that wait: one is awaited, one was only started, one is no child."""
    engine = create_engine(f"sqlite:///{database}")
    config = Config(stdout=io.StringIO())
    config.set_main_option("script_location", str(Path(perdure.store.migrate.__file__).with_name("migrations")))
    with engine.begin() as transaction:
        config.attributes["connection"] = transaction
        command.upgrade(config, "perdure_0001")
    engine.dispose()
    run = (ORG, WORKSPACE, WORKFLOW, 1, "REQUEST", "waiting", "Ask", 2, NOW, NOW, None, None, "1/input")
    with closing(sqlite3.connect(database)) as connection, connection:
        for position, (run_id, data) in enumerate(FIRST_EVENTS.items(), 1):
            started = part(run_id)._replace(events=(event(1, type="ExecutionStarted", data=data),))
            insert(connection, "events", position, *sealed(started)[0])
            insert(connection, "executions", run_id, *run, None, None, None, None)
        insert(connection, "workflows", *workflow(WORKFLOW, name="old")[:WORKFLOW_COLUMNS])


WORKFLOW_COLUMNS = 11
"""So many columns the table had; those that came since are at their defaults."""


def insert(connection: sqlite3.Connection, table: str, *row: object) -> None:
    connection.execute(f"INSERT INTO {table} VALUES ({', '.join('?' for _ in row)})", row)  # noqa: S608


def schema_of(database: Path) -> set[tuple[str, str]]:
    with closing(sqlite3.connect(database)) as connection:
        return set(connection.execute("SELECT name, sql FROM sqlite_master"))


async def test_a_database_of_the_first_release_comes_up(database: Path) -> None:
    """Children know their parents, those that are awaited are live though they wait, and nothing else has changed."""
    made_by_0001(database)
    opened = await open_sqlite(database)

    waiting = {"status": "waiting", "state": "Ask", "seq": 2}
    awaited = execution(AWAITED, **waiting, parent_id=PARENT, awaited_by=PARENT)
    assert await opened.execution_page(workspace_id=WORKSPACE) == [
        execution(TOP, **waiting),
        execution(STARTED, **waiting, parent_id=PARENT),
        awaited,
    ]
    assert await opened.live_executions() == [awaited]
    assert await opened.workflows_named(WORKSPACE, "old") == [workflow(WORKFLOW, name="old")]
    assert [stored.row.data async for stored in opened.log()] == list(FIRST_EVENTS.values())
    await opened.close()


async def test_it_then_has_the_schema_of_a_new_one(database: Path, tmp_path: Path) -> None:
    """Word for word, so that what holds for one holds for the other."""
    made_by_0001(database)
    for path in (database, tmp_path / "new.db"):
        await (await open_sqlite(path)).close()

    assert schema_of(database) == schema_of(tmp_path / "new.db")


async def test_who_only_reads_does_not_bring_it_up(database: Path) -> None:
    """It is refused as too old, and not touched."""
    made_by_0001(database)
    before = content(database)

    with pytest.raises(SchemaError, match="older than this program"):
        await open_sqlite(database, read_only=True)

    assert content(database) == before


@pytest.mark.parametrize("made", [path.read_text(encoding="utf-8") for path in GOLDEN], ids=[p.stem for p in GOLDEN])
async def test_what_an_earlier_program_wrote_is_verified_and_goes_on(made: str, database: Path) -> None:
    """Every row says what a fold of today says: a migration fills what it, or the program with it, has changed."""
    with closing(sqlite3.connect(database)) as connection:
        connection.executescript(made)
    assert await faults(database) == []

    async with Engine.open(f"sqlite:///{database}", clock=ManualClock(1_750_000_200_000)) as engine:
        await engine.resume("INV-0", {"source": "SAP"})

    assert await faults(database) == []


async def faults(database: Path) -> list[str]:
    opened = await open_sqlite(database)
    found = [found.reason for found in (await verify(opened)).breaks]
    await opened.close()
    return found
