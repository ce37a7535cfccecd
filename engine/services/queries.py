"""Queries: executions and their events, read from the store and never through the writer."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from perdure.engine.core import ids
from perdure.engine.core.events import Recorded
from perdure.engine.core.refs import Ref, resolve, seq_of
from perdure.engine.core.transitions import TERMINAL
from perdure.engine.log.codec import EXECUTION, decode_json
from perdure.engine.runtime.callers import KEY_ACTOR, Caller
from perdure.engine.runtime.workers.places import kinds_of, limit_in_force
from perdure.engine.services.pauses import PauseView, view_of
from perdure.engine.services.unseen import Unseen, filled
from perdure.store.protocols import Catalog, Store
from perdure.store.records import ExecutionRow, WaitRow, WorkflowRow, WorkflowVersionRow


class QueuedFor(NamedTuple):
    """A limit that a run queues for: its kind (workflow, key or organization), and how many it allows; null: any."""

    kind: str
    limit: int | None


class PlaceInLine(NamedTuple):
    """A run's place in line, from 1, and the limits that it needs a place in."""

    position: int
    limits: list[QueuedFor]


class ExecutionView(NamedTuple):
    """An execution as it is shown: its row, the caller's name for it, and the values its references point to."""

    row: ExecutionRow
    process_id: str
    input: Any
    output: Any
    error: str | None
    cause: str | None
    pause: PauseView | None = None


class Queries:
    """Reads of executions, limited to what a caller may see."""

    def __init__(self, store: Store, unseen: Unseen | None = None) -> None:
        self._store = store
        self._unseen = unseen or Unseen(store)

    async def execution(self, caller: Caller, execution_id: bytes) -> ExecutionView:
        """One execution of the caller's workspace. Raises `NotFound`."""
        view = (await self.views([await self.row(caller, execution_id)]))[0]
        from perdure.engine.runtime.telemetry.request_context import bind_execution  # noqa: PLC0415 commands that read log nothing, and start quicker

        bind_execution(ids.text(execution_id), view.process_id)
        return view

    async def row(self, caller: Caller, execution_id: bytes) -> ExecutionRow:
        """The row of an execution of the caller's workspace, without its values. Raises `NotFound`."""
        return await self._unseen.check(caller, await self._store.execution(execution_id), execution_id)

    async def queue(self, execution_id: bytes) -> PlaceInLine | None:
        """Where an execution stands in line; null if it does not."""
        found = await self._store.in_line(execution_id)
        if found is None:
            return None
        kinds = kinds_of(found.row)
        limits = [QueuedFor(kind, await limit_in_force(self._store, kind, found.row)) for kind in kinds]
        return PlaceInLine(found.ahead + 1, limits)

    async def views(self, rows: Sequence[ExecutionRow]) -> list[ExecutionView]:
        """Executions with their values."""
        names = await self._store.process_ids_of([row.execution_id for row in rows])
        return [await self._view(row, names.get(row.execution_id)) for row in rows]

    async def _view(self, row: ExecutionRow, process_id: str | None) -> ExecutionView:
        wanted = [r for r in (row.input_ref, row.output_ref, row.error_ref, row.cause_ref) if r is not None]
        seqs = {*map(seq_of, wanted), *(() if row.paused_seq is None else (row.paused_seq,))}
        stored = await self._store.events_at(row.execution_id, sorted(seqs))
        payloads = {item.row.seq: decode_json(item.row.payload) for item in stored if item.row.payload}

        def value(reference: Ref | None) -> Any:
            if reference is None or seq_of(reference) not in payloads:
                return None
            return resolve(reference, payloads)

        has_none = row.status in TERMINAL and row.status != "completed"  # the last state's is not the execution's
        return ExecutionView(
            row=row,
            process_id=process_id or ids.text(row.execution_id),
            input=value(row.input_ref),
            output=None if has_none else value(row.output_ref),
            error=row.error if row.error is not None else value(row.error_ref),
            cause=value(row.cause_ref),
            pause=next(
                (view_of(row, EXECUTION.read(item.row)) for item in stored if item.row.seq == row.paused_seq), None
            ),
        )

    async def page(
        self,
        caller: Caller,
        *,
        workflow_id: bytes | None = None,
        whole_organization: bool = False,
        before: bytes | None = None,
        limit: int = 20,
    ) -> tuple[list[ExecutionRow], bool]:
        """Executions by id, newest first, below `before`; and whether more follow."""
        if workflow_id is not None:
            scope = {"workflow_id": workflow_id, "workspace_id": caller.workspace_id}
        elif whole_organization:
            scope = {"organization_id": caller.organization_id}
        else:
            scope = {"workspace_id": caller.workspace_id}
        unseen = await self._unseen.by(caller)

        async def read(last: ExecutionRow | None, most: int) -> list[ExecutionRow]:
            below = before if last is None else last.execution_id
            return await self._store.execution_page(**scope, before=below, limit=most)

        rows = await filled(read, (lambda row: row.workflow_id not in unseen) if unseen else None, limit + 1)
        return rows[:limit], len(rows) > limit

    async def process_ids(self, rows: Sequence[ExecutionRow]) -> dict[bytes, str]:
        """The process ids of executions, chosen and implied."""
        chosen = await self._store.process_ids_of([row.execution_id for row in rows])
        return {row.execution_id: chosen.get(row.execution_id, ids.text(row.execution_id)) for row in rows}

    async def workflow_names(self, rows: Sequence[ExecutionRow]) -> dict[bytes, str]:
        """The names of the workflows of executions that the caller may see."""
        found = await self._store.workflows_of(list({row.workflow_id for row in rows}))
        return {workflow_id: row.name for workflow_id, row in found.items()}

    async def latest_input(self, caller: Caller, workflow_id: bytes, version: int) -> Any:
        """The input of the newest completed execution of a version of the caller's workspace; null if none is."""
        row = await self._store.latest_completed(caller.workspace_id, workflow_id, version)
        if row is None:
            return None
        return (await self.views([row]))[0].input

    async def workflow_page(
        self,
        caller: Caller,
        *,
        offset: int = 0,
        before: bytes | None = None,
        limit: int,
        status: str | None = None,
        search: str | None = None,
    ) -> tuple[list[WorkflowRow], int]:
        """The workflows that the caller sees, newest first and below `before`; and how many there are in all."""
        return await self._store.workflows(
            caller.home_workspace_id,
            status=status,
            search=search,
            viewer=caller.viewer,
            before=before,
            limit=limit,
            offset=offset,
        )

    async def version_page(
        self,
        caller: Caller,
        *,
        whole_organization: bool = False,
        before: tuple[bytes, int] | None = None,
        limit: int = 20,
    ) -> tuple[list[tuple[WorkflowRow, WorkflowVersionRow]], bool]:
        """Versions of workflows by (workflow id, version), newest first, below `before`; and whether more follow."""
        workspace_id = None if whole_organization else caller.home_workspace_id
        rows = await self._store.workflow_version_page(
            caller.organization_id, workspace_id=workspace_id, viewer=caller.viewer, before=before, limit=limit + 1
        )
        return rows[:limit], len(rows) > limit

    async def events(self, execution_id: bytes, *, after: int = 0, limit: int | None = None) -> list[Recorded]:
        """Events of an execution, in order."""
        stored = await self._store.events(execution_id, after=after, limit=limit)
        return EXECUTION.read_all(stored)

    async def last_events(self, execution_id: bytes, limit: int) -> list[Recorded]:
        """The last events of an execution, in order."""
        return EXECUTION.read_all(await self._store.last_events(execution_id, limit))

    async def last_events_of(self, rows: Sequence[ExecutionRow], limit: int) -> dict[bytes, list[Recorded]]:
        """The last events of each of these executions, in order."""
        found = await self._store.last_events_of([row.execution_id for row in rows], limit)
        return {execution_id: EXECUTION.read_all(stored) for execution_id, stored in found.items()}

    async def open_waits(
        self,
        caller: Caller,
        *,
        execution_id: bytes | None = None,
        workflow_id: bytes | None = None,
        after: bytes = b"",
        limit: int = 100,
    ) -> list[tuple[WaitRow, str]]:
        """Open waits of the caller's workspace, each with its process id."""
        unseen = await self._unseen.by(caller)

        async def read(last: WaitRow | None, most: int) -> list[WaitRow]:
            return await self._store.open_waits(
                caller.workspace_id,
                execution_id=execution_id,
                workflow_id=workflow_id,
                after=after if last is None else last.wait_id,
                limit=most,
            )

        rows = await filled(read, (lambda row: row.workflow_id not in unseen) if unseen else None, limit)
        names = await self._store.process_ids_of([row.execution_id for row in rows])
        return [(row, names.get(row.execution_id, ids.text(row.execution_id))) for row in rows]


async def key_names(store: Catalog, organization_id: bytes, actors: Iterable[str]) -> dict[str, str]:
    """The names of the keys of an organization that are among these actors, by actor."""
    found = {}
    for actor in actors:
        key = actor.removeprefix(KEY_ACTOR)
        if key != actor and ids.is_id(key):
            row = await store.api_key(ids.parse(key))
            if row is not None and row.organization_id == organization_id:
                found[actor] = row.name
    return found
