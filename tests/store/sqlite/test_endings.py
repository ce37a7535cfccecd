"""What endings say is done by and by, in pieces, and after a crash by the next start."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from perdure.store.errors import StoreError
from perdure.store.records import Ending, TimerRow
from perdure.store.sqlite import SqliteStore, open_sqlite
from perdure.store.sqlite.writer import writer as writers
from perdure.store.sqlite.writer.writer import Writer
from tests.store.builders import NOW, WORKSPACE, part, uid, wait

RUN, MANY = uid(1), 250
OVER: dict[str, Any] = {"outcome": "cancelled", "ended_seq": 900, "ended_at": NOW}


@pytest.fixture(autouse=True)
def in_small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """So many rows a transaction that there are several."""
    monkeypatch.setattr(writers, "SWEPT_AT_ONCE", 100)


async def end_much(store: SqliteStore) -> None:
    """End a run with many waits and timers."""
    waits = [wait(uid(number), RUN, opened_seq=number) for number in range(2, MANY + 2)]
    timers = [TimerRow(NOW, RUN, number) for number in range(2, MANY + 2)]
    await store.append([part(RUN, puts=[*waits, *timers])._replace(endings=[Ending(900, NOW)])])


def left(database: Path) -> tuple[int, ...]:
    """How many endings there are, and rows that they tell of."""
    with closing(sqlite3.connect(database)) as connection:
        tables = ("endings", "waits WHERE outcome IS NULL", "timers")
        return tuple(connection.execute(f"SELECT count(*) FROM {each}").fetchone()[0] for each in tables)  # noqa: S608


async def seen(store: SqliteStore) -> None:
    """See that all of it is over."""
    rows = await store.waits_of(RUN)
    assert [row._replace(**OVER) for row in rows] == rows
    assert len(rows) == MANY
    assert await store.timers_of(RUN) == []
    assert await store.open_waits(WORKSPACE) == []
    assert await store.next_due() is None


async def swept(store: SqliteStore) -> None:
    """Wait until the store has done it."""
    while store._sweeping is not None:
        await asyncio.wait([store._sweeping])


async def test_what_a_crash_has_left_is_done_by_the_next_start(database: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the meantime, and for who only reads, it is over all the same."""
    with monkeypatch.context() as stopped:
        stopped.setattr(SqliteStore, "sweep", lambda _: None)
        store = await open_sqlite(database)
        await end_much(store)
        await seen(store)
        await store.close()
    assert left(database) == (1, MANY, MANY)
    reader = await open_sqlite(database, read_only=True)
    await seen(reader)
    await reader.close()

    store = await open_sqlite(database)
    await swept(store)
    await seen(store)
    await store.close()
    assert left(database) == (0, 0, 0)


async def test_others_commit_in_between(database: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each piece is a transaction, and who comes meanwhile waits for one of them."""
    done: list[Any] = []
    real: Callable[[Writer], bool] = Writer.sweep

    def noted(writer: Writer) -> bool:
        done.append("piece")
        return real(writer)

    monkeypatch.setattr(Writer, "sweep", noted)
    store = await open_sqlite(database)
    await swept(store)
    done.clear()
    await end_much(store)
    while not done:  # noqa: ASYNC110 of another thread
        await asyncio.sleep(0)
    await store.append([part(uid(2))])
    done.append("other")
    await swept(store)
    assert done[0] == "piece"
    assert "piece" in done[done.index("other") :], "the other has not waited for all of them"
    await store.close()
    assert left(database) == (0, 0, 0)


async def test_a_piece_that_fails_is_left_to_the_next_ending(database: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody is told: readers see it as done."""

    def full(_: Writer) -> bool:
        raise StoreError("no room")

    store = await open_sqlite(database)
    await swept(store)
    with monkeypatch.context() as failing:
        failing.setattr(Writer, "sweep", full)
        await end_much(store)
        await swept(store)
    await seen(store)
    assert left(database)[0] == 1
    await store.append([part(uid(3))._replace(endings=[Ending(1, NOW)])])
    await swept(store)
    await store.close()
    assert left(database) == (0, 0, 0)


async def test_a_rebuild_leaves_no_ending(database: Path) -> None:
    """Its rows tell all that there is."""
    store = await open_sqlite(database)
    await end_much(store)

    async def rows() -> Any:
        yield wait(uid(7), RUN, opened_seq=7)

    await swept(store)
    await store.rebuild(rows())
    assert [row.wait_id for row in await store.open_waits(WORKSPACE)] == [uid(7)]
    await store.close()
    assert left(database) == (0, 1, 0)
