"""The resource API: workflows as they are written, keys, and the waits that are open."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Annotated, Any, ClassVar, Final, Literal, TypeAlias

import msgspec

from perdure.api.dialects import schemas as answers
from perdure.api.dialects.process.workflows import Version
from perdure.api.http.auth import PREFIX as SCOPE_PREFIX
from perdure.api.http.auth import plain_scopes
from perdure.api.http.instants import iso
from perdure.api.http.paging import LIMIT_DEFAULT, PageNumber, WideLimit
from perdure.api.http.routing import Reply, Route, RouteCall
from perdure.api.validation import Request, Uuid, id_of, milliseconds, read
from perdure.engine.core import ids
from perdure.engine.errors import Invalid
from perdure.engine.log.codec import decode_json
from perdure.engine.services.access import SCOPES
from perdure.engine.services.workflows import Saved
from perdure.store.records import ApiKeyRow, WaitRow, WorkflowRow, WorkflowVersionRow

PREFIX: Final = "/v1"

# A name is one line; a description may have more.
Name: TypeAlias = Annotated[
    str,
    msgspec.Meta(
        min_length=1,
        max_length=120,
        pattern=r"^[^\x00-\x1f\x7f-\x9f\u2028\u2029]*\Z",
        extra={"accepts": "a text of 1 to 120 characters, none of them a control character"},
    ),
]
Description: TypeAlias = Annotated[
    str,
    msgspec.Meta(max_length=500, pattern=r"^[^\x00]*\Z", extra={"accepts": "a text of at most 500 characters"}),
]
Definition: TypeAlias = Annotated[
    dict[str, Any], msgspec.Meta(extra={"accepts": "an object in Amazon States Language"})
]
ScopeName: TypeAlias = Annotated[
    str,
    msgspec.Meta(extra_json_schema={"pattern": f"^({re.escape(SCOPE_PREFIX)})?({'|'.join(map(re.escape, SCOPES))})$"}),
]
Moment: TypeAlias = Annotated[datetime, msgspec.Meta(extra_json_schema={"format": "date-time"})]
WorkflowStatus: TypeAlias = Literal["draft", "published", "archived"]


def _data(data: Any, *, status: int = 200, meta: Mapping[str, Any] | None = None) -> Reply:
    body = {"success": True, "data": data}
    return Reply(body if meta is None else {**body, "meta": meta}, status)


# --- workflows ---------------------------------------------------------------------------------------------------


class Named(Request, frozen=True):
    """A name in a path."""

    name: Name


class RunSettings(Request, frozen=True):
    """Rules for the runs of a workflow. `resume` "named": a resume must say which wait it means."""

    resume: Annotated[Literal["any", "named"], msgspec.Meta(extra={"accepts": "'any' or 'named'"})] = "any"

    not_yet: ClassVar[Mapping[str, str]] = {"timeoutMs": "", "concurrencyLimit": ""}


class NewWorkflow(Request, frozen=True):
    """A workflow and its first version."""

    name: Name
    definition: Definition
    description: Description | None = None
    status: Annotated[Literal["published", "draft"], msgspec.Meta(extra={"accepts": "'published' or 'draft'"})] = (
        "published"
    )
    settings: RunSettings = RunSettings()
    trigger_type: Annotated[
        Literal["manual"], msgspec.Meta(extra={"accepts": "'manual' ('schedule' is not supported yet)"})
    ] = "manual"
    mock_payload: dict[str, Any] | None = None

    not_yet: ClassVar[Mapping[str, str]] = {
        "cron_expression": "",
        "timezone": "",
        "nodes": "send a definition in Amazon States Language",
        "edges": "send a definition in Amazon States Language",
        "steps": "send a definition in Amazon States Language",
    }


class WorkflowChange(Request, frozen=True):
    """What is to be changed; the rest stays."""

    name: Name | msgspec.UnsetType = msgspec.UNSET
    description: Description | msgspec.UnsetType = msgspec.UNSET
    definition: Definition | msgspec.UnsetType = msgspec.UNSET
    status: (
        Annotated[
            Literal["published", "draft"],
            msgspec.Meta(extra={"accepts": "'published' or 'draft' (DELETE archives)"}),
        ]
        | msgspec.UnsetType
    ) = msgspec.UNSET

    settings: RunSettings | msgspec.UnsetType = msgspec.UNSET

    not_yet: ClassVar[Mapping[str, str]] = {**NewWorkflow.not_yet, "trigger_type": ""}


class WorkflowsQuery(Request, frozen=True):
    """A page of workflows; `search` is a part of the name, without regard to case."""

    page: PageNumber = 1
    limit: WideLimit = LIMIT_DEFAULT
    status: WorkflowStatus | None = None
    search: Annotated[str, msgspec.Meta(min_length=1, max_length=120)] | None = None


class WorkflowQuery(Request, frozen=True):
    """Which version of a workflow."""

    version: Version | None = None


async def create_workflow(call: RouteCall[Any, NewWorkflow]) -> Reply:
    """Make a workflow; its first version is published unless it is to be a draft."""
    body = call.body
    saved = await call.engine.services.workflows.create(
        call.caller,
        body.name,
        body.definition,
        description=body.description,
        is_published=body.status == "published",
        mock_payload=body.mock_payload,
        resume=body.settings.resume,
    )
    return _data(_saved(saved), status=201)


class AppliedWorkflow(Request, frozen=True):
    """The definition that the workflow of a name is to have; what is not said stays as it is."""

    definition: Definition
    description: Description | None = None
    status: Annotated[Literal["published", "draft"], msgspec.Meta(extra={"accepts": "'published' or 'draft'"})] = (
        "published"
    )
    settings: RunSettings | msgspec.UnsetType = msgspec.UNSET

    not_yet: ClassVar[Mapping[str, str]] = {**NewWorkflow.not_yet, "trigger_type": ""}


async def apply_workflow(call: RouteCall[Any, AppliedWorkflow]) -> Reply:
    """Create the workflow of that name, or its next version if anything differs; sent again it changes nothing."""
    body, name = call.body, read(Named, {"name": call.path["name"]}).name
    settings = _given(body.settings)
    applied = await call.engine.services.workflows.apply(
        call.caller,
        name,
        body.definition,
        description=body.description,
        is_published=body.status == "published",
        resume=None if settings is None else settings.resume,
    )
    return _data({**_saved(applied.saved), "outcome": applied.outcome})


async def list_workflows(call: RouteCall[WorkflowsQuery, None]) -> Reply:
    """The workflows of the key's workspace, newest first."""
    query = call.query
    rows, total = await call.engine.services.queries.workflow_page(
        call.caller, page=query.page, limit=query.limit, status=query.status, search=query.search
    )
    meta = {"page": query.page, "limit": query.limit, "total": total}
    return _data([_workflow(row) for row in rows], meta=meta)


async def get_workflow(call: RouteCall[WorkflowQuery, None]) -> Reply:
    """A workflow with its latest version, or another one."""
    workflow_id = call.path_id("id")
    row = await call.engine.services.workflows.workflow(call.caller, workflow_id)
    version = await call.engine.services.workflows.version(
        call.caller, workflow_id, call.query.version or row.latest_version
    )
    return _data(_with_definition(row, version))


async def change_workflow(call: RouteCall[Any, WorkflowChange]) -> Reply:
    """Change a workflow. A published version never changes: another definition or setting makes the next version."""
    body = call.body
    status, settings = _given(body.status), _given(body.settings)
    saved = await call.engine.services.workflows.change(
        call.caller,
        call.path_id("id"),
        name=_given(body.name),
        description=_given(body.description),
        definition=_given(body.definition),
        is_published=None if status is None else status == "published",
        resume=None if settings is None else settings.resume,
    )
    return _data(_saved(saved))


async def archive_workflow(call: RouteCall[Any, None]) -> Reply:
    """Let no run start any more; history stays readable."""
    return _data(_workflow(await call.engine.services.workflows.archive(call.caller, call.path_id("id"))))


def _given(value: Any) -> Any:
    return None if value is msgspec.UNSET else value


def _saved(saved: Saved) -> dict[str, Any]:
    warnings = [{"path": warning.path, "message": warning.message} for warning in saved.warnings]
    return {**_with_definition(saved.workflow, saved.version), "warnings": warnings}


def _with_definition(row: WorkflowRow, version: WorkflowVersionRow) -> dict[str, Any]:
    mock = version.mock_payload
    return {
        **_workflow(row),
        "definition": decode_json(version.definition),
        "mock_payload": None if mock is None else decode_json(mock),
        "shown_version": version.version,
        "published_at": iso(version.published_at),
        "settings": {"resume": version.resume},
    }


def _workflow(row: WorkflowRow) -> dict[str, Any]:
    return {
        "id": ids.text(row.workflow_id),
        "name": row.name,
        "description": row.description,
        "status": row.status,
        "version": row.latest_version,
        "trigger_type": "manual",
        "created_at": iso(row.created_at),
        "created_by": row.created_by,
        "updated_at": iso(row.modified_at),
        "updated_by": row.modified_by,
    }


# --- keys --------------------------------------------------------------------------------------------------------


class NewKey(Request, frozen=True):
    """A key. Organization and workspace are given by name, and only an operator may name others than its own."""

    name: Name
    scopes: Annotated[list[ScopeName], msgspec.Meta(min_length=1, max_length=64)]
    organization: Name | None = None
    workspace: Name | None = None
    expires_at: Moment | None = None


async def create_key(call: RouteCall[Any, NewKey]) -> Reply:
    """Make a key. Its text is in this answer and nowhere else."""
    body = call.body
    expires_at = None if body.expires_at is None else milliseconds("expires_at", body.expires_at)
    if expires_at is not None and expires_at <= call.engine.now():
        raise Invalid("expires_at: it is in the past; it must be a time to come", {"field": "expires_at"})
    made = await call.engine.services.access.create_key(
        call.principal,
        body.name,
        plain_scopes(body.scopes),
        organization_name=body.organization,
        workspace_name=body.workspace,
        expires_at=expires_at,
    )
    return _data({**_key(made.row), "key": made.text}, status=201)


class KeysQuery(Request, frozen=True):
    """A page of keys; `after` is the last key's id before it."""

    limit: WideLimit = LIMIT_DEFAULT
    after: Uuid | None = None


async def list_keys(call: RouteCall[KeysQuery, None]) -> Reply:
    """The keys of the workspace, without their texts, oldest first; an operator's key sees its organization's."""
    query = call.query
    after = b"" if query.after is None else id_of("after", query.after)
    rows, uses = await call.engine.services.access.keys(call.principal, after=after, limit=query.limit + 1)
    keys = [_key(row, uses.get(row.key_id)) for row in rows[: query.limit]]
    return _data(keys, meta=_after(query.limit, has_more=len(rows) > query.limit, last=keys and keys[-1]["id"]))


class RevokeQuery(Request, frozen=True):
    """`with_children`: the keys that it made, too; without it: unless it has the scope operator."""

    with_children: bool | None = None


async def revoke_key(call: RouteCall[RevokeQuery, None]) -> Reply:
    """Revoke a key, at once and for ever, and with it the keys that it made."""
    key_id, access = call.path_id("id"), call.engine.services.access
    row = await access.revoke_key(call.principal, key_id, with_children=call.query.with_children)
    uses = await access.last_uses([key_id])
    return _data(_key(row, uses.get(key_id)))


def _key(row: ApiKeyRow, used_at: int | None = None) -> dict[str, Any]:
    # Not who made it: an operator's key may belong to another organization.
    return {
        "id": ids.text(row.key_id),
        "name": row.name,
        "scopes": row.scopes.split(),
        "organization_id": ids.text(row.organization_id),
        "workspace_id": ids.text(row.workspace_id),
        "created_at": iso(row.created_at),
        "expires_at": iso(row.expires_at),
        "revoked_at": iso(row.revoked_at),
        "last_used_at": iso(used_at),
    }


# --- waits -------------------------------------------------------------------------------------------------------


class WaitsQuery(Request, frozen=True):
    """A page of open waits, of one process or workflow if it is named; `after` is the last wait's id before it."""

    process_id: str | None = None
    workflow_id: Uuid | None = None
    limit: WideLimit = LIMIT_DEFAULT
    after: Uuid | None = None


async def list_waits(call: RouteCall[WaitsQuery, None]) -> Reply:
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
    return _data(
        waits, meta=_after(query.limit, has_more=len(found) > query.limit, last=waits and waits[-1]["wait_id"])
    )


def _after(limit: int, *, has_more: bool, last: Any) -> dict[str, Any]:
    """Where a page stands whose position is the id of its last item."""
    return {"limit": limit, "has_more": has_more, "after": last if has_more else None}


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


def _route(method: str, path: str, scope: str, handler: Any, **more: Any) -> Route:
    return Route(method=method, path=f"{PREFIX}{path}", scope=scope, handler=handler, **more)


_MISSING: Final = frozenset({"NOT_FOUND"})
_CHANGING: Final = frozenset({"NOT_FOUND", "CONFLICT"})

ROUTES: Final[Sequence[Route]] = (
    _route(
        *("POST", "/workflows", "workflows.manage", create_workflow),
        body=NewWorkflow,
        status=201,
        answer=answers.Data[answers.WorkflowSaved],
    ),
    _route(
        *("GET", "/workflows", "workflows.view", list_workflows),
        query=WorkflowsQuery,
        answer=answers.Page[answers.WorkflowShown, answers.Numbered],
    ),
    _route(
        *("GET", "/workflows/{id}", "workflows.view", get_workflow),
        query=WorkflowQuery,
        answer=answers.Data[answers.WorkflowWhole],
        refusals=_MISSING,
    ),
    _route(
        *("PUT", "/workflows/by-name/{name}", "workflows.manage", apply_workflow),
        body=AppliedWorkflow,
        answer=answers.Data[answers.WorkflowApplied],
        refusals=frozenset({"CONFLICT"}),
    ),
    _route(
        *("PATCH", "/workflows/{id}", "workflows.manage", change_workflow),
        body=WorkflowChange,
        answer=answers.Data[answers.WorkflowSaved],
        refusals=_CHANGING,
    ),
    _route(
        *("DELETE", "/workflows/{id}", "workflows.manage", archive_workflow),
        answer=answers.Data[answers.WorkflowShown],
        refusals=_MISSING,
    ),
    _route(
        *("POST", "/keys", "keys.manage", create_key),
        body=NewKey,
        status=201,
        answer=answers.Data[answers.KeyMade],
    ),
    _route(
        *("GET", "/keys", "keys.manage", list_keys),
        query=KeysQuery,
        answer=answers.Page[answers.KeyShown, answers.After],
    ),
    _route(
        *("DELETE", "/keys/{id}", "keys.manage", revoke_key),
        query=RevokeQuery,
        answer=answers.Data[answers.KeyShown],
        refusals=_CHANGING,
    ),
    _route(
        *("GET", "/waits", "runs.view", list_waits),
        query=WaitsQuery,
        answer=answers.Page[answers.WaitShown, answers.After],
        refusals=_MISSING,
    ),
)
