"""Workflows (part of the runs API): lists of steps, drafted, activated, paused and archived."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from perdure.api.dialects import schemas as common
from perdure.api.dialects.envelopes import data
from perdure.api.dialects.runs import schemas
from perdure.api.dialects.runs.dialect import WORKFLOWS, cursor_meta, route
from perdure.api.dialects.runs.triggers import trigger_json
from perdure.api.http.instants import iso
from perdure.api.http.paging import position
from perdure.api.http.routing import Reply, Route, RouteCall
from perdure.api.validation import version_number
from perdure.engine.core import ids
from perdure.engine.errors import Conflict, Invalid
from perdure.engine.language.formats.step_members import SETTINGS
from perdure.engine.log.codec import decode_json
from perdure.engine.services.authoring import Authored
from perdure.engine.services.documents import GivenDocument, shown_as
from perdure.engine.services.idempotency import Answered
from perdure.engine.services.workflows import Saved
from perdure.store.records import WorkflowRow, WorkflowVersionRow

STATUS: Final[Mapping[str, str]] = {"published": "active"}
"""This API's words for the status of a workflow, where they are others than ours."""

OURS: Final[Mapping[str, str]] = {word: status for status, word in STATUS.items()}

OUTSIDE: Final = ("status", "changeSummary")
"""Members of a request that are no part of the document."""

ROW: Final = ("name", "description")
"""Members of a document that are the workflow's, and of no version of it."""


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
    return data(await _saved_json(call, saved), status=201)


async def created_before(call: RouteCall[Any, schemas.StepWorkflow], answered: Answered) -> Reply:
    """The workflow that the same request made before, as it is now."""
    saved = await call.engine.services.workflows.saved(call.caller, answered.execution_id)
    return data(await _saved_json(call, saved), status=201, position=answered.position)


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
    return data(await _latest_json(call))


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
            settings=dict.fromkeys(name for name in SETTINGS if name not in said),
            summary=body.change_summary,
        ),
    )
    return data(await _saved_json(call, saved))


async def change_step_workflow(call: RouteCall[Any, schemas.StepWorkflowChange]) -> Reply:
    """Change what is given; of an active workflow that is the next version, and active.

    A workflow of another form keeps its document, unless steps are given: then they take its place.
    """
    body, given = call.body, call.given or {}
    changed = given.keys() - {*ROW, *OUTSIDE}
    if not changed and "changeSummary" in given:
        message = "changeSummary: it says what is new in a version, and nothing else is given that would make one"
        raise Invalid(message, {"field": "changeSummary"})
    row, version = await _latest(call)
    document, settings = None, None
    if changed:
        is_written = version.format == "steps" or "steps" in given
        beyond = sorted(changed - {"settings"})
        if beyond and not is_written:
            message = f"{beyond[0]}: the workflow is written as {version.format}: give its steps, too, or all with PUT"
            raise Invalid(message, {"field": beyond[0]})
        settings = _changed_settings(version, given)
        if is_written:
            before = await _document_of(call, row, version)
            document = GivenDocument("steps", _merged(before, version, given))
    saved = await call.engine.services.authoring.change(
        call.caller,
        row.workflow_id,
        Authored(
            document=document,
            name=_or_none(body.name),
            description=_or_none(body.description),
            is_published=None if body.status is msgspec.UNSET else body.status == "active",
            settings=settings,
            summary=_or_none(body.change_summary),
            based_on=None if document is None else version.version,
        ),
    )
    return data(await _saved_json(call, saved))


async def delete_step_workflow(call: RouteCall[Any, Any]) -> Reply:
    """Archive a workflow: nothing of it starts any more, and all of it can be read."""
    await call.engine.services.workflows.archive(call.caller, call.path_id("id"))
    return data(await _latest_json(call))


async def activate_workflow(call: RouteCall[Any, common.Nothing | None]) -> Reply:
    """Let runs of a workflow start: publish its latest version, and end its pause."""
    row, version = await _latest(call)
    if row.status == "archived":
        raise Conflict("the workflow is archived: no run of it starts any more")
    if version.published_at is None:
        await call.engine.services.authoring.change(call.caller, row.workflow_id, Authored(is_published=True))
    if row.status == "paused":
        await call.engine.services.schedules.resume(call.caller, row.workflow_id)
    return data(await _latest_json(call))


async def pause_step_workflow(call: RouteCall[Any, common.Nothing | None]) -> Reply:
    """Let no run of a workflow start until it is resumed; those under way go on."""
    await call.engine.services.schedules.pause(call.caller, call.path_id("id"))
    return data(await _latest_json(call))


async def resume_step_workflow(call: RouteCall[Any, common.Nothing | None]) -> Reply:
    """Let runs of a workflow start again."""
    await call.engine.services.schedules.resume(call.caller, call.path_id("id"))
    return data(await _latest_json(call))


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
    saved = await call.engine.services.authoring.restore(
        call.caller, call.path_id("id"), version_number("n", call.path["n"])
    )
    return data(await _saved_json(call, saved))


# --- documents ---------------------------------------------------------------------------------------------------


def _document(given: Mapping[str, Any]) -> dict[str, Any]:
    """What of a request is the document; null is as if it were not there."""
    document = {name: member for name, member in given.items() if name not in OUTSIDE and member is not None}
    return document if document.get("description") else _without(document, "description")


async def _document_of(call: RouteCall[Any, Any], row: WorkflowRow, version: WorkflowVersionRow) -> dict[str, Any]:
    """The document of a workflow as it is now: as it was written, with what was changed beside it."""
    written = shown_as(version, "steps") if version.format == "steps" else {}
    around = {"name": row.name, "description": row.description, "trigger": await _trigger(call, row, written)}
    return _document({**written, **around})


def _merged(before: Mapping[str, Any], version: WorkflowVersionRow, given: Mapping[str, Any]) -> dict[str, Any]:
    """A document after a change, with the settings that the version has, wherever they were set."""
    held = {name: value for name, value in decode_json(version.settings).items() if name in SETTINGS}
    said = _changed_settings(version, given) or {}
    settings = {name: value for name, value in {**held, **said}.items() if value is not None}
    merged = _document({**_without(before, "settings"), **given})
    return {**merged, "settings": settings} if settings else _without(merged, "settings")


def _changed_settings(version: WorkflowVersionRow, given: Mapping[str, Any]) -> dict[str, Any] | None:
    """The settings that a change names; null takes back all of them."""
    if "settings" not in given:
        return None
    if given["settings"] is None:
        return dict.fromkeys(decode_json(version.settings))
    return dict(given["settings"])


def _without(members: Mapping[str, Any], name: str) -> dict[str, Any]:
    return {each: member for each, member in members.items() if each != name}


def _or_none(value: Any) -> Any:
    return None if value is msgspec.UNSET else value


async def _latest(call: RouteCall[Any, Any]) -> tuple[WorkflowRow, WorkflowVersionRow]:
    workflows = call.engine.services.workflows
    row = await workflows.workflow(call.caller, call.path_id("id"))
    return row, await workflows.version(call.caller, row.workflow_id, row.latest_version)


async def _trigger(call: RouteCall[Any, Any], row: WorkflowRow, document: Mapping[str, Any]) -> dict[str, Any]:
    """The trigger of a workflow: its main schedule as it is now, else what its document says."""
    rows = await call.engine.services.schedules.rows(call.caller, row.workflow_id)
    main = next((each for each in rows if each.is_main), None)
    return trigger_json(document.get("trigger") or {"type": "api"}, main)


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


async def _latest_json(call: RouteCall[Any, Any]) -> dict[str, Any]:
    return await _workflow_json(call, *await _latest(call))


async def _workflow_json(call: RouteCall[Any, Any], row: WorkflowRow, version: WorkflowVersionRow) -> dict[str, Any]:
    """A workflow with a version, as steps."""
    document = shown_as(version, "steps")
    return {
        **_listed_json(row),
        "format": version.format,
        "trigger": await _trigger(call, row, document),
        "steps": document["steps"],
        "variables": document.get("variables"),
        "inputSchema": document.get("inputSchema"),
        "outputSchema": document.get("outputSchema"),
        "settings": decode_json(version.settings),
        "changeSummary": version.summary,
        "publishedAt": iso(version.published_at),
    }


async def _saved_json(call: RouteCall[Any, Any], saved: Saved) -> dict[str, Any]:
    told = [{"path": warning.path, "message": warning.message} for warning in saved.warnings]
    return {**await _workflow_json(call, saved.workflow, saved.version), "warnings": told}


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
        repeated=created_before,
        headers=("Idempotency-Key",),
        answer=common.Data[schemas.StepWorkflowSaved],
        refusals=CHANGED,
    ),
    route(
        *(WORKFLOWS, "GET", "workflows/{id}", "workflows.view", get_step_workflow),
        is_of_one=True,
        answer=common.Data[schemas.StepWorkflowShown],
        refusals=FOUND,
    ),
    route(
        *(WORKFLOWS, "PUT", "workflows/{id}", "workflows.manage", replace_step_workflow),
        changes=lambda call: call.path_id("id"),
        body=schemas.StepWorkflow,
        answer=common.Data[schemas.StepWorkflowSaved],
        refusals=CHANGED,
    ),
    route(
        *(WORKFLOWS, "PATCH", "workflows/{id}", "workflows.manage", change_step_workflow),
        changes=lambda call: call.path_id("id"),
        body=schemas.StepWorkflowChange,
        answer=common.Data[schemas.StepWorkflowSaved],
        refusals=CHANGED,
    ),
    route(
        *(WORKFLOWS, "DELETE", "workflows/{id}", "workflows.manage", delete_step_workflow),
        changes=lambda call: call.path_id("id"),
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
