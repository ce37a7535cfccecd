"""Files: where a database may be, what it leaves behind, who may read it."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from perdure.store.errors import StoreError, StoreUnavailable
from perdure.store.sqlite import open_sqlite
from tests.store.builders import execution, part, uid
from tests.store.sqlite.conftest import files, modes


async def test_a_clean_stop_leaves_one_file(database: Path) -> None:
    """While it is open there are its log and its lock; afterwards all is in the one file."""
    store = await open_sqlite(database)
    await store.append([part(uid(number), events=9, puts=[execution(uid(number))]) for number in range(500)])
    await store.execution(uid(1))
    assert files(database) == {"perdure.db", "perdure.db-wal", "perdure.db-shm", "perdure.db.lock"}

    await store.close()

    assert files(database) == {"perdure.db"}
    again = await open_sqlite(database)
    assert await again.position() == 4500
    await again.close()


async def test_positions_go_on_after_a_restart(database: Path) -> None:
    """The counter is read back from the log."""
    store = await open_sqlite(database)
    await store.append([part(uid(1), events=3)])
    await store.close()

    store = await open_sqlite(database)

    assert (await store.append([part(uid(2))]))[:2] == (4, {})
    await store.close()


async def test_positions_of_removed_events_are_not_used_again(database: Path) -> None:
    """Retention takes events away; the leaves that it leaves behind keep their positions taken."""
    store = await open_sqlite(database)
    await store.append([part(uid(1), events=3)])
    await store._write(
        lambda writer: writer._driver.executescript(
            "INSERT INTO leaves SELECT position, organization_id, hash FROM events; DELETE FROM events"
        )
    )
    assert await store.position() == 3
    await store.close()

    store = await open_sqlite(database)

    assert (await store.append([part(uid(2))]))[:2] == (4, {})
    await store.close()


async def test_a_new_database_is_for_its_owner_only(database: Path) -> None:
    """The file and those beside it can be read and written by nobody else."""
    store = await open_sqlite(database)
    await store.append([part(uid(1))])

    assert modes(database) == {0o600}
    await store.close()


@pytest.mark.parametrize("name", ["sqlite:///{}", "{}", "sqlite+aiosqlite:///{}"])
async def test_a_database_is_named_by_path_or_url(tmp_path: Path, name: str) -> None:
    """Characters that mean something in a URI mean themselves in a path."""
    path = tmp_path / "a b#c%20d&e.db"
    store = await open_sqlite(name.format(str(path).replace("%", "%25") if "://" in name else path))
    await store.append([part(uid(1))])
    assert await store.position() == 1
    await store.close()

    assert files(path) == {path.name}


async def test_a_relative_path_is_taken_from_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """sqlite:///NAME is a file in the working directory, and stays the same if that changes later."""
    monkeypatch.chdir(tmp_path)
    store = await open_sqlite("sqlite:///perdure.db")
    monkeypatch.chdir("/")
    await store.append([part(uid(1))])
    assert await store.position() == 1
    await store.close()

    assert files(tmp_path / "perdure.db") == {"perdure.db"}


@pytest.mark.parametrize(
    "name", [":memory:", "sqlite://", "sqlite:///:memory:", "", "file:x.db", "sqlite:///file:x?mode=memory"]
)
async def test_memory_is_not_a_file(name: str) -> None:
    """A store in memory is another one, and the message says which."""
    with pytest.raises(StoreError, match=r"store\.memory\.MemoryStore|sqlite:///PATH"):
        await open_sqlite(name)


@pytest.mark.parametrize("name", ["postgresql://host/db", "sqlite:///a.db?mode=ro", "sqlite://host/a.db"])
async def test_another_kind_of_url_is_refused(name: str) -> None:
    """The message says how a file is named."""
    with pytest.raises(StoreError, match="sqlite:///PATH"):
        await open_sqlite(name)


@pytest.mark.parametrize("read_only", [False, True])
async def test_a_place_that_cannot_be_opened_is_named(tmp_path: Path, read_only: bool) -> None:
    """A folder, or a file in a folder that is not there: StoreUnavailable, with the path."""
    for path in (tmp_path, tmp_path / "nowhere" / "perdure.db"):
        with pytest.raises(StoreUnavailable, match=str(path)):
            await open_sqlite(path, read_only=read_only)

    assert files(tmp_path / "any") == set()


async def test_a_cancelled_opening_leaves_nothing_open(database: Path) -> None:
    """Whoever is cancelled while it opens a database does not keep it locked."""
    opening = asyncio.ensure_future(open_sqlite(database))
    await asyncio.sleep(0)
    opening.cancel()
    with pytest.raises(asyncio.CancelledError):
        await opening

    store = await open_sqlite(database)
    await store.close()
    assert files(database) == {"perdure.db"}


async def test_cancelled_reads_leave_no_connection_behind(database: Path) -> None:
    """Reads that are cancelled at any point give their connections back: later ones get an answer."""
    store = await open_sqlite(database)
    await store.append([part(uid(number)) for number in range(100)])
    for turns in range(40):
        reads = [asyncio.ensure_future(read) for read in (store.stream(uid(1)), store.streams(limit=50))]
        for _ in range(turns):
            await asyncio.sleep(0)
        for read in reads:
            read.cancel()
        await asyncio.gather(*reads, return_exceptions=True)

    answers = await asyncio.gather(*(store.stream(uid(number)) for number in range(100)))
    assert all(answers)
    assert len(await store.streams()) == 100
    await store.close()
    assert files(database) == {"perdure.db"}


async def test_close_waits_for_what_was_handed_over(database: Path) -> None:
    """Appends and reads that were called before close are answered; close is answered after them."""
    store = await open_sqlite(database)
    appends = [asyncio.ensure_future(store.append([part(uid(number), events=50)])) for number in range(5)]
    read = asyncio.ensure_future(store.streams())
    await asyncio.sleep(0)

    await store.close()

    assert [(await append).position for append in appends] == [50, 100, 150, 200, 250]
    await read
    assert files(database) == {"perdure.db"}
