"""The projections of executions, read with SQL."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from sqlalchemy import bindparam, func, select, tuple_, union

from perdure.store.batch import OPERATOR, execution_scope
from perdure.store.records import CountRow, ExecutionRow, IdempotencyRow, ProcessIdRow, TimerRow, WaitRow
from perdure.store.schema import (
    HAS_ORIGIN,
    LIVE,
    PAUSED,
    execution_counts,
    executions,
    idempotency,
    process_ids,
    timers,
    waits,
    workspaces,
)
from perdure.store.sql.endings import IS_CURRENT, IS_OPEN, SEEN_WAITS
from perdure.store.sql.finding import SqlFinding
from perdure.store.sql.session import in_parts

_EXECUTION: Final = select(executions).where(executions.c.execution_id == bindparam("id"))
_ANY: Final = {
    column.name: select(executions)
    .where(column == bindparam("value"), executions.c.execution_id < bindparam("before"))
    .order_by(executions.c.execution_id.desc())
    .limit(bindparam("limit"))
    for column in (executions.c.workflow_id, executions.c.workspace_id, executions.c.organization_id)
}
_SANDBOXES: Final = select(workspaces.c.workspace_id).where(
    workspaces.c.organization_id == bindparam("value"), workspaces.c.live_workspace_id.is_not(None)
)
_PAGES: Final = {
    "workflow_id": _ANY["workflow_id"].where(executions.c.workspace_id == bindparam("workspace_id")),
    "workspace_id": _ANY["workspace_id"],
    "organization_id": _ANY["organization_id"].where(executions.c.workspace_id.not_in(_SANDBOXES)),
}
_ABOVE_ALL_IDS: Final = b"\xff" * 17
_OF_ORIGIN: Final = (
    select(executions)
    .where(HAS_ORIGIN, executions.c.origin_id == bindparam("origin_id"), executions.c.execution_id > bindparam("after"))
    .order_by(executions.c.execution_id)
    .limit(bindparam("limit"))
)
_LIVE: Final = (
    select(executions)
    .where(LIVE, executions.c.execution_id > bindparam("after"))
    .order_by(executions.c.execution_id)
    .limit(bindparam("limit"))
)
_ALIVE: Final = union(
    select(executions.c.execution_id).where(LIVE, executions.c.status != "waiting"),
    select(waits.c.execution_id).where(IS_OPEN),  # what waits has an open wait, and nothing that has ended has one
)
_LIVE_COUNTS: Final = (
    select(executions.c.status, func.count()).where(executions.c.execution_id.in_(_ALIVE)).group_by(executions.c.status)
)
_PAUSER: Final = func.coalesce(executions.c.paused_quota, OPERATOR)
_PAUSED_COUNTS: Final = select(_PAUSER, func.count()).where(PAUSED).group_by(executions.c.paused_quota)
_TOTAL: Final = func.sum(execution_counts.c.total)
_COUNTED_BY: Final = (execution_counts.c.workspace_id, execution_counts.c.workflow_id, execution_counts.c.status)
_COUNTS: Final = (
    select(*_COUNTED_BY, _TOTAL)
    .where(execution_counts.c.workspace_id == bindparam("workspace_id"))
    .group_by(*_COUNTED_BY)
    .having(_TOTAL != 0)
    .order_by(*_COUNTED_BY)
)
_COUNTS_OF_WORKFLOW: Final = _COUNTS.where(execution_counts.c.workflow_id == bindparam("workflow_id"))
_LATEST_COMPLETED: Final = (
    select(executions)
    .where(
        executions.c.workspace_id == bindparam("workspace_id"),
        executions.c.workflow_id == bindparam("workflow_id"),
        executions.c.workflow_version == bindparam("version"),
        executions.c.status == "completed",
    )
    .order_by(executions.c.execution_id.desc())
    .limit(1)
)
_IN_WORKSPACE: Final = select(process_ids).where(
    process_ids.c.organization_id == bindparam("organization_id"),
    process_ids.c.workspace_id == bindparam("workspace_id"),
)
_PROCESS_ID: Final = _IN_WORKSPACE.where(process_ids.c.process_id == bindparam("process_id"))
_PROCESS_IDS_NAMED: Final = _IN_WORKSPACE.where(process_ids.c.process_id.in_(bindparam("process_ids", expanding=True)))
_PROCESS_IDS_OF: Final = select(process_ids.c.stream_id, process_ids.c.process_id).where(
    process_ids.c.stream_id.in_(bindparam("stream_ids", expanding=True))
)
_IDEMPOTENCY_OF: Final = select(idempotency).where(
    idempotency.c.organization_id == bindparam("organization_id"),
    idempotency.c.workspace_id == bindparam("workspace_id"),
    idempotency.c.key.in_(bindparam("keys", expanding=True)),
)
_WAIT: Final = SEEN_WAITS.where(waits.c.wait_id == bindparam("id"))
_WAITS_OF: Final = SEEN_WAITS.where(waits.c.execution_id == bindparam("id")).order_by(
    waits.c.opened_seq, waits.c.wait_id
)
_SCOPES_OF_WAITS: Final[list[tuple[str, ...]]] = [
    ("workspace_id",),
    ("workspace_id", "execution_id"),
    ("workspace_id", "workflow_id"),
    ("workspace_id", "execution_id", "workflow_id"),
]
_OPEN_WAITS: Final = {
    columns: select(waits)
    .where(IS_OPEN, waits.c.wait_id > bindparam("after"))
    .where(*(waits.c[column] == bindparam(column) for column in columns))
    .order_by(waits.c.wait_id)
    .limit(bindparam("limit"))
    for columns in _SCOPES_OF_WAITS
}
_DUE: Final = (
    select(timers)
    .where(
        timers.c.due_at <= bindparam("now"),
        tuple_(timers.c.due_at, timers.c.execution_id, timers.c.timer)
        > tuple_(bindparam("due_at"), bindparam("execution_id"), bindparam("timer")),
        IS_CURRENT,
    )
    .order_by(timers.c.due_at, timers.c.execution_id, timers.c.timer)
    .limit(bindparam("limit"))
)
_BEFORE_ALL_TIMERS: Final = TimerRow(-(2**63), b"", 0)
_NEXT_DUE: Final = (
    select(timers.c.due_at).where(timers.c.due_at > bindparam("after"), IS_CURRENT).order_by(timers.c.due_at).limit(1)
)
_TIMERS_OF: Final = (
    select(timers).where(timers.c.execution_id == bindparam("id"), IS_CURRENT).order_by(timers.c.due_at, timers.c.timer)
)


class SqlExecutions(SqlFinding):
    """`Executions` over SQL."""

    async def execution(self, execution_id: bytes) -> ExecutionRow | None:
        row = await self._one(_EXECUTION, id=execution_id)
        return None if row is None else ExecutionRow._make(row)

    async def execution_page(
        self,
        *,
        organization_id: bytes | None = None,
        workspace_id: bytes | None = None,
        workflow_id: bytes | None = None,
        before: bytes | None = None,
        limit: int = 20,
    ) -> list[ExecutionRow]:
        column, value = execution_scope(organization_id, workspace_id, workflow_id)
        before = _ABOVE_ALL_IDS if before is None else before
        given = {"workspace_id": workspace_id} if column == "workflow_id" else {}
        rows = await self._all(_PAGES[column], value=value, before=before, limit=limit, **given)
        return [ExecutionRow._make(row) for row in rows]

    async def live_executions(self, *, after: bytes = b"", limit: int = 1000) -> list[ExecutionRow]:
        return [ExecutionRow._make(row) for row in await self._all(_LIVE, after=after, limit=limit)]

    async def executions_from(self, origin_id: bytes, *, after: bytes = b"", limit: int = 100) -> list[ExecutionRow]:
        rows = await self._all(_OF_ORIGIN, origin_id=origin_id, after=after, limit=limit)
        return [ExecutionRow._make(row) for row in rows]

    async def live_counts(self) -> dict[str, int]:
        return {row[0]: row[1] for row in await self._all(_LIVE_COUNTS)}

    async def paused_counts(self) -> dict[str, int]:
        return {row[0]: row[1] for row in await self._all(_PAUSED_COUNTS)}

    async def execution_counts(self, workspace_id: bytes, *, workflow_id: bytes | None = None) -> list[CountRow]:
        if workflow_id is None:
            rows = await self._all(_COUNTS, workspace_id=workspace_id)
        else:
            rows = await self._all(_COUNTS_OF_WORKFLOW, workspace_id=workspace_id, workflow_id=workflow_id)
        return [CountRow._make(row) for row in rows]

    async def latest_completed(self, workspace_id: bytes, workflow_id: bytes, version: int) -> ExecutionRow | None:
        row = await self._one(_LATEST_COMPLETED, workspace_id=workspace_id, workflow_id=workflow_id, version=version)
        return None if row is None else ExecutionRow._make(row)

    async def process_id(self, organization_id: bytes, workspace_id: bytes, process_id: str) -> ProcessIdRow | None:
        row = await self._one(
            _PROCESS_ID, organization_id=organization_id, workspace_id=workspace_id, process_id=process_id
        )
        return None if row is None else ProcessIdRow._make(row)

    async def process_ids_named(
        self, organization_id: bytes, workspace_id: bytes, process_ids: Sequence[str]
    ) -> dict[str, ProcessIdRow]:
        found: dict[str, ProcessIdRow] = {}
        workspace = {"organization_id": organization_id, "workspace_id": workspace_id}
        for some in in_parts(list(process_ids)):
            rows = map(ProcessIdRow._make, await self._all(_PROCESS_IDS_NAMED, **workspace, process_ids=some))
            found.update({row.process_id: row for row in rows})
        return found

    async def process_ids_of(self, execution_ids: Sequence[bytes]) -> dict[bytes, str]:
        found: dict[bytes, str] = {}
        for some in in_parts(list(execution_ids)):
            rows = await self._all(_PROCESS_IDS_OF, stream_ids=some)
            found |= {row[0]: row[1] for row in rows}
        return found

    async def idempotency_of(
        self, organization_id: bytes, workspace_id: bytes, keys: Sequence[str]
    ) -> dict[str, IdempotencyRow]:
        found: dict[str, IdempotencyRow] = {}
        workspace = {"organization_id": organization_id, "workspace_id": workspace_id}
        for some in in_parts(list(keys)):
            rows = map(IdempotencyRow._make, await self._all(_IDEMPOTENCY_OF, **workspace, keys=some))
            found.update({row.key: row for row in rows})
        return found

    async def wait(self, wait_id: bytes) -> WaitRow | None:
        row = await self._one(_WAIT, id=wait_id)
        return None if row is None else WaitRow._make(row)

    async def waits_of(self, execution_id: bytes) -> list[WaitRow]:
        return [WaitRow._make(row) for row in await self._all(_WAITS_OF, id=execution_id)]

    async def open_waits(
        self,
        workspace_id: bytes,
        *,
        execution_id: bytes | None = None,
        workflow_id: bytes | None = None,
        after: bytes = b"",
        limit: int = 100,
    ) -> list[WaitRow]:
        scope = {"workspace_id": workspace_id, "execution_id": execution_id, "workflow_id": workflow_id}
        wanted = {column: value for column, value in scope.items() if value is not None}
        rows = await self._all(_OPEN_WAITS[tuple(wanted)], **wanted, after=after, limit=limit)
        return [WaitRow._make(row) for row in rows]

    async def due_timers(self, now: int, *, limit: int = 1000, after: TimerRow | None = None) -> list[TimerRow]:
        # Above some timer in any case: so the index is searched, not gone through.
        rows = await self._all(_DUE, now=now, limit=limit, **(after or _BEFORE_ALL_TIMERS)._asdict())
        return [TimerRow._make(row) for row in rows]

    async def next_due(self, *, after: int | None = None) -> int | None:
        # Any, if none is given: so the index is searched, not gone through.
        row = await self._one(_NEXT_DUE, after=-(2**63) if after is None else after)
        return None if row is None else row[0]

    async def timers_of(self, execution_id: bytes) -> list[TimerRow]:
        return [TimerRow._make(row) for row in await self._all(_TIMERS_OF, id=execution_id)]
