"""The projection of executions and its pages."""

from __future__ import annotations

from typing import Any

import pytest

from perdure.store.protocols import Store
from perdure.store.records import ExecutionRow, StreamAppend
from tests.store.builders import (
    ORG,
    OTHER_ORG,
    OTHER_WORKFLOW,
    OTHER_WORKSPACE,
    WORKFLOW,
    WORKSPACE,
    execution,
    head_of,
    part,
    process_id,
    uid,
    wait,
    workspace,
)


async def add(store: Store, *rows: ExecutionRow) -> list[StreamAppend]:
    parts = [part(row.execution_id, puts=[row]) for row in rows]
    await store.append(parts)
    return parts


async def walk(store: Store, limit: int, **scope: bytes) -> list[bytes]:
    """The ids on all pages, one after the other."""
    found: list[bytes] = []
    before = None
    while page := await store.execution_page(**scope, before=before, limit=limit):
        found += [row.execution_id for row in page]
        before = page[-1].execution_id
    return found


async def test_what_an_execution_is_never_changes(store: Store) -> None:
    """Whose it is, of which workflow, and how it began are written once; a later put changes the rest."""
    first = execution(uid(1))
    (added,) = await add(store, first)
    later = first._replace(status="completed", state="B", seq=2, modified_at=9, modified_by="key:1", ended_at=9)
    other = later._replace(
        organization_id=uid(9),
        workspace_id=uid(9),
        workflow_id=uid(9),
        parent_id=uid(9),
        awaited_by=uid(9),
        origin_id=uid(9),
        workflow_version=7,
        trigger_type="OTHER",
        created_at=1,
        input_ref="9/input",
    )
    await store.append([part(uid(1), head_of(added), puts=[other])])

    assert await store.execution(uid(1)) == later
    assert await walk(store, 5, workflow_id=WORKFLOW, workspace_id=WORKSPACE) == [uid(1)]


async def test_runs_are_found_by_the_run_that_they_were_made_from(store: Store) -> None:
    """In the order of their ids, page by page; and none that was made from another, or from none."""
    made = [execution(uid(number), origin_id=uid(1)) for number in (4, 2, 6)]
    await add(store, execution(uid(1)), *made, execution(uid(5), origin_id=uid(2)))
    found = await store.executions_from(uid(1), limit=2)
    assert [row.execution_id for row in found] == [uid(2), uid(4)]
    assert await store.executions_from(uid(1), after=uid(4)) == [made[2]]
    assert await store.executions_from(uid(3)) == []


async def test_what_a_wait_is_never_changes(store: Store) -> None:
    """Where and when it opened is written once; a later put tells how it ended."""
    first = wait(uid(2), uid(1))
    (added,) = [part(uid(1), puts=[first])]
    await store.append([added])
    later = first._replace(due_at=8, outcome="resumed", ended_seq=4, ended_at=9)
    other = later._replace(
        execution_id=uid(9),
        organization_id=uid(9),
        workspace_id=uid(9),
        workflow_id=uid(9),
        state="Other",
        opened_seq=3,
        opened_at=1,
    )
    await store.append([part(uid(1), head_of(added), puts=[other])])

    assert await store.wait(uid(2)) == later


async def test_an_execution_is_found_by_its_id(store: Store) -> None:
    """All columns come back as they were put."""
    row = execution(
        *(uid(1),),
        status="failed",
        state=None,
        ended_at=5,
        output_ref="3/",
        modified_by="key:1",
        error="States.Timeout",
        error_ref="4/error",
        cause_ref="4/cause",
        parent_id=uid(8),
        awaited_by=uid(8),
    )
    await add(store, row, execution(uid(2)))

    assert await store.execution(uid(1)) == row
    assert await store.execution(uid(3)) is None


async def test_pages_are_of_a_workflow_a_workspace_or_an_organization(store: Store) -> None:
    """Each scope shows its own executions only, newest first; an organization's has none of its sandboxes."""
    await add(
        *(store, execution(uid(1)), execution(uid(2), workflow_id=OTHER_WORKFLOW)),
        execution(uid(3), workflow_id=OTHER_WORKFLOW, workspace_id=OTHER_WORKSPACE),
        execution(uid(4), organization_id=OTHER_ORG, workspace_id=uid(9), workflow_id=uid(9)),
        execution(uid(5), workspace_id=uid(7)),
    )
    sandbox = workspace(uid(7), "a sandbox")._replace(live_workspace_id=WORKSPACE)
    await store.append([part(ORG, kind="organization", puts=[sandbox])])

    assert await walk(store, 10, workspace_id=uid(7)) == [uid(5)]
    assert await walk(store, 10, workflow_id=WORKFLOW, workspace_id=WORKSPACE) == [uid(1)]
    assert await walk(store, 10, workflow_id=OTHER_WORKFLOW, workspace_id=WORKSPACE) == [uid(2)]
    assert await walk(store, 10, workflow_id=OTHER_WORKFLOW, workspace_id=OTHER_WORKSPACE) == [uid(3)]
    assert await walk(store, 10, workspace_id=WORKSPACE) == [uid(2), uid(1)]
    assert await walk(store, 10, organization_id=ORG) == [uid(3), uid(2), uid(1)]
    assert await walk(store, 10, organization_id=OTHER_ORG) == [uid(4)]
    assert await walk(store, 10, workflow_id=uid(8), workspace_id=WORKSPACE) == []


@pytest.mark.parametrize("scope", [{}, {"workflow_id": WORKFLOW}, {"organization_id": ORG, "workspace_id": WORKSPACE}])
async def test_a_page_is_of_one_scope(store: Store, scope: dict[str, Any]) -> None:
    """Anything else is a bug of the caller's."""
    with pytest.raises(ValueError, match="a page of executions is of"):
        await store.execution_page(**scope)


@pytest.mark.parametrize("limit", [1, 7, 30, 999, 1000, 1001])
async def test_a_thousand_executions_of_one_millisecond(store: Store, limit: int) -> None:
    """Ids break the tie: every page size shows each execution exactly once, newest first."""
    rows = [execution(uid(number)) for number in range(1000)]
    await add(store, *rows)

    assert await walk(store, limit, workflow_id=WORKFLOW, workspace_id=WORKSPACE) == [
        row.execution_id for row in reversed(rows)
    ]


async def test_pages_do_not_shift_while_executions_are_added_and_change(store: Store) -> None:
    """A walk shows what was there at its start exactly once, whatever is appended between its pages."""
    parts = await add(store, *(execution(uid(10 * number)) for number in range(1, 41)))
    found: list[bytes] = []
    before = None
    while page := await store.execution_page(workspace_id=WORKSPACE, before=before, limit=7):
        found += [row.execution_id for row in page]
        before = page[-1].execution_id
        newer = 1000 + len(found)
        await add(store, execution(uid(newer)), execution(uid(newer * 10)))
        changed = parts[len(found) % 40]
        moved = part(changed.stream_id, head_of(changed), puts=[execution(changed.stream_id, status="completed")])
        parts[len(found) % 40] = moved
        await store.append([moved])

    assert found == [uid(10 * number) for number in range(40, 0, -1)]


async def test_a_page_goes_on_behind_an_id_that_is_not_there(store: Store) -> None:
    """The position of a page is an id; nobody needs to have it."""
    await add(store, execution(uid(1)), execution(uid(3)))

    page = await store.execution_page(workflow_id=WORKFLOW, workspace_id=WORKSPACE, before=uid(2), limit=5)

    assert [row.execution_id for row in page] == [uid(1)]


async def test_live_executions_are_pending_or_running(store: Store) -> None:
    """What only waits or has ended is not live; an execution moves in and out as its status changes."""
    statuses = ["pending", "running", "waiting", "completed", "failed", "timed_out", "terminated", "running"]
    parts = await add(store, *(execution(uid(number), status=word) for number, word in enumerate(statuses)))

    async def live(**wanted: Any) -> list[bytes]:
        return [row.execution_id for row in await store.live_executions(**wanted)]

    assert await live() == [uid(0), uid(1), uid(7)]
    assert await live(after=uid(0)) == [uid(1), uid(7)]
    assert await live(limit=2) == [uid(0), uid(1)]
    wakes, ends = parts[2], parts[1]
    await store.append(
        [
            part(wakes.stream_id, head_of(wakes), puts=[execution(wakes.stream_id, status="running")]),
            part(ends.stream_id, head_of(ends), puts=[execution(ends.stream_id, status="completed")]),
        ]
    )
    assert await live() == [uid(0), uid(2), uid(7)]


async def test_what_only_waits_is_live_if_it_is_awaited(store: Store) -> None:
    """Until it ends, however it was started; a child that nobody awaits is like any other."""
    awaited = {"parent_id": uid(9), "awaited_by": uid(9)}
    parts = await add(
        *(store, execution(uid(1), status="waiting", **awaited), execution(uid(2), status="waiting", **awaited)),
        *(execution(uid(3), status="waiting", parent_id=uid(9)), execution(uid(4), status="waiting")),
        *(execution(uid(5), status="running", **awaited), execution(uid(6), status="terminated", **awaited)),
    )

    assert [row.execution_id for row in await store.live_executions()] == [uid(1), uid(2), uid(5)]
    over = execution(uid(1), status="completed", **awaited)
    await store.append([part(uid(1), head_of(parts[0]), puts=[over])])
    assert [row.execution_id for row in await store.live_executions(after=uid(1), limit=1)] == [uid(2)]
    assert uid(1) not in {row.execution_id for row in await store.live_executions()}


async def test_what_is_alive_is_counted_by_status(store: Store) -> None:
    """Pending, running, and waiting in an open wait, of all organizations; what has ended does not count."""
    await add(store, *(execution(uid(n), status=word) for n, word in enumerate(["pending", "running", "completed"])))
    for number, open_waits in ((3, [uid(13)]), (4, [uid(14), uid(15)])):
        row = execution(uid(number), status="waiting", organization_id=OTHER_ORG)
        await store.append([part(uid(number), puts=[row, *(wait(each, uid(number)) for each in open_waits)])])
    ended = wait(uid(16), uid(5), outcome="resumed")
    await store.append([part(uid(5), puts=[execution(uid(5), status="running"), ended, wait(uid(17), uid(5))])])
    awaited = execution(uid(6), status="waiting", parent_id=uid(5), awaited_by=uid(5))
    await store.append([part(uid(6), puts=[awaited, wait(uid(18), uid(6))])])

    assert dict(await store.live_counts()) == {"pending": 1, "running": 2, "waiting": 3}


async def test_paused_executions_are_counted_by_what_paused_them(store: Store) -> None:
    """A pause without a quota is an operator's; what is not paused does not count."""
    by_quota = {"paused_seq": 7, "paused_at": 5, "paused_quota": "events", "in_flight": 0}
    await add(
        *(store, execution(uid(1)), execution(uid(2), **by_quota), execution(uid(3), **by_quota)),
        execution(uid(4), **by_quota | {"paused_quota": None, "in_flight": 2}),
    )
    assert dict(await store.paused_counts()) == {"operator": 1, "events": 2}
    await store.append([part(uid(9), puts=[execution(uid(2))])])
    assert dict(await store.paused_counts()) == {"operator": 1, "events": 1}


async def test_the_latest_completed_execution_of_a_version(store: Store) -> None:
    """The newest by id that is completed, of that version of that workflow, in that workspace."""
    await add(
        *(store, execution(uid(1), status="completed"), execution(uid(2), status="completed")),
        *(execution(uid(3)), execution(uid(4), status="completed", workflow_version=2)),
        execution(uid(5), status="completed", workflow_id=OTHER_WORKFLOW),
        execution(uid(6), status="completed", workspace_id=OTHER_WORKSPACE),
    )

    latest = await store.latest_completed(WORKSPACE, WORKFLOW, 1)

    assert latest == execution(uid(2), status="completed")
    assert await store.latest_completed(WORKSPACE, WORKFLOW, 3) is None


async def test_the_process_ids_of_a_page(store: Store) -> None:
    """The chosen names of many executions are looked up at once; those that chose none are left out."""
    ids = [uid(number) for number in range(12_000)]
    claimed = ids[::4000]
    await store.append(
        [part(execution_id, claims=[process_id(execution_id.hex(), execution_id)]) for execution_id in claimed]
    )

    assert await store.process_ids_of(ids) == {execution_id: execution_id.hex() for execution_id in claimed}
    assert await store.process_ids_of([]) == {}
