"""The process API's views of runs: one with its logs, and the pages of a workflow and of an organization."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from perdure.api.dialects.pauses import brief_json, pause_json
from perdure.api.dialects.process import schemas
from perdure.api.dialects.process.dialect import route
from perdure.api.http.paging import page_of, position
from perdure.api.http.routing import Reply, Route, RouteCall
from perdure.api.validation import id_of
from perdure.engine.core import ids
from perdure.engine.core.events import Recorded
from perdure.engine.embedded import Engine
from perdure.engine.errors import Invalid, NotFound
from perdure.engine.history import condensed, event_log, outline
from perdure.engine.log.codec import decode_json
from perdure.engine.services.pauses import brief_of
from perdure.engine.services.queries import ExecutionView, PlaceInLine
from perdure.store.records import ExecutionRow

EVENTS_MAX: Final = 1000
"""Of more events the first and the last half of so many are shown."""

LISTED_EVENTS: Final = 10


async def execution(call: RouteCall[schemas.RunQuery, None]) -> Reply:
    """A run's state, input, output and logs."""
    workflow_id = id_of("workflow_id", call.query.workflow_id)
    execution_id = id_of("workflow_execution_id", call.query.workflow_execution_id)
    view = await call.engine.services.queries.execution(call.caller, execution_id)
    row = view.row
    if row.workflow_id != workflow_id:
        raise NotFound(f"workflow {ids.text(workflow_id)} has no execution {ids.text(execution_id)}")
    workflow = await call.engine.services.workflows.workflow(call.caller, workflow_id)
    version = await call.engine.services.workflows.version(call.caller, workflow_id, row.workflow_version)
    events = await _events(call.engine, row)
    queue = await call.engine.services.queries.queue(execution_id) if row.status == "pending" else None
    item = {
        **_described(view),
        **({} if view.pause is None else {"pause": pause_json(view.pause, int)}),
        **({} if queue is None else {"queue": queue_json(queue)}),
        "workflow_input_payload": view.input,
        "workflow_output_payload": view.output,
        "workflow_event_log": event_log(events, total=max(row.seq, events[-1].seq)),
        "condensed_logs": condensed(events),
        "workflow_details": {"workflow_name": workflow.name, **outline(decode_json(version.definition))},
    }
    return Reply({"message": "success", "item": item})


def queue_json(queue: PlaceInLine) -> dict[str, Any]:
    """Where a run stands in line, as it is shown."""
    return {"position": queue.position, "limits": [limit._asdict() for limit in queue.limits]}


async def _events(engine: Engine, row: ExecutionRow) -> list[Recorded]:
    if row.seq <= EVENTS_MAX:
        return await engine.services.queries.events(row.execution_id, limit=EVENTS_MAX)
    first = await engine.services.queries.events(row.execution_id, limit=EVENTS_MAX // 2)
    return [*first, *await engine.services.queries.last_events(row.execution_id, EVENTS_MAX // 2)]


async def history(call: RouteCall[schemas.HistoryQuery, None]) -> Reply:
    """The runs of a workflow, newest first."""
    workflow_id = id_of("workflow_id", call.query.workflow_id)
    before = position("workflow_execution_id", call.query.workflow_execution_id)
    await call.engine.services.workflows.workflow(call.caller, workflow_id)
    rows, has_more = await call.engine.services.queries.page(
        call.caller, workflow_id=workflow_id, before=before, limit=call.query.limit
    )
    return await _page(call.engine, rows, has_more=has_more)


async def organization_executions(call: RouteCall[schemas.OrganizationQuery, None]) -> Reply:
    """The runs of the key's workspace, or with `organization.view` of its organization; newest first."""
    query = call.query
    if query.workflow_id is not None:
        id_of("workflow_id", query.workflow_id)
        if query.workflow_execution_id is None:
            raise Invalid(
                "workflow_id: alone it is no position; send it with workflow_execution_id, as lastKey has them",
                {"field": "workflow_id"},
            )
    rows, has_more = await call.engine.services.queries.page(
        call.caller,
        whole_organization="organization.view" in call.principal.scopes,
        before=position("workflow_execution_id", query.workflow_execution_id),
        limit=query.limit,
    )
    return await _page(call.engine, rows, has_more=has_more)


async def _page(engine: Engine, rows: list[ExecutionRow], *, has_more: bool) -> Reply:
    names = await engine.services.queries.workflow_names(rows)
    process_ids = await engine.services.queries.process_ids(rows)
    last_events = await engine.services.queries.last_events_of(rows, LISTED_EVENTS)
    items = []
    for row in rows:
        events = last_events[row.execution_id]
        items.append(
            {
                **_listed(row, process_ids[row.execution_id]),
                **({} if (pause := brief_of(row)) is None else {"pause": brief_json(pause, int)}),
                "workflow_event_log": event_log(events, total=max(row.seq, events[-1].seq)),
                "workflow_details": {"workflow_name": names[row.workflow_id]},
            }
        )
    return Reply(page_of(items, _last_key(rows[-1]) if has_more else None))


def _last_key(row: ExecutionRow) -> dict[str, Any]:
    return {
        "workflow_id": ids.text(row.workflow_id),
        "workflow_execution_id": ids.text(row.execution_id),
    }


def _described(view: ExecutionView) -> dict[str, Any]:
    return _listed(view.row, view.process_id)


def _listed(row: ExecutionRow, process_id: str) -> dict[str, Any]:
    described: dict[str, Any] = {
        "workflow_id": ids.text(row.workflow_id),
        "workflow_execution_id": ids.text(row.execution_id),
        "workflow_version": row.workflow_version,
        "workflow_current_state": row.state,
        "workflow_trigger_type": row.trigger_type,
        "status": row.status,
        "process_id": process_id,
        "organization_id": ids.text(row.organization_id),
        "workspace_id": ids.text(row.workspace_id),
        "created_on": row.created_at,
        "modified_on": row.modified_at,
        "modified_by": row.modified_by,
    }
    if row.parent_id is not None:
        described["parent_execution_id"] = ids.text(row.parent_id)
    if row.origin_id is not None:
        described["origin_execution_id"] = ids.text(row.origin_id)
    return described


ROUTES: Final[Sequence[Route]] = (
    route(
        *("GET", "getWorkflowExecutionById", "runs.view", execution),
        is_of_one=True,
        query=schemas.RunQuery,
        answer=schemas.RunShown,
        refusals=frozenset({"NOT_FOUND"}),
    ),
    route(
        *("GET", "getWorkflowExecutionHistory", "runs.view", history),
        query=schemas.HistoryQuery,
        answer=schemas.RunPage,
        refusals=frozenset({"NOT_FOUND"}),
    ),
    route(
        *("GET", "getOrganizationExecutions", "runs.view", organization_executions),
        query=schemas.OrganizationQuery,
        answer=schemas.RunPage,
    ),
)
