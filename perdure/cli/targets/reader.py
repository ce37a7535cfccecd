"""A database read beside a server, after one that was killed, or at rest: nothing is written to it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol

from perdure.api.dialects.pauses import brief_json
from perdure.cli.names import SUGGESTED_FROM, is_id, only
from perdure.cli.options import DatabaseScope
from perdure.cli.output import instant
from perdure.cli.runner import CommandFailed, CommandNotRun
from perdure.engine.core import ids
from perdure.engine.database import open_store
from perdure.engine.errors import Invalid
from perdure.engine.log.codec import decode_json
from perdure.engine.runtime.callers import DEFAULT, Caller
from perdure.engine.services.pauses import brief_of
from perdure.engine.services.queries import ExecutionView, Queries
from perdure.engine.suggestions import did_you_mean
from perdure.store.protocols import Store
from perdure.store.records import ApiKeyRow, ExecutionRow, WorkflowRow, WorkspaceRow

if TYPE_CHECKING:  # what only reads needs no engine, and starts in a third of the time without
    from perdure.engine.embedded import Engine

MADE_SHOWN_MAX: Final = 20
"""So many runs that were made from one are named with it."""


class QueuedLimit(Protocol):
    """A limit that a run queues for, from a server or a database."""

    @property
    def kind(self) -> str: ...

    @property
    def limit(self) -> int | None: ...


class View(NamedTuple):
    """A store, and whose data of it are looked at."""

    store: Store
    caller: Caller

    @property
    def reading(self) -> Queries:
        return Queries(self.store)


async def open_database(url: str, *, read_only: bool = True) -> Store:
    """Open a database; what is no URL of one is a matter of usage. Raises `CommandNotRun`, `StoreError`."""
    try:
        return await open_store(url, read_only=read_only)
    except Invalid as error:
        raise CommandNotRun(error.message) from None


@asynccontextmanager
async def reader(url: str) -> AsyncIterator[Store]:
    """A store that is only read."""
    store = await open_database(url)
    try:
        yield store
    finally:
        await store.close()


@asynccontextmanager
async def view(scope: DatabaseScope) -> AsyncIterator[View]:
    """The workspace that a scope names. Raises `CommandFailed` if it is not there."""
    async with reader(scope.database) as store:
        yield View(store, await find_caller(store, scope, "cli:"))


async def find_caller(store: Store, scope: DatabaseScope, actor: str) -> Caller:
    """The caller that acts in the workspace a scope names. Raises `CommandFailed` if it is not there."""
    name = scope.organization or DEFAULT
    organization = await store.organization_named(name)
    if organization is None:
        known = [row.name for row in await store.organizations()]
        raise CommandFailed(f"there is no organization {name!r}.{did_you_mean(name, known)}")
    workspace = await store.workspace_named(organization.organization_id, scope.workspace or DEFAULT)
    if workspace is None:
        raise CommandFailed(f"organization {name!r} has no workspace {scope.workspace or DEFAULT!r}")
    return _caller(workspace, actor)


def _caller(workspace: WorkspaceRow, actor: str) -> Caller:
    live = workspace.live_workspace_id
    return Caller(workspace.organization_id, workspace.workspace_id, actor, live_workspace_id=live)


# --- finding -----------------------------------------------------------------------------------------------------


async def find_workflow(store: Store, caller: Caller, wanted: str) -> WorkflowRow:
    """The workflow of that id or name. Raises `CommandFailed`, with names that are similar."""
    if is_id(wanted):
        row = await store.workflow(ids.parse(wanted))
        if row is not None and row.workspace_id == caller.home_workspace_id:
            return row
    rows, _ = await store.workflows(caller.home_workspace_id, search=wanted, limit=SUGGESTED_FROM)
    found = only("workflow", wanted, [workflow_json(row) for row in rows])
    if found is not None:
        return next(row for row in rows if ids.text(row.workflow_id) == found["id"])
    known, _ = await store.workflows(caller.home_workspace_id, limit=SUGGESTED_FROM)
    raise CommandFailed(f"there is no workflow {wanted!r}.{did_you_mean(wanted, [row.name for row in known])}")


async def find_execution(store: Store, caller: Caller, wanted: str) -> ExecutionRow:
    """The execution of that process id, or of that id. Raises `CommandFailed`, with process ids that are similar."""
    claimed = await store.process_id(caller.organization_id, caller.workspace_id, wanted)
    row = None
    if claimed is not None:
        row = await store.execution(claimed.stream_id)
    elif is_id(wanted):
        row = await store.execution(ids.parse(wanted))
    if row is None or row.workspace_id != caller.workspace_id:
        newest = await store.execution_page(workspace_id=caller.workspace_id, limit=SUGGESTED_FROM)
        known = (await store.process_ids_of([each.execution_id for each in newest])).values()
        raise CommandFailed(f"there is no process or execution {wanted!r}.{did_you_mean(wanted, known)}")
    return row


async def find_key(store: Store, caller: Caller, wanted: str) -> ApiKeyRow:
    """The key of that id or name. Raises `CommandFailed`."""
    rows = await store.api_keys(caller.organization_id, caller.workspace_id)
    for row in rows:
        if ids.text(row.key_id) == wanted.lower():
            return row
    found = only("key", wanted, [key_json(row) for row in rows])
    if found is None:
        raise CommandFailed(f"there is no key {wanted!r}.{did_you_mean(wanted, [row.name for row in rows])}")
    return next(row for row in rows if ids.text(row.key_id) == found["id"])


async def find_for(engine: Engine, scope: DatabaseScope, actor: str, *, is_made: bool) -> Caller:
    """The caller that acts through an engine; `is_made`: organization and workspace are made if they are not there."""
    if not is_made:
        return await find_caller(engine.store, scope, actor)
    organization = await engine.services.access.organization(scope.organization or DEFAULT, actor)
    workspace = await engine.services.access.workspace(organization.organization_id, scope.workspace or DEFAULT, actor)
    return _caller(workspace, actor)


# --- as JSON -----------------------------------------------------------------------------------------------------


def workflow_json(row: WorkflowRow) -> dict[str, Any]:
    """A workflow without its definition."""
    return {
        "id": ids.text(row.workflow_id),
        "name": row.name,
        "description": row.description,
        "status": row.status,
        "version": row.latest_version,
        "created_at": instant(row.created_at),
        "created_by": row.created_by,
        "updated_at": instant(row.modified_at),
        "updated_by": row.modified_by,
    }


def run_json(row: ExecutionRow, process_id: str, workflow: str | None) -> dict[str, Any]:
    """An execution without its values."""
    return {
        "execution_id": ids.text(row.execution_id),
        "process_id": process_id,
        "workflow_id": ids.text(row.workflow_id),
        "workflow_name": workflow,
        "workflow_version": row.workflow_version,
        "status": row.status,
        "state": row.state,
        "trigger": row.trigger_type,
        "created_at": instant(row.created_at),
        "modified_at": instant(row.modified_at),
        "modified_by": row.modified_by,
        "pause": None if (pause := brief_of(row)) is None else brief_json(pause, instant),
        "ended_at": instant(row.ended_at),
    }


def values_json(shown: ExecutionView) -> dict[str, Any]:
    """The values of an execution; it has an output once it is completed."""
    output = shown.output if shown.row.status == "completed" else None
    return {"input": shown.input, "output": output, "error": shown.error, "cause": shown.cause}


def key_json(row: ApiKeyRow, used_at: int | None = None) -> dict[str, Any]:
    """A key, without its text, which nobody has any more."""
    return {
        "id": ids.text(row.key_id),
        "name": row.name,
        "scopes": row.scopes.split(),
        "created_at": instant(row.created_at),
        "created_by": row.created_by,
        "expires_at": instant(row.expires_at),
        "revoked_at": instant(row.revoked_at),
        "last_used_at": instant(used_at),
        "mode": row.mode,
        "user_id": row.user_id,
        "role_ids": decode_json(row.role_ids),
    }


def queue_line(position: int, limits: Iterable[QueuedLimit]) -> dict[str, Any]:
    """Where a run stands in line, as the command line shows it."""
    return {"position": position, "limits": [{"kind": each.kind, "limit": each.limit} for each in limits]}
