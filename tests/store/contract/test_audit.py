"""What an audit reads: what tables say of a stream, and rows of which no stream tells."""

from __future__ import annotations

from perdure.store.audited import Seen, Stray
from perdure.store.protocols import Store
from perdure.store.records import (
    TimerRow,
)
from tests.store.builders import (
    NOW,
    ORG,
    WORKFLOW,
    api_key,
    execution,
    head_of,
    idempotency,
    organization,
    part,
    process_id,
    uid,
    version,
    wait,
    workflow,
    workspace,
)


async def test_a_stream_is_seen_with_its_rows(store: Store) -> None:
    """Head and rows of one moment, of the streams that are asked for and are there."""
    runs = [
        part(
            uid(n),
            events=n,
            claims=[process_id(f"P{n}", uid(n)), idempotency(f"key {n}", uid(n))],
            puts=[execution(uid(n)), wait(uid(n + 10), uid(n)), TimerRow(NOW, uid(n), 1)],
        )
        for n in (1, 2, 3)
    ]
    await store.append(runs)

    seen = await store.seen("execution", [uid(1), uid(3), uid(9)])

    assert set(seen) == {uid(1), uid(3)}
    assert seen[uid(3)].stream.head == head_of(runs[2])
    assert set(seen[uid(3)].rows) == {
        *(execution(uid(3)), wait(uid(13), uid(3)), TimerRow(NOW, uid(3), 1)),
        process_id("P3", uid(3)),
    }
    assert await store.seen("execution", []) == {}
    assert [row.key for row in await store.idempotency_rows(limit=2)] == ["key 1", "key 2"]
    assert [row.key for row in await store.idempotency_rows(after=idempotency("key 2", uid(2)))] == ["key 3"]


async def test_what_administrative_streams_tell_of(store: Store) -> None:
    """A workflow with its versions, an organization with its workspaces and keys."""
    versions = [version(WORKFLOW, 1), version(WORKFLOW, 2)]
    await store.append(
        [
            part(WORKFLOW, kind="workflow", puts=[workflow(WORKFLOW), *versions]),
            part(ORG, kind="organization", puts=[organization(ORG, "o"), workspace(uid(5), "w"), api_key(uid(6))]),
        ]
    )

    def rows(seen: dict[bytes, Seen]) -> list[str]:
        return [type(row).__name__ for each in seen.values() for row in each.rows]

    assert rows(await store.seen("workflow", [WORKFLOW])) == ["WorkflowRow", "WorkflowVersionRow", "WorkflowVersionRow"]
    assert rows(await store.seen("organization", [ORG])) == ["OrganizationRow", "WorkspaceRow", "ApiKeyRow"]
    assert rows(await store.seen("execution", [ORG])) == []
    assert await store.strays() == []


async def test_rows_of_no_stream_are_strays(store: Store) -> None:
    """Also those of a stream of another kind, or that belong to a stream that is not there."""
    await store.append(
        [part(uid(1), puts=[workflow(uid(1)), execution(uid(8)), TimerRow(NOW, uid(9), 1)], claims=[])],
    )

    assert sorted(await store.strays()) == [
        Stray("executions", uid(8)),
        Stray("timers", uid(9)),
        Stray("workflows", uid(1)),
    ]
