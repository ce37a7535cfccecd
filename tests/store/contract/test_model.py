"""Any sequence of batches: every store answers, and can be read, exactly as the one in memory."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from perdure.store.errors import StoreError
from perdure.store.memory import MemoryStore
from perdure.store.protocols import Store
from perdure.store.records import NEW_STREAM, Head, StreamAppend, TimerRow
from tests.store.builders import (
    NOW,
    ORG,
    OTHER_ORG,
    OTHER_WORKFLOW,
    OTHER_WORKSPACE,
    WORKFLOW,
    WORKSPACE,
    api_key,
    bulk_job,
    digest,
    execution,
    idempotency,
    node,
    organization,
    part,
    process_id,
    schedule,
    snapshot,
    uid,
    version,
    wait,
    workflow,
    workspace,
)
from tests.store.contract.conftest import BACKENDS, memory

# A world so small that batches get in each other's way all the time.
STREAMS = [uid(number) for number in range(1, 6)]
NAMES = ["a", "b", "ü"]
WORKFLOWS, WORKSPACES, ORGANIZATIONS = (
    [WORKFLOW, OTHER_WORKFLOW],
    [WORKSPACE, OTHER_WORKSPACE],
    [ORG, OTHER_ORG],
)

streams, names = st.sampled_from(STREAMS), st.sampled_from(NAMES)
workflows, workspaces, organizations = map(st.sampled_from, (WORKFLOWS, WORKSPACES, ORGANIZATIONS))
small = st.integers(1, 3)

claims = st.one_of(
    st.builds(process_id, names, streams, workspace_id=workspaces),
    st.builds(idempotency, names, streams, organization_id=organizations),
)
schedules = st.builds(
    *(schedule, streams),
    workflow_id=workflows,
    due_at=st.none() | st.integers(NOW, NOW + 2),
    buffered_at=st.none() | st.just(NOW),
    starting=st.integers(0, 1),
)
timers = st.builds(TimerRow, st.integers(NOW, NOW + 2), streams, small)
rows = st.one_of(
    st.builds(
        *(execution, streams),
        workflow_id=workflows,
        workspace_id=workspaces,
        organization_id=organizations,
        workflow_version=small,
        status=st.sampled_from(["pending", "running", "waiting", "completed", "failed"]),
        state=st.none() | names,
        awaited_by=st.none() | streams,
    ),
    st.builds(
        *(wait, streams, streams),
        workflow_id=workflows,
        workspace_id=workspaces,
        opened_seq=small,
        outcome=st.none() | st.just("resumed"),
    ),
    timers,
    schedules,
    st.builds(bulk_job, streams, workspace_id=workspaces, done=small, ended_at=st.none() | st.just(NOW)),
    st.builds(organization, organizations, names),
    st.builds(workspace, workspaces, names, organizations),
    st.builds(api_key, streams, key_digest=names.map(digest), workspace_id=workspaces),
    st.builds(workflow, workflows, name=names, status=st.sampled_from(["draft", "published", "archived"])),
    st.builds(version, workflows, small, workspace_id=workspaces, published_at=st.none() | st.just(NOW)),
    st.builds(snapshot, streams, seq=small),
)
# What a part expects: the head as it is, or something near it.
expectations: st.SearchStrategy[Callable[[Head], Head]] = st.sampled_from(
    [lambda head: head] * 6
    + [
        lambda _: NEW_STREAM,
        lambda head: head._replace(seq=head.seq + 1),
        lambda head: head._replace(hash=digest("other")),
        lambda head: head._replace(epoch=head.epoch + 1),
    ]
)
parts = st.tuples(
    *(streams, expectations, st.integers(0, 3), st.lists(claims, max_size=2)),
    *(st.lists(rows, max_size=4), st.lists(timers | schedules, max_size=2)),
)
batches = st.lists(parts, max_size=4, unique_by=lambda drawn: drawn[0])


async def concrete(store: Store, drawn: list[Any], number: int) -> list[StreamAppend]:
    """A batch for the store as it is now."""
    batch = []
    for stream_id, expectation, events, claimed, put, deleted in drawn:
        stream = await store.stream(stream_id)
        expected = expectation(NEW_STREAM if stream is None else stream.head)
        rows = {"claims": claimed, "puts": put, "deletes": deleted}
        batch.append(part(stream_id, expected, events=events, branch=str(number), **rows))
    return batch


async def answer(store: Store, batch: list[StreamAppend]) -> object:
    try:
        return await store.append(batch)
    except StoreError:
        return StoreError


async def read_log(store: Store) -> list[Any]:
    return [
        [event async for event in store.log()],
        [event async for event in store.log(after=3)],
        await store.position(),
        await store.streams(),
        await store.streams(after=STREAMS[1], limit=2),
        await store.events_of(STREAMS),
        await store.last_events_of(STREAMS, 2),
        *[await store.last_events(stream_id, 2) for stream_id in STREAMS],
        *[await store.events(stream_id, after=1, limit=2) for stream_id in STREAMS],
        *[await store.events_at(stream_id, [1, 3]) for stream_id in STREAMS],
        *[await store.snapshot(stream_id) for stream_id in STREAMS],
        await store.snapshots(),
        await store.snapshots(after=STREAMS[0], limit=1),
        await store.streams_of(STREAMS),
    ]


async def read_catalog(store: Store) -> list[Any]:
    return [
        await store.organizations(),
        *[await store.organization_named(name) for name in NAMES],
        *[await store.workspace(workspace_id) for workspace_id in WORKSPACES],
        *[await store.workspace_named(ORG, name) for name in NAMES],
        *[await store.api_key_by_digest(digest(name)) for name in NAMES],
        *[await store.api_key(key_id) for key_id in STREAMS],
        await store.api_keys(ORG),
        await store.api_keys(ORG, WORKSPACE),
        *[await store.workflow_versions(workflow_id) for workflow_id in WORKFLOWS],
        *[await store.latest_published(workflow_id) for workflow_id in WORKFLOWS],
        await store.workflows(WORKSPACE, status="published", search="Ü"),
        await store.workflows(WORKSPACE, limit=1, offset=1),
        *[await store.workflows_named(WORKSPACE, name) for name in NAMES],
    ]


async def read_executions(store: Store) -> list[Any]:
    return [
        *[
            await store.execution_page(workflow_id=workflow_id, workspace_id=WORKSPACE, limit=3)
            for workflow_id in WORKFLOWS
        ],
        *[await store.execution_page(workspace_id=workspace_id) for workspace_id in WORKSPACES],
        *[await store.execution_page(organization_id=ORG, before=stream_id) for stream_id in STREAMS],
        await store.live_executions(),
        dict(await store.live_counts()),
        await store.live_executions(after=STREAMS[1], limit=2),
        *[await store.latest_completed(WORKSPACE, workflow_id, 1) for workflow_id in WORKFLOWS],
        *[await store.process_id(ORG, WORKSPACE, name) for name in NAMES],
        await store.process_ids_named(ORG, WORKSPACE, NAMES),
        await store.idempotency_of(ORG, WORKSPACE, NAMES),
        await store.process_ids_of(STREAMS),
        *[await store.waits_of(execution_id) for execution_id in STREAMS],
        *[await store.open_waits(workspace_id, limit=2) for workspace_id in WORKSPACES],
        *[await store.open_waits(WORKSPACE, execution_id=stream_id) for stream_id in STREAMS],
        await store.open_waits(WORKSPACE, workflow_id=WORKFLOW, after=STREAMS[0]),
        (some := await store.due_timers(NOW + 1, limit=3)),
        *[await store.bulk_job(stream_id) for stream_id in STREAMS],
        *[await store.bulk_jobs(workspace_id, limit=2) for workspace_id in WORKSPACES],
        await store.bulk_jobs(WORKSPACE, before=STREAMS[3]),
        await store.bulk_jobs_under_way(after=STREAMS[0], limit=2),
        await store.due_timers(NOW + 1, limit=3, after=some[-1] if some else None),
        await store.next_due(),
        *[await store.timers_of(execution_id) for execution_id in STREAMS],
    ]


async def read_schedules(store: Store) -> list[Any]:
    return [
        *[await store.schedule(schedule_id) for schedule_id in STREAMS],
        await store.schedules_by_id(STREAMS),
        await store.schedules_of(WORKFLOWS),
        (some := await store.schedules_due(NOW + 1, limit=2)),
        await store.schedules_due(NOW + 1, after=some[-1] if some else None),
        await store.next_schedule_due(),
        await store.next_schedule_due(after=NOW),
        await store.unsettled_schedules(after=STREAMS[0]),
    ]


async def compare(store: Store, plan: list[Any]) -> None:
    reference = MemoryStore()
    for number, drawn in enumerate(plan):
        batch = await concrete(reference, drawn, number)
        assert await answer(store, batch) == await answer(reference, batch)
    for read in (read_log, read_catalog, read_executions, read_schedules):
        assert await read(store) == await read(reference)
    assert await store.node_started(node(1)) == await reference.node_started(node(1))


@pytest.mark.parametrize("backend", [backend for backend in BACKENDS if backend is not memory])
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(plan=st.lists(batches, max_size=8))
def test_every_store_does_as_the_one_in_memory(
    tmp_path_factory: pytest.TempPathFactory, backend: Any, plan: list[Any]
) -> None:
    """Random batches: equal answers to each, and equal reads of everything afterwards."""

    async def run(folder: Path) -> None:
        async with backend(folder) as store:
            await compare(store, plan)

    asyncio.run(run(tmp_path_factory.mktemp("model")))
