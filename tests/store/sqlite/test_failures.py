"""What the world does to a writer."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from typing import Any, cast

import pytest

from perdure.store.errors import CommitUnknown, StoreError, StoreFull, StoreUnavailable
from perdure.store.protocols import PLACES, WriterPlace
from perdure.store.sqlite import SqliteStore, open_sqlite
from tests.store.builders import event, execution, head_of, node, part, uid
from tests.store.sqlite.conftest import content, exists, make
from tests.store.sqlite.faults import execute, fail_commits, hold_commits


@pytest.fixture(params=PLACES)
def place(request: pytest.FixtureRequest) -> WriterPlace:
    return cast("WriterPlace", request.param)


@pytest.fixture
async def store(database: Path, place: WriterPlace) -> AsyncIterator[SqliteStore]:
    store = await open_sqlite(database, writer=place)
    yield store
    await store.close()


async def on_writer(store: SqliteStore, statement: str) -> Any:
    return await store._write(partial(execute, statement=statement))


async def test_a_full_disk_loses_the_batch_only(store: SqliteStore) -> None:
    """StoreFull: nothing of the batch is there; once there is space again, positions go on without a gap."""
    first = part(uid(1))
    await store.append([first])
    pages = (await on_writer(store, "PRAGMA page_count"))[0]
    await on_writer(store, f"PRAGMA max_page_count = {pages}")
    large = [part(uid(number), events=100, puts=[execution(uid(number))]) for number in range(2, 50)]

    with pytest.raises(StoreFull, match="no space left"):
        await store.append(large)

    assert await store.position() == 1
    assert await store.stream(uid(2)) is None
    assert (await store.append([part(uid(1), head_of(first), events=0)]))[:2] == (1, {})
    await on_writer(store, "PRAGMA max_page_count = 1000000")
    assert (await store.append(large))[:2] == (4801, {})


async def test_no_space_at_commit_is_not_unknown(store: SqliteStore) -> None:
    """SQLite says FULL of a write that was cut short, before the frame that commits: nothing is there."""
    await store._write(partial(fail_commits, code=sqlite3.SQLITE_FULL, commits=False, times=1))
    with pytest.raises(StoreFull):
        await store.append([part(uid(1))])

    assert (await store.append([part(uid(1))]))[:2] == (1, {})


@pytest.mark.parametrize("commits", [False, True])
async def test_a_commit_that_fails_stops_the_store(database: Path, place: WriterPlace, commits: bool) -> None:
    """It may be durable or not: every later write is refused, and the next start reads back what is there."""
    store = await open_sqlite(database, writer=place)
    first = part(uid(1))
    await store.append([first])
    await store._write(partial(fail_commits, code=sqlite3.SQLITE_IOERR_FSYNC, commits=commits))

    with pytest.raises(CommitUnknown, match="made up"):
        await store.append([part(uid(2))])

    with pytest.raises(CommitUnknown, match="made up"):
        await store.append([part(uid(1), head_of(first))])
    with pytest.raises(CommitUnknown):
        await store.node_started(node(1))
    await store.close()
    again = await open_sqlite(database)
    assert await again.position() == (2 if commits else 1)
    await again.close()


async def test_a_database_that_is_locked_is_unavailable(store: SqliteStore, database: Path) -> None:
    """A foreign writer is waited for; then nothing was written, and the next batch may go through."""
    await on_writer(store, "PRAGMA busy_timeout = 20")
    foreign = sqlite3.connect(database, isolation_level=None)
    foreign.execute("BEGIN IMMEDIATE")

    with pytest.raises(StoreUnavailable, match="locked"):
        await store.append([part(uid(1))])

    foreign.execute("ROLLBACK")
    foreign.close()
    assert (await store.append([part(uid(1))]))[:2] == (1, {})


@pytest.mark.parametrize("broken", [{"data": "\ud800"}, {"version": 2**70}, {"actor": object()}, {"actor": None}])
async def test_a_row_that_cannot_be_stored_spoils_nothing(store: SqliteStore, broken: dict[str, Any]) -> None:
    """What the driver cannot bind, or the table does not take, is a StoreError, and all is rolled back."""
    bad = part(uid(2))._replace(events=(event(1, **broken),))

    with pytest.raises(StoreError):
        await store.append([part(uid(1), puts=[execution(uid(1))]), bad])

    assert await store.stream(uid(1)) is None
    assert (await store.append([part(uid(1))]))[:2] == (1, {})


async def test_an_append_is_not_cut_short_by_a_cancelled_caller(store: SqliteStore, database: Path) -> None:
    """Cancelled while it runs, it is committed whole, and its caller learns at once that it was cancelled."""
    started, go_on = database.with_name("started"), database.with_name("go on")
    await store._write(partial(hold_commits, started=str(started), go_on=str(go_on)))
    appending = asyncio.ensure_future(store.append([part(uid(1), events=20, puts=[execution(uid(1))])]))
    while not exists(started):  # noqa: ASYNC110 the writer makes it
        await asyncio.sleep(0.001)
    appending.cancel()
    with pytest.raises(asyncio.CancelledError):
        await appending
    assert await store.position() == 0
    make(go_on)

    assert (await store.append([part(uid(2))]))[:2] == (21, {})
    assert await store.execution(uid(1)) == execution(uid(1))


async def test_what_was_removed_is_overwritten(database: Path) -> None:
    """A row that is replaced or deleted leaves no bytes in the file (`secure_delete`)."""
    store = await open_sqlite(database)
    marks = [f"mark-{number:05}" for number in range(300)]
    first = [part(uid(number), puts=[execution(uid(number), state=mark * 20)]) for number, mark in enumerate(marks)]
    await store.append(first)
    await store.append([part(row.stream_id, head_of(row), puts=[execution(row.stream_id, state="B")]) for row in first])
    await store.close()

    left = content(database)

    assert not [mark for mark in marks if mark.encode() in left]
