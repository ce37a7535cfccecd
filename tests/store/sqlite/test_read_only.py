"""Reading a database that somebody else writes, or nobody."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from perdure.store.errors import SchemaError, StoreError
from perdure.store.sqlite import open_sqlite
from tests.store.builders import head_of, node, part, uid
from tests.store.sqlite.conftest import content, files, victim

NOBODY = 65534


def state(database: Path) -> tuple[str, int]:
    return hashlib.sha256(database.read_bytes()).hexdigest(), database.stat().st_mtime_ns


@contextmanager
def unprivileged(folder: Path) -> Iterator[None]:
    """Without the right to write in a folder or to its files, also for root."""
    for path in folder.iterdir():
        path.chmod(0o444)
    folder.chmod(0o555)
    user = os.geteuid()
    if user == 0:
        os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(user)
        folder.chmod(0o755)


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that other users can reach, as those of pytest cannot be."""
    folder = Path(tempfile.mkdtemp(prefix="perdure-test-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


async def test_nothing_can_be_written(database: Path) -> None:
    """Appends and starts of nodes are refused before they reach the database."""
    await (await open_sqlite(database)).close()
    store = await open_sqlite(database, read_only=True)

    with pytest.raises(StoreError, match="reading only"):
        await store.append([part(uid(1))])
    with pytest.raises(StoreError, match="reading only"):
        await store.node_started(node(1))
    await store.close()


async def test_reading_beside_a_writer_of_this_process(database: Path) -> None:
    """A reader sees each commit, holds no lock, and its end takes nothing from the writer."""
    writer = await open_sqlite(database)
    reader = await open_sqlite(database, read_only=True)
    first = part(uid(1))
    await writer.append([first])
    assert await reader.position() == 1
    await reader.close()

    await writer.append([part(uid(1), head_of(first))])
    assert await writer.position() == 2
    await writer.close()
    assert files(database) == {"perdure.db"}


@pytest.mark.real_process
async def test_reading_beside_another_process_and_after_it_was_killed(database: Path) -> None:
    """Beside a server, and from the write-ahead log that a killed one left; the database is not touched."""
    with victim(database) as process:
        assert process.stdout is not None
        process.stdout.readline()
        store = await open_sqlite(database, read_only=True)
        position = await store.position()
        assert position >= 21
        process.kill()
        process.wait()
        await store.close()
    left = files(database)
    before = state(database), state(Path(f"{database}-wal"))

    store = await open_sqlite(database, read_only=True)
    assert await store.position() >= position
    await store.close()

    assert (state(database), state(Path(f"{database}-wal"))) == before
    assert files(database) == left == {"perdure.db", "perdure.db-wal", "perdure.db-shm", "perdure.db.lock"}


async def test_reading_at_rest_makes_no_file(database: Path) -> None:
    """After a clean stop a database is one file, and reading it makes no other."""
    writer = await open_sqlite(database)
    await writer.append([part(uid(1))])
    await writer.close()
    before = state(database)

    store = await open_sqlite(database, read_only=True)
    assert await store.position() == 1
    assert files(database) == {"perdure.db"}
    await store.close()

    assert files(database) == {"perdure.db"}
    assert state(database) == before


async def test_a_server_may_start_beside_a_reader_of_a_database_at_rest(database: Path) -> None:
    """Who reads the file at rest neither keeps a server out nor misses what it writes, up to its stop."""
    await (await open_sqlite(database)).close()
    reader = await open_sqlite(database, read_only=True)
    assert await reader.position() == 0

    writer = await open_sqlite(database)
    await writer.append([part(uid(1))])
    assert await reader.position() == 1
    await writer.close()
    assert await reader.position() == 1
    await reader.close()

    await (await open_sqlite(database)).close()
    assert files(database) == {"perdure.db"}


async def test_reading_at_rest_in_a_folder_that_cannot_be_written(open_folder: Path) -> None:
    """No right to write is needed."""
    database = open_folder / "perdure.db"
    writer = await open_sqlite(database)
    await writer.append([part(uid(1))])
    await writer.close()

    with unprivileged(open_folder):
        store = await open_sqlite(database, read_only=True)
        assert await store.position() == 1
        await store.close()


@pytest.mark.real_process
async def test_reading_what_a_killed_server_left_in_a_folder_that_cannot_be_written(
    open_folder: Path,
) -> None:
    """The write-ahead log is read too."""
    database = open_folder / "perdure.db"
    with victim(database) as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.kill()
        process.wait()

    with unprivileged(open_folder):
        store = await open_sqlite(database, read_only=True)
        assert await store.position() >= 21
        await store.close()


async def test_an_empty_database_cannot_be_read(database: Path) -> None:
    """Reading does not make tables: a file without them is refused, and stays as it is."""
    os.close(os.open(database, os.O_CREAT))

    with pytest.raises(SchemaError, match="start the server"):
        await open_sqlite(database, read_only=True)

    assert content(database) == b""
    assert files(database) == {"perdure.db"}


async def test_a_store_that_is_not_closed_keeps_no_process_alive(database: Path) -> None:
    """The threads of its connections end with the process, whoever forgot to close it."""
    store = await open_sqlite(database)

    threads = [thread for thread in threading.enumerate() if "_connection_worker_thread" in thread.name]
    assert threads
    assert all(thread.daemon for thread in threads)
    await store.close()
