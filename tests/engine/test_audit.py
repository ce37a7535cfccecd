"""Tampering shows: whatever is changed, removed, added or reordered in a store, the audit finds it."""

import asyncio
import gc
import itertools
import random
import shutil
import sqlite3
from collections import Counter

import pytest

from perdure.engine import Engine
from perdure.engine.audit.store_audit import EVENTS_AT_ONCE, compare_projections, verify
from perdure.engine.core import ids
from perdure.engine.core.events import Event, Recorded
from perdure.engine.log.verification import Break, verify_stream
from perdure.engine.testing import ManualClock
from perdure.store.chain import event_hash, payload_digest
from perdure.store.errors import StoreError
from perdure.store.memory import MemoryStore
from perdure.store.records import EventRow, StoredEvent, TimerRow
from perdure.store.sqlite import open_sqlite
from tests.chained import chained

APPROVAL = {
    "StartAt": "Ask",
    "States": {
        "Ask": {"Type": "Task", "Resource": "wait_for_resume", "Next": "Nap"},
        "Nap": {"Type": "Wait", "Seconds": 60, "Next": "Ask again"},
        "Ask again": {"Type": "Task", "Resource": "wait_for_resume", "Next": "Done"},
        "Done": {"Type": "Succeed"},
    },
}
LONG = {
    "StartAt": "0",
    "States": {
        **{str(n): {"Type": "Pass", "Next": str(n + 1)} for n in range(2 * EVENTS_AT_ONCE)},
        str(2 * EVENTS_AT_ONCE): {"Type": "Fail", "Error": "Enough", "Cause": "this is the end"},
    },
}


async def fill(database):
    """Run executions into every phase: asked, asleep, asked again, completed, failed, terminated, refused."""
    clock = ManualClock()
    async with Engine.open(database, clock=clock) as engine:
        workflow = await engine.create_workflow("approval", APPROVAL, description="asks twice")
        other = await engine.create_workflow("long", LONG)
        for number in range(6):
            await engine.trigger(workflow.id, {"invoice": number}, process_id=f"INV-{number}")
        for number in range(1, 6):
            await engine.resume(f"INV-{number}", {"source": "SAP", "n": number})
        for number in (3, 4):
            await engine.terminate(f"INV-{number}", "not needed")
        failed = await engine.trigger(other.id)
        await engine.result(failed.id, timeout=60)
        clock.push(60_000)
        for number in (1, 2):
            await engine.resume(f"INV-{number}", {"source": "SAP"}, state="Ask again")
        await engine.trigger(workflow.id, {"invoice": "asleep"}, process_id="INV-6")
        await engine.resume("INV-6", {"source": "TEAMS"})


@pytest.fixture
async def store():
    made = MemoryStore()
    await fill(made)
    made._closed = False  # the engine has closed it, and it forgets nothing
    return made


def reload(store, log):
    """Put these events into a memory store instead of its own; an index by stream goes with them."""
    store._log = sorted(log, key=lambda item: item.position)
    store._events = {}
    for item in sorted(log, key=lambda item: (item.row.stream_id, item.row.seq)):
        store._events.setdefault(item.row.stream_id, []).append(item)


async def broken(store, log=None):
    """Give the breaks of a store that was filled with this log."""
    if log is not None:
        reload(store, log)
    return (await verify(store)).breaks


# --- what is sound -------------------------------------------------------------------------------------------


async def test_a_store_as_it_was_written_is_sound(store):
    """Nothing is found in it, everything was looked at, and the fold of every stream gives its rows."""
    report = await verify(store)
    assert report == (len(store._streams), len(store._log), [])
    assert Counter(row.kind for row in store._streams.values()) == {
        "execution": 8,
        "workflow": 2,
        "organization": 1,
    }
    statuses = Counter(row.status for row in store._executions.rows.values())
    assert statuses == {"waiting": 2, "running": 1, "completed": 2, "terminated": 2, "failed": 1}
    assert await compare_projections(store) == []


async def test_an_organization_is_verified_alone(store):
    """Streams of another organization are neither counted nor judged."""
    (organization,) = await store.organizations()
    assert await verify(store, organization_id=organization.organization_id) == await verify(store)
    assert await verify(store, organization_id=bytes(16)) == (0, 0, [])


# --- one event -----------------------------------------------------------------------------------------------


def changes_of(row, other_stream):
    """Give, for each column, values that it might be changed to."""
    return {
        "stream_id": [other_stream, bytes(16), row.stream_id[:-1]],
        "seq": [row.seq + 1, row.seq - 1, 10**6, str(row.seq), None],
        "organization_id": [bytes(16), row.organization_id[:-1], None],
        "type": ["StatePassed" if row.type != "StatePassed" else "TimerSet", row.type + " ", b"x"],
        "version": [row.version + 1, None],
        "recorded_at": [row.recorded_at + 1, row.recorded_at - 1, float(row.recorded_at), 2**80],
        "actor": [row.actor + "x", "", None],
        "caused_by": [None if row.caused_by else 1, 99],
        "data": [row.data.replace("{", "{ ", 1), "{}", row.data.encode(), None],
        "payload": [None, "{}", (row.payload or "") + " ", b"{}"],
        "payload_salt": [None if row.payload_salt else bytes(16), b"x" * 16],
        "payload_digest": [None if row.payload_digest else bytes(32), b"x" * 32],
        "hash": [bytes(32), row.hash[:-1], None],
    }


@pytest.mark.parametrize("column", EventRow._fields)
async def test_a_changed_column_is_found(store, column):
    """Any other value in any column of any event is a break, in its stream and not after it."""
    log, other = list(store._log), next(iter(store._streams))
    for index, (position, row) in enumerate(log):
        if row.type == "StatePassed" and row.seq > 4:  # many, and alike
            continue
        for value in changes_of(row, other)[column]:
            if value == getattr(row, column) and type(value) is type(getattr(row, column)):
                continue
            forged = row._replace(**{column: value})
            if column == "seq" and not isinstance(value, int):
                forged = row._replace(seq=10**6)  # a list in memory is sorted by it
            found = await broken(store, [*log[:index], StoredEvent(position, forged), *log[index + 1 :]])
            of_stream = [item for item in found if item.stream_id == row.stream_id]
            assert of_stream, (row.type, column, value)
            assert of_stream[0].seq <= row.seq


async def test_a_changed_position_is_found(store):
    """Free or taken, earlier or later: the log is then not numbered 1, 2, 3 … any more."""
    log = list(store._log)
    for index, (position, row) in enumerate(log[:60]):
        for value in (0, position - 1, position + 1, len(log) + 5):
            if value != position:
                assert await broken(store, [*log[:index], StoredEvent(value, row), *log[index + 1 :]])


async def test_every_flipped_bit_is_found(store):
    """A thousand bits, anywhere in the bytes of any event."""
    log, chance = list(store._log), random.Random(1)
    for _ in range(1000):
        index = chance.randrange(len(log))
        position, row = log[index]
        column = chance.choice([name for name in row._fields if getattr(row, name) is not None])
        if column in {"stream_id", "seq"}:
            continue
        forged = row._replace(**{column: flipped(getattr(row, column), chance)})
        assert await broken(store, [*log[:index], StoredEvent(position, forged), *log[index + 1 :]]), column


def flipped(value, chance):
    """Turn one bit of a value as it is stored."""
    if isinstance(value, int):
        return value ^ 1 << chance.randrange(63)
    raw = bytearray(value.encode() if isinstance(value, str) else value)
    raw[chance.randrange(len(raw))] ^= 1 << chance.randrange(8)
    return raw.decode("utf-8", "surrogateescape") if isinstance(value, str) else bytes(raw)


# --- several events ------------------------------------------------------------------------------------------


async def test_a_removed_event_is_found(store):
    """First, last or in between; the tail of a stream is told by its head, and by the gap in the log."""
    log = list(store._log)
    for index, (_, row) in enumerate(log):
        found = await broken(store, log[:index] + log[index + 1 :])
        assert any(item.stream_id == row.stream_id and item.seq <= row.seq for item in found)


async def test_swapped_events_are_found(store):
    """Two events of a stream that change places, by seq or by position, are found; so are rows that swap data."""
    log = list(store._log)
    for one, other in itertools.pairwise(log):
        if one.row.stream_id != other.row.stream_id:
            continue
        rest = [item for item in log if item not in {one, other}]
        by_seq = [
            StoredEvent(one.position, other.row._replace(seq=one.row.seq)),
            StoredEvent(other.position, one.row._replace(seq=other.row.seq)),
        ]
        by_position = [StoredEvent(one.position, other.row), StoredEvent(other.position, one.row)]
        assert await broken(store, rest + by_seq)
        assert await broken(store, rest + by_position)


async def test_an_added_event_is_found(store):
    """A row behind the end of a stream is found even if it is chained correctly; so is one of no stream."""
    log = list(store._log)
    for stream in store._streams.values():
        last = next(row for _, row in reversed(log) if row.stream_id == stream.stream_id)
        forged = last._replace(seq=last.seq + 1)
        forged = forged._replace(hash=event_hash(forged, last.hash))
        found = await broken(store, [*log, StoredEvent(len(log) + 1, forged)])
        assert [item[:2] for item in found] == [(stream.stream_id, last.seq + 1)]
    stray = log[-1].row._replace(stream_id=bytes(16))
    reason = "its stream is missing in streams"
    assert await broken(store, [*log, StoredEvent(len(log) + 1, stray)]) == [Break(bytes(16), stray.seq, reason)]


async def test_a_stream_that_is_removed_whole_leaves_a_gap(store):
    """Events and head gone, the positions that are missing still tell."""
    log = list(store._log)
    gone = log[len(log) // 2].row.stream_id
    del store._streams[gone]
    store._stream_ids.remove(gone)
    found = await broken(store, [item for item in log if item.row.stream_id != gone])
    assert any("missing before it" in item.reason for item in found)
    left_over = (gone, "the snapshot: there is no such execution or workflow")
    found = [item for item in found if (item.stream_id, item.reason) != left_over]
    assert all("missing before it" in item.reason or "not those that were pinned" in item.reason for item in found)


async def test_damage_far_inside_a_long_stream_is_found(store):
    """Streams are read in parts: an event behind the first part is judged like any other."""
    log = list(store._log)
    index = next(n for n, item in enumerate(log) if item.row.seq == EVENTS_AT_ONCE + 5)
    position, row = log[index]
    forged = StoredEvent(position, row._replace(actor="somebody:else"))
    (found,) = await broken(store, [*log[:index], forged, *log[index + 1 :]])
    assert (found.stream_id, found.seq) == (row.stream_id, row.seq)


# --- payloads that were erased -------------------------------------------------------------------------------


class Erased(Event, frozen=True):
    seqs: tuple[int, ...]


def erased_stream(named=(2, 3), *, erase=(2, 3)):
    """A stream of six events, whose last names some seqs; the payloads of `erase` are gone."""
    events = [Recorded(seq, 1, "key:a", None, Erased(()), {"n": seq}) for seq in range(1, 6)]
    events.append(Recorded(6, 1, "key:a", 5, Erased(named), {"reason": "asked for"}))
    rows = chained(bytes(16), b"s" * 16, events, random.Random(1).randbytes)
    return [
        StoredEvent(row.seq, row._replace(payload=None, payload_salt=None) if row.seq in erase else row) for row in rows
    ]


def judged(stored):
    last = stored[-1].row
    return verify_stream(b"s" * 16, stored, (last.seq, last.hash))


def test_an_erased_payload_is_no_break():
    """What a later Erased event names may be missing."""
    assert judged(erased_stream()) is None


@pytest.mark.parametrize(
    ("named", "erase", "seq"), [((3,), (2, 3), 2), ((2, 4), (2, 3, 4), 3), ((6,), (6,), 6), ((), (5,), 5)]
)
def test_a_payload_that_is_just_gone_is_a_break(named, erase, seq):
    """What no later event names may not be missing; an Erased cannot name itself."""
    found = judged(erased_stream(named, erase=erase))
    assert found is not None
    assert (found.seq, "no later event" in found.reason) == (seq, True)


@pytest.mark.parametrize("column", ["payload", "payload_salt"])
def test_half_of_an_erasure_is_a_break(column):
    """Payload and salt go together."""
    stored = erased_stream(erase=())
    stored[1] = StoredEvent(2, stored[1].row._replace(**{column: None}))
    found = judged(stored)
    assert found is not None
    assert found.seq == 2


def test_the_first_fault_is_told():
    """A payload that is missing before the chain breaks comes first, unless an Erased behind the break names it."""
    for erase, named, seq in (((2,), (), 2), ((2,), (2,), 4)):
        stored = erased_stream(named, erase=erase)
        stored[3] = StoredEvent(4, stored[3].row._replace(actor="key:b"))
        found = judged(stored)
        assert found is not None
        assert found.seq == seq


def test_damage_to_an_erased_event_is_a_break_and_not_an_error():
    """An Erased event that does not read as one names nothing."""
    for data in ("[]", "", '{"seqs": 1}', '{"seqs": ["a"]}', None, b"{}"):
        stored = erased_stream()
        stored[5] = StoredEvent(6, stored[5].row._replace(data=data))
        found = judged(stored)
        assert found is not None
        assert found.seq == 2


# --- streams and definitions ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("kind", "execution"),
        ("kind", "workflow"),
        ("kind", "organization"),
        ("organization_id", b"o" * 16),
        ("workspace_id", b"w" * 16),
        ("workspace_id", None),
        ("seq", 1),
        ("seq", 99),
        ("hash", bytes(32)),
    ],
)
async def test_a_changed_head_is_found(store, column, value):
    """A row of streams says of a stream what its events say, or it is a break."""
    for stream_id, row in list(store._streams.items()):
        if getattr(row, column) == value:
            continue
        store._streams[stream_id] = row._replace(**{column: value})
        found, *more = await broken(store)
        assert found.stream_id == stream_id
        assert all(item.stream_id == stream_id and item.reason.startswith("the snapshot: ") for item in more)
        (organization,) = await store.organizations()
        assert (await verify(store, organization_id=organization.organization_id)).breaks
        store._streams[stream_id] = row


async def test_a_missing_head_is_found(store):
    """Events of a stream that is not in streams, and a stream without events, are breaks."""
    stream_id, row = next(iter(store._streams.items()))
    del store._streams[stream_id]
    store._stream_ids.remove(stream_id)
    (found,) = await broken(store)
    assert found == (stream_id, 1, "its stream is missing in streams")
    store._streams[b"\0" * 15 + b"\1"] = row._replace(stream_id=b"\0" * 15 + b"\1", seq=0, hash=bytes(32))
    store._stream_ids.insert(0, b"\0" * 15 + b"\1")
    assert "no event" in (await broken(store))[0].reason


async def test_a_definition_must_be_the_one_that_was_run(store):
    """Changed text, with or without a new digest, no row, or a row of which no event tells."""
    rows = store._versions.rows
    for key, row in list(rows.items()):
        text = row.definition.replace("approval", "forgery") + " "
        digest = payload_digest(b"", text.encode())
        for forged in (
            row._replace(definition=text),
            row._replace(definition_digest=digest),
            row._replace(definition=text, definition_digest=digest),
        ):
            rows[key] = forged
            found = await broken(store)
            assert {item.stream_id for item in found} >= {row.workflow_id}
            assert len(found) > 1  # each execution of it, too
        store._versions.delete(row)
        assert "missing" in (await broken(store))[0].reason
        store._versions.put(row)
    await added_version(store, row)


async def added_version(store, row):
    store._versions.put(row._replace(version=2))
    (found,) = await broken(store)
    assert (found.stream_id, found.reason) == (row.workflow_id, "no event tells of version 2")


async def test_who_can_rehash_cannot_change_what_other_tables_say(store):
    """A chain that was forged as a whole still has to agree with streams, and to read as events."""
    log = list(store._log)
    index, (position, row) = next((n, item) for n, item in enumerate(log) if item.row.type == "ExecutionStarted")
    for data in ('{"kind":"execution"}', "[]", "no JSON", '{"kind":"execution","workflow":1}'):
        forged = row._replace(data=data)
        forged = forged._replace(hash=event_hash(forged, bytes(32)))
        stream = store._streams[row.stream_id]
        store._streams[row.stream_id] = stream._replace(seq=1, hash=forged.hash)
        rest = [item for item in log[index + 1 :] if item.row.stream_id != row.stream_id]
        found = await broken(store, [*log[:index], StoredEvent(position, forged), *rest])
        assert (row.stream_id, 1) in [item[:2] for item in found]


# --- beside a server, and what cannot be read ----------------------------------------------------------------


class Meanwhile:
    """A store beside which something happens, once, while its events are read."""

    def __init__(self, store, happens):
        self._store = store
        self._happens = happens

    def __getattr__(self, name):
        return getattr(self._store, name)

    async def events(self, stream_id, *, after=0, limit=None):
        found = await self._store.events(stream_id, after=after, limit=limit)
        happens, self._happens = self._happens, None
        if happens is not None:
            await happens()
        return found


async def test_it_verifies_beside_a_writer():
    """Events that come while a stream is read, or between its head and its events, are no breaks."""
    store = MemoryStore()
    async with Engine.open(store, clock=ManualClock()) as engine:
        workflow = await engine.create_workflow("approval", APPROVAL)
        await engine.trigger(workflow.id, process_id="INV-1")
        (execution,) = await store.streams(kind="execution")

        async def resume():
            await engine.resume("INV-1", {"source": "SAP"})

        class Late(Meanwhile):
            async def streams(self, **kwargs):
                return [execution] if not kwargs.get("after") else []

        assert (await verify(Late(store, resume))).breaks == []
        assert (await verify(Late(store, None))).breaks == []


async def test_what_cannot_be_read_is_a_break(store):
    """A page of the file that is damaged stops neither the audit nor what comes after it."""
    bad = list(store._streams)[3]

    class Damaged(Meanwhile):
        async def events(self, stream_id, *, after=0, limit=None):
            if stream_id == bad:
                raise StoreError("database disk image is malformed")
            return await self._store.events(stream_id, after=after, limit=limit)

        async def log(self, *, after=0):
            raise StoreError("database disk image is malformed")
            yield

    report = await verify(Damaged(store, None))
    assert report.breaks == [
        Break(bad, 1, "it cannot be read: database disk image is malformed"),
        Break(bytes(16), 0, "the log cannot be read beyond position 0: database disk image is malformed"),
    ]
    assert report.streams == len(store._streams)


# --- in a SQLite file ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    path = tmp_path_factory.mktemp("audit") / "runs.db"
    asyncio.run(fill(f"sqlite:///{path}"))
    return path


@pytest.fixture
def database(written, tmp_path):
    """Give a copy of the file, and a connection that may do anything to it."""
    path = shutil.copy(written, tmp_path / "runs.db")
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA synchronous = OFF")
    yield path, connection
    connection.close()


async def test_a_file_as_it_was_written_is_sound(database):
    """What SQLite gives back is what was hashed, and its projections are the fold."""
    store = await open_sqlite(database[0], read_only=True)
    report = await verify(store)
    assert (report.streams, report.breaks) == (11, [])
    assert report.events > 2 * EVENTS_AT_ONCE
    assert await compare_projections(store) == []
    await store.close()


COLUMNS = ("position", *EventRow._fields)
FORGERIES = {
    "position": ["position + 100000", "-position"],
    "stream_id": ["zeroblob(16)", "CAST(stream_id AS TEXT)", "substr(stream_id, 2)"],
    "seq": ["seq + 100000", "-seq", "'x' || seq"],
    "organization_id": ["zeroblob(16)", "substr(organization_id, 2)"],
    "type": ["type || 'x'", "CAST(type AS BLOB)", "'StatePassed '"],
    "version": ["9", "'one'"],
    "recorded_at": ["recorded_at + 1", "recorded_at + 0.5", "'now'"],
    "actor": ["'key:forged'", "CAST(actor AS BLOB)", "actor || char(0)"],
    "caused_by": ["ifnull(caused_by, 0) + 1", "CASE WHEN caused_by IS NULL THEN 1 END", "'x'"],
    "data": ["data || ' '", "CAST(data AS BLOB)", "CAST(X'7BFF7D' AS TEXT)", "''"],
    "payload": ["ifnull(payload, '') || ' '", "CAST(ifnull(payload, '{}') AS BLOB)", "CAST(X'FF' AS TEXT)"],
    "payload_salt": ["zeroblob(16)", "zeroblob(1)", "'salt'"],
    "payload_digest": ["zeroblob(32)", "'digest'"],
    "hash": ["zeroblob(32)", "CAST(hash AS TEXT)", "substr(hash, 2)"],
}


@pytest.mark.parametrize("column", COLUMNS)
async def test_a_changed_row_of_the_file_is_found(database, column):
    """Plain SQL on any column of an event, to a value of any type, is found in its stream."""
    path, connection = database
    (last,) = connection.execute("SELECT max(position) FROM events").fetchone()
    for position in (1, 7, last // 2, last):
        original = connection.execute("SELECT * FROM events WHERE position = ?", (position,)).fetchone()
        _, stream_id, seq, *_ = original
        for forgery in FORGERIES[column]:
            connection.execute(f"UPDATE events SET {column} = {forgery} WHERE position = ?", (position,))  # noqa: S608
            found = [item for item in await breaks_of(path) if item.stream_id == stream_id]
            assert found, (position, forgery)
            # Where a position is too high it is the next event that does not ascend.
            assert found[0].seq <= seq + (column == "position")
            restore(connection, original)
    assert await breaks_of(path) == []


async def breaks_of(path):
    store = await open_sqlite(path, read_only=True)
    found = (await verify(store)).breaks
    await store.close()
    if any("cannot be read" in item.reason for item in found):
        gc.collect()  # a read that failed keeps its statement, and so the file, as long as its traceback lives
    return found


def restore(connection, original):
    """Put a row back as it was, wherever it has gone."""
    position, stream_id, seq, *_ = original
    connection.execute(
        "DELETE FROM events WHERE position = ? OR (stream_id = ? AND seq = ?)", (position, stream_id, seq)
    )
    connection.execute(f"INSERT INTO events VALUES ({', '.join('?' * len(original))})", original)  # noqa: S608


@pytest.mark.parametrize(
    "forgery",
    [
        "DELETE FROM events WHERE seq = 1 AND type = 'ExecutionStarted'",
        "DELETE FROM events WHERE type = 'WaitResumed'",
        "DELETE FROM events WHERE position = (SELECT max(position) FROM events)",
        "DELETE FROM streams WHERE kind = 'workflow'",
        "UPDATE streams SET kind = 'workflow' WHERE kind = 'execution'",
        "UPDATE streams SET workspace_id = zeroblob(16) WHERE kind = 'execution'",
        "UPDATE streams SET hash = zeroblob(32) WHERE kind = 'organization'",
        "UPDATE workflow_versions SET definition = definition || ' '",
        "DELETE FROM workflow_versions",
        "UPDATE execution_counts SET total = total + 1",
        "DELETE FROM execution_counts",
        "INSERT INTO execution_counts SELECT workspace_id, workflow_id, status, 1, 1 FROM execution_counts",
        (
            "INSERT INTO workflow_versions SELECT workflow_id, 2, organization_id, workspace_id, definition,"
            " definition_digest, mock_payload, created_at, created_by, published_at, resume, settings, format, source,"
            " outline, summary FROM workflow_versions"
        ),
        "UPDATE events SET recorded_at = recorded_at + 1, hash = randomblob(32)",
        (
            "INSERT INTO events SELECT position + 100000, stream_id, seq + 100000, organization_id, type, version,"
            " recorded_at, actor, caused_by, data, payload, payload_salt, payload_digest, hash FROM events"
        ),
    ],
)
async def test_a_forged_file_is_found(database, forgery):
    """Rows removed, added and changed with plain SQL, in any table that the log rests on."""
    path, connection = database
    connection.execute(forgery)
    assert await breaks_of(path)


# --- projections ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("table", ["_executions", "_waits"])
async def test_a_projection_that_differs_is_found(store, table):
    """Each column that is not the fold's is named, and so is a row that is missing."""
    rows = getattr(store, table).rows
    for key, row in list(rows.items()):
        for column in row._fields[1:]:
            if column == "execution_id":
                continue
            rows[key] = row._replace(**{column: "other"})
            assert any(f" {column} is 'other'" in told for told in await compare_projections(store))
        rows[key] = row
    assert await compare_projections(store) == []
    row = next(iter(rows.values()))
    getattr(store, table).delete(row)
    (told,) = await compare_projections(store)
    assert told.startswith(f"execution {ids.text(row.execution_id)}")
    assert told.endswith(": no row")


async def test_a_count_that_differs_is_found(store):
    """Told with the workflow, the status, and how many there are; of one organization alone it is not looked at."""
    key = next(iter(store._counts))
    store._counts[key] += 1
    (told,) = await compare_projections(store)
    assert told.startswith(f"execution_counts: of workflow {ids.text(key[1])} it counts")
    assert told.endswith(f"{key[2]}, there are {store._counts[key] - 1}")
    assert [item.reason for item in (await verify(store)).breaks] == [told]


async def test_timers_that_differ_are_found(store):
    """One that is missing, one that should be gone, and one of no execution."""
    ((key, row),) = store._timers.rows.items()
    store._timers.delete(row)
    (told,) = await compare_projections(store)
    assert "is missing" in told
    late = TimerRow(row.due_at + 1, row.execution_id, row.timer)
    store._timers.put(late)
    assert len(await compare_projections(store)) == 2
    store._timers.delete(late)
    store._timers.put(row)
    assert await compare_projections(store) == []
    store._timers.put(TimerRow(1, bytes(16), 1))
    assert await compare_projections(store) == ["timers: there are rows that no execution has set"]
    assert key == tuple(row)


async def test_an_execution_without_a_stream_is_found(store):
    """A row that nothing in the log accounts for."""
    row = next(iter(store._executions.rows.values()))
    store._executions.put(row._replace(execution_id=bytes(16)))
    assert await compare_projections(store) == [f"execution {ids.text(bytes(16))}: a row without a stream"]


async def test_an_execution_that_cannot_be_folded_is_told(store):
    """Of a damaged stream there is nothing to compare; the others are compared all the same."""
    stream_id = next(row.stream_id for row in store._streams.values() if row.kind == "execution")
    store._events[stream_id] = store._events[stream_id][1:]
    (told,) = await compare_projections(store)
    assert told.startswith(f"execution {ids.text(stream_id)}: it cannot be folded: OutOfOrder")
