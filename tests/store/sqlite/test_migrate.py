"""The schema of a database: made, checked, refused."""

from __future__ import annotations

import asyncio
import logging
import re
import sqlite3
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from hatchling.builders.wheel import WheelBuilder
from sqlalchemy import create_engine

import perdure.store.migrate
import perdure.store.sqlite.writer.writer
from perdure.store.errors import SchemaError, StoreError
from perdure.store.migrate import REVISIONS
from perdure.store.schema import metadata
from perdure.store.sqlite import open_sqlite
from tests.store.builders import event, head_of, part, uid
from tests.store.sqlite.conftest import ROOT, content, files


def sql(database: Path, statement: str) -> list[Any]:
    connection = sqlite3.connect(database)
    rows = connection.execute(statement).fetchall()
    connection.commit()
    connection.close()
    return rows


def tables(database: Path) -> dict[str, str]:
    """The statements that made everything, but for what alembic keeps and the views."""
    rows = sql(database, "SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL AND type <> 'view'")
    return {name: re.sub(r"\s+", " ", text) for name, text in rows if name != "alembic_version"}


@pytest.fixture
async def fresh(database: Path) -> Path:
    """A database that has just been made."""
    await (await open_sqlite(database)).close()
    return database


def test_the_migrations_make_what_the_schema_declares(fresh: Path, tmp_path: Path) -> None:
    """Migrated from nothing, a database is word for word what the declared tables would make."""
    engine = create_engine(f"sqlite:///{fresh}")
    with engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []
    engine.dispose()
    declared = create_engine(f"sqlite:///{tmp_path / 'declared.db'}")
    metadata.create_all(declared)
    declared.dispose()

    assert tables(fresh) == tables(tmp_path / "declared.db")


def test_every_migration_is_known(fresh: Path) -> None:
    """The list that the quick check reads is that of the scripts."""
    scripts = ScriptDirectory(str(Path(perdure.store.migrate.__file__).with_name("migrations")))

    assert tuple(script.revision for script in reversed([*scripts.walk_revisions()])) == REVISIONS
    assert sql(fresh, "SELECT version_num FROM alembic_version") == [(REVISIONS[-1],)]


def test_the_migrations_are_in_the_wheel(tmp_path: Path) -> None:
    """What is installed can make a database too."""
    (wheel,) = WheelBuilder(str(ROOT)).build(directory=str(tmp_path), versions=["standard"])
    scripts = {f"perdure/store/migrations/versions/{revision}.py" for revision in REVISIONS}

    assert {"perdure/store/migrations/env.py", *scripts} <= set(zipfile.ZipFile(wheel).namelist())


async def test_people_can_read_the_log(fresh: Path) -> None:
    """The view shows ids and hashes as text, and when it was."""
    store = await open_sqlite(fresh)
    written = part(uid(0x1234, space=5))._replace(events=(event(1, payload=None, payload_salt=None),))
    await store.append([written])
    await store.close()

    (seen,) = sql(fresh, "SELECT stream_id, recorded, payload_digest, hash FROM v_events")

    assert seen == (
        "00000000-0005-0000-0000-000000001234",
        "2023-11-14T22:13:20.001Z",
        None,
        head_of(written).hash.hex(),
    )


@pytest.mark.real_process
def test_a_database_that_is_up_to_date_needs_no_alembic(fresh: Path) -> None:
    """Only a database that is behind pays for the import; and migrating prints nothing."""
    program = f"""
import asyncio, sys
from perdure.store.sqlite import open_sqlite
async def main(path):
    await (await open_sqlite(path)).close()
asyncio.run(main({str(fresh)!r}))
assert "alembic" not in sys.modules
asyncio.run(main({str(fresh.with_name("another.db"))!r}))
assert "alembic" in sys.modules
"""
    command = [sys.executable, "-W", "error", "-c", program]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)

    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


async def test_logging_stays_as_it_was(database: Path) -> None:
    """Migrations add no handler and change no level."""
    root = logging.getLogger()
    before = (root.level, list(root.handlers), logging.getLogger("alembic").handlers, logging.root.disabled)

    await (await open_sqlite(database)).close()

    after = (root.level, list(root.handlers), logging.getLogger("alembic").handlers, logging.root.disabled)
    assert after == before


@pytest.mark.parametrize("read_only", [False, True])
async def test_a_newer_database_is_refused(fresh: Path, read_only: bool) -> None:
    """One that a later version has changed; nothing happens to it."""
    sql(fresh, "UPDATE alembic_version SET version_num = 'perdure_9999'")
    before = content(fresh)

    with pytest.raises(SchemaError, match=f"newer than {REVISIONS[-1]}"):
        await open_sqlite(fresh, read_only=read_only)

    assert content(fresh) == before
    assert files(fresh) == {"perdure.db"}


def make(database: Path, statement: str | None) -> None:
    """A file that is another's: a database, or none."""
    if statement is None:
        database.write_text("Dear diary, " * 1000)
    else:
        sql(database, statement)


@pytest.mark.parametrize("read_only", [False, True])
@pytest.mark.parametrize(
    "made_by",
    [
        "CREATE TABLE notes (text)",
        "CREATE TABLE alembic_version (version_num)",
        "CREATE TABLE alembic_version AS SELECT '0001' AS version_num",
        None,
    ],
    ids=["tables", "no revision", "another's revision", "no database"],
)
async def test_a_file_that_is_not_ours_is_refused(database: Path, made_by: str | None, read_only: bool) -> None:
    """Another program's database, or no database at all: refused, and not touched."""
    make(database, made_by)
    before = content(database)

    with pytest.raises(SchemaError, match="name another one"):
        await open_sqlite(database, read_only=read_only)

    assert content(database) == before
    assert files(database) == {"perdure.db"}


async def test_databases_are_made_side_by_side(tmp_path: Path) -> None:
    """Several at once, in one process: each is whole."""
    paths = [tmp_path / f"{number}.db" for number in range(6)]
    for opened in await asyncio.gather(*(open_sqlite(path) for path in paths)):
        assert (await opened.append([part(uid(1))]))[:2] == (1, {})
        await opened.close()

    assert {path: sql(path, "SELECT version_num FROM alembic_version") for path in paths} == {
        path: [(REVISIONS[-1],)] for path in paths
    }


async def test_a_migration_is_there_whole_or_not_at_all(database: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """If it fails at its end nothing of it is left, and the next start makes everything."""

    def break_off(connection: Any) -> None:
        perdure.store.migrate.migrate(connection)
        assert connection.exec_driver_sql("SELECT count(*) FROM events").scalar() == 0
        raise RuntimeError("power cut")

    monkeypatch.setattr(perdure.store.sqlite.writer.writer, "migrate", break_off)
    with pytest.raises(StoreError, match="power cut"):
        await open_sqlite(database)
    monkeypatch.undo()
    assert sql(database, "SELECT count(*) FROM sqlite_master") == [(0,)]

    opened = await open_sqlite(database)
    assert (await opened.append([part(uid(1))]))[:2] == (1, {})
    await opened.close()
