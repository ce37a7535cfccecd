"""Workflows (part of the runs API): lists of steps, drafted, activated, paused and archived."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from perdure.api.dialects import schemas as common
from perdure.api.dialects.envelopes import data
from perdure.api.dialects.runs import schemas
from perdure.api.dialects.runs.dialect import WORKFLOWS, cursor_meta, route
from perdure.api.http.instants import iso
from perdure.api.http.paging import position
from perdure.api.http.routing import Reply, Route, RouteCall
from perdure.engine.core import ids
from perdure.engine.errors import Conflict, Invalid
from perdure.engine.language import Problem
from perdure.engine.log.codec import decode_json
from perdure.engine.services.authoring import Authored
from perdure.engine.services.documents import GivenDocument, shown_as
from perdure.store.records import WorkflowRow, WorkflowVersionRow

STATUS: Final[Mapping[str, str]] = {"published": "active"}
"""This API's words for the status of a workflow, where they are others than ours."""

OURS: Final[Mapping[str, str]] = {word: status for status, word in STATUS.items()}

SETTINGS: Final = ("timeoutMs", "concurrencyLimit", "concurrencyKey", "concurrencyCounts")
"""Settings that a document has; what another document in its place does not say is back at its default."""

OUTSIDE: Final = ("status", "changeSummary")
"""Members of a request that are no part of the document."""


async def create_step_workflow(call: RouteCall[Any, schemas.StepWorkflow]) -> Reply:
    """Make a workflow of steps: a draft, or with status `active` one that runs."""
    body = call.body
    saved = await call.engine.services.authoring.create(
        call.caller,
        Authored(
            document=GivenDocument("steps", _document(call.given or {})),
            name=body.name,
            description=body.description,
            is_published=body.status == "active",
            summary=body.change_summary,
        ),
    )
    return data(_saved_json(saved.workflow, saved.version, saved.warnings), status=201)


async def list_step_workflows(call: RouteCall[schemas.StepWorkflowsQuery, None]) -> Reply:
    """The workflows of the key's workspace, in whatever form they were written, newest first."""
    query = call.query
    rows, _ = await call.engine.services.queries.workflow_page(
        call.caller,
        before=position("cursor", query.cursor),
        limit=query.limit + 1,
        status=None if query.status is None else OURS.get(query.status, query.status),
        search=query.search,
    )
    page = rows[: query.limit]
    after = ids.text(page[-1].workflow_id) if len(rows) > query.limit else None
    return data([_listed_json(row) for row in page], meta=cursor_meta(after))


async def get_step_workflow(call: RouteCall[Any, None]) -> Reply:
    """A workflow with its latest version, as steps: as they were written, or as its states show."""
    return data(workflow_json(*await _latest(call)))


async def replace_step_workflow(call: RouteCall[Any, schemas.StepWorkflow]) -> Reply:
    """Put another document in the place of the latest; of an active workflow it is the next version, and active."""
    body, document = call.body, _document(call.given or {})
    said = document.get("settings") or {}
    saved = await call.engine.services.authoring.change(
        call.caller,
        call.path_id("id"),
        Authored(
            document=GivenDocument("steps", document),
            name=body.name,
            description=body.description or "",
            is_published=None if body.status is None else body.status == "active",
            settings={name: None for name in SETTINGS if name not in said} or None,
            summary=body.change_summary,
        ),
    )
    return data(_saved_json(saved.workflow, saved.version, saved.warnings))


async def change_step_workflow(call: RouteCall[Any, schemas.StepWorkflowChange]) -> Reply:
    """Change what is given; of an active workflow that is the next version, and active."""
    body, given = call.body, _document(call.given or {})
    document, reset = None, None
    if any(name not in {"name", "description"} for name in given):
        row, version = await _latest(call)
        if version.format != "steps" and "steps" not in given:
            message = f"steps: the workflow is written as {version.format}; send all of it as steps, with PUT"
            raise Invalid(message, {"field": "steps"})
        before = shown_as(version, "steps") if version.format == "steps" else {"name": row.name}
        document, reset = _merged(before, given)
    saved = await call.engine.services.authoring.change(
        call.caller,
        call.path_id("id"),
        Authored(
            document=None if document is None else GivenDocument("steps", document),
            name=_or_none(body.name),
            description=_or_none(body.description),
            is_published=None if body.status is msgspec.UNSET else body.status == "active",
            settings=reset,
            summary=_or_none(body.change_summary),
        ),
    )
    return data(_saved_json(saved.workflow, saved.version, saved.warnings))


async def delete_step_workflow(call: RouteCall[Any, Any]) -> Reply:
    """Archive a workflow: nothing of it starts any more, and all of it can be read."""
    await call.engine.services.workflows.archive(call.caller, call.path_id("id"))
    return data(workflow_json(*await _latest(call)))


async def activate_workflow(call: RouteCall[Any, common.Nothing | None]) -> Reply:
    """Let runs of a workflow start: publish its latest version, and end its pause."""
    row, version = await _latest(call)
    if version.published_at is None:
        await call.engine.services.authoring.change(call.caller, row.workflow_id, Authored(is_published=True))
    if row.status == "archived":
        raise Conflict("the workflow is archived: no run of it starts any more")
    if row.status == "paused":
        await call.engine.services.schedules.resume(call.caller, row.workflow_id)
    return data(workflow_json(*await _latest(call)))


async def pause_step_workflow(call: RouteCall[Any, common.Nothing | None]) -> Reply:
    """Let no run of a workflow start until it is resumed; those under way go on."""
    await call.engine.services.schedules.pause(call.caller, call.path_id("id"))
    return data(workflow_json(*await _latest(call)))


async def resume_step_workflow(call: RouteCall[Any, common.Nothing | None]) -> Reply:
    """Let runs of a workflow start again."""
    await call.engine.services.schedules.resume(call.caller, call.path_id("id"))
    return data(workflow_json(*await _latest(call)))


async def archive_step_workflow(call: RouteCall[Any, common.Nothing | None]) -> Reply:
    """Archive a workflow, as DELETE does."""
    return await delete_step_workflow(call)


async def list_step_versions(call: RouteCall[schemas.VersionsQuery, None]) -> Reply:
    """The versions of a workflow, newest first."""
    query = call.query
    rows, has_more = await call.engine.services.workflows.versions(
        call.caller, call.path_id("id"), before=query.cursor, limit=query.limit
    )
    return data([_version_json(row) for row in rows], meta=cursor_meta(str(rows[-1].version) if has_more else None))


async def restore_step_version(call: RouteCall[Any, common.Nothing | None]) -> Reply:
    """Make an earlier version the next one again, with the schedule in it; of an active workflow it is active."""
    number = msgspec.convert(call.path["n"], int, strict=False) if call.path["n"].isdecimal() else 0
    saved = await call.engine.services.authoring.restore(call.caller, call.path_id("id"), number)
    return data(_saved_json(saved.workflow, saved.version, saved.warnings))


# --- documents ---------------------------------------------------------------------------------------------------


def _document(given: Mapping[str, Any]) -> dict[str, Any]:
    """What of a request is the document."""
    return {name: member for name, member in given.items() if name not in OUTSIDE}


def _merged(before: Mapping[str, Any], given: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, None] | None]:
    """A document after a change, and the settings that it takes back to their defaults."""
    settings, reset = before.get("settings") or {}, {}
    if "settings" in given:
        said = given["settings"] if given["settings"] is not None else dict.fromkeys(settings)
        reset = {name: None for name, value in said.items() if value is None}
        settings = {name: value for name, value in {**settings, **said}.items() if value is not None}
    merged = {**before, **given, **({"settings": settings} if settings or "settings" in given else {})}
    return {name: member for name, member in merged.items() if member is not None}, reset or None


def _or_none(value: Any) -> Any:
    return None if value is msgspec.UNSET else value


async def _latest(call: RouteCall[Any, Any]) -> tuple[WorkflowRow, WorkflowVersionRow]:
    workflows = call.engine.services.workflows
    row = await workflows.workflow(call.caller, call.path_id("id"))
    return row, await workflows.version(call.caller, row.workflow_id, row.latest_version)


# --- answers -----------------------------------------------------------------------------------------------------


def _listed_json(row: WorkflowRow) -> dict[str, Any]:
    return {
        "id": ids.text(row.workflow_id),
        "name": row.name,
        "description": row.description,
        "status": STATUS.get(row.status, row.status),
        "version": row.latest_version,
        "createdAt": iso(row.created_at),
        "createdBy": row.created_by,
        "updatedAt": iso(row.modified_at),
        "updatedBy": row.modified_by,
    }


def workflow_json(row: WorkflowRow, version: WorkflowVersionRow) -> dict[str, Any]:
    """A workflow with a version, as steps."""
    document = shown_as(version, "steps")
    return {
        **_listed_json(row),
        "format": version.format,
        "trigger": document.get("trigger") or {"type": "api"},
        "steps": document["steps"],
        "variables": document.get("variables"),
        "inputSchema": document.get("inputSchema"),
        "outputSchema": document.get("outputSchema"),
        "settings": decode_json(version.settings),
        "changeSummary": version.summary,
        "publishedAt": iso(version.published_at),
    }


def _saved_json(row: WorkflowRow, version: WorkflowVersionRow, warnings: Sequence[Problem]) -> dict[str, Any]:
    told = [{"path": warning.path, "message": warning.message} for warning in warnings]
    return {**workflow_json(row, version), "warnings": told}


def _version_json(row: WorkflowVersionRow) -> dict[str, Any]:
    return {
        "version": row.version,
        "status": "draft" if row.published_at is None else "published",
        "format": row.format,
        "changeSummary": row.summary,
        "createdAt": iso(row.created_at),
        "createdBy": row.created_by,
        "publishedAt": iso(row.published_at),
    }


FOUND: Final = frozenset({"NOT_FOUND"})
CHANGED: Final = frozenset({"NOT_FOUND", "CONFLICT"})

ROUTES: Final[Sequence[Route]] = (
    route(
        *(WORKFLOWS, "GET", "workflows", "workflows.view", list_step_workflows),
        query=schemas.StepWorkflowsQuery,
        answer=schemas.CursorPage[schemas.StepWorkflowListed],
    ),
    route(
        *(WORKFLOWS, "POST", "workflows", "workflows.manage", create_step_workflow),
        body=schemas.StepWorkflow,
        status=201,
        answer=common.Data[schemas.StepWorkflowSaved],
    ),
    route(
        *(WORKFLOWS, "GET", "workflows/{id}", "workflows.view", get_step_workflow),
        answer=common.Data[schemas.StepWorkflowShown],
        refusals=FOUND,
    ),
    route(
        *(WORKFLOWS, "PUT", "workflows/{id}", "workflows.manage", replace_step_workflow),
        body=schemas.StepWorkflow,
        answer=common.Data[schemas.StepWorkflowSaved],
        refusals=CHANGED,
    ),
    route(
        *(WORKFLOWS, "PATCH", "workflows/{id}", "workflows.manage", change_step_workflow),
        body=schemas.StepWorkflowChange,
        answer=common.Data[schemas.StepWorkflowSaved],
        refusals=CHANGED,
    ),
    route(
        *(WORKFLOWS, "DELETE", "workflows/{id}", "workflows.manage", delete_step_workflow),
        answer=common.Data[schemas.StepWorkflowShown],
        refusals=CHANGED,
    ),
    *(
        route(
            *(WORKFLOWS, "POST", f"workflows/{{id}}/{word}", "workflows.manage", handler),
            body=common.Nothing,
            is_body_optional=True,
            answer=common.Data[schemas.StepWorkflowShown],
            refusals=CHANGED,
        )
        for word, handler in (
            ("activate", activate_workflow),
            ("pause", pause_step_workflow),
            ("resume", resume_step_workflow),
            ("archive", archive_step_workflow),
        )
    ),
    route(
        *(WORKFLOWS, "GET", "workflows/{id}/versions", "workflows.view", list_step_versions),
        query=schemas.VersionsQuery,
        answer=schemas.CursorPage[schemas.StepVersionShown],
        refusals=FOUND,
    ),
    route(
        *(WORKFLOWS, "POST", "workflows/{id}/versions/{n}/restore", "workflows.manage", restore_step_version),
        body=common.Nothing,
        is_body_optional=True,
        answer=common.Data[schemas.StepWorkflowSaved],
        refusals=CHANGED,
    ),
)
