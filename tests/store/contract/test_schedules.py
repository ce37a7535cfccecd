"""Schedules: what is due, what is not settled, and what a workflow has."""

from __future__ import annotations

from perdure.store.protocols import Store
from perdure.store.records import NEW_STREAM, Head, Row, ScheduleRow
from tests.store.builders import NOW, OTHER_WORKFLOW, WORKFLOW, execution, head_of, part, schedule, uid, workflow

FIRST, SECOND, THIRD, FOURTH = (uid(number, space=0xE) for number in range(1, 5))


async def put(store: Store, *rows: Row, gone: tuple[ScheduleRow, ...] = (), head: Head = NEW_STREAM) -> Head:
    """Rows of a workflow's stream, and those that go."""
    given = part(WORKFLOW, head, kind="workflow", puts=[workflow(WORKFLOW), *rows], deletes=gone)
    assert not (await store.append([given])).refused
    return head_of(given)


async def test_what_is_due_comes_in_its_order(store: Store) -> None:
    """By instant, then id; in pages, and of active ones only."""
    await put(
        store,
        schedule(THIRD, due_at=NOW),
        schedule(FIRST, due_at=NOW + 1),
        schedule(SECOND, due_at=NOW),
        schedule(FOURTH, due_at=None, status="paused"),
    )
    due = [(NOW, SECOND), (NOW, THIRD), (NOW + 1, FIRST)]
    assert await store.schedules_due(NOW + 1) == due
    assert await store.schedules_due(NOW) == due[:2]
    assert await store.schedules_due(NOW + 1, limit=1) == due[:1]
    assert await store.schedules_due(NOW + 1, after=due[0]) == due[1:]
    assert await store.schedules_due(NOW + 1, after=(NOW, b"")) == due
    assert await store.next_schedule_due() == NOW
    assert await store.next_schedule_due(after=NOW) == NOW + 1
    assert await store.next_schedule_due(after=NOW + 1) is None


async def test_a_row_is_replaced_and_taken_out(store: Store) -> None:
    """What is due moves with it; what it was made with stays."""
    head = await put(store, schedule(FIRST), schedule(SECOND))
    moved = schedule(FIRST, due_at=NOW + 5, next_at=NOW + 5, last_run_id=uid(9), decisions="3", modified_by="key:2")
    head = await put(store, moved._replace(created_by="key:9"), head=head)
    assert await store.schedule(FIRST) == moved
    assert await store.schedules_due(NOW) == [(NOW, SECOND)]
    await put(store, gone=(schedule(SECOND),), head=head)
    assert await store.schedule(SECOND) is None
    assert await store.schedules_by_id([FIRST, SECOND]) == {FIRST: moved}
    assert await store.schedules_due(NOW + 9) == [(NOW + 5, FIRST)]


async def test_what_is_not_settled_is_found(store: Store) -> None:
    """A run that is starting, or a slot that waits: page by page."""
    waiting, starting = schedule(FIRST, buffered_at=NOW), schedule(THIRD, starting=2, status="removed", due_at=None)
    await put(store, waiting, schedule(SECOND), starting)
    assert await store.unsettled_schedules() == [waiting, starting]
    assert await store.unsettled_schedules(limit=1) == [waiting]
    assert await store.unsettled_schedules(after=FIRST) == [starting]


async def test_schedules_of_workflows(store: Store) -> None:
    """By workflow and id; none of one that has none."""
    rows = [schedule(SECOND), schedule(FIRST), schedule(THIRD, workflow_id=OTHER_WORKFLOW)]
    await put(store, *rows)
    assert await store.schedules_of([OTHER_WORKFLOW, WORKFLOW]) == [rows[1], rows[0], rows[2]]
    assert await store.schedules_of([OTHER_WORKFLOW]) == [rows[2]]
    assert await store.schedules_of([uid(7)]) == []


async def test_an_audit_sees_them_and_a_rebuild_makes_them_anew(store: Store) -> None:
    """They are rows of the workflow's stream, and stray without one; what a rebuild does not make is gone."""
    await put(store, schedule(FIRST), schedule(SECOND, workflow_id=OTHER_WORKFLOW))
    seen = (await store.seen("workflow", [WORKFLOW]))[WORKFLOW]
    assert schedule(FIRST) in seen.rows
    assert [(each.table, each.stream_id) for each in await store.strays()] == [("schedules", OTHER_WORKFLOW)]

    async def rows():
        yield execution(uid(1))
        yield schedule(THIRD)

    await store.rebuild(rows())
    assert await store.schedules_of([WORKFLOW, OTHER_WORKFLOW]) == [schedule(THIRD)]
