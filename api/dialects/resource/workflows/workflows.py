"""Workflows (part of the resource API): written, changed, published and archived."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import msgspec

from perdure.api.dialects import schemas as common
from perdure.api.dialects.envelopes import data
from perdure.api.dialects.resource import fields
from perdure.api.dialects.resource.dialect import WORKFLOWS, route
from perdure.api.dialects.resource.workflows import schemas
from perdure.api.dialects.resource.workflows.setting_schemas import OrganizationRules, RunSettings
from perdure.api.dialects.resource.workflows.workflow_triggers import changed, check_trigger, made
from perdure.api.http.instants import iso
from perdure.api.http.routing import Reply, Route, RouteCall
from perdure.api.validation import read
from perdure.engine.core import ids
from perdure.engine.core.settings import version_settings
from perdure.engine.log.codec import decode_json
from perdure.engine.services.idempotency import Answered
from perdure.engine.services.settings import all_members
from perdure.engine.services.slots import timing_of
from perdure.engine.services.workflows import Saved
from perdure.store.records import ScheduleRow, WorkflowRow, WorkflowVersionRow


async def create_workflow(call: RouteCall[Any, schemas.NewWorkflow]) -> Reply:
    """Make a workflow; its first version is published unless it is to be a draft."""
    body = call.body
    check_trigger(body)
    saved = await call.engine.services.workflows.create(
        call.caller,
        body.name,
        body.definition,
        description=body.description,
        is_published=body.status == "published",
        mock_payload=body.mock_payload,
        settings=given_settings(body.settings),
        schedules=made(call.engine.services.schedules, body),
    )
    return data(await _saved(call, saved), status=201)


async def created_before(call: RouteCall[Any, schemas.NewWorkflow], answered: Answered) -> Reply:
    """The workflow that the same request made before, as it is now."""
    saved = await call.engine.services.workflows.saved(call.caller, answered.execution_id)
    return data(await _saved(call, saved), status=201, position=answered.position)


async def apply_workflow(call: RouteCall[Any, schemas.AppliedWorkflow]) -> Reply:
    """Create the workflow of that name, or its next version if anything differs; sent again it changes nothing."""
    body, name = call.body, read(schemas.Named, {"name": call.path["name"]}).name
    settings = _given(body.settings)
    applied = await call.engine.services.workflows.apply(
        call.caller,
        name,
        body.definition,
        description=body.description,
        is_published=body.status == "published",
        settings=None if settings is None else given_settings(settings),
    )
    return data({**await _saved(call, applied.saved), "outcome": applied.outcome})


async def list_workflows(call: RouteCall[schemas.WorkflowsQuery, None]) -> Reply:
    """The workflows of the key's workspace, newest first."""
    query = call.query
    rows, total = await call.engine.services.queries.workflow_page(
        call.caller, offset=(query.page - 1) * query.limit, limit=query.limit, status=query.status, search=query.search
    )
    meta = {"page": query.page, "limit": query.limit, "total": total}
    found = await call.engine.services.schedules.rows_of([row.workflow_id for row in rows])
    own = {row.workflow_id: [each for each in found if each.workflow_id == row.workflow_id] for row in rows}
    return data([workflow_json(row, own[row.workflow_id]) for row in rows], meta=meta)


async def get_workflow(call: RouteCall[schemas.WorkflowQuery, None]) -> Reply:
    """A workflow with its latest version, or another one."""
    workflow_id = call.path_id("id")
    row = await call.engine.services.workflows.workflow(call.caller, workflow_id)
    version = await call.engine.services.workflows.version(
        call.caller, workflow_id, call.query.version or row.latest_version
    )
    return data(await _with_definition(call, row, version))


async def change_workflow(call: RouteCall[Any, schemas.WorkflowChange]) -> Reply:
    """Change a workflow. A published version never changes: another definition or setting makes the next version."""
    body, workflow_id = call.body, call.path_id("id")
    status, settings = _given(body.status), _given(body.settings)
    edits = await changed(call.engine.services.schedules, call.caller, workflow_id, body)
    saved = await call.engine.services.workflows.change(
        call.caller,
        workflow_id,
        name=_given(body.name),
        description=_given(body.description),
        definition=_given(body.definition),
        is_published=None if status is None else status == "published",
        settings=None if settings is None else given_settings(settings),
        schedules=edits,
    )
    return data(await _saved(call, saved))


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


async def _saved(call: RouteCall[Any, Any], saved: Saved) -> dict[str, Any]:
    warnings = [{"path": warning.path, "message": warning.message} for warning in saved.warnings]
    return {**await _with_definition(call, saved.workflow, saved.version), "warnings": warnings}


async def _with_definition(call: RouteCall[Any, Any], row: WorkflowRow, version: WorkflowVersionRow) -> dict[str, Any]:
    mock = version.mock_payload
    return {
        **workflow_json(row, await call.engine.services.schedules.rows_of([row.workflow_id])),
        "definition": decode_json(version.definition),
        "mock_payload": None if mock is None else decode_json(mock),
        "shown_version": version.version,
        "published_at": iso(version.published_at),
        "settings": all_members(version_settings(version.settings)),
    }


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
        answer=common.Page[schemas.WorkflowShown, fields.Numbered],
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
