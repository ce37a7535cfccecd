"""Workflows (part of the service API): steps in order, on a schedule or started by hand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from msgspec import UNSET

from perdure.api.dialects import schemas as common
from perdure.api.dialects.service import schemas
from perdure.api.dialects.service.dialect import WORKFLOWS, data, route
from perdure.api.dialects.service.pages import page_meta, start_of
from perdure.api.http.instants import iso_seconds
from perdure.api.http.paging import position
from perdure.api.http.routing import Reply, Route, RouteCall
from perdure.engine.core import ids
from perdure.engine.core.workflow import Sharing
from perdure.engine.errors import Invalid
from perdure.engine.runtime.callers import NO_TERMS
from perdure.engine.services.authoring import Authored
from perdure.engine.services.documents import GivenDocument, shown_as
from perdure.engine.services.idempotency import Answered
from perdure.engine.services.slots import timing_of
from perdure.engine.services.workflows import Saved
from perdure.store.records import ScheduleRow, WorkflowRow, WorkflowVersionRow
from perdure.store.viewer import names_in

STATUS: Final[Mapping[str, str]] = {"published": "active"}
"""This API's words for the status of a workflow, where they are others than ours."""

OURS: Final[Mapping[str, str]] = {word: status for status, word in STATUS.items()}

TIMING: Final = ("trigger_type", "cron_expression", "timezone")
DOCUMENT: Final = ("name", "description", "steps", *TIMING)
"""The members of a request that are the document; all others are about the workflow as a whole."""


async def create_service_workflow(call: RouteCall[Any, schemas.ServiceWorkflow]) -> Reply:
    """Make a workflow, which runs from now on: by its schedule, or when it is told to; unless it is made paused."""
    body = call.body
    document = _timed({"name": body.name, "steps": body.steps}, _said(call.given or {}))
    if body.description is not None:
        document["description"] = body.description
    saved = await call.engine.services.authoring.create(
        call.caller,
        Authored(
            document=GivenDocument("service", document),
            name=body.name,
            description=body.description,
            is_published=True,
            is_paused=body.status == "paused",
            sharing=_sharing(body.visibility, body.shared_user_ids, body.shared_role_ids),
        ),
    )
    return data(await _saved_json(call, saved), status=201)


async def service_workflow_created_before(call: RouteCall[Any, schemas.ServiceWorkflow], answered: Answered) -> Reply:
    """The workflow that the same request made before, as it is now."""
    saved = await call.engine.services.workflows.saved(call.caller, answered.execution_id)
    return data(await _saved_json(call, saved), status=201, position=answered.position)


async def list_service_workflows(call: RouteCall[schemas.ServiceWorkflowsQuery, None]) -> Reply:
    """The workflows that the key may see, in whatever form they were written, newest first."""
    query, services = call.query, call.engine.services
    offset = start_of(query.offset, query.cursor)
    rows, _ = await services.queries.workflow_page(
        call.caller,
        offset=offset or 0,
        before=position("cursor", query.cursor),
        limit=query.limit + 1,
        status=None if query.status is None else OURS.get(query.status, query.status),
        search=query.search,
    )
    page = rows[: query.limit]
    found = await services.schedules.rows_of([row.workflow_id for row in page])
    mains = {each.workflow_id: each for each in found if each.is_main}
    cursor = ids.text(page[-1].workflow_id) if len(rows) > query.limit else None
    return data(
        [_listed_json(row, mains.get(row.workflow_id)) for row in page], meta=page_meta(query.limit, offset, cursor)
    )


async def get_service_workflow(call: RouteCall[Any, Any]) -> Reply:
    """A workflow with its steps: as they were written, or as its states show."""
    return data(await _json(call, *await _latest(call)))


async def change_service_workflow(call: RouteCall[Any, schemas.ServiceWorkflowChange]) -> Reply:
    """Change what is given; other steps, or another schedule, are the workflow's next version."""
    body, services = call.body, call.engine.services
    row, version = await _latest(call)
    document = _changed(row, version, _said(call.given or {}))
    sharing = None
    if (body.visibility, body.shared_user_ids, body.shared_role_ids) != (UNSET, UNSET, UNSET):
        sharing = _changed_sharing(row, body)
    saved = await services.authoring.change(
        call.caller,
        row.workflow_id,
        Authored(
            document=None if document is None else GivenDocument("service", document),
            name=None if body.name is UNSET else body.name,
            description=None if body.description is UNSET else body.description or "",
            sharing=sharing,
        ),
    )
    if body.status is not UNSET and (body.status == "paused") != (row.status == "paused"):
        switch = services.schedules.pause if body.status == "paused" else services.schedules.resume
        await switch(call.caller._replace(terms=NO_TERMS), row.workflow_id)
        saved = await services.workflows.saved(call.caller, row.workflow_id)
    return data(await _saved_json(call, saved))


async def delete_service_workflow(call: RouteCall[Any, None]) -> Reply:
    """Archive a workflow: nothing of it starts any more, and all of it can be read."""
    await call.engine.services.workflows.archive(call.caller, call.path_id("id"))
    return await get_service_workflow(call)


async def pause_service_workflow(call: RouteCall[Any, common.Nothing | None]) -> Reply:
    """Let no run of a workflow start until it is resumed; those under way go on."""
    await call.engine.services.schedules.pause(call.caller, call.path_id("id"))
    return await get_service_workflow(call)


async def resume_service_workflow(call: RouteCall[Any, common.Nothing | None]) -> Reply:
    """Let runs of a workflow start again; what its schedule skipped meanwhile is not made up for."""
    await call.engine.services.schedules.resume(call.caller, call.path_id("id"))
    return await get_service_workflow(call)


async def _latest(call: RouteCall[Any, Any]) -> tuple[WorkflowRow, WorkflowVersionRow]:
    workflows = call.engine.services.workflows
    row = await workflows.workflow(call.caller, call.path_id("id"))
    return row, await workflows.version(call.caller, row.workflow_id, row.latest_version)


# --- what is given -----------------------------------------------------------------------------------------------


def _said(given: Mapping[str, Any]) -> dict[str, Any]:
    """The members that were sent, the schedule under one name. Raises `Invalid` if it has both."""
    said = dict(given)
    if "schedule" in said:
        schedule = said.pop("schedule")
        if schedule is not None and said.get("cron_expression") is not None:
            message = "schedule: it means the same as cron_expression; give one of them"
            raise Invalid(message, {"field": "schedule"})
        said["cron_expression"] = said.get("cron_expression") if schedule is None else schedule
    return said


def _timed(document: dict[str, Any], said: Mapping[str, Any]) -> dict[str, Any]:
    """A document with when it runs. Raises `Invalid` for a schedule without a cron expression."""
    trigger, cron = said.get("trigger_type", "schedule"), said.get("cron_expression")
    if trigger == "schedule" and cron is None:
        message = (
            "cron_expression: it is missing; the trigger_type schedule needs a cron expression of 5 fields such as "
            "0 9 * * *, or give the trigger_type manual"
        )
        raise Invalid(message, {"field": "cron_expression"})
    if trigger == "manual" and cron is not None:
        message = "cron_expression: it belongs to the trigger_type schedule; leave it out, or give that"
        raise Invalid(message, {"field": "cron_expression"})
    timed = {"trigger_type": trigger, "cron_expression": cron, "timezone": said.get("timezone", "UTC")}
    return {**document, **{name: value for name, value in timed.items() if value is not None}}


def _changed(row: WorkflowRow, version: WorkflowVersionRow, said: Mapping[str, Any]) -> dict[str, Any] | None:
    """The document after a change; null if nothing in it changes. Raises `Invalid` if it was written otherwise."""
    if not any(name in said for name in ("steps", *TIMING)):
        return None
    if version.format != "service" and "steps" not in said:
        message = f"steps: the workflow was written as {version.format}; send all of its steps with the change"
        raise Invalid(message, {"field": "steps"})
    before = shown_as(version, "service") if version.format == "service" else {}
    kept = {"name": row.name, **({"description": row.description} if row.description else {})}
    merged = {**before, **kept, **{name: said[name] for name in DOCUMENT if name in said}}
    if said.get("trigger_type") == "manual" and "cron_expression" not in said:
        merged.pop("cron_expression", None)
    if said.get("cron_expression") is not None and "trigger_type" not in said:
        merged["trigger_type"] = "schedule"
    rest = {name: value for name, value in merged.items() if name not in TIMING and value is not None}
    return _timed(rest, merged)


def _changed_sharing(row: WorkflowRow, body: schemas.ServiceWorkflowChange) -> Sharing:
    """Who sees a workflow after a change; names go when it is no longer shared."""
    visibility = row.visibility if body.visibility is UNSET else body.visibility
    is_shared = visibility == "shared"
    users = list(names_in(row.shared_users)) if is_shared else []
    roles = list(names_in(row.shared_roles)) if is_shared else []
    return _sharing(
        visibility,
        users if body.shared_user_ids is UNSET else body.shared_user_ids,
        roles if body.shared_role_ids is UNSET else body.shared_role_ids,
    )


def _sharing(visibility: Any, users: Sequence[str], roles: Sequence[str]) -> Sharing:
    for name, given in (("shared_user_ids", users), ("shared_role_ids", roles)):
        if given and visibility != "shared":
            message = f"{name}: it belongs to the visibility shared, and this is {visibility}; leave it out"
            raise Invalid(message, {"field": name})
    return Sharing(visibility, tuple(dict.fromkeys(users)), tuple(dict.fromkeys(roles)))


# --- answers -----------------------------------------------------------------------------------------------------


def _listed_json(row: WorkflowRow, main: ScheduleRow | None) -> dict[str, Any]:
    timing = None if main is None else timing_of(main.timing)
    is_due = main is not None and main.status == "active" and row.status == "published"
    return {
        "id": ids.text(row.workflow_id),
        "name": row.name,
        "description": row.description,
        "status": STATUS.get(row.status, row.status),
        "trigger_type": "manual" if timing is None else "schedule",
        "cron_expression": None if timing is None else timing.cron,
        "timezone": "UTC" if timing is None else timing.timezone,
        "next_run_at": iso_seconds(main.next_at) if main is not None and is_due else None,
        "visibility": row.visibility,
        "shared_user_ids": list(names_in(row.shared_users)),
        "shared_role_ids": list(names_in(row.shared_roles)),
        "version": row.latest_version,
        "created_at": iso_seconds(row.created_at),
        "created_by": row.created_by,
        "updated_at": iso_seconds(row.modified_at),
        "updated_by": row.modified_by,
    }


async def _json(call: RouteCall[Any, Any], row: WorkflowRow, version: WorkflowVersionRow) -> dict[str, Any]:
    found = await call.engine.services.schedules.rows_of([row.workflow_id])
    main = next((each for each in found if each.is_main), None)
    steps = [_step_json(step) for step in shown_as(version, "service")["steps"]]
    return {**_listed_json(row, main), "steps": steps}


def _step_json(step: Mapping[str, Any]) -> dict[str, Any]:
    """A step as `{step_type, step_config}`, whatever it was written as."""
    rest = {name: value for name, value in step.items() if name not in {"type", "config", "step_type", "step_config"}}
    kind, config = step.get("step_type", step.get("type")), step.get("step_config", step.get("config"))
    return {"step_type": kind, "step_config": config or {}, **rest}


async def _saved_json(call: RouteCall[Any, Any], saved: Saved) -> dict[str, Any]:
    warnings = [{"path": warning.path, "message": warning.message} for warning in saved.warnings]
    return {**await _json(call, saved.workflow, saved.version), "warnings": warnings}


FOUND: Final = frozenset({"NOT_FOUND"})
CHANGED: Final = frozenset({"NOT_FOUND", "CONFLICT"})
ONE: Final = "workflows/{id}"

ROUTES: Final[Sequence[Route]] = (
    route(
        *(WORKFLOWS, "GET", "workflows", "workflows.view", list_service_workflows),
        query=schemas.ServiceWorkflowsQuery,
        answer=schemas.OffsetPage[schemas.ServiceWorkflowListed],
    ),
    route(
        *(WORKFLOWS, "POST", "workflows", "workflows.manage", create_service_workflow),
        body=schemas.ServiceWorkflow,
        status=201,
        repeated=service_workflow_created_before,
        headers=("Idempotency-Key",),
        answer=schemas.ServiceData[schemas.ServiceWorkflowSaved],
        refusals=CHANGED,
    ),
    route(
        *(WORKFLOWS, "GET", ONE, "workflows.view", get_service_workflow),
        is_of_one=True,
        answer=schemas.ServiceData[schemas.ServiceWorkflowShown],
        refusals=FOUND,
    ),
    route(
        *(WORKFLOWS, "PATCH", ONE, "workflows.manage", change_service_workflow),
        changes=lambda call: call.path_id("id"),
        body=schemas.ServiceWorkflowChange,
        answer=schemas.ServiceData[schemas.ServiceWorkflowSaved],
        refusals=CHANGED,
    ),
    route(
        *(WORKFLOWS, "DELETE", ONE, "workflows.manage", delete_service_workflow),
        changes=lambda call: call.path_id("id"),
        answer=schemas.ServiceData[schemas.ServiceWorkflowShown],
        refusals=FOUND,
    ),
    *(
        route(
            *(WORKFLOWS, "POST", f"{ONE}/{word}", "workflows.manage", handler),
            body=common.Nothing,
            is_body_optional=True,
            answer=schemas.ServiceData[schemas.ServiceWorkflowShown],
            refusals=CHANGED,
        )
        for word, handler in (("pause", pause_service_workflow), ("resume", resume_service_workflow))
    ),
)
