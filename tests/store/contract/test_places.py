"""Places in limits, and the lines of those who want one."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from perdure.store.protocols import Store
from perdure.store.records import InLine, Projected, QueuedRow, QueueRow, RefusedAppend, SlotRow
from tests.store.builders import NOW, ORG, WORKFLOW, digest, head_of, idempotency, part, uid

A, B, C = uid(1), uid(2), uid(3)
KEY, OTHER, SHARED = digest("key"), digest("other"), digest("shared")


def slot(place: int, stream_id: bytes, key: bytes = KEY) -> SlotRow:
    return SlotRow(key, place, ORG, stream_id, NOW)


def queued(execution_id: bytes, key: bytes = KEY, seq: int = 1, also: bytes | None = SHARED) -> QueueRow:
    return QueueRow(execution_id, ORG, WORKFLOW, "key", key, also, seq)


async def test_a_place_is_claimed_once(store: Store) -> None:
    """The first has it, in one batch or in another; who loses is left out whole, with all else it claims."""
    first, second = part(A, claims=[slot(1, A)]), part(B, claims=[idempotency("k", B), slot(1, B)])
    appended = await store.append([first, second, part(C, claims=[slot(2, C)])])

    assert appended.refused == {B: RefusedAppend("claimed", slot(1, B))}
    assert await store.places_taken(KEY) == [1, 2]
    assert await store.events(B) == []
    late = await store.append([part(B, claims=[slot(2, B, SHARED), slot(2, B)])])
    assert late.refused == {B: RefusedAppend("claimed", slot(2, B))}
    assert await store.places_taken(SHARED) == []


async def test_a_place_is_given_back_in_the_append_that_says_so(store: Store) -> None:
    """With the events, or not at all."""
    first = part(A, claims=[slot(1, A), slot(7, A, SHARED)])
    await store.append([first])
    stale = part(A, deletes=[slot(1, A)])
    assert (await store.append([stale])).refused == {A: RefusedAppend("stale")}
    assert await store.places_taken(KEY) == [1]

    await store.append([part(A, head_of(first), deletes=[slot(1, A), slot(7, A, SHARED)])])
    assert (await store.places_taken(KEY), await store.places_taken(SHARED)) == ([], [])
    assert (await store.append([part(B, claims=[slot(1, B)])])).refused == {}


async def test_nobody_gives_anothers_place_back(store: Store) -> None:
    """A place that is somebody else's by now stays theirs."""
    await store.append([part(A, claims=[slot(1, A)]), part(B, deletes=[slot(1, B)])])
    assert await store.places_taken(KEY) == [1]


async def test_a_place_that_is_claimed_and_given_back_at_once_is_free(store: Store) -> None:
    """A run may be admitted and end in one batch."""
    await store.append([part(A, events=2, claims=[slot(1, A)], deletes=[slot(1, A)])])
    assert await store.places_taken(KEY) == []


async def test_a_line_is_in_the_order_of_the_log(store: Store) -> None:
    """Of the events since which they stand in it, whatever the ids and the order of the rows."""
    third, first, second = (part(each, puts=[queued(each)]) for each in (A, C, B))
    await store.append([first])
    await store.append([second, third])

    assert await store.first_in_line(KEY) == QueuedRow(1, queued(C))
    assert await store.first_in_line(KEY, after=1) == QueuedRow(2, queued(B))
    assert await store.first_in_line(KEY, after=3) is None
    assert await store.first_in_line(OTHER) is None
    assert [await store.in_line(each) for each in (C, B, A)] == [
        InLine(queued(each), n) for n, each in enumerate((C, B, A))
    ]
    assert await store.in_line(uid(9)) is None


async def test_who_queues_again_goes_to_the_end(store: Store) -> None:
    """The event since which it stands there is a later one; it stands in one line at a time."""
    first = part(A, puts=[queued(A)])
    await store.append([first, part(B, puts=[queued(B, also=None)])])
    await store.append([part(A, head_of(first), events=2, puts=[queued(A, seq=2)])])

    assert await store.first_in_line(KEY) == QueuedRow(2, queued(B, also=None))
    assert await store.in_line(A) == InLine(queued(A, seq=2), 1)


async def test_who_leaves_a_line_is_gone(store: Store) -> None:
    """With the event that says so; the others move up."""
    first = part(A, puts=[queued(A)])
    await store.append([first, part(B, puts=[queued(B)])])
    await store.append([part(A, head_of(first), deletes=[queued(A)])])

    assert await store.first_in_line(KEY) == QueuedRow(2, queued(B))
    assert await store.in_line(B) == InLine(queued(B), 0)


async def test_the_lines_are_listed_page_by_page(store: Store) -> None:
    """Each once, by its key; a line in which nobody stands is none."""
    keys = sorted(digest(number) for number in range(5))
    await store.append([part(uid(n), puts=[queued(uid(n), keys[n % 5])]) for n in range(12)])

    assert await store.lines() == keys
    assert await store.lines(limit=2) == keys[:2]
    assert await store.lines(after=keys[1]) == keys[2:]
    assert await store.lines(after=keys[4]) == []


@pytest.mark.parametrize("is_left", [True, False])
async def test_a_rebuild_makes_the_lines_and_leaves_the_places(store: Store, is_left: bool) -> None:
    """The order is that of the log again; places are no projection."""
    parts = [part(A, events=2, puts=[queued(A, seq=1)]), part(B, puts=[queued(B)], claims=[slot(3, B)])]
    await store.append(parts)

    async def rows() -> AsyncIterator[Projected]:
        for row in [queued(B), queued(A, seq=2)] if is_left else []:
            yield row

    await store.rebuild(rows())
    assert await store.first_in_line(KEY) == (QueuedRow(2, queued(A, seq=2)) if is_left else None)
    assert await store.places_taken(KEY) == [3]
