"""Pins: positions get into what is chained, so that a run cannot be taken out of the log and the rest numbered anew."""

import asyncio
import hashlib
import itertools
import json
import shutil
import sqlite3

import pytest

from perdure.engine import Engine
from perdure.engine.audit.store_audit import verify
from perdure.engine.runtime.workers import pins
from perdure.engine.testing import ManualClock
from perdure.store.errors import StoreError
from perdure.store.memory import MemoryStore
from perdure.store.sqlite import open_sqlite

STEPS = {
    "StartAt": "A",
    "States": {"A": {"Type": "Pass", "Next": "B"}, "B": {"Type": "Pass", "Next": "C"}, "C": {"Type": "Succeed"}},
}
RUNS = 4
TABLES = {"streams": "stream_id", "executions": "execution_id", "process_ids": "stream_id"}


async def fill(database, close=Engine.close):
    engine = await Engine.start(database, clock=ManualClock())
    workflow = await engine.create_workflow("steps", STEPS)
    for number in range(RUNS):
        await engine.trigger(workflow.id, {"n": number}, process_id=f"P-{number}")
    await close(engine)


def pinned(store):
    """Give the pins of a store: which positions, and where each pin stands."""
    return [(item.position, item.row.data) for item in store._log if item.row.type == "LogPinned"]


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    path = tmp_path_factory.mktemp("pins") / "runs.db"
    asyncio.run(fill(f"sqlite:///{path}"))
    return path


@pytest.fixture
def database(written, tmp_path):
    """Give a copy of the file, and a connection that may do anything to it."""
    path = shutil.copy(written, tmp_path / "runs.db")
    connection = sqlite3.connect(path, isolation_level=None)
    yield path, connection
    connection.close()


async def reasons(path):
    store = await open_sqlite(path, read_only=True)
    try:
        return [found.reason for found in (await verify(store)).breaks]
    finally:
        await store.close()


def renumber(connection):
    """Number the log anew, without a gap."""
    (positions,) = zip(*connection.execute("SELECT position FROM events ORDER BY position"), strict=True)
    for new, old in enumerate(positions, 1):
        connection.execute("UPDATE events SET position = ? WHERE position = ?", (new, old))


# --- what they are for ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [0, RUNS - 1])
async def test_a_run_that_is_removed_whole_is_found(database, number):
    """From every table, with the positions renumbered: the pin finds another event at its place."""
    path, connection = database
    assert await reasons(path) == []
    (run,) = connection.execute("SELECT stream_id FROM process_ids WHERE process_id = ?", [f"P-{number}"]).fetchone()
    for table, column in {**TABLES, "events": "stream_id"}.items():
        connection.execute(f"DELETE FROM {table} WHERE {column} = ?", [run])  # noqa: S608
    renumber(connection)

    (reason,) = await reasons(path)

    assert reason.startswith("another event than was pinned stands at position ")


async def test_two_runs_whose_positions_are_exchanged_are_found(database):
    """Each run keeps its own order, and no position is missing: the digest of what was pinned is another."""
    path, connection = database
    places = "SELECT position FROM events JOIN process_ids USING (stream_id) WHERE process_id = ? ORDER BY seq"
    first, second = ([place for (place,) in connection.execute(places, [name])] for name in ("P-0", "P-1"))
    for place in first + second:
        connection.execute("UPDATE events SET position = ? WHERE position = ?", (-place, place))
    for old, new in zip(first + second, second + first, strict=True):
        connection.execute("UPDATE events SET position = ? WHERE position = ?", (new, -old))

    (reason,) = await reasons(path)

    assert reason.startswith("the events at positions 1 to ")


@pytest.mark.parametrize("change", ["epoch = 'x'", "epoch = 1", "owner = zeroblob(16)"])
async def test_a_head_that_no_append_would_expect_is_found(database, change):
    """Owner and epoch are in no event; with others than these every append to the stream would be refused."""
    path, connection = database
    connection.execute(f"UPDATE streams SET {change} WHERE kind = 'execution'")  # noqa: S608 as above
    found = await reasons(path)
    assert len(found) == RUNS
    assert set(found) == {"streams says that a node owns it, or an epoch that is not 0: one node owns all, at epoch 0"}


async def test_an_event_that_is_cut_off_an_older_run_is_found(database):
    """With the head set back, the row of the run as the fold says, and the positions renumbered."""
    path, connection = database
    runs = connection.execute("SELECT stream_id, seq FROM streams WHERE kind = 'execution' ORDER BY stream_id")
    run, seq = runs.fetchone()
    connection.execute("DELETE FROM events WHERE stream_id = ? AND seq = ?", [run, seq])
    head = connection.execute("SELECT seq, hash FROM events WHERE stream_id = ? ORDER BY seq DESC", [run]).fetchone()
    connection.execute("UPDATE streams SET seq = ?, hash = ? WHERE stream_id = ?", [*head, run])
    connection.execute(
        "UPDATE executions SET seq = ?, status = 'running', state = 'C', ended_at = NULL, output_ref = NULL "
        "WHERE execution_id = ?",
        [head[0], run],
    )
    assert any("is missing before it" in reason for reason in await reasons(path))
    renumber(connection)

    assert any("another event than was pinned" in reason for reason in await reasons(path))


async def test_a_log_that_ends_before_a_pin_is_found(database):
    """A pin of a position that is not there does not hold."""
    path, connection = database
    connection.execute("UPDATE events SET position = position + 1000 WHERE type = 'LogPinned'")
    connection.execute(
        "DELETE FROM events WHERE position < 1000 AND position = (SELECT max(position) - 1001 FROM events)"
    )

    assert any("another event than was pinned" in reason for reason in await reasons(path))


@pytest.mark.parametrize(
    ("statement", "reason"),
    [
        (
            "CREATE TRIGGER t AFTER INSERT ON api_keys BEGIN UPDATE api_keys SET scopes = 'operator'; END",
            "trigger t is none of Perdure's",
        ),
        ("CREATE VIEW v AS SELECT 1", "view v is none of Perdure's"),
        ("CREATE TABLE t (a)", "table t is none of Perdure's"),
        ("DROP VIEW v_events; CREATE VIEW v_events AS SELECT 1", "view v_events is not as Perdure makes it"),
        ("DROP VIEW v_events", "view v_events is missing"),
        ("DROP INDEX executions_live", "index executions_live is missing"),
        (
            "DROP INDEX executions_live; CREATE INDEX executions_live ON executions (execution_id) WHERE 0",
            "index executions_live is not as Perdure makes it",
        ),
    ],
    ids=["trigger", "view", "table", "replaced view", "no view", "no index", "replaced index"],
)
async def test_what_is_defined_by_somebody_else_is_found(database, statement, reason):
    """A trigger, a view, a table, an index: what is there is what a new database has; statistics are SQLite's own."""
    path, connection = database
    connection.executescript(f"{statement}; ANALYZE")

    assert await reasons(path) == [reason]


# --- when they are made --------------------------------------------------------------------------------------


async def test_a_node_pins_when_it_stops():
    """The last event of all others; a node that wrote nothing pins nothing, also in an empty log."""
    store = MemoryStore()
    await (await Engine.start(store, clock=ManualClock())).close()
    assert store._log == []
    store._closed = False
    await fill(store)
    (pin,) = pinned(store)
    last = len(store._log)
    hashes = [row.hash for _, row in store._log[:-1]]
    digest = hashlib.sha256(b"perdure-log-1\n" + b"".join(hashes)).hexdigest()
    assert pin[0] == last
    assert json.loads(pin[1]) == {
        "position": last - 1,
        "sha256": hashes[-1].hex(),
        "after": 0,
        "log_sha256": digest,
    }

    store._closed = False
    await (await Engine.start(store, clock=ManualClock())).close()

    assert len(pinned(store)) == 1
    store._closed = False
    assert (await verify(store)).breaks == []


async def test_a_node_that_follows_one_that_died_pins_what_it_found():
    """What the dead one had written is pinned before anything else is."""
    store = MemoryStore()

    async def die(engine):
        engine.node.tasks.halt()
        engine.node.timers.halt()

    await fill(store, close=die)
    assert pinned(store) == []
    written = len(store._log)
    engine = await Engine.start(store, clock=ManualClock())
    await engine.node.processor.settle()

    assert [position for position, _ in pinned(store)] == [written + 1]
    await engine.close()


async def test_a_node_that_goes_on_pins_now_and_then(monkeypatch):
    """After so many positions, and again after as many."""
    monkeypatch.setattr(pins, "PIN_EVERY", 10)
    store = MemoryStore()
    engine = await Engine.start(store, clock=ManualClock())
    engine.node.pins.due = 10
    workflow = await engine.create_workflow("steps", STEPS)
    for _ in range(12):
        await engine.trigger(workflow.id)
        await engine.node.processor.settle()
        await engine.node.pins.close(5)

    assert len(pinned(store)) >= 4
    assert (await verify(store)).breaks == []
    await engine.close()


async def test_each_pin_goes_on_where_the_last_one_ended(monkeypatch):
    """So no event is covered twice, and none is left out; a log without a pin is covered as far as is affordable."""
    monkeypatch.setattr(pins, "PIN_EVERY", 10)
    monkeypatch.setattr(pins, "HASHES_AT_ONCE", 3)
    monkeypatch.setattr(pins, "COVERED_MAX", 4)
    store = MemoryStore()
    for _ in range(3):
        engine = await Engine.start(store, clock=ManualClock())
        await engine.create_workflow("steps", STEPS)
        await engine.close()
        store._closed = False
    told = [json.loads(data) for _, data in pinned(store)]
    assert len(told) == 3
    for before, pin in itertools.pairwise(told):
        assert pin["after"] == max(before["position"], pin["position"] - 4)
    assert (await verify(store)).breaks == []


async def test_two_pins_that_are_made_at_once_both_hold():
    """A node that stops while its next pin is under way makes both from the same position on."""
    store = MemoryStore()
    engine = await Engine.start(store, clock=ManualClock())
    await engine.create_workflow("steps", STEPS)
    await asyncio.gather(engine.node.pins.pin(), engine.node.pins.pin())
    await engine.node.processor.settle()
    await engine.create_workflow("more steps", STEPS)
    await engine.close()
    store._closed = False

    assert [json.loads(data)["after"] for _, data in pinned(store)][:2] == [0, 0]
    assert len(pinned(store)) == 3
    assert (await verify(store)).breaks == []


async def test_a_pin_that_cannot_be_made_stops_nobody():
    """If the log cannot be read, the node stops all the same; the next pin covers it."""
    store = MemoryStore()

    async def close(engine):
        async def unreadable():
            raise StoreError("the disk does not answer")

        store.position = unreadable  # type: ignore[method-assign]
        await engine.close()

    await fill(store, close=close)

    assert pinned(store) == []
    assert store._closed
