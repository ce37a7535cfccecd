"""The process API's views of workflows: a version, its schema, and the pages of an organization's versions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from perdure.api.dialects.process import schemas
from perdure.api.dialects.process.dialect import route
from perdure.api.http.paging import page_of
from perdure.api.http.routing import Reply, Route, RouteCall
from perdure.api.validation import id_of
from perdure.engine.core import ids
from perdure.engine.errors import Invalid, NotFound
from perdure.engine.history import outline, schema_of
from perdure.engine.log.codec import decode_json
from perdure.store.records import WorkflowRow, WorkflowVersionRow

STATUS: Final = {"draft": "DRAFT", "published": "ACTIVE", "archived": "ARCHIVED"}
"""The process API's words for a status, but for `PAUSED`: a published version of which nothing starts by itself."""


async def workflow(call: RouteCall[schemas.VersionQuery, None]) -> Reply:
    """All data of a version."""
    row, version = await _found(call)
    mock = await _mock(call, version)
    item = {
        **_described(row, version, await _paused(call, [row])),
        "workflow_integrations": {},
        **outline(decode_json(version.definition)),
        "workflow_schema": _schema(mock),
    }
    return Reply({"message": "success", "item": item})


async def schema(call: RouteCall[schemas.VersionQuery, None]) -> Reply:
    """An example of a version's input, and a JSON Schema for it."""
    row, version = await _found(call)
    mock = await _mock(call, version)
    fields = ("workflow_id", "workflow_version", "created_on", "created_by", "modified_on", "modified_by")
    described = _described(row, version, frozenset())
    item = {name: described[name] for name in fields}
    item |= {"workflow_mock_payload": mock, "workflow_schema": _schema(mock)}
    return Reply({"message": "success", "item": item})


async def _found(call: RouteCall[schemas.VersionQuery, None]) -> tuple[WorkflowRow, WorkflowVersionRow]:
    workflow_id = id_of("workflow_id", call.query.workflow_id)
    row = await call.engine.services.workflows.workflow(call.caller, workflow_id)
    return row, await call.engine.services.workflows.version(call.caller, workflow_id, call.query.workflow_version)


async def _mock(call: RouteCall[Any, None], version: WorkflowVersionRow) -> Any:
    """The example given with the definition, or for who may see runs the input of the latest finished one."""
    if version.mock_payload is not None:
        return decode_json(version.mock_payload)
    if "runs.view" not in call.principal.scopes:
        return None
    return await call.engine.services.queries.latest_input(call.caller, version.workflow_id, version.version)


def _schema(mock: Any) -> dict[str, Any]:
    return {} if mock is None else schema_of(mock)


async def organization_workflows(call: RouteCall[schemas.VersionsQuery, None]) -> Reply:
    """The versions of the key's workspace, or with `organization.view` of its organization; newest first."""
    query = call.query
    _check_organization(call)
    rows, has_more = await call.engine.services.queries.version_page(
        call.caller,
        whole_organization="organization.view" in call.principal.scopes,
        before=_position(query.workflow_id, query.workflow_version),
        limit=query.limit,
    )
    paused = await _paused(call, [row for row, _ in rows])
    items = [_described(row, version, paused) for row, version in rows]
    return Reply(page_of(items, _last_key(rows[-1][1]) if has_more else None))


def _check_organization(call: RouteCall[schemas.VersionsQuery, None]) -> None:
    """A position belongs to an organization, and only its own key may send it back."""
    given = call.query.organization_id
    if given is not None and id_of("organization_id", given) != call.caller.organization_id:
        raise NotFound(f"there is no organization {given}")


def _position(workflow_id: str | None, version: int | None) -> tuple[bytes, int] | None:
    if workflow_id is None and version is None:
        return None
    if workflow_id is None or version is None:
        alone = "workflow_version" if workflow_id is None else "workflow_id"
        raise Invalid(
            f"{alone}: alone it is no position; send workflow_id and workflow_version, as lastKey has them",
            {"field": alone},
        )
    return id_of("workflow_id", workflow_id), version


def _last_key(version: WorkflowVersionRow) -> dict[str, Any]:
    return {
        "organization_id": ids.text(version.organization_id),
        "workflow_id": ids.text(version.workflow_id),
        "workflow_version": version.version,
    }


async def _paused(call: RouteCall[Any, Any], rows: Sequence[WorkflowRow]) -> frozenset[bytes]:
    """The workflows that are paused, or of which all schedules are."""
    own = {row.workflow_id for row in rows}
    schedules = await call.engine.services.schedules.rows_of(sorted(own))
    active = {each.workflow_id for each in schedules if each.status == "active"}
    idle = {each.workflow_id for each in schedules} - active
    return frozenset(idle | {row.workflow_id for row in rows if row.status == "paused"})


def _described(row: WorkflowRow, version: WorkflowVersionRow, paused: frozenset[bytes]) -> dict[str, Any]:
    own = "draft" if version.published_at is None else "published"
    status = STATUS["archived" if row.status == "archived" else own]
    if status == "ACTIVE" and row.workflow_id in paused:
        status = "PAUSED"
    return {
        "workflow_id": ids.text(row.workflow_id),
        "workflow_version": version.version,
        "workflow_name": row.name,
        "workflow_status": status,
        "workflow_status_version": f"{status}_{version.version}",
        "latest": "true" if version.version == row.latest_version else "false",
        "organization_id": ids.text(row.organization_id),
        "workspace_id": ids.text(row.workspace_id),
        "created_on": version.created_at,
        "created_by": version.created_by,
        "modified_on": row.modified_at,
        "modified_by": row.modified_by,
    }


async def toggle(call: RouteCall[Any, schemas.Toggle]) -> Reply:
    """Pause the schedules of a workflow, or let them go on; slots of a pause are not made up for."""
    body, is_enabled = call.body, call.body.action == "PLAY"
    workflow_id = id_of("workflow_id", body.workflow_id)
    await call.engine.services.workflows.version(call.caller, workflow_id, body.workflow_version)
    await call.engine.services.schedules.switch(call.caller, workflow_id, is_enabled=is_enabled)
    told = {"workflow_id": ids.text(workflow_id), "workflow_version": body.workflow_version}
    return Reply({"message": "success", **told, "status": "ACTIVE" if is_enabled else "PAUSED"})


ROUTES: Final[Sequence[Route]] = (
    route(
        *("POST", "toggleScheduledWorkflow", "workflows.manage", toggle),
        body=schemas.Toggle,
        answer=schemas.Toggled,
        refusals=frozenset({"NOT_FOUND", "CONFLICT"}),
    ),
    route(
        *("GET", "getWorkflowById", "workflows.view", workflow),
        is_of_one=True,
        query=schemas.VersionQuery,
        answer=schemas.VersionShown,
        refusals=frozenset({"NOT_FOUND"}),
    ),
    route(
        *("GET", "getOrganizationWorkflows", "workflows.view", organization_workflows),
        query=schemas.VersionsQuery,
        answer=schemas.VersionPage,
        refusals=frozenset({"NOT_FOUND"}),
    ),
    route(
        *("GET", "getWorkflowSchemaById", "workflows.view", schema),
        is_of_one=True,
        query=schemas.VersionQuery,
        answer=schemas.SchemaShown,
        refusals=frozenset({"NOT_FOUND"}),
    ),
)
