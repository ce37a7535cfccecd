"""The projections of executions, read with SQL."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from sqlalchemy import bindparam, func, select

from store.batch import execution_scope
from store.records import ExecutionRow, IdempotencyRow, ProcessIdRow, TimerRow, WaitRow
from store.schema import LIVE, OPEN, executions, idempotency, process_ids, timers, waits
from store.sql.session import SqlSession, in_parts

_EXECUTION: Final = select(executions).where(executions.c.execution_id == bindparam("id"))
_LIVE: Final = (
    select(executions)
    .where(LIVE, executions.c.execution_id > bindparam("after"))
    .order_by(executions.c.execution_id)
    .limit(bindparam("limit"))
)
_LATEST_COMPLETED: Final = (
    select(executions)
    .where(
        executions.c.workflow_id == bindparam("workflow_id"),
        executions.c.workflow_version == bindparam("version"),
        executions.c.status == "completed",
    )
    .order_by(executions.c.execution_id.desc())
    .limit(1)
)
_PROCESS_ID: Final = select(process_ids).where(
    process_ids.c.organization_id == bindparam("organization_id"),
    process_ids.c.workspace_id == bindparam("workspace_id"),
    process_ids.c.process_id == bindparam("process_id"),
)
_PROCESS_IDS_OF: Final = select(process_ids.c.stream_id, process_ids.c.process_id).where(
    process_ids.c.stream_id.in_(bindparam("stream_ids", expanding=True))
)
_IDEMPOTENCY: Final = select(idempotency).where(
    idempotency.c.organization_id == bindparam("organization_id"),
    idempotency.c.workspace_id == bindparam("workspace_id"),
    idempotency.c.key == bindparam("key"),
)
_WAIT: Final = select(waits).where(waits.c.wait_id == bindparam("id"))
_WAITS_OF: Final = (
    select(waits).where(waits.c.execution_id == bindparam("id")).order_by(waits.c.opened_seq, waits.c.wait_id)
)
_DUE: Final = (
    select(timers)
    .where(timers.c.due_at <= bindparam("now"))
    .order_by(timers.c.due_at, timers.c.execution_id, timers.c.timer)
    .limit(bindparam("limit"))
)
_NEXT_DUE: Final = select(func.min(timers.c.due_at))
_TIMERS_OF: Final = (
    select(timers).where(timers.c.execution_id == bindparam("id")).order_by(timers.c.due_at, timers.c.timer)
)


class SqlExecutions(SqlSession):
    """`Executions` over SQL."""

    async def execution(self, execution_id: bytes) -> ExecutionRow | None:
        row = await self._first(_EXECUTION, {"id": execution_id})
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
        newest_first = executions.c.execution_id.desc()
        query = select(executions).where(executions.c[column] == value).order_by(newest_first).limit(limit)
        if before is not None:
            query = query.where(executions.c.execution_id < before)
        return [ExecutionRow._make(row) for row in await self._rows(query)]

    async def live_executions(self, *, after: bytes = b"", limit: int = 1000) -> list[ExecutionRow]:
        return [ExecutionRow._make(row) for row in await self._rows(_LIVE, {"after": after, "limit": limit})]

    async def latest_completed(self, workflow_id: bytes, version: int) -> ExecutionRow | None:
        row = await self._first(_LATEST_COMPLETED, {"workflow_id": workflow_id, "version": version})
        return None if row is None else ExecutionRow._make(row)

    async def process_id(
        self, organization_id: bytes, workspace_id: bytes, process_id: str
    ) -> ProcessIdRow | None:
        key = {"organization_id": organization_id, "workspace_id": workspace_id, "process_id": process_id}
        row = await self._first(_PROCESS_ID, key)
        return None if row is None else ProcessIdRow._make(row)

    async def process_ids_of(self, execution_ids: Sequence[bytes]) -> dict[bytes, str]:
        found: dict[bytes, str] = {}
        for some in in_parts(list(execution_ids)):
            rows = await self._rows(_PROCESS_IDS_OF, {"stream_ids": some})
            found |= {row.stream_id: row.process_id for row in rows}
        return found

    async def idempotency(
        self, organization_id: bytes, workspace_id: bytes, key: str
    ) -> IdempotencyRow | None:
        parameters = {"organization_id": organization_id, "workspace_id": workspace_id, "key": key}
        row = await self._first(_IDEMPOTENCY, parameters)
        return None if row is None else IdempotencyRow._make(row)

    async def wait(self, wait_id: bytes) -> WaitRow | None:
        row = await self._first(_WAIT, {"id": wait_id})
        return None if row is None else WaitRow._make(row)

    async def waits_of(self, execution_id: bytes) -> list[WaitRow]:
        return [WaitRow._make(row) for row in await self._rows(_WAITS_OF, {"id": execution_id})]

    async def open_waits(
        self,
        workspace_id: bytes,
        *,
        execution_id: bytes | None = None,
        workflow_id: bytes | None = None,
        after: bytes = b"",
        limit: int = 100,
    ) -> list[WaitRow]:
        wanted = [waits.c.workspace_id == workspace_id, waits.c.wait_id > after]
        if execution_id is not None:
            wanted.append(waits.c.execution_id == execution_id)
        if workflow_id is not None:
            wanted.append(waits.c.workflow_id == workflow_id)
        query = select(waits).where(OPEN, *wanted).order_by(waits.c.wait_id).limit(limit)
        return [WaitRow._make(row) for row in await self._rows(query)]

    async def due_timers(self, now: int, *, limit: int = 1000) -> list[TimerRow]:
        return [TimerRow._make(row) for row in await self._rows(_DUE, {"now": now, "limit": limit})]

    async def next_due(self) -> int | None:
        row = await self._first(_NEXT_DUE)
        return None if row is None else row[0]

    async def timers_of(self, execution_id: bytes) -> list[TimerRow]:
        return [TimerRow._make(row) for row in await self._rows(_TIMERS_OF, {"id": execution_id})]
