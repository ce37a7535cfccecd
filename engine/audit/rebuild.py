"""Rebuilds all projections from the log, and from nothing else (`perdure rebuild`).

Each execution, and each workflow for its schedules, is folded from its first event; no more than one stream's rows, and
some of its events, are in memory at a time. The store takes the rows in one transaction (`Store.rebuild`): whoever
looks, also after a crash, sees the old rows or the new ones.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import NamedTuple

from perdure.engine.audit.store_audit import fold_rows, projected_streams
from perdure.engine.core import ids
from perdure.store.errors import StoreError
from perdure.store.protocols import Store
from perdure.store.records import BulkRow, ExecutionRow, Projected, ScheduleRow, StreamRow, TimerRow, WaitRow


class Rebuilt(NamedTuple):
    """The number of rows that were made, by table."""

    executions: int
    waits: int
    timers: int
    schedules: int = 0
    bulk_jobs: int = 0


class CannotRebuild(Exception):
    """A stream cannot be folded; the projections are as they were."""


async def rebuild(store: Store) -> Rebuilt:
    """Drop the projections of a store and make them again; nobody else may write to it meanwhile.

    Snapshots are dropped and not made: they may be deleted at any time. Raises `CannotRebuild`, naming the execution,
    or `StoreError`; nothing has changed then.
    """
    count = _Count()
    await store.rebuild(_rows(store, count))
    return Rebuilt(count.executions, count.waits, count.timers, count.schedules, count.bulk_jobs)


class _Count:
    executions = waits = timers = schedules = bulk_jobs = 0

    def add(self, row: Projected) -> None:
        if isinstance(row, ExecutionRow):
            self.executions += 1
        elif isinstance(row, WaitRow):
            self.waits += 1
        elif isinstance(row, ScheduleRow):
            self.schedules += 1
        elif isinstance(row, BulkRow):
            self.bulk_jobs += 1
        elif isinstance(row, TimerRow):
            self.timers += 1


async def _rows(store: Store, count: _Count) -> AsyncIterator[Projected]:
    async for stream in projected_streams(store):
        try:
            rows = await _rows_of(store, stream)
        except StoreError:
            raise
        except Exception as error:
            raise CannotRebuild(
                f"{stream.kind} {ids.text(stream.stream_id)} cannot be folded ({error!r}), and nothing was changed; "
                "`perdure verify` says more"
            ) from error
        for row in rows:
            count.add(row)
            yield row


async def _rows_of(store: Store, stream: StreamRow) -> list[Projected]:
    return (await fold_rows(store, stream)).projected
