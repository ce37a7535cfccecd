"""Waits (part of the resource API): those that are open."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from perdure.api.dialects import schemas as common
from perdure.api.dialects.envelopes import data
from perdure.api.dialects.resource import fields
from perdure.api.dialects.resource.dialect import WAITS, page_meta, route
from perdure.api.dialects.resource.executions import schemas
from perdure.api.http.instants import iso
from perdure.api.http.routing import Reply, Route, RouteCall
from perdure.api.validation import id_of
from perdure.engine.core import ids
from perdure.store.records import WaitRow


async def list_waits(call: RouteCall[schemas.WaitsQuery, None]) -> Reply:
    """The open waits of the key's workspace, oldest first."""
    query, execution_id, workflow_id = call.query, None, None
    if query.process_id is not None:
        execution_id = await call.engine.services.runs.find(call.caller, query.process_id)
    if query.workflow_id is not None:
        workflow_id = id_of("workflow_id", query.workflow_id)
        await call.engine.services.workflows.workflow(call.caller, workflow_id)
    found = await call.engine.services.queries.open_waits(
        call.caller,
        execution_id=execution_id,
        workflow_id=workflow_id,
        after=b"" if query.after is None else id_of("after", query.after),
        limit=query.limit + 1,
    )
    waits = [_wait(row, process_id) for row, process_id in found[: query.limit]]
    return data(
        waits, meta=page_meta(query.limit, has_more=len(found) > query.limit, last=waits and waits[-1]["wait_id"])
    )


def _wait(row: WaitRow, process_id: str) -> dict[str, Any]:
    return {
        "wait_id": ids.text(row.wait_id),
        "process_id": process_id,
        "execution_id": ids.text(row.execution_id),
        "workflow_id": ids.text(row.workflow_id),
        "state": row.state,
        "opened_at": iso(row.opened_at),
        "due_at": iso(row.due_at),
    }


ROUTES: Final[Sequence[Route]] = (
    route(
        *(WAITS, "GET", "waits", "runs.view", list_waits),
        query=schemas.WaitsQuery,
        answer=common.Page[schemas.WaitShown, fields.After],
        refusals=frozenset({"NOT_FOUND"}),
    ),
)
