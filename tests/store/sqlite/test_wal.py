"""The WAL stays small, however much is read."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from perdure.store.sqlite import SqliteStore, open_sqlite
from perdure.store.sqlite.writer import writer
from tests.store.builders import event, part, uid

MIB = 1024 * 1024


async def append(store: SqliteStore, number: int) -> None:
    """Append some 200 KB."""
    events = [event(seq)._replace(payload=f'"{"x" * 20_000}"', payload_salt=b"s" * 16) for seq in range(1, 11)]
    await store.append([part(uid(number))._replace(events=events)])


def wal_size(database: Path) -> int:
    return Path(f"{database}-wal").stat().st_size


@contextmanager
def constant_reading(database: Path) -> Iterator[None]:
    """Two readers, of whom one ends only when the other has begun: there is no moment without one."""
    is_over = threading.Event()
    begun = threading.Event(), threading.Event()

    def read(mine: threading.Event, other: threading.Event) -> None:
        with closing(sqlite3.connect(database, isolation_level=None)) as connection:
            while not is_over.is_set():
                connection.execute("BEGIN")
                connection.execute("SELECT max(position) FROM events").fetchone()
                mine.set()
                other.wait(5)
                other.clear()
                connection.execute("COMMIT")

    readers = [threading.Thread(target=read, args=pair) for pair in (begun, begun[::-1])]
    for reader in readers:
        reader.start()
    try:
        yield
    finally:
        is_over.set()
        for has_begun in begun:
            has_begun.set()
        for reader in readers:
            reader.join()


async def test_the_wal_begins_anew_under_constant_reading(database: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It does not grow with what is written, though somebody reads at every moment."""
    monkeypatch.setattr(writer, "WAL_BYTES_MAX", MIB)
    store = await open_sqlite(database)
    with constant_reading(database):
        for number in range(1, 26):
            await append(store, number)
            assert wal_size(database) < 2 * MIB
    assert await store.position() == 250
    await store.close()


async def test_a_reader_that_stays_is_not_waited_for_each_time(database: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The WAL grows for as long as it has to, and is looked at again when it has doubled; then it grows no more."""
    monkeypatch.setattr(writer, "WAL_BYTES_MAX", MIB)
    monkeypatch.setattr(writer, "_READERS_MS", 1)
    store = await open_sqlite(database)
    due = []
    with closing(sqlite3.connect(database, isolation_level=None)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT max(position) FROM events").fetchone()
        for number in range(1, 16):
            await append(store, number)
            due.append(await store._write(lambda writer: writer._wal_due))
    assert wal_size(database) > 2 * MIB
    assert len(set(due)) == 3

    for number in range(16, 36):
        await append(store, number)

    assert wal_size(database) < due[-1] + MIB
    await store.close()
