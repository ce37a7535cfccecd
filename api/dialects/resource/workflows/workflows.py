"""Workflows (part of the resource API): written, changed, published and archived."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import msgspec
from msgspec import UnsetType

from perdure.api.dialects import schemas as common
from perdure.api.dialects.envelopes import data
from perdure.api.dialects.resource import fields
from perdure.api.dialects.resource.dialect import WORKFLOWS, route
from perdure.api.dialects.resource.paging import page_meta, page_place, workflow_position
from perdure.api.dialects.resource.workflows import schemas
from perdure.api.dialects.resource.workflows.setting_schemas import OrganizationRules, RunSettings
from perdure.api.dialects.resource.workflows.workflow_triggers import changed, check_trigger, made
from perdure.api.dialects.resource.workflows.written import (
    check_schedules,
    document_of,
    needed_document,
    sharing_json,
    sharing_of,
)
from perdure.api.http.instants import iso
from perdure.api.http.routing import Reply, Route, RouteCall
from perdure.api.validation import read
from perdure.engine.core import ids
from perdure.engine.core.settings import version_settings
from perdure.engine.log.codec import decode_json
from perdure.engine.services.authoring import Authored
from perdure.engine.services.documents import shown_as
from perdure.engine.services.idempotency import Answered
from perdure.engine.services.settings import all_members
from perdure.engine.services.slots import timing_of
from perdure.engine.services.workflows import Saved
from perdure.store.records import ScheduleRow, WorkflowRow, WorkflowVersionRow


async def create_workflow(call: RouteCall[Any, schemas.NewWorkflow]) -> Reply:
    """Make a workflow; its first version is published if it is a definition, else a draft, unless it says which."""
    body, services = call.body, call.engine.services
    document = needed_document(body, body.name)
    check_schedules(document, body)
    check_trigger(body)
    is_published = document.format == "asl" if isinstance(body.status, UnsetType) else body.status == "published"
    sharing, settings = sharing_of(body), given_settings(body.settings)
    if document.format == "asl":
        saved = await services.workflows.create(
            call.caller,
            body.name,
            document.document,
            description=body.description,
            is_published=is_published,
            mock_payload=body.mock_payload,
            settings=settings,
            schedules=made(services.schedules, body),
            sharing=sharing,
            summary=body.change_summary,
        )
    else:
        authored = Authored(
            *(document, body.name, body.description, is_published, settings, body.mock_payload, sharing),
            summary=body.change_summary,
        )
        saved = await services.authoring.create(call.caller, authored)
    return data(await saved_json(call, saved), status=201)


async def created_before(call: RouteCall[Any, schemas.NewWorkflow], answered: Answered) -> Reply:
    """The workflow that the same request made before, as it is now."""
    saved = await call.engine.services.workflows.saved(call.caller, answered.execution_id)
    return data(await saved_json(call, saved), status=201, position=answered.position)


async def apply_workflow(call: RouteCall[Any, schemas.AppliedWorkflow]) -> Reply:
    """Create the workflow of that name, or its next version if anything differs; sent again it changes nothing."""
    body, name = call.body, read(schemas.Named, {"name": call.path["name"]}).name
    document, settings = needed_document(body, name), _given(body.settings)
    applied = await call.engine.services.authoring.apply(
        call.caller,
        Authored(
            document=document,
            name=name,
            description=body.description,
            is_published=body.status == "published",
            settings=None if settings is None else given_settings(settings),
            summary=body.change_summary,
        ),
    )
    return data({**await saved_json(call, applied.saved), "outcome": applied.outcome})


async def list_workflows(call: RouteCall[schemas.WorkflowsQuery, None]) -> Reply:
    """The workflows of the key's workspace, newest first: a page by its number, or beyond a cursor."""
    query = call.query
    place = page_place(query.page, query.cursor)
    before = None if not place.cursor else workflow_position(place.cursor)
    rows, total = await call.engine.services.queries.workflow_page(
        call.caller,
        offset=(place.page - 1) * query.limit,
        before=before,
        limit=query.limit + 1,
        status=query.status,
        search=query.search,
    )
    has_more, rows = len(rows) > query.limit, rows[: query.limit]
    meta = page_meta(place, query.limit, ids.text(rows[-1].workflow_id) if has_more else None, total)
    found = await call.engine.services.schedules.rows_of([row.workflow_id for row in rows])
    own = {row.workflow_id: [each for each in found if each.workflow_id == row.workflow_id] for row in rows}
    return data([workflow_json(row, own[row.workflow_id]) for row in rows], meta=meta)


async def get_workflow(call: RouteCall[schemas.WorkflowQuery, None]) -> Reply:
    """A workflow with its latest version, or another one: its nodes and edges; with `expand` what it compiles to."""
    workflow_id = call.path_id("id")
    row = await call.engine.services.workflows.workflow(call.caller, workflow_id)
    version = await call.engine.services.workflows.version(
        call.caller, workflow_id, call.query.version or row.latest_version
    )
    return data(await whole_json(call, row, version, call.query.expand))


async def change_workflow(call: RouteCall[Any, schemas.WorkflowChange]) -> Reply:
    """Change a workflow. A published version never changes: another definition or setting makes the next version."""
    body, workflow_id, services = call.body, call.path_id("id"), call.engine.services
    row = await services.workflows.workflow(call.caller, workflow_id)
    latest = await services.workflows.version(call.caller, workflow_id, row.latest_version)
    document = document_of(body, _given(body.name) or row.name, shown_as(latest, "graph"))
    status, settings = _given(body.status), _given(body.settings)
    authored = Authored(
        document,
        _given(body.name),
        _given(body.description),
        None if status is None else status == "published",
        None if settings is None else given_settings(settings),
        sharing=sharing_of(body, row),
        summary=body.change_summary,
    )
    if document is not None and document.format != "asl":
        check_schedules(document, body)
        return data(await saved_json(call, await services.authoring.change(call.caller, workflow_id, authored)))
    saved = await services.workflows.change(
        call.caller,
        workflow_id,
        name=authored.name,
        description=authored.description,
        definition=None if document is None else document.document,
        is_published=authored.is_published,
        settings=authored.settings,
        schedules=await changed(services.schedules, call.caller, workflow_id, body),
        sharing=authored.sharing,
        summary=authored.summary,
    )
    return data(await saved_json(call, saved))


async def archive_workflow(call: RouteCall[Any, None]) -> Reply:
    """Let no run start any more; history stays readable."""
    row = await call.engine.services.workflows.archive(call.caller, call.path_id("id"))
    return data(workflow_json(row, await call.engine.services.schedules.rows_of([row.workflow_id])))


def given_settings(settings: RunSettings | OrganizationRules) -> dict[str, Any]:
    """The settings that were sent, as JSON names them."""
    given: dict[str, Any] = msgspec.to_builtins(settings)
    return given


def _given(value: Any) -> Any:
    return None if value is msgspec.UNSET else value


async def saved_json(call: RouteCall[Any, Any], saved: Saved) -> dict[str, Any]:
    """A workflow after a change, with warnings."""
    warnings = [{"path": warning.path, "message": warning.message} for warning in saved.warnings]
    return {**await whole_json(call, saved.workflow, saved.version), "warnings": warnings}


async def whole_json(
    call: RouteCall[Any, Any], row: WorkflowRow, version: WorkflowVersionRow, expand: str | None = None
) -> dict[str, Any]:
    """A workflow as it is shown with a version of it."""
    mock, graph = version.mock_payload, shown_as(version, "graph")
    shown = {
        **workflow_json(row, await call.engine.services.schedules.rows_of([row.workflow_id])),
        "format": version.format,
        "nodes": graph["nodes"],
        "edges": graph.get("edges", []),
        "variables": graph.get("variables", {}),
        "change_summary": version.summary,
        "mock_payload": None if mock is None else decode_json(mock),
        "shown_version": version.version,
        "published_at": iso(version.published_at),
        "settings": all_members(version_settings(version.settings)),
    }
    if version.format == "asl" or expand == "definition":
        shown["definition"] = decode_json(version.definition)
    if expand == "document":
        shown["document"] = shown_as(version, version.format)
    return shown


def workflow_json(row: WorkflowRow, schedules: Sequence[ScheduleRow]) -> dict[str, Any]:
    """A workflow as it is shown, with the schedule that its `cron_expression` speaks of."""
    main = next((timing_of(each.timing) for each in schedules if each.is_main), None)
    return {
        "id": ids.text(row.workflow_id),
        "name": row.name,
        "description": row.description,
        "status": row.status,
        "version": row.latest_version,
        "trigger_type": "schedule" if schedules else "manual",
        "cron_expression": None if main is None else main.cron,
        "timezone": None if main is None else main.timezone,
        "created_at": iso(row.created_at),
        "created_by": row.created_by,
        "updated_at": iso(row.modified_at),
        "updated_by": row.modified_by,
        **sharing_json(row),
    }


ROUTES: Final[Sequence[Route]] = (
    route(
        *(WORKFLOWS, "POST", "workflows", "workflows.manage", create_workflow),
        body=schemas.NewWorkflow,
        status=201,
        repeated=created_before,
        headers=("Idempotency-Key",),
        answer=common.Data[schemas.WorkflowSaved],
        refusals=frozenset({"NOT_FOUND", "CONFLICT"}),
    ),
    route(
        *(WORKFLOWS, "GET", "workflows", "workflows.view", list_workflows),
        query=schemas.WorkflowsQuery,
        answer=common.Page[schemas.WorkflowShown, fields.PagePlaced],
    ),
    route(
        *(WORKFLOWS, "GET", "workflows/{id}", "workflows.view", get_workflow),
        is_of_one=True,
        query=schemas.WorkflowQuery,
        answer=common.Data[schemas.WorkflowWhole],
        refusals=frozenset({"NOT_FOUND"}),
    ),
    route(
        *(WORKFLOWS, "PUT", "workflows/by-name/{name}", "workflows.manage", apply_workflow),
        body=schemas.AppliedWorkflow,
        answer=common.Data[schemas.WorkflowApplied],
        refusals=frozenset({"CONFLICT"}),
    ),
    route(
        *(WORKFLOWS, "PATCH", "workflows/{id}", "workflows.manage", change_workflow),
        changes=lambda call: call.path_id("id"),
        body=schemas.WorkflowChange,
        answer=common.Data[schemas.WorkflowSaved],
        refusals=frozenset({"NOT_FOUND", "CONFLICT"}),
    ),
    route(
        *(WORKFLOWS, "DELETE", "workflows/{id}", "workflows.manage", archive_workflow),
        changes=lambda call: call.path_id("id"),
        answer=common.Data[schemas.WorkflowShown],
        refusals=frozenset({"NOT_FOUND"}),
    ),
)
