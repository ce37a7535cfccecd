"""A rebuild replaces the projections, all of them or none."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from perdure.store.errors import StoreError
from perdure.store.protocols import Store
from perdure.store.records import Projected, Row, TimerRow
from tests.store.builders import ORG, bulk_job, execution, head_of, node, part, process_id, snapshot, uid, wait

A, B, C = uid(1), uid(2), uid(3)
TIMER = TimerRow(5, A, 2)


@pytest.fixture
async def filled(store: Store) -> Store:
    """A run with a wait, a timer, a snapshot and a process id."""
    puts: list[Row] = [execution(A), wait(uid(11), A), TIMER, snapshot(A)]
    await store.append([part(A, claims=[process_id("INV-7", A)], puts=puts)])
    return store


async def rows(*given: Projected) -> AsyncIterator[Projected]:
    for row in given:
        yield row


async def projections(store: Store) -> list[object]:
    """All that a rebuild is about."""
    runs = await store.execution_page(organization_id=ORG)
    waits = [await store.waits_of(run) for run in (A, B)]
    return [runs, waits, await store.due_timers(10), await store.snapshot(A)]


async def test_a_rebuild_replaces_everything(filled: Store) -> None:
    """Old rows are gone, new ones are there and are found by every index; the log and its claims are untouched."""
    ended = wait(uid(12), B, outcome="resumed", ended_seq=3, ended_at=4)
    await filled.rebuild(rows(execution(B, status="completed"), ended, wait(uid(13), B), TimerRow(7, B, 1)))

    assert [row.execution_id for row in await filled.execution_page(organization_id=ORG)] == [B]
    assert [row.wait_id for row in await filled.waits_of(B)] == [uid(12), uid(13)]
    assert [row.wait_id for row in await filled.open_waits(wait(A, A).workspace_id)] == [uid(13)]
    assert await filled.due_timers(10) == [TimerRow(7, B, 1)]
    assert (await filled.execution(A), await filled.waits_of(A), await filled.snapshot(A)) == (None, [], None)
    assert await filled.live_executions() == []
    assert await filled.process_ids_of([A]) == {A: "INV-7"}
    assert len(await filled.events(A)) == 1


async def test_bulk_jobs_are_replaced_too(store: Store) -> None:
    """Their rows are made from the log as all others, and executions are counted anew."""
    await store.append([part(C, kind="bulk", puts=[bulk_job(C)])])
    await store.rebuild(rows(bulk_job(B, ended_at=3), execution(A), execution(B)))
    assert (await store.bulk_job(C), await store.bulk_jobs_under_way()) == (None, [])
    assert [row.bulk_id for row in await store.bulk_jobs(execution(A).workspace_id)] == [B]
    assert [row.total for row in await store.execution_counts(execution(A).workspace_id)] == [2]


async def test_a_rebuild_of_nothing(filled: Store) -> None:
    """Without rows there are none."""
    await filled.rebuild(rows())
    assert await projections(filled) == [[], [[], []], [], None]


async def test_very_many_rows(store: Store) -> None:
    """Rows are taken in parts, and none is lost between two."""
    await store.rebuild(rows(*(execution(uid(number)) for number in range(2500))))
    page = await store.execution_page(organization_id=ORG, limit=5000)
    assert len(page) == 2500


async def test_what_fails_changes_nothing(filled: Store) -> None:
    """Whatever the rows raise, also after many of them, the old rows stay, and the store goes on."""
    before = await projections(filled)

    async def failing() -> AsyncIterator[Projected]:
        for number in range(1500):
            yield execution(uid(number))
        raise LookupError("no")

    with pytest.raises(LookupError):
        await filled.rebuild(failing())
    assert await projections(filled) == before
    assert not (await filled.append([part(C)])).refused


async def test_readers_see_the_old_rows_until_the_end(filled: Store) -> None:
    """The rows may be read from this very store, which shows the old ones all the while."""
    before = await projections(filled)

    async def reading() -> AsyncIterator[Projected]:
        for number in range(1500):
            yield execution(uid(number))
        assert await projections(filled) == before
        assert len(await filled.events(A)) == 1

    await filled.rebuild(reading())
    assert len(await filled.execution_page(organization_id=ORG, limit=2000)) == 1500


async def test_nothing_else_is_written_meanwhile(filled: Store) -> None:
    """An append, another rebuild or a node's start is refused, and does the rebuild no harm."""

    async def interrupted() -> AsyncIterator[Projected]:
        yield execution(B)
        first = (await filled.events(A))[0].row
        for other in (
            filled.append([part(C)]),
            filled.append([part(A, head_of(part(A))._replace(hash=first.hash))]),
            filled.rebuild(rows()),
            filled.node_started(node(1)),
        ):
            with pytest.raises(StoreError):
                await other

    await filled.rebuild(interrupted())
    assert [row.execution_id for row in await filled.execution_page(organization_id=ORG)] == [B]
    assert await filled.position() == 1
