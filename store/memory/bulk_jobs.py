"""The bulk jobs of the in-memory store."""

from __future__ import annotations

from perdure.store.memory.tables import Index, MemoryTable
from perdure.store.records import BulkRow


class MemoryBulkJobs:
    """The table of bulk jobs, and `BulkJobs` over it."""

    def __init__(self) -> None:
        self._bulk_of = Index[BulkRow](lambda row: row.workspace_id, lambda row: row.bulk_id)
        self._bulk_under_way = Index[BulkRow](
            lambda row: True if row.ended_at is None else None, lambda row: row.bulk_id
        )
        self._bulk = MemoryTable(BulkRow, self._bulk_of, self._bulk_under_way)

    async def bulk_job(self, bulk_id: bytes) -> BulkRow | None:
        return self._bulk.rows.get((bulk_id,))

    async def bulk_jobs(self, workspace_id: bytes, *, before: bytes | None = None, limit: int = 20) -> list[BulkRow]:
        return [self._bulk.rows[bulk_id,] for bulk_id in self._bulk_of.below(workspace_id, before, limit)]

    async def bulk_jobs_under_way(self, *, after: bytes = b"", limit: int = 100) -> list[BulkRow]:
        found: list[bytes] = self._bulk_under_way.above(True, after, limit)  # noqa: FBT003
        return [self._bulk.rows[bulk_id,] for bulk_id in found]
