"""The projections of the in-memory store."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from itertools import islice
from uuid import UUID

from perdure.store.batch import OPERATOR, execution_scope
from perdure.store.memory.places import MemoryPlaces
from perdure.store.memory.tables import Index, MemoryTable
from perdure.store.records import CountRow, ExecutionRow, IdempotencyRow, ProcessIdRow, TimerRow, WaitRow, WorkspaceRow
from perdure.store.run_filter import ID_MAX, ID_MIN, FoundRuns, RunFilter

_ACTIVE = ("pending", "running")


class MemoryExecutions(MemoryPlaces):
    """The tables of executions, waits and timers, and `Executions` over them."""

    _workspaces: MemoryTable[WorkspaceRow]
    """Of `MemoryCatalog`, which is another part of the same store."""

    def __init__(self) -> None:
        super().__init__()
        by_id = lambda row: row.execution_id  # noqa: E731
        self._pages = {
            "workflow_id": Index[ExecutionRow](lambda row: row.workflow_id, by_id),
            "workspace_id": Index[ExecutionRow](lambda row: row.workspace_id, by_id),
            "organization_id": Index[ExecutionRow](lambda row: row.organization_id, by_id),
        }
        self._live = Index[ExecutionRow](lambda row: True if _is_live(row) else None, by_id)
        self._of_origin = Index[ExecutionRow](lambda row: row.origin_id, by_id)
        self._executions = MemoryTable(ExecutionRow, *self._pages.values(), self._live, self._of_origin)
        self._waits_of = Index[WaitRow](lambda row: row.execution_id, lambda row: (row.opened_seq, row.wait_id))
        self._open_waits = Index[WaitRow](
            lambda row: row.workspace_id if row.outcome is None else None, lambda row: row.wait_id
        )
        self._waits = MemoryTable(WaitRow, self._waits_of, self._open_waits)
        self._counts = Counter[tuple[bytes, bytes, str]]()
        self._due = Index[TimerRow](lambda _: True, lambda row: row)
        self._timers_of = Index[TimerRow](lambda row: row.execution_id, lambda row: row)
        self._timers = MemoryTable(TimerRow, self._due, self._timers_of)

    async def execution(self, execution_id: bytes) -> ExecutionRow | None:
        return self._executions.rows.get((execution_id,))

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
        if column == "workspace_id":
            return self._rows(self._pages[column].below(value, before, limit))
        rows = reversed(self._rows(self._pages[column].all(value)))
        return list(islice((row for row in rows if self._is_on(row, workspace_id, before)), limit))

    def _is_on(self, row: ExecutionRow, workspace_id: bytes | None, before: bytes | None) -> bool:
        """Whether an execution is on a page of a workflow in a workspace, or of all workspaces but the sandboxes."""
        if before is not None and row.execution_id >= before:
            return False
        if workspace_id is not None:
            return row.workspace_id == workspace_id
        workspace = self._workspaces.rows.get((row.workspace_id,))
        return workspace is None or workspace.live_workspace_id is None

    async def live_executions(self, *, after: bytes = b"", limit: int = 1000) -> list[ExecutionRow]:
        return self._rows(self._live.above(True, after, limit))  # noqa: FBT003

    async def executions_from(self, origin_id: bytes, *, after: bytes = b"", limit: int = 100) -> list[ExecutionRow]:
        return self._rows(self._of_origin.above(origin_id, after, limit))

    async def live_counts(self) -> dict[str, int]:
        waiting = {row.execution_id for row in self._waits.rows.values() if row.outcome is None}
        rows = self._executions.rows.values()
        return Counter(row.status for row in rows if row.status in _ACTIVE or row.execution_id in waiting)

    async def paused_counts(self) -> dict[str, int]:
        rows = self._executions.rows.values()
        return Counter(row.paused_quota or OPERATOR for row in rows if row.paused_seq is not None)

    async def execution_counts(self, workspace_id: bytes, *, workflow_id: bytes | None = None) -> list[CountRow]:
        rows = (CountRow(*key, total) for key, total in sorted(self._counts.items()) if total)
        return [row for row in rows if row.workspace_id == workspace_id and workflow_id in {None, row.workflow_id}]

    async def find_executions(
        self, wanted: RunFilter, *, newest_first: bool = True, beyond: bytes | None = None, limit: int = 20
    ) -> FoundRuns:
        lowest, highest = wanted.bounds
        if beyond is not None:
            lowest, highest = (lowest, min(highest, beyond)) if newest_first else (max(lowest, beyond), highest)
        ids = [each for each in self._pages["workspace_id"].all(wanted.workspace_id) if lowest < each < highest]
        rows = self._rows(ids[::-1] if newest_first else ids)
        found = list(islice((row for row in rows if wanted.lets(row) and self._lets(wanted, row)), limit))
        if len(found) == limit:
            return FoundRuns(found, found[-1].execution_id, is_end=False)
        return FoundRuns(found, ID_MIN if newest_first else ID_MAX, is_end=True)

    def _lets(self, wanted: RunFilter, row: ExecutionRow) -> bool:
        """Whether the error and the process id of an execution are as a filter wants them."""
        if wanted.error is not None and wanted.error != (row.error or self._own_error(row)):
            return False
        names = self._by_stream.all(row.execution_id)
        name = names[0][2] if names else str(UUID(bytes=row.execution_id))
        return wanted.process_id is None or str(name).startswith(wanted.process_id)

    def _own_error(self, row: ExecutionRow) -> str | None:
        """The error's name that stands in a payload."""
        if row.error_ref is None:
            return None
        seq = int(row.error_ref.partition("/")[0])
        payloads = (stored.row.payload for stored in self._events[row.execution_id] if stored.row.seq == seq)
        found = [json.loads(payload) for payload in payloads if payload is not None]
        return found[0].get("error") if found else None

    def _counted(self) -> Counter[tuple[bytes, bytes, str]]:
        """As many executions as there are."""
        rows = self._executions.rows.values()
        return Counter((row.workspace_id, row.workflow_id, row.status) for row in rows)

    def _rows(self, execution_ids: list[bytes]) -> list[ExecutionRow]:
        return [self._executions.rows[execution_id,] for execution_id in execution_ids]

    async def latest_completed(self, workspace_id: bytes, workflow_id: bytes, version: int) -> ExecutionRow | None:
        newest_first = reversed(self._rows(self._pages["workflow_id"].all(workflow_id)))
        wanted = (workspace_id, version, "completed")
        found = (row for row in newest_first if (row.workspace_id, row.workflow_version, row.status) == wanted)
        return next(found, None)

    async def process_id(self, organization_id: bytes, workspace_id: bytes, process_id: str) -> ProcessIdRow | None:
        return self._process_ids.rows.get((organization_id, workspace_id, process_id))

    async def process_ids_named(
        self, organization_id: bytes, workspace_id: bytes, process_ids: Sequence[str]
    ) -> dict[str, ProcessIdRow]:
        rows = (self._process_ids.rows.get((organization_id, workspace_id, name)) for name in process_ids)
        return {row.process_id: row for row in rows if row is not None}

    async def process_ids_of(self, execution_ids: Sequence[bytes]) -> dict[bytes, str]:
        chosen = {execution_id: self._by_stream.all(execution_id) for execution_id in execution_ids}
        return {execution_id: keys[0][2] for execution_id, keys in chosen.items() if keys}

    async def idempotency_of(
        self, organization_id: bytes, workspace_id: bytes, keys: Sequence[str]
    ) -> dict[str, IdempotencyRow]:
        rows = (self._idempotency.rows.get((organization_id, workspace_id, key)) for key in keys)
        return {row.key: row for row in rows if row is not None}

    async def wait(self, wait_id: bytes) -> WaitRow | None:
        return self._waits.rows.get((wait_id,))

    async def waits_of(self, execution_id: bytes) -> list[WaitRow]:
        return [self._waits.rows[wait_id,] for _, wait_id in self._waits_of.all(execution_id)]

    async def open_waits(
        self,
        workspace_id: bytes,
        *,
        execution_id: bytes | None = None,
        workflow_id: bytes | None = None,
        after: bytes = b"",
        limit: int = 100,
    ) -> list[WaitRow]:
        rows = (self._waits.rows[wait_id,] for wait_id in self._open_waits.above(workspace_id, after))
        wanted = (
            row for row in rows if execution_id in {None, row.execution_id} and workflow_id in {None, row.workflow_id}
        )
        return list(islice(wanted, limit))

    async def due_timers(self, now: int, *, limit: int = 1000, after: TimerRow | None = None) -> list[TimerRow]:
        due: list[TimerRow] = self._due.above(True, after or (), limit)  # noqa: FBT003
        return [row for row in due if row.due_at <= now]

    async def next_due(self, *, after: int | None = None) -> int | None:
        first = self._due.above(True, () if after is None else (after + 1,), 1)  # noqa: FBT003
        return first[0].due_at if first else None

    async def timers_of(self, execution_id: bytes) -> list[TimerRow]:
        return self._timers_of.all(execution_id)


def _is_live(row: ExecutionRow) -> bool:
    return row.status in _ACTIVE or (row.status == "waiting" and row.awaited_by is not None)
