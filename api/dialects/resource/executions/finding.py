"""Many runs (part of the resource API): found by filter, and counted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from perdure.api.dialects import schemas as common
from perdure.api.dialects.envelopes import data
from perdure.api.dialects.pauses import brief_json
from perdure.api.dialects.resource.dialect import EXECUTIONS, route
from perdure.api.dialects.resource.executions import run_schemas as schemas
from perdure.api.http.instants import iso
from perdure.api.http.routing import Reply, Route, RouteCall
from perdure.api.validation import id_of
from perdure.engine.core import ids
from perdure.engine.services.finding import FoundRun, counts_json
from perdure.engine.services.pauses import brief_of


async def find_executions(call: RouteCall[Any, None]) -> Reply:
    """The runs of the key's workspace that the filters let through, newest first unless sorted otherwise."""
    query = call.query
    page = await call.engine.services.finding.page(
        call.caller, schemas.filters_of(query), sort=query.sort, after=query.after, limit=query.limit
    )
    meta = {"limit": query.limit, "has_more": page.after is not None, "after": page.after}
    return data([_run(found) for found in page.items], meta=meta)


async def count_executions(call: RouteCall[schemas.CountsQuery, None]) -> Reply:
    """How many runs the key's workspace has, or one workflow of it: by status, and by workflow."""
    wanted = call.query.workflow_id
    finding = call.engine.services.finding
    workflow_id = None if wanted is None else id_of("workflow_id", wanted)
    rows = await finding.counts(call.caller, workflow_id=workflow_id)
    return data(counts_json(rows, await finding.names(list({row.workflow_id for row in rows}))))


def _run(found: FoundRun) -> dict[str, Any]:
    row = found.row
    return {
        "execution_id": ids.text(row.execution_id),
        "process_id": found.process_id,
        "workflow_id": ids.text(row.workflow_id),
        "workflow_name": found.workflow_name,
        "workflow_version": row.workflow_version,
        "status": row.status,
        "state": row.state,
        "trigger": row.trigger_type,
        "error": row.error,
        "created_at": iso(row.created_at),
        "modified_at": iso(row.modified_at),
        "modified_by": row.modified_by,
        "ended_at": iso(row.ended_at),
        "parent_execution_id": None if row.parent_id is None else ids.text(row.parent_id),
        "pause": None if (pause := brief_of(row)) is None else brief_json(pause, iso),
    }


ROUTES: Final[Sequence[Route]] = (
    route(
        *(EXECUTIONS, "GET", "executions", "runs.view", find_executions),
        query=schemas.RunsQuery,
        answer=common.Page[schemas.RunFound, schemas.AfterCursor],
        refusals=frozenset({"NOT_FOUND"}),
    ),
    route(
        *(EXECUTIONS, "GET", "executions/counts", "runs.view", count_executions),
        query=schemas.CountsQuery,
        answer=common.Data[schemas.RunTotals],
        refusals=frozenset({"NOT_FOUND"}),
    ),
)
