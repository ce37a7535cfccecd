"""Waits and timers."""

from __future__ import annotations

from perdure.store.protocols import Store
from perdure.store.records import Row, TimerRow
from tests.store.builders import (
    NOW,
    OTHER_WORKFLOW,
    OTHER_WORKSPACE,
    WORKFLOW,
    WORKSPACE,
    head_of,
    part,
    uid,
    wait,
)

A, B = uid(1), uid(2)


async def put(store: Store, number: int, *rows: Row) -> None:
    await store.append([part(uid(number, space=0xF), puts=rows)])


async def test_a_wait_is_opened_and_ended(store: Store) -> None:
    """A wait is open until it has an outcome, and is found by its id for ever."""
    opened = wait(uid(10), A, due_at=NOW + 1)
    await put(store, 1, opened)
    assert await store.wait(uid(10)) == opened
    assert await store.open_waits(WORKSPACE) == [opened]

    ended = opened._replace(outcome="resumed", ended_seq=3, ended_at=NOW)
    await put(store, 2, ended)

    assert await store.wait(uid(10)) == ended
    assert await store.open_waits(WORKSPACE) == []
    assert await store.waits_of(A) == [ended]
    assert await store.wait(uid(11)) is None


async def test_the_waits_of_an_execution_are_in_the_order_of_opening(store: Store) -> None:
    """By the seq that opened them, then by id; ended ones too, and none of another execution."""
    late, early = wait(uid(10), A, opened_seq=9), wait(uid(11), A, opened_seq=2, outcome="expired")
    twin = wait(uid(12), A, opened_seq=2)
    await put(store, 1, late, twin, early, wait(uid(13), B))

    assert await store.waits_of(A) == [early, twin, late]
    assert await store.waits_of(uid(9)) == []


async def test_open_waits_are_paged_and_limited(store: Store) -> None:
    """Open waits of a workspace ascend by id; those of an execution or a workflow can be asked for."""
    rows = [
        *(wait(uid(1), A), wait(uid(2), B), wait(uid(3), A, outcome="cancelled"), wait(uid(4), A)),
        *(wait(uid(5), B, workflow_id=OTHER_WORKFLOW), wait(uid(6), A, workspace_id=OTHER_WORKSPACE)),
    ]
    await put(store, 1, *rows)

    async def ids(**wanted: object) -> list[int]:
        found = await store.open_waits(WORKSPACE, **wanted)
        return [int.from_bytes(row.wait_id, "big") for row in found]

    assert await ids() == [1, 2, 4, 5]
    assert await ids(limit=2) == [1, 2]
    assert await ids(after=uid(2)) == [4, 5]
    assert await ids(execution_id=A) == [1, 4]
    assert await ids(workflow_id=WORKFLOW, after=uid(1)) == [2, 4]
    assert await ids(execution_id=B, workflow_id=OTHER_WORKFLOW) == [5]
    assert await ids(execution_id=A, limit=1, after=uid(1)) == [4]
    assert await store.open_waits(uid(9)) == []


async def test_timers_fall_due_in_order(store: Store) -> None:
    """Timers at or before an instant, by instant, execution and number."""
    rows = [TimerRow(NOW, B, 1), TimerRow(NOW, A, 10), TimerRow(NOW, A, 9), TimerRow(NOW - 1, B, 2)]
    later = TimerRow(NOW + 1, A, 1)
    await put(store, 1, later, *rows)

    assert await store.due_timers(NOW) == [rows[3], rows[2], rows[1], rows[0]]
    assert await store.due_timers(NOW, limit=2) == [rows[3], rows[2]]
    assert await store.due_timers(NOW - 2) == []
    assert await store.next_due() == NOW - 1
    assert await store.timers_of(A) == [rows[2], rows[1], later]


async def test_a_timer_is_deleted_by_all_its_columns(store: Store) -> None:
    """Only the very timer goes; without timers nothing is due."""
    kept, fired = TimerRow(NOW, A, 1), TimerRow(NOW, A, 2)
    first = part(A, puts=[kept, fired])
    await store.append([first])

    second = part(A, head_of(first), deletes=[fired, TimerRow(NOW + 1, A, 1)])
    await store.append([second])
    assert await store.timers_of(A) == [kept]

    await store.append([part(A, head_of(second), deletes=[kept])])
    assert await store.next_due() is None
    assert await store.due_timers(NOW) == []
