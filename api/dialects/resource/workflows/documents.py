"""Documents and versions of workflows (part of the resource API): checked, converted, listed and restored."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from perdure.api.dialects import schemas as common
from perdure.api.dialects.envelopes import data
from perdure.api.dialects.resource import fields
from perdure.api.dialects.resource.dialect import WORKFLOWS, route
from perdure.api.dialects.resource.paging import version_position
from perdure.api.dialects.resource.workflows import document_schemas as schemas
from perdure.api.dialects.resource.workflows.schemas import WorkflowSaved
from perdure.api.dialects.resource.workflows.workflows import saved_json
from perdure.api.http.instants import iso
from perdure.api.http.routing import Reply, Route, RouteCall
from perdure.api.validation import read
from perdure.engine.core import ids
from perdure.engine.errors import Invalid
from perdure.engine.services.documents import GivenDocument
from perdure.store.records import WorkflowVersionRow

VERSIONS: Final = "workflows/{id}/versions"


async def validate_workflow(call: RouteCall[Any, schemas.DocumentCheck]) -> Reply:
    """Check a document of any format: every problem in it, and warnings. Nothing is kept."""
    body = call.body
    given = GivenDocument(body.format, body.document)
    try:
        warnings = await call.engine.services.workflows.check(call.caller, given, is_draft=body.is_draft)
    except Invalid as refused:
        if "errors" not in refused.details:
            raise
        return data({"valid": False, "problems": refused.details["errors"], "warnings": []})
    told = [{"path": each.path, "message": each.message} for each in warnings]
    return data({"valid": True, "problems": [], "warnings": told})


async def convert_workflow(call: RouteCall[Any, schemas.Conversion]) -> Reply:
    """Show a document in another format; what is not valid is refused with every problem in it."""
    body = call.body
    document = await call.engine.services.documents.convert(
        call.caller, GivenDocument(body.from_, body.document), body.to
    )
    return data({"format": body.to, "document": document})


async def list_versions(call: RouteCall[schemas.VersionsQuery, None]) -> Reply:
    """The versions of a workflow, newest first; one of them is shown by the workflow with `?version=N`."""
    query, before = call.query, None if not call.query.cursor else version_position(call.query.cursor)
    rows, has_more = await call.engine.services.workflows.versions(
        call.caller, call.path_id("id"), before=before, limit=query.limit
    )
    next_cursor = str(rows[-1].version) if has_more else None
    meta = {"limit": query.limit, "has_more": has_more, "next_cursor": next_cursor}
    return data([_version(row) for row in rows], meta=meta)


async def restore_version(call: RouteCall[Any, None]) -> Reply:
    """Make an earlier version the next one again, as it was written. It is published if the latest one is."""
    number = read(schemas.NumberInPath, {"version": call.path["version"]}).version
    saved = await call.engine.services.authoring.restore(call.caller, call.path_id("id"), number)
    return data(await saved_json(call, saved))


def _version(row: WorkflowVersionRow) -> dict[str, Any]:
    return {
        "workflow_id": ids.text(row.workflow_id),
        "version": row.version,
        "status": "draft" if row.published_at is None else "published",
        "format": row.format,
        "change_summary": row.summary,
        "created_at": iso(row.created_at),
        "created_by": row.created_by,
        "published_at": iso(row.published_at),
    }


NAMED_ROUTES: Final[Sequence[Route]] = (
    route(
        *(WORKFLOWS, "POST", "workflows/validate", "workflows.view", validate_workflow),
        body=schemas.DocumentCheck,
        answer=common.Data[schemas.DocumentChecked],
    ),
    route(
        *(WORKFLOWS, "POST", "workflows/convert", "workflows.view", convert_workflow),
        body=schemas.Conversion,
        answer=common.Data[schemas.Converted],
    ),
)
"""They are looked for before those of one workflow, whose ids stand in the same place."""

ROUTES: Final[Sequence[Route]] = (
    route(
        *(WORKFLOWS, "GET", VERSIONS, "workflows.view", list_versions),
        query=schemas.VersionsQuery,
        answer=common.Page[schemas.VersionOfWorkflow, fields.NextCursor],
        refusals=frozenset({"NOT_FOUND"}),
    ),
    route(
        *(WORKFLOWS, "POST", f"{VERSIONS}/{{version}}/restore", "workflows.manage", restore_version),
        answer=common.Data[WorkflowSaved],
        refusals=frozenset({"NOT_FOUND", "CONFLICT"}),
    ),
)
