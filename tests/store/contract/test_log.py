"""Reading the log: one stream, several, all of it."""

from __future__ import annotations

from typing import Any

import pytest

from perdure.store.protocols import Store
from perdure.store.records import StoredEvent, StreamRow
from tests.store import builders
from tests.store.builders import ORG, WORKSPACE, head_of, part, uid

A, B, C = uid(1), uid(2), uid(3)


@pytest.fixture
async def filled(store: Store) -> Store:
    """Three streams, their events interleaved: A has 5, B has 3, C has 1."""
    first = [part(B, events=2), part(A, events=3)]
    await store.append(first)
    await store.append([part(A, head_of(first[1]), events=2), part(C), part(B, head_of(first[0]))])
    return store


def places(events: list[StoredEvent]) -> list[tuple[int, int]]:
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


async def test_the_sizes_of_some_payloads(filled: Store) -> None:
    """They are told in bytes, without what has no payload and what does not exist."""
    stored = {row.seq: row.payload for _, row in await filled.events_at(A, range(1, 20))}
    sized = {seq: len(text.encode()) for seq, text in stored.items() if text is not None}
    assert sized
    assert await filled.payload_sizes(A, [*stored, 5, 99, 0, -1]) == sized
    assert await filled.payload_sizes(A, []) == {}


async def test_the_last_events_of_streams_without_payloads(filled: Store) -> None:
    """Their types and data, of those that exist."""
    heads = await filled.heads_of([A, B, builders.uid(99)])
    assert set(heads) == {A, B}
    for stream_id, head in heads.items():
        (last,) = await filled.last_events(stream_id, 1)
        assert (head.type, head.data) == (last.row.type, last.row.data)
    assert await filled.heads_of([]) == {}


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


async def test_a_page_of_a_stream(filled: Store) -> None:
    """Beyond a seq in either direction, as many as asked for, of some types only if any is named."""
    assert places(await filled.event_page(A)) == [(3, 1), (4, 2), (5, 3), (6, 4), (7, 5)]
    assert places(await filled.event_page(A, after=2, limit=2)) == [(5, 3), (6, 4)]
    assert places(await filled.event_page(A, newest_first=True, limit=2)) == [(7, 5), (6, 4)]
    assert places(await filled.event_page(A, after=4, newest_first=True, limit=9)) == [(5, 3), (4, 2), (3, 1)]
    assert places(await filled.event_page(A, after=1, newest_first=True)) == []
    assert places(await filled.event_page(A, after=0, newest_first=True)) == []
    assert await filled.event_page(A, after=5) == []
    assert await filled.event_page(uid(9)) == []
    last = part(A, (await filled.streams_of([A]))[A].head)._replace(events=(builders.event(6, type="Ended"),))
    await filled.append([last])
    assert places(await filled.event_page(A, types=["Ended", "Begun"])) == [(10, 6)]
    assert places(await filled.event_page(A, types=["Ended"], after=6)) == []
    assert places(await filled.event_page(A, types=["Ended"], newest_first=True)) == [(10, 6)]


async def test_a_page_of_an_organization_s_log(store: Store) -> None:
    """Only its own streams', or those of one of its workspaces; what a page says it has told is never told less of."""
    other, elsewhere = uid(1, space=0xE), uid(1, space=0xF)
    parts = [
        part(A, events=2),
        part(B, events=2)._replace(organization_id=other),
        part(C, events=2)._replace(workspace_id=elsewhere),
        part(uid(4))._replace(workspace_id=None),
        part(uid(5)),
    ]
    await store.append(parts)

    async def told(**query: Any) -> tuple[list[int], int, bool]:
        found = await store.log_page(**{"organization_id": ORG, **query})
        return [each.position for each in found.events], found.position, found.is_end

    assert await told() == ([1, 2, 5, 6, 7, 8], 8, True)
    assert await told(limit=3) == ([1, 2, 5], 5, False)
    assert await told(after=2, limit=2) == ([5, 6], 6, False)
    assert await told(after=8) == ([], 8, True)
    assert await told(organization_id=other) == ([3, 4], 8, True)
    assert await told(organization_id=other, after=4) == ([], 8, True)
    assert await told(workspace_id=WORKSPACE) == ([1, 2, 8], 8, True)
    assert await told(workspace_id=elsewhere, limit=1) == ([5], 5, False)
    assert await told(workspace_id=elsewhere, after=5) == ([6], 8, True)


async def test_a_page_of_the_log_looks_at_so_much(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is others' is passed over in steps: no page costs more, and a walk leaves nothing out."""
    for module in ("perdure.store.sql.log", "perdure.store.memory.log"):
        monkeypatch.setattr(f"{module}.LOG_PAGE_MAX", 4)
    other = uid(1, space=0xE)
    await store.append([part(A), part(B, events=9)._replace(organization_id=other), part(C)])
    pages, after, is_end = [], 0, False
    while not is_end:
        found = await store.log_page(ORG, after=after)
        pages.append([each.position for each in found.events])
        after, is_end = found.position, found.is_end
    assert (pages, after) == ([[1], [], [11]], 11)


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


async def test_hashes_are_read_by_position(filled: Store) -> None:
    """Those above a position up to another, in the order of the log."""
    every = [row.hash async for _, row in filled.log()]
    assert await filled.hashes(0, 9) == every
    assert await filled.hashes(2, 5) == every[2:5]
    assert await filled.hashes(7, 100) == every[7:]
    assert await filled.hashes(5, 5) == []


async def test_the_last_event_of_a_type_is_found(filled: Store) -> None:
    """Above a position; null if there is none."""
    (last,) = [event async for event in filled.log(after=8)]
    assert await filled.last_of_type(last.row.type) == last
    assert await filled.last_of_type(last.row.type, after=9) is None
    assert await filled.last_of_type("Another") is None
