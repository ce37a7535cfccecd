"""One writer at a time."""

from __future__ import annotations

import asyncio
import fcntl
import os
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from perdure.store.errors import DatabaseInUse, StoreUnavailable
from perdure.store.sqlite import inode, open_sqlite
from perdure.store.sqlite.lock import FileLock
from tests.store.builders import part, uid
from tests.store.sqlite.conftest import exists, files, forked_child, is_shared, victim


async def test_a_second_writer_of_this_process_is_refused(database: Path, tmp_path: Path) -> None:
    """The error names the holder; a link to the file is the same file; closing lets the next one in."""
    store = await open_sqlite(database)
    (tmp_path / "link.db").symlink_to(database)
    for name in (database, tmp_path / "link.db"):
        with pytest.raises(DatabaseInUse, match=f"process {os.getpid()} since 2") as refused:
            await open_sqlite(name)
        assert refused.value.path == str(database)
    await store.close()

    await (await open_sqlite(database)).close()


@pytest.mark.real_process
async def test_a_second_process_is_refused(database: Path) -> None:
    """While another process serves the file nobody else may; once it is dead, its lock file is taken over."""
    with victim(database) as process:
        with pytest.raises(DatabaseInUse, match=f"process {process.pid} since"):
            await open_sqlite(database)
        process.kill()
        process.wait()
        assert exists(database.parent / "perdure.db.lock")

        store = await open_sqlite(database)
        await store.close()


def test_a_lock_file_that_was_removed_locks_nothing(database: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """If the holder removes the file between our opening and our locking it, a new one is locked."""
    first = FileLock.acquire(str(database))
    opened: list[int] = []
    really_open = os.open

    def open_then_lose_it(path: str, *arguments: int) -> int:
        descriptor = really_open(path, *arguments)
        if path.endswith(".lock"):
            if not opened:
                first.release()
            opened.append(descriptor)
        return descriptor

    monkeypatch.setattr(os, "open", open_then_lose_it)
    second = FileLock.acquire(str(database))
    monkeypatch.undo()

    assert len(opened) == 2
    with pytest.raises(DatabaseInUse):
        FileLock.acquire(str(database))
    second.release()
    assert files(database) == {"perdure.db"}


# --- children ------------------------------------------------------------------------------------------------


def test_a_child_of_a_process_that_died_holds_no_lock(database: Path) -> None:
    """What a step forked may outlive the process that is killed; neither lock is its."""
    lock = FileLock.acquire(str(database))
    with forked_child():
        for descriptor in lock.descriptors:  # as the system does for a process that dies
            os.close(descriptor)

        FileLock.acquire(str(database)).release()


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_child_does_not_let_go_of_its_parents_lock(database: Path) -> None:
    """A child that runs the parent's clean-up removes nothing, and closes nothing that it opened itself."""
    lock = FileLock.acquire(str(database))
    child = os.fork()
    if not child:
        before = set(Path("/dev/fd").iterdir())
        lock.release()
        os._exit(0 if set(Path("/dev/fd").iterdir()) == before else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0

    with pytest.raises(DatabaseInUse):
        FileLock.acquire(str(database))
    lock.release()


@pytest.mark.real_process
async def test_a_child_does_not_keep_the_writers_process(database: Path) -> None:
    """Its end of the socket is no child's, so it sees that the engine's process is gone."""
    store = await open_sqlite(database, writer="process")
    with forked_child():
        await asyncio.wait_for(store.close(), 5)


# --- the file itself -----------------------------------------------------------------------------------------


async def test_a_second_writer_is_refused_whatever_became_of_the_lock_file(database: Path) -> None:
    """It was removed, or the database has another name, a hard link or a new one: it is the same file."""
    store = await open_sqlite(database)
    await store.append([part(uid(1))])
    other = database.with_name("other.db")
    lock_file = database.with_name("perdure.db.lock")

    os.link(database, other)
    with pytest.raises(DatabaseInUse, match="by another name"):
        await open_sqlite(other)
    lock_file.unlink()
    with pytest.raises(DatabaseInUse, match="whose lock file was removed"):
        await open_sqlite(database)
    assert is_shared(database)  # none of this has cost SQLite its own locks
    await store.append([part(uid(2))])
    await store.close()

    assert inode._kept == []
    assert not is_shared(database)
    again = await open_sqlite(other)
    assert await again.position() == 2
    await again.close()


async def test_letting_go_leaves_the_locks_of_readers(database: Path) -> None:
    """A connection that somebody else has open in this process stays what others see; later nothing is left."""
    store = await open_sqlite(database)
    reader = sqlite3.connect(database)
    assert reader.execute("SELECT count(*) FROM events").fetchone() == (0,)

    await store.close()
    assert is_shared(database)
    assert len(inode._kept) == 1
    reader.close()

    await (await open_sqlite(database)).close()
    assert inode._kept == []


@pytest.mark.parametrize(
    "mend", [lambda _: None, lambda other: other.unlink()], ids=["with two names", "with one name again"]
)
async def test_a_name_without_the_wal_is_refused(database: Path, mend: Callable[[Path], None]) -> None:
    """What was committed last may stand beside the other name: it must not be lost silently."""
    store = await open_sqlite(database)
    reader = sqlite3.connect(database)
    reader.execute("SELECT count(*) FROM events").fetchone()
    await store.close()  # the file stays in WAL mode, as after a kill
    other = database.with_name("other.db")
    os.link(database, other)
    reader.close()

    mend(other)
    if exists(other):
        with pytest.raises(StoreUnavailable, match="hard links"):
            await open_sqlite(other)
    else:
        await (await open_sqlite(database)).close()


async def test_a_file_system_without_such_locks_has_the_lock_file(
    database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is served all the same."""

    def unknown(*_: object) -> None:
        raise OSError(22, "Invalid argument")

    monkeypatch.setattr(fcntl, "fcntl", unknown)
    store = await open_sqlite(database)
    with pytest.raises(DatabaseInUse, match="process"):
        await open_sqlite(database)
    await store.close()
