"""Reading the log: one stream, several, all of it."""

from __future__ import annotations

import pytest

from store.protocols import Store
from store.records import StreamRow
from tests.store.builders import head_of, part, uid

A, B, C = uid(1), uid(2), uid(3)


@pytest.fixture
async def filled(store: Store) -> Store:
    """Three streams, their events interleaved: A has 5, B has 3, C has 1."""
    first = [part(B, events=2), part(A, events=3)]
    await store.append(first)
    await store.append([part(A, head_of(first[1]), events=2), part(C), part(B, head_of(first[0]))])
    return store


def places(events: list) -> list[tuple[int, int]]:
    return [(event.position, event.row.seq) for event in events]


async def test_events_of_a_stream_are_read_from_a_seq_on(filled: Store) -> None:
    """Events above a seq, ascending, as many as asked for."""
    assert places(await filled.events(A)) == [(3, 1), (4, 2), (5, 3), (6, 4), (7, 5)]
    assert places(await filled.events(A, after=3)) == [(6, 4), (7, 5)]
    assert places(await filled.events(A, after=1, limit=2)) == [(4, 2), (5, 3)]
    assert await filled.events(A, after=5) == []
    assert await filled.events(A, limit=0) == []
    assert await filled.events(uid(9)) == []


async def test_the_last_events_of_a_stream(filled: Store) -> None:
    """The last events come in ascending order; fewer if there are fewer."""
    assert places(await filled.last_events(A, 2)) == [(6, 4), (7, 5)]
    assert places(await filled.last_events(C, 10)) == [(8, 1)]
    assert await filled.last_events(A, 0) == []
    assert await filled.last_events(uid(9), 3) == []


async def test_the_last_events_of_several_streams(filled: Store) -> None:
    """The last events of each stream asked for, ascending; all of one that has fewer."""
    found = await filled.last_events_of([C, A, uid(9), B], 2)

    assert {stream_id: places(events) for stream_id, events in found.items()} == {
        C: [(8, 1)],
        A: [(6, 4), (7, 5)],
        uid(9): [],
        B: [(2, 2), (9, 3)],
    }
    assert await filled.last_events_of([A], 0) == {A: []}
    assert await filled.last_events_of([], 2) == {}


async def test_events_at_some_seqs(filled: Store) -> None:
    """The events asked for come once each and ascending; what does not exist is left out."""
    assert places(await filled.events_at(A, [5, 1, 5, 9, 0, -1])) == [(3, 1), (7, 5)]
    assert await filled.events_at(A, []) == []


async def test_very_many_events_at_once(store: Store) -> None:
    """A decision may need more payloads than a statement takes parameters."""
    await store.append([part(A, events=11_000)])

    events = await store.events_at(A, range(1, 11_001))

    assert [event.row.seq for event in events] == list(range(1, 11_001))


async def test_events_of_several_streams(filled: Store) -> None:
    """All events of each stream asked for; one that does not exist has none."""
    found = await filled.events_of([C, A, uid(9)])

    assert {stream_id: places(events) for stream_id, events in found.items()} == {
        C: [(8, 1)],
        A: [(3, 1), (4, 2), (5, 3), (6, 4), (7, 5)],
        uid(9): [],
    }
    assert await filled.events_of([]) == {}


async def test_the_whole_log_is_read_in_order_of_position(filled: Store) -> None:
    """The log is all events of all streams, above a position."""
    log = [event async for event in filled.log()]

    assert [event.position for event in log] == list(range(1, 10))
    assert [event.row.stream_id for event in log] == [B, B, A, A, A, A, A, C, B]
    assert [event.position async for event in filled.log(after=7)] == [8, 9]
    assert [event async for event in filled.log(after=9)] == []
    assert await filled.position() == 9


async def test_a_long_log_is_read_to_its_end(store: Store) -> None:
    """The log is read over many pages without a gap, and what is appended meanwhile comes too."""
    first = part(A, events=2500)
    await store.append([first])
    positions = []
    async for event in store.log():
        positions.append(event.position)
        if event.position == 2500:
            await store.append([part(A, head_of(first), events=2)])

    assert positions == list(range(1, 2503))


async def test_streams_are_listed_by_id(store: Store) -> None:
    """Streams ascend by id above a given one; a kind can be asked for."""
    parts = [
        part(uid(number), kind=kind)
        for number, kind in enumerate(["workflow", "execution", "organization", "execution", "workflow"])
    ]
    await store.append(list(reversed(parts)))

    def ids(streams: list[StreamRow]) -> list[int]:
        return [int.from_bytes(stream.stream_id, "big") for stream in streams]

    assert ids(await store.streams()) == [0, 1, 2, 3, 4]
    assert ids(await store.streams(after=uid(1), limit=2)) == [2, 3]
    assert ids(await store.streams(kind="workflow")) == [0, 4]
    assert ids(await store.streams(kind="workflow", after=uid(0))) == [4]
    assert ids(await store.streams(kind="execution", limit=1)) == [1]
    assert ids(await store.streams(kind="organization")) == [2]
