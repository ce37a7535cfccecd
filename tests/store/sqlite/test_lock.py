"""One writer at a time."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from store.errors import DatabaseInUse
from store.sqlite import open_sqlite
from store.sqlite.lock import FileLock
from tests.store.sqlite.conftest import exists, victim


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
    opened = []
    really_open = os.open

    def open_then_lose_it(path: str, *arguments: int) -> int:
        descriptor = really_open(path, *arguments)
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
    assert list(database.parent.iterdir()) == []
