"""A server that is killed in the middle of its work."""

from __future__ import annotations

from pathlib import Path

import pytest

from perdure.store.protocols import PLACES, WriterPlace
from perdure.store.sqlite import SqliteStore, open_sqlite
from tests.store.builders import NOW, node, uid
from tests.store.sqlite.conftest import files, let_go, victim
from tests.store.sqlite.victim import EVENTS, STREAMS, stream_ids

PER_BATCH = STREAMS * EVENTS + 1


async def batches_in(store: SqliteStore) -> int:
    """How many batches are in the log, every one of them whole."""
    position = await store.position()
    count, rest = divmod(position, PER_BATCH)
    assert rest == 0
    log = [(event.position, event.row) async for event in store.log()]
    assert [place for place, _ in log] == list(range(1, position + 1))
    common = await store.stream(uid(1, space=0xFFFF))
    assert (0 if common is None else common.seq) == count
    for batch in range(1, count + 1):
        ids = stream_ids(batch)
        assert {row.stream_id for _, row in log[(batch - 1) * PER_BATCH : batch * PER_BATCH - 1]} == set(ids)
        assert await store.process_ids_of(ids) == {stream_id: stream_id.hex() for stream_id in ids}
        for stream_id in ids:
            stream = await store.stream(stream_id)
            assert stream is not None
            assert (stream.seq, stream.hash) == (EVENTS, (await store.last_events(stream_id, 1))[0].row.hash)
            assert await store.execution(stream_id) is not None
    return count


@pytest.mark.real_process
@pytest.mark.parametrize("writer", PLACES)
@pytest.mark.parametrize("reported", [0, 1, 7, 40])
async def test_what_was_answered_is_there_and_nothing_is_there_in_part(
    database: Path, reported: int, writer: WriterPlace
) -> None:
    """After kill -9: every batch that was reported as written, perhaps one or more after it, none in part."""
    with victim(database, writer) as process:
        assert process.stdout is not None
        for _ in range(reported):
            process.stdout.readline()
        process.kill()
        told = [int(line) for line in process.stdout.read().split()]
        process.wait()
    let_go(database)
    last = max([reported, *told])

    before_recovery = await open_sqlite(database, read_only=True)
    assert await batches_in(before_recovery) >= last
    await before_recovery.close()
    store = await open_sqlite(database)
    count = await batches_in(store)
    assert count in {last, last + 1}
    assert [died.node_id for died in await store.node_started(node(2))] == [node(1).node_id]
    await store.node_stopped(node(2).node_id, NOW)
    await store.close()

    assert files(database) == {"perdure.db"}
