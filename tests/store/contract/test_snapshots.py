"""Snapshots: one a stream, written with its events, thrown away whenever it pleases."""

from __future__ import annotations

import pytest

from perdure.store.protocols import Store
from perdure.store.records import Head, RefusedAppend
from tests.store.builders import digest, head_of, part, snapshot, uid

A, B, C = uid(1), uid(2), uid(3)


async def test_the_newest_snapshot_takes_the_place_of_the_one_before(store: Store) -> None:
    """Also if both come in one batch; another stream's stays."""
    first = part(A, puts=[snapshot(A)])
    await store.append([first, part(B, puts=[snapshot(B)])])
    middle, newest = snapshot(A, seq=2), snapshot(A, seq=3, hash=digest("3"), data='{"larger":true}', format=7)

    await store.append([part(A, head_of(first), events=2, puts=[middle, newest])])

    assert await store.snapshot(A) == newest
    assert await store.snapshot(B) == snapshot(B)
    assert await store.snapshot(C) is None


async def test_a_snapshot_is_written_with_its_events_or_not_at_all(store: Store) -> None:
    """What is refused of a stream takes the snapshot with it."""
    first = part(A, puts=[snapshot(A)])
    await store.append([first])
    stale = head_of(first)._replace(hash=digest("another"))

    appended = await store.append([part(A, stale, puts=[snapshot(A, seq=2)]), part(B, puts=[snapshot(B)])])

    assert appended.refused == {A: RefusedAppend("stale")}
    assert await store.snapshot(A) == snapshot(A)
    assert await store.snapshot(B) == snapshot(B)


async def test_a_large_snapshot_comes_back_as_it_was(store: Store) -> None:
    """The state of a wide Map is megabytes of text."""
    large = snapshot(A, data='{"§":"' + "ü\u2028" * 1_000_000 + '"}')

    await store.append([part(A, puts=[large])])

    assert await store.snapshot(A) == large


async def test_snapshots_are_listed_by_stream(store: Store) -> None:
    """They ascend by id above a given one, as many as asked for."""
    assert await store.snapshots() == []
    await store.append([part(stream, puts=[snapshot(stream)]) for stream in (C, A, B)])

    assert await store.snapshots() == [snapshot(A), snapshot(B), snapshot(C)]
    assert await store.snapshots(after=A, limit=1) == [snapshot(B)]
    assert await store.snapshots(after=C) == []


@pytest.mark.parametrize("count", [0, 1, 11_000])
async def test_streams_are_read_together(store: Store, count: int) -> None:
    """Those that exist, by id, however many are asked for."""
    await store.append([part(uid(number)) for number in range(count)])

    found = await store.streams_of([uid(number) for number in range(count + 3)])

    assert sorted(found) == [uid(number) for number in range(count)]
    assert all((row.stream_id, row.head) == (key, Head(1, row.hash, 0)) for key, row in found.items())
