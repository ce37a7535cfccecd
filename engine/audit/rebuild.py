"""Rebuilds all projections from the log, and from nothing else (`perdure rebuild`).

Each execution is folded from its first event; no more than one execution's waits and timers, and some of its events,
are in memory at a time. The store takes the rows in one transaction (`Store.rebuild`): whoever looks, also after a
crash, sees the old rows or the new ones.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import NamedTuple

from perdure.engine.audit.store_audit import bulk_jobs_of, executions_of, fold_bulk_job, fold_execution
from perdure.engine.core import ids
from perdure.store.errors import StoreError
from perdure.store.protocols import Store
from perdure.store.records import BulkRow, ExecutionRow, Projected, TimerRow, WaitRow


class Rebuilt(NamedTuple):
    """The number of rows that were made, by table."""

    executions: int
    waits: int
    timers: int
    bulk_jobs: int = 0


class CannotRebuild(Exception):
    """An execution cannot be folded; the projections are as they were."""


async def rebuild(store: Store) -> Rebuilt:
    """Drop the projections of a store and make them again; nobody else may write to it meanwhile.

    Snapshots are dropped and not made: they may be deleted at any time. Raises `CannotRebuild`, naming the execution,
    or `StoreError`; nothing has changed then.
    """
    count = _Count()
    await store.rebuild(_rows(store, count))
    return Rebuilt(count.executions, count.waits, count.timers, count.bulk_jobs)


class _Count:
    executions = waits = timers = bulk_jobs = 0

    def add(self, row: Projected) -> None:
        if isinstance(row, ExecutionRow):
            self.executions += 1
        elif isinstance(row, WaitRow):
            self.waits += 1
        elif isinstance(row, BulkRow):
            self.bulk_jobs += 1
        elif isinstance(row, TimerRow):
            self.timers += 1


async def _rows(store: Store, count: _Count) -> AsyncIterator[Projected]:
    async for stream in executions_of(store):
        try:
            fold = await fold_execution(store, stream)
        except StoreError:
            raise
        except Exception as error:
            raise CannotRebuild(
                f"execution {ids.text(stream.stream_id)} cannot be folded ({error!r}), and nothing was changed; "
                "`perdure verify` says more"
            ) from error
        rows: list[Projected] = [fold.execution, *fold.waits.values(), *sorted(fold.timers), *fold.line]
        for row in rows:
            count.add(row)
            yield row
    async for stream in bulk_jobs_of(store):
        try:
            job = await fold_bulk_job(store, stream)
        except StoreError:
            raise
        except Exception as error:
            raise CannotRebuild(
                f"bulk job {ids.text(stream.stream_id)} cannot be folded ({error!r}), and nothing was changed; "
                "`perdure verify` says more"
            ) from error
        count.add(job)
        yield job
