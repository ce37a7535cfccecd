"""Many runs (part of the resource API): found by filter, and counted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from perdure.api.dialects import schemas as common
from perdure.api.dialects.envelopes import data
from perdure.api.dialects.pauses import brief_json
from perdure.api.dialects.resource.dialect import EXECUTIONS, route
from perdure.api.dialects.resource.executions import run_schemas as schemas
from perdure.api.dialects.resource.paging import page_place
from perdure.api.dialects.status_words import RESOURCE_WORDS
from perdure.api.http.instants import iso
from perdure.api.http.routing import Reply, Route, RouteCall
from perdure.api.validation import id_of
from perdure.engine.core import ids
from perdure.engine.errors import Invalid
from perdure.engine.services.finding import FoundRun, counts_json
from perdure.engine.services.pauses import brief_of


async def find_executions(call: RouteCall[Any, None]) -> Reply:
    """The runs of the key's workspace that the filters let through, newest first unless sorted otherwise."""
    return await found_page(call, schemas.filters_of(call.query))


async def found_page(call: RouteCall[Any, None], filters: dict[str, str]) -> Reply:
    """A page of the runs that these filters let through, in the way of paging that the query has."""
    query, finding = call.query, call.engine.services.finding
    if query.cursor is not None and query.after is not None:
        message = "after: it cannot be sent together with cursor, which is the same by another name"
        raise Invalid(message, {"field": "after"})
    if query.page is None:
        sent = {"after": query.after} if query.cursor is None else {"after": query.cursor or None, "field": "cursor"}
        found = await finding.page(call.caller, filters, sort=query.sort, limit=query.limit, **sent)
        return data([run_json(each) for each in found.items], meta=_cursor_meta(query.limit, found.after))
    page_place(query.page, query.after if query.cursor is None else query.cursor)
    numbered = await finding.numbered(
        call.caller, filters, sort=query.sort, offset=(query.page - 1) * query.limit, limit=query.limit
    )
    total = {"total": numbered.total.total, "total_is_exact": numbered.total.is_exact}
    meta = {"page": query.page, **total, **_cursor_meta(query.limit, numbered.after)}
    return data([run_json(each) for each in numbered.items], meta=meta)


def _cursor_meta(limit: int, after: str | None) -> dict[str, Any]:
    return {"limit": limit, "has_more": after is not None, "next_cursor": after, "after": after}


async def count_executions(call: RouteCall[schemas.CountsQuery, None]) -> Reply:
    """How many runs the key's workspace has, or one workflow of it: by status, and by workflow."""
    wanted = call.query.workflow_id
    finding = call.engine.services.finding
    workflow_id = None if wanted is None else id_of("workflow_id", wanted)
    rows = await finding.counts(call.caller, workflow_id=workflow_id)
    return data(counts_json(rows, await finding.names(list({row.workflow_id for row in rows}))))


def run_json(found: FoundRun) -> dict[str, Any]:
    """A run as pages show it."""
    row = found.row
    return {
        "id": ids.text(row.execution_id),
        "execution_id": ids.text(row.execution_id),
        "process_id": found.process_id,
        "workflow_id": ids.text(row.workflow_id),
        "workflow_name": found.workflow_name,
        "workflow_version": row.workflow_version,
        "status": RESOURCE_WORDS.word(row.status),
        "status_detail": row.status,
        "state": row.state,
        "trigger": row.trigger_type,
        "error": row.error,
        "started_at": iso(row.created_at),
        "completed_at": iso(row.ended_at),
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
