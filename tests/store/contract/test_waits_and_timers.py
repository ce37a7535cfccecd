"""Waits and timers."""

from __future__ import annotations

from typing import Any

from perdure.store.protocols import Store
from perdure.store.records import Ending, Row, TimerRow, WaitRow
from tests.store.builders import (
    NOW,
    OTHER_WORKFLOW,
    OTHER_WORKSPACE,
    WORKFLOW,
    WORKSPACE,
    execution,
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

    async def ids(**wanted: Any) -> list[int]:
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
    assert await store.due_timers(NOW, limit=2, after=rows[2]) == [rows[1], rows[0]]
    assert await store.due_timers(NOW, after=rows[3]._replace(timer=1)) == [rows[3], rows[2], rows[1], rows[0]]
    assert await store.due_timers(NOW, after=TimerRow(NOW, b"", 0)) == [rows[2], rows[1], rows[0]]
    assert await store.due_timers(NOW, after=rows[0]) == []
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


MANY = 2500


async def wide(store: Store, count: int) -> None:
    """A run with so many waits, opened by its events from 2 on, and as many timers; another run beside it."""
    waits = [wait(uid(n, space=7), A, opened_seq=n, due_at=NOW) for n in range(2, count + 2)]
    timers = [TimerRow(NOW, A, n) for n in range(2, count + 2)]
    beside: list[Row] = [wait(uid(1, space=8), B), TimerRow(NOW, B, 2)]
    answered = wait(uid(1, space=9), A, opened_seq=2, outcome="resumed", ended_seq=3, ended_at=NOW)
    run = TimerRow(NOW + 5, A, 1)
    await store.append([part(A, puts=[*waits, *timers, answered, run, execution(A)]), part(B, puts=beside)])


async def test_much_ends_at_once(store: Store) -> None:
    """What was opened up to the event is over as soon as it is appended, for whoever reads and however it is done."""
    await wide(store, MANY)
    start = await store.stream(A)
    assert start is not None
    later: list[Row] = [wait(uid(1, space=0xA), A, opened_seq=MANY + 9), TimerRow(NOW, A, MANY + 9)]
    ending = part(A, start.head, puts=later)._replace(endings=[Ending(MANY + 5, NOW + 7)])
    await store.append([ending])

    over: dict[str, Any] = {"outcome": "cancelled", "ended_seq": MANY + 5, "ended_at": NOW + 7}
    for _ in range(2):  # at once, and when the store has come to rest
        waits = await store.waits_of(A)
        assert [row.opened_seq for row in waits if row.outcome is None] == [MANY + 9]
        assert sum(row._replace(**over) == row for row in waits) == MANY
        assert await store.wait(uid(1, space=9)) == waits[1]
        assert waits[1].outcome == "resumed"
        first = await store.wait(uid(2, space=7))
        assert first == wait(uid(2, space=7), A, opened_seq=2, due_at=NOW)._replace(**over)
        assert [row.execution_id for row in await store.open_waits(WORKSPACE)] == [B, A]
        assert [row.execution_id for row in await store.open_waits(WORKSPACE, execution_id=A)] == [A]
        assert await store.timers_of(A) == [TimerRow(NOW, A, MANY + 9), TimerRow(NOW + 5, A, 1)]
        assert await store.due_timers(NOW) == [TimerRow(NOW, A, MANY + 9), TimerRow(NOW, B, 2)]
        assert await store.next_due() == NOW
        seen = (await store.seen("execution", [A]))[A]
        assert {row for row in seen.rows if isinstance(row, WaitRow)} == {*waits}
        assert len([row for row in seen.rows if isinstance(row, TimerRow)]) == 2
        await at_rest(store)


async def test_what_ended_with_nothing_left_is_not_live(store: Store) -> None:
    """The counts of what waits do not count what is over."""
    await wide(store, 5)
    start = await store.stream(A)
    assert start is not None
    assert await store.live_counts() == {"running": 1}
    ended = execution(A, status="terminated", ended_at=NOW)
    await store.append([part(A, start.head, puts=[ended])._replace(endings=[Ending(9, NOW)])])
    assert not (await store.live_counts()).get("terminated")


async def test_two_endings_of_one_run(store: Store) -> None:
    """Each wait ends by the first event after it that ends what is open."""
    await wide(store, 5)
    start = await store.stream(A)
    assert start is not None
    first = part(A, start.head, puts=[wait(uid(1, space=0xA), A, opened_seq=12)])
    await store.append([first._replace(endings=[Ending(9, NOW), Ending(15, NOW + 1)])])
    for _ in range(2):
        ended = {row.opened_seq: row.ended_seq for row in await store.waits_of(A) if row.outcome == "cancelled"}
        assert ended == {**dict.fromkeys(range(2, 7), 9), 12: 15}
        await at_rest(store)


async def test_a_refused_part_ends_nothing(store: Store) -> None:
    """What is left out leaves everything as it was."""
    await wide(store, 5)
    await store.append([part(A)._replace(endings=[Ending(9, NOW)])])
    assert len(await store.open_waits(WORKSPACE, execution_id=A)) == 5


async def at_rest(store: Store) -> None:
    """Let the store do what it does by and by."""
    sweeping = getattr(store, "_sweeping", None)
    if sweeping is not None:
        await sweeping
