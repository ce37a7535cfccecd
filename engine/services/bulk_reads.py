"""Reads of bulk jobs: from the store, and never through the writer."""

from __future__ import annotations

from typing import Any, NamedTuple

from perdure.engine.core import ids
from perdure.engine.errors import NotFound
from perdure.engine.log.codec import decode_json
from perdure.engine.runtime.callers import Caller
from perdure.engine.services.run_filters import Given
from perdure.store.protocols import Store
from perdure.store.records import BulkRow


class BulkShown(NamedTuple):
    """A job with what stands in its payloads: its order, and the failures that are listed."""

    row: BulkRow
    filters: Given
    reason: str | None
    failures: list[dict[str, Any]]


class BulkReads:
    """Reads of bulk jobs, limited to the caller's workspace."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def page(self, caller: Caller, *, before: bytes | None = None, limit: int = 20) -> tuple[list[BulkRow], bool]:
        """Jobs, newest first, below `before`; and whether more follow."""
        rows = await self._store.bulk_jobs(caller.workspace_id, before=before, limit=limit + 1)
        return rows[:limit], len(rows) > limit

    async def shown(self, caller: Caller, bulk_id: bytes) -> BulkShown:
        """A job with its order and the failures that are listed. Raises `NotFound`."""
        row = await self.row(caller, bulk_id)
        stored = await self._store.events_at(bulk_id, [1, *decode_json(row.listed)])
        payloads = [decode_json(each.row.payload) if each.row.payload else {} for each in stored]
        failures = [failure for payload in payloads[1:] for failure in payload.get("failures", ())]
        return BulkShown(row, payloads[0].get("filters", {}), payloads[0].get("reason"), failures)

    async def row(self, caller: Caller, bulk_id: bytes) -> BulkRow:
        """A job as it is. Raises `NotFound`."""
        row = await self._store.bulk_job(bulk_id)
        if row is None or row.workspace_id != caller.workspace_id:
            raise NotFound(f"there is no bulk job {ids.text(bulk_id)}")
        return row
