"""The writer in a process of its own: what it says, and what happens when one of the two processes is gone."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
import threading
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from typing import Any, cast

import msgspec
import pytest

from perdure.engine import Engine
from perdure.engine.errors import EngineFailed
from perdure.store.errors import CommitUnknown, DatabaseInUse, SchemaError, StoreError, StoreFull, StoreUnavailable
from perdure.store.protocols import PLACES, WriterPlace
from perdure.store.records import Appended, CountChange, Ending, RefusedAppend, TimerRow
from perdure.store.sqlite import SqliteStore, open_sqlite
from perdure.store.sqlite.lock import above_stdio
from perdure.store.sqlite.writer import process
from perdure.store.sqlite.writer.messages import (
    WriterFailure,
    answer,
    batch_request,
    read_answer,
    read_request,
    work_request,
)
from perdure.store.sqlite.writer.process import WriterProcess
from perdure.store.sqlite.writer.writer import Writer
from tests.acceptance.conftest import children_of
from tests.store.builders import (
    NOW,
    api_key,
    bulk_job,
    event,
    execution,
    head_of,
    idempotency,
    node,
    organization,
    part,
    process_id,
    snapshot,
    uid,
    version,
    wait,
    workflow,
    workspace,
)
from tests.store.sqlite.conftest import exists, files, let_go, victim
from tests.store.sqlite.faults import hold_commits

pytestmark = pytest.mark.real_process


@pytest.fixture
async def store(database: Path) -> AsyncIterator[SqliteStore]:
    store = await open_sqlite(database, writer="process")
    yield store
    await store.close()


def writer_of(store: SqliteStore) -> int:
    """The pid of the process that writes."""
    return cast("WriterProcess", store._writer).pid


# --- messages --------------------------------------------------------------------------------------------------------


def test_a_batch_arrives_as_it_was_sent() -> None:
    """Every kind of row with its type, and every value that a column may have."""
    a, b = uid(1), uid(2)
    first = part(
        a,
        events=2,
        claims=[process_id("P", a), idempotency("key", a)],
        puts=[
            *(organization(a, "o"), workspace(a, "w"), api_key(a), workflow(a), version(a, 1)),
            *(execution(a), wait(a, b, due_at=NOW), TimerRow(NOW, a, 1), snapshot(a), bulk_job(a)),
        ],
        deletes=[TimerRow(NOW, a, 2)],
    )._replace(endings=[Ending(2, NOW)], counts=[CountChange(uid(4), uid(5), "running", 1)])
    bare = part(b, head_of(first), events=0)._replace(workspace_id=None)
    odd = event(1, data='"\U0001f600 \x00"', payload=None, payload_salt=None, caused_by=None, recorded_at=-(2**63))
    batch = [first, bare, part(uid(3))._replace(events=(odd,))]

    arrived = read_request(memoryview(batch_request(batch)))

    assert arrived == [item._replace(events=list(item.events), **as_lists(item)) for item in batch]
    assert isinstance(arrived, list)
    for sent, got in zip(batch, arrived, strict=True):
        for name in ("expected", "events", "claims", "puts", "deletes", "endings", "counts"):
            rows, same = getattr(sent, name), getattr(got, name)
            assert [type(row) for row in rows] == [type(row) for row in same]


def as_lists(item: Any) -> dict[str, Any]:
    return {name: list(getattr(item, name)) for name in ("claims", "puts", "deletes", "endings", "counts")}


@pytest.mark.parametrize(
    "result",
    [
        Appended(7, {}, {uid(1): head_of(part(uid(1)))}),
        Appended(7, {uid(2): RefusedAppend("claimed", process_id("P", uid(2)))}, {uid(1): head_of(part(uid(1)))}),
        Appended(0, {}, {}),
        [node(1)],
        None,
    ],
)
def test_an_answer_arrives_as_it_was_given(result: Any) -> None:
    """Results of every kind."""
    arrived = read_answer(answer(result))

    assert (arrived, type(arrived)) == (result, type(result))


@pytest.mark.parametrize("error", [StoreError, StoreFull, StoreUnavailable, CommitUnknown, SchemaError])
def test_an_error_arrives_as_what_it_was(error: type[StoreError]) -> None:
    """Of the same type, with the same words."""
    arrived = read_answer(answer(WriterFailure(error("why"))))

    assert isinstance(arrived, WriterFailure)
    assert (type(arrived.error), str(arrived.error)) == (error, "why")


def test_what_no_store_takes_is_refused_on_arrival() -> None:
    """A value of another type than its column's."""
    broken = part(uid(1))._replace(events=(event(1, actor=cast("str", None)),))

    with pytest.raises(msgspec.ValidationError):
        read_request(memoryview(batch_request([broken])))


# --- opening and closing ---------------------------------------------------------------------------------------------


async def test_it_writes_in_another_process(store: SqliteStore, database: Path) -> None:
    """Which is gone, with its lock and the database's other files, once the store is closed."""
    pid = writer_of(store)
    assert pid != os.getpid()
    await store.append([part(uid(1), events=3)])
    with pytest.raises(DatabaseInUse, match=f"process {os.getpid()} since"):
        await open_sqlite(database, writer="process")

    await store.close()

    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    assert files(database) == {"perdure.db"}
    again = await open_sqlite(database)
    assert await again.position() == 3
    await again.close()


async def test_a_file_that_is_no_database_is_told_as_such(database: Path) -> None:
    """What the process finds when it opens the file is raised here; and the lock is free again."""
    await asyncio.to_thread(database.write_text, "a letter")
    for _ in range(2):
        with pytest.raises(SchemaError, match="not a SQLite database"):
            await open_sqlite(database, writer="process")

    assert files(database) == {"perdure.db"}


@pytest.mark.parametrize("program", ["/nowhere/python", "/bin/false"], ids=["is not there", "ends at once"])
async def test_a_process_that_does_not_start(database: Path, monkeypatch: pytest.MonkeyPatch, program: str) -> None:
    """The store cannot be opened, says why, and leaves no lock."""
    monkeypatch.setattr(sys, "executable", program)
    with pytest.raises(StoreUnavailable, match="the writer's process"):
        await open_sqlite(database, writer="process")

    assert files(database) <= {"perdure.db"}


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("cancels", [1, 2, 1000])
async def test_an_opening_that_is_cancelled_leaves_nothing(database: Path, place: WriterPlace, cancels: int) -> None:
    """Once, twice, or again at every turn of the loop as anyio does: all that it took is given back."""
    for moment in (0, 0.003, 0.05, 0.3):
        opening = asyncio.ensure_future(open_sqlite(database, writer=place))
        await asyncio.wait([opening], timeout=moment)
        for _ in range(cancels):
            opening.cancel()
            await asyncio.sleep(0)
        (found,) = await asyncio.gather(opening, return_exceptions=True)
        if isinstance(found, SqliteStore):
            await found.close()
        else:
            assert isinstance(found, asyncio.CancelledError)
        assert not files(database) - {"perdure.db"}
        assert children_of(os.getpid()) == []


async def test_a_process_that_is_not_waited_for_is_ended(database: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The loop cancels the opening itself while a thread starts the process: that ends, and the lock is released."""
    started, go_on, has_started = threading.Event(), threading.Event(), threading.Event()

    def slow(path: str) -> Any:
        started.set()
        go_on.wait()
        try:
            return start(path)
        finally:
            has_started.set()

    start = process._start
    monkeypatch.setattr(process, "_start", slow)
    opening = asyncio.ensure_future(WriterProcess.open(str(database)))
    await asyncio.to_thread(started.wait)
    opening.cancel()
    with pytest.raises(asyncio.CancelledError):
        await opening
    go_on.set()
    await asyncio.to_thread(has_started.wait)
    async with asyncio.timeout(10):
        while exists(Path(f"{database}.lock")):  # noqa: ASYNC110 it is removed by the thread, or by a callback after it
            await asyncio.sleep(0.01)

    assert children_of(os.getpid()) == []


async def test_without_descriptors_nothing_is_taken(database: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The store cannot be opened, says why, and leaves no lock."""

    def too_many(*_: Any) -> Any:
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(socket, "socketpair", too_many)
    with pytest.raises(StoreUnavailable, match="Too many open files"):
        await open_sqlite(database, writer="process")

    assert files(database) == {"perdure.db"}


def test_what_a_process_is_given_is_no_standard_stream() -> None:
    """In a program that has closed its own, the lock would get their numbers, and the process would lose it."""
    kept = os.dup(0)
    try:
        os.close(0)
        low = os.open(os.devnull, os.O_RDONLY)
        assert low == 0
        moved = above_stdio(low)
        assert moved > 2
        assert os.get_inheritable(moved) is False
        os.close(moved)
        assert above_stdio(kept) == kept
    finally:
        os.dup2(kept, 0)
        os.close(kept)


# --- at work ---------------------------------------------------------------------------------------------------------


async def test_a_batch_of_any_size_goes_through(store: SqliteStore) -> None:
    """Far more than the system holds of a message, and what comes behind it while it is on its way."""
    text = f'"{"x" * 20_000_000}"'
    large = part(uid(1))._replace(events=(event(1, payload=text),))

    answers = await asyncio.gather(store.append([large]), *(store.append([part(uid(n))]) for n in range(2, 30)))

    assert [found.position for found in answers] == list(range(1, 30))
    assert (await store.events(uid(1)))[0].row.payload == text


# --- one of the two is gone ------------------------------------------------------------------------------------------


async def test_a_writer_that_dies_leaves_its_commits_unknown(store: SqliteStore, database: Path) -> None:
    """Who waits is told so at once, and so is everybody after; a new start reads back what is there."""
    first = part(uid(1))
    await store.append([first])
    held = database.with_name("held")
    await store._write(partial(hold_commits, started=str(held), go_on=str(database.with_name("never"))))
    waiting = [asyncio.ensure_future(store.append([part(uid(n))])) for n in (2, 3)]
    while not exists(held):  # noqa: ASYNC110 another process makes it
        await asyncio.sleep(0.01)
    os.kill(writer_of(store), signal.SIGKILL)

    for write in (*waiting, store.append([part(uid(4))]), store.node_stopped(node(1).node_id, NOW)):
        with pytest.raises(CommitUnknown, match="the writer's process has ended"):
            await write
    await store.close()

    again = await open_sqlite(database)
    assert await again.position() == 1
    assert (await again.append([part(uid(1), head_of(first))]))[:2] == (2, {})
    await again.close()


async def test_the_death_of_an_idle_writer_is_told_at_once(database: Path) -> None:
    """The engine stops although nobody asked for anything; closed, it leaves no process and no lock behind."""
    failed = asyncio.Event()
    engine = await Engine.start(f"sqlite:///{database}", writer="process", on_failure=lambda _failure: failed.set())
    try:
        await engine.create_workflow("w", {"StartAt": "A", "States": {"A": {"Type": "Succeed"}}})
        os.kill(writer_of(cast("SqliteStore", engine.store)), signal.SIGKILL)

        async with asyncio.timeout(10):
            await failed.wait()

        assert isinstance(engine.node.processor.failure, CommitUnknown)
        with pytest.raises(EngineFailed):
            await engine.create_workflow("w", {"StartAt": "A", "States": {"A": {"Type": "Succeed"}}})
    finally:
        await engine.close()
    assert not exists(Path(f"{database}.lock"))
    assert children_of(os.getpid()) == []


async def test_an_engine_that_cannot_say_goodbye_is_closed_all_the_same(
    database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The writer dies after the last look at it: the next start sees an unclean end, and nothing is left open."""
    async with Engine.open(f"sqlite:///{database}", writer="process") as engine:
        store = cast("SqliteStore", engine.store)
        store.watch(lambda _failure: None)
        os.kill(writer_of(store), signal.SIGKILL)
    assert not exists(Path(f"{database}.lock"))
    assert children_of(os.getpid()) == []

    again = await open_sqlite(database)
    assert len(await again.node_started(node(9))) == 1
    await again.close()


async def test_a_dead_holder_that_nobody_has_reaped_counts_as_dead(database: Path) -> None:
    """A supervisor may start the next server before it has asked about the last one."""
    with victim(database, "process") as process:
        (writer,) = children_of(process.pid)
        os.kill(writer, signal.SIGSTOP)
        process.kill()
        await asyncio.to_thread(os.waitid, os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        opening = asyncio.ensure_future(open_sqlite(database))
        await asyncio.wait([opening], timeout=0.5)  # longer than one that lives is waited for
        is_refused = opening.done()
        os.kill(writer, signal.SIGCONT)
        await (await opening).close()
    assert not is_refused


async def test_what_stops_the_engine_does_not_stop_the_writer(store: SqliteStore) -> None:
    """Ctrl-C, or a supervisor that tells all processes to end: it waits for the last commit, and for its own end."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        os.kill(writer_of(store), number)

    assert (await store.append([part(uid(1))]))[:2] == (1, {})
    assert os.getpgid(writer_of(store)) != os.getpgid(0)


async def test_a_writer_left_behind_ends_and_lets_the_next_one_in(database: Path) -> None:
    """The engine's process is killed: the writer ends after its commit, and until then the database is not free."""
    with victim(database, "process") as process:
        assert process.stdout is not None
        for _ in range(5):
            process.stdout.readline()
        (writer,) = children_of(process.pid)
        os.kill(writer, signal.SIGSTOP)
        process.kill()
        process.wait()
    opening = asyncio.ensure_future(open_sqlite(database))
    await asyncio.wait([opening], timeout=0.2)
    assert not opening.done()
    os.kill(writer, signal.SIGCONT)

    store = await opening

    assert await store.position() % 21 == 0
    assert await store.position() >= 5 * 21
    await store.close()
    assert files(database) == {"perdure.db"}


async def test_only_a_dead_holder_s_lock_is_waited_for(store: SqliteStore, database: Path) -> None:
    """A server that lives is not waited for."""
    async with asyncio.timeout(5):
        with pytest.raises(DatabaseInUse):
            await open_sqlite(database)


async def test_a_lock_that_nobody_lets_go_is_not_waited_for_for_ever(
    database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The holder's text names a process that is no more, and yet somebody has the lock."""
    monkeypatch.setattr("perdure.store.sqlite.lock._LAST_COMMIT_S", 0.1)
    with victim(database) as process:
        lock = Path(f"{database}.lock")
        await asyncio.to_thread(lock.write_text, "process 999999999 since then\n")
        with pytest.raises(DatabaseInUse, match="process 999999999 since"):
            await open_sqlite(database)
        process.kill()
    let_go(database)


def test_a_writer_is_found_by_its_name() -> None:
    """What is asked of it is sent by name: its methods must be functions of the module."""
    assert read_request(memoryview(work_request(Writer.end_rebuild))) is Writer.end_rebuild
