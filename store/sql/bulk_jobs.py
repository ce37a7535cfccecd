"""The projection of bulk jobs, read with SQL."""

from __future__ import annotations

from typing import Final

from sqlalchemy import bindparam, select

from perdure.store.records import BulkRow
from perdure.store.schema import UNDER_WAY, bulk_jobs
from perdure.store.sql.session import SqlSession

_ABOVE_ALL_IDS: Final = b"\xff" * 17
_JOB: Final = select(bulk_jobs).where(bulk_jobs.c.bulk_id == bindparam("id"))
_PAGE: Final = (
    select(bulk_jobs)
    .where(bulk_jobs.c.workspace_id == bindparam("workspace_id"), bulk_jobs.c.bulk_id < bindparam("before"))
    .order_by(bulk_jobs.c.bulk_id.desc())
    .limit(bindparam("limit"))
)
_UNDER_WAY: Final = (
    select(bulk_jobs)
    .where(UNDER_WAY, bulk_jobs.c.bulk_id > bindparam("after"))
    .order_by(bulk_jobs.c.bulk_id)
    .limit(bindparam("limit"))
)


class SqlBulkJobs(SqlSession):
    """`BulkJobs` over SQL."""

    async def bulk_job(self, bulk_id: bytes) -> BulkRow | None:
        row = await self._one(_JOB, id=bulk_id)
        return None if row is None else BulkRow._make(row)

    async def bulk_jobs(self, workspace_id: bytes, *, before: bytes | None = None, limit: int = 20) -> list[BulkRow]:
        before = _ABOVE_ALL_IDS if before is None else before
        rows = await self._all(_PAGE, workspace_id=workspace_id, before=before, limit=limit)
        return [BulkRow._make(row) for row in rows]

    async def bulk_jobs_under_way(self, *, after: bytes = b"", limit: int = 100) -> list[BulkRow]:
        return [BulkRow._make(row) for row in await self._all(_UNDER_WAY, after=after, limit=limit)]
