"""The tables: what they promise to the rows, and to those who wait for an answer."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any, cast

import pytest
from sqlalchemy import Table
from sqlalchemy.dialects.sqlite import dialect

from perdure.store.batch import KEY_COLUMNS
from perdure.store.protocols import Store
from perdure.store.records import EventRow, NodeRow, QueueRow, StreamRow, TimerRow
from perdure.store.run_filter import RunFilter, walks
from perdure.store.schema import PRIMARY, PROJECTIONS, TABLE_OF, events, metadata, nodes, streams
from perdure.store.sql.finding import _Search, _Span
from perdure.store.sqlite import SqliteStore, open_sqlite
from tests.store.builders import NOW, ORG, WORKFLOW, WORKSPACE, idempotency, uid

ROWS = {kind: table for kind, table in TABLE_OF.items() if kind is not QueueRow} | {StreamRow: streams, NodeRow: nodes}


@pytest.mark.parametrize(("row", "table"), ROWS.items(), ids=lambda value: getattr(value, "__name__", ""))
def test_columns_stand_in_the_order_of_the_rows(row: Any, table: Table) -> None:
    """A row can be written as it is, and made of what was read."""
    assert tuple(table.columns.keys()) == row._fields


def test_an_event_is_its_position_and_its_row() -> None:
    """The one table that has a column before those of its row."""
    assert tuple(events.columns.keys()) == ("position", *EventRow._fields)


def test_a_row_in_line_is_placed_by_the_writer() -> None:
    """The one table that has a column after those of its row: where in the log the event stands that it is since."""
    assert tuple(TABLE_OF[QueueRow].columns.keys()) == (*QueueRow._fields, "position")


@pytest.mark.parametrize("row", TABLE_OF)
def test_keys_are_the_first_columns(row: type) -> None:
    """What all stores take for a row's key is the primary key of its table."""
    key = list(TABLE_OF[row].primary_key.columns.keys())

    assert key == list(TABLE_OF[row].columns.keys())[: KEY_COLUMNS[row]]


def test_every_table_is_primary_or_a_projection() -> None:
    """What is rebuilt and what never is add up to all there is."""
    assert {*PRIMARY, *PROJECTIONS} == set(metadata.tables.values())
    assert not {*PRIMARY} & {*PROJECTIONS}


ALL = RunFilter(ORG, WORKSPACE)
OF_WORKFLOW = {"workflow_id": [WORKFLOW]}
FILTERS = {
    "all": ALL,
    "by time": ALL._replace(created_from=NOW, created_to=NOW + 1),
    "completed": ALL._replace(values={"status": ["completed", "failed"]}),
    "live": ALL._replace(values={"status": ["pending", "running"]}),
    "by status": ALL._replace(values={"status": ["waiting", "failed"], "state": ["A"]}),
    "of a workflow": ALL._replace(values=OF_WORKFLOW),
    "ended badly": ALL._replace(values={"status": ["failed"], **OF_WORKFLOW}),
    "with an error": ALL._replace(error="E"),
    "by process id": ALL._replace(process_id="INV-", values=OF_WORKFLOW),
    "by process id, implied": ALL._replace(process_id="0"),
}


def finding(wanted: RunFilter) -> Callable[[Store], Awaitable[Any]]:
    """A search in both directions, also where too many names begin so to be listed."""

    async def found(store: Store) -> None:
        await store.find_executions(wanted)
        await store.find_executions(wanted, newest_first=False, beyond=uid(1))
        if wanted.process_id is not None:
            for shape in ("any", "implied"):
                search = _Search(cast("SqliteStore", store)._all, wanted, newest_first=True, limit=3)
                for walk in walks(wanted):
                    await search.walk(walk, _Span(b"", b"\xff"), shape)
                await search.listed([uid(1)], _Span(b"", b"\xff"))

    return found


READS = {
    "stream": lambda store: store.stream(uid(1)),
    "streams": lambda store: store.streams(after=uid(1)),
    "streams of a kind": lambda store: store.streams(kind="workflow", after=uid(1)),
    "events": lambda store: store.events(uid(1), after=2),
    "events, limited": lambda store: store.events(uid(1), after=2, limit=3),
    "last_events": lambda store: store.last_events(uid(1), 3),
    "last_events_of": lambda store: store.last_events_of([uid(1), uid(2)], 3),
    "events_at": lambda store: store.events_at(uid(1), [1, 2]),
    "events_of": lambda store: store.events_of([uid(1), uid(2)]),
    "log": lambda store: anext(store.log(after=3), None),
    "position": lambda store: store.position(),
    "snapshot": lambda store: store.snapshot(uid(1)),
    "snapshots": lambda store: store.snapshots(after=uid(1)),
    "payload_sizes": lambda store: store.payload_sizes(uid(1), [1, 2]),
    "heads_of": lambda store: store.heads_of([uid(1), uid(2)]),
    "streams_of": lambda store: store.streams_of([uid(1), uid(2)]),
    "organization": lambda store: store.organization(ORG),
    "organization_named": lambda store: store.organization_named("a"),
    "workspace": lambda store: store.workspace(WORKSPACE),
    "workspace_named": lambda store: store.workspace_named(ORG, "a"),
    "sandboxes": lambda store: store.sandboxes(ORG),
    "api_key": lambda store: store.api_key(uid(1)),
    "api_key_by_digest": lambda store: store.api_key_by_digest(bytes(32)),
    "api_keys": lambda store: store.api_keys(ORG, WORKSPACE),
    "api_keys of an organization": lambda store: store.api_keys(ORG, after=uid(1), limit=3),
    "has_operator": lambda store: store.has_operator(ORG, 1),
    "key_uses": lambda store: store.key_uses([uid(1), uid(2)]),
    "workflow": lambda store: store.workflow(WORKFLOW),
    "workflows_of": lambda store: store.workflows_of([uid(1), WORKFLOW]),
    "workflow_version": lambda store: store.workflow_version(WORKFLOW, 1),
    "latest_published": lambda store: store.latest_published(WORKFLOW),
    "workflow_versions": lambda store: store.workflow_versions(WORKFLOW),
    "workflows": lambda store: store.workflows(WORKSPACE, status="draft", search="a"),
    "workflows_named": lambda store: store.workflows_named(WORKSPACE, "a"),
    "versions in a workspace": lambda store: store.workflow_version_page(
        ORG, workspace_id=WORKSPACE, before=(WORKFLOW, 2)
    ),
    "versions in an organization": lambda store: store.workflow_version_page(
        ORG, workspace_id=None, before=(WORKFLOW, 2)
    ),
    "execution": lambda store: store.execution(uid(1)),
    "executions of a workflow": lambda store: store.execution_page(
        workflow_id=WORKFLOW, workspace_id=WORKSPACE, before=uid(1)
    ),
    "executions of a workspace": lambda store: store.execution_page(workspace_id=WORKSPACE),
    "executions of an organization": lambda store: store.execution_page(organization_id=ORG),
    "live_executions": lambda store: store.live_executions(after=uid(1)),
    "execution_counts": lambda store: store.execution_counts(WORKSPACE),
    "execution_counts of a workflow": lambda store: store.execution_counts(WORKSPACE, workflow_id=WORKFLOW),
    **{f"executions found: {name}": finding(wanted) for name, wanted in FILTERS.items()},
    "bulk_job": lambda store: store.bulk_job(uid(1)),
    "bulk_jobs": lambda store: store.bulk_jobs(WORKSPACE, before=uid(1)),
    "bulk_jobs_under_way": lambda store: store.bulk_jobs_under_way(after=uid(1)),
    "latest_completed": lambda store: store.latest_completed(WORKSPACE, WORKFLOW, 1),
    "process_id": lambda store: store.process_id(ORG, WORKSPACE, "a"),
    "process_ids_named": lambda store: store.process_ids_named(ORG, WORKSPACE, ["a", "b"]),
    "process_ids_of": lambda store: store.process_ids_of([uid(1), uid(2)]),
    "idempotency_of": lambda store: store.idempotency_of(ORG, WORKSPACE, ["a", "b"]),
    "wait": lambda store: store.wait(uid(1)),
    "waits_of": lambda store: store.waits_of(uid(1)),
    "open_waits": lambda store: store.open_waits(WORKSPACE, after=uid(1)),
    "open_waits of an execution": lambda store: store.open_waits(WORKSPACE, execution_id=uid(1)),
    "open_waits of a workflow": lambda store: store.open_waits(WORKSPACE, workflow_id=WORKFLOW),
    "due_timers": lambda store: store.due_timers(1),
    "due_timers after one": lambda store: store.due_timers(1, after=TimerRow(1, uid(1), 1)),
    "next_due": lambda store: store.next_due(),
    "next_due after an instant": lambda store: store.next_due(after=1),
    "timers_of": lambda store: store.timers_of(uid(1)),
    "remembered": lambda store: store.idempotency_rows(after=idempotency("a", uid(1))),
}


class Watched(SqliteStore):
    """Notes the statements that it runs."""

    ran: list[tuple[Any, dict[str, Any]]]

    async def _all(self, statement: Any, **parameters: Any) -> Any:
        self.ran.append((statement, parameters))
        return await super()._all(statement, **parameters)

    async def _query(self, statement: Any, parameters: Any = None) -> Any:
        self.ran.append((statement, parameters or {}))
        return await super()._query(statement, parameters)

    async def _within(self, connection: Any, statement: Any, parameters: Any) -> Any:
        self.ran.append((statement, dict(parameters)))
        return await super()._within(connection, statement, parameters)


@pytest.fixture
async def watched(tmp_path: Path) -> AsyncIterator[Watched]:
    store = await open_sqlite(tmp_path / "perdure.db")
    store.__class__ = Watched
    watched = cast("Watched", store)
    watched.ran = []
    yield watched
    await store.close()


def plan(path: Path, statement: Any, parameters: dict[str, Any]) -> list[str]:
    compiled = statement.compile(dialect=dialect(paramstyle="qmark"))
    expanded = compiled.construct_expanded_state(parameters)
    connection = sqlite3.connect(path)
    connection.create_function("lower", 1, lambda text: text, deterministic=True)
    steps = [
        row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {expanded.statement}", expanded.positional_parameters)
    ]
    connection.close()
    return steps


@pytest.mark.parametrize("read", READS)
async def test_no_read_goes_through_a_whole_table(watched: Watched, tmp_path: Path, read: str) -> None:
    """Every read finds its rows by an index, and in their order."""
    await READS[read](watched)

    steps = [step for seen in watched.ran for step in plan(tmp_path / "perdure.db", *seen)]
    assert steps
    slow = [step for step in steps if step.startswith("SCAN") and step != "SCAN CONSTANT ROW"]
    assert not slow + [step for step in steps if "TEMP B-TREE" in step], steps
