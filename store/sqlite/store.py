"""A SQLite file as a store: one writer, in a thread or a process of its own, and readers beside it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeVar

from perdure.store.batch import check_batch
from perdure.store.errors import StoreError, StoreUnavailable
from perdure.store.protocols import WriterPlace
from perdure.store.records import Appended, NodeRow, Projected, StreamAppend
from perdure.store.sql.audit import SqlAudit
from perdure.store.sql.bulk_jobs import SqlBulkJobs
from perdure.store.sql.catalog import SqlCatalog
from perdure.store.sql.executions import SqlExecutions
from perdure.store.sql.log import SqlLog
from perdure.store.sql.places import SqlPlaces
from perdure.store.sql.schedules import SqlSchedules
from perdure.store.sql.session import Statement
from perdure.store.sqlite.errors import store_error
from perdure.store.sqlite.location import database_path
from perdure.store.sqlite.readers import Readers
from perdure.store.sqlite.schema_check import SHAPE, shape, shape_flaws

if TYPE_CHECKING:
    from perdure.store.sqlite.writer.writer import Writer

T = TypeVar("T")

_ROWS_AT_ONCE: Final = 1000
"""So many rows of a rebuild are held at a time."""


class _Writing(Protocol):
    """A writer, wherever it lives. What it is handed it does in that order, and to the end if a caller is cancelled."""

    def watch(self, on_lost: Callable[[StoreError], None]) -> None: ...

    def append(self, batch: Sequence[StreamAppend]) -> asyncio.Future[Appended]: ...

    def run(self, work: Callable[[Writer], T]) -> asyncio.Future[T]: ...

    async def close(self) -> None: ...

    async def abandon(self) -> None: ...


class SqliteStore(SqlLog, SqlCatalog, SqlExecutions, SqlSchedules, SqlPlaces, SqlBulkJobs, SqlAudit):
    """A `Store` in a SQLite file. Made by `open_sqlite`; without a writer it only reads."""

    def __init__(self, readers: Readers, writer: _Writing | None) -> None:
        super().__init__(readers.pool, store_error)
        self._readers = readers
        self._writer = writer
        self._closing: asyncio.Future[None] | None = None
        self._sweeping: asyncio.Task[None] | None = None

    def watch(self, on_failure: Callable[[StoreError], None]) -> None:
        if self._writer is not None:
            self._writer.watch(on_failure)

    def append(self, batch: Sequence[StreamAppend]) -> Awaitable[Appended]:
        try:
            check_batch(batch)
        except ValueError as error:
            return self._failed(error)
        try:
            appending = self._to_write().append(batch)
        except Exception as error:  # noqa: BLE001 a row that no column takes: nothing was written
            return self._failed(store_error(error))
        if any(part.endings for part in batch):
            appending.add_done_callback(lambda _: self.sweep())
        return appending

    def sweep(self) -> None:
        """Begin to do what endings say, a piece at a time: whoever appends meanwhile waits for one piece at most."""
        if self._sweeping is None and not self._is_closed:
            self._sweeping = asyncio.get_running_loop().create_task(self._sweep())

    async def _sweep(self) -> None:
        try:
            while await self._write(_writer().sweep):
                pass
        except StoreError:  # readers see it as done; the next ending or the next start goes on
            pass
        finally:
            self._sweeping = None

    async def node_started(self, node: NodeRow) -> list[NodeRow]:
        return await self._write(partial(_writer().node_started, node=node))

    async def node_noted(self, node: NodeRow) -> None:
        await self._write(partial(_writer().node_noted, node=node))

    async def node_stopped(self, node_id: bytes, at: int) -> None:
        await self._write(partial(_writer().node_stopped, node_id=node_id, at=at))

    async def keys_used(self, uses: Mapping[bytes, int]) -> None:
        await self._write(partial(_writer().keys_used, uses=list(uses.items())))

    async def rebuild(self, rows: AsyncIterator[Projected]) -> None:
        try:
            await self._write(_writer().begin_rebuild)
        except asyncio.CancelledError:  # it goes on all the same, where the writer lives
            await self._write(_writer().abandon_rebuild)
            raise
        try:
            some: list[Projected] = []
            async for row in rows:
                some.append(row)
                if len(some) == _ROWS_AT_ONCE:
                    await self._write(partial(_writer().put_rebuilt, rows=some))
                    some = []
            await self._write(partial(_writer().put_rebuilt, rows=some))
        except BaseException:
            with suppress(StoreError):
                await self._write(_writer().abandon_rebuild)
            raise
        await self._write(_writer().end_rebuild)

    async def shape_flaws(self) -> list[str]:
        found = shape(await self._query(SHAPE))
        return await asyncio.to_thread(shape_flaws, found)

    async def _all(self, statement: Statement, **parameters: Any) -> Sequence[Sequence[Any]]:
        with self._reading():
            return await self._readers.fetch(statement, parameters)

    def _to_write(self) -> _Writing:
        if self._is_closed:
            raise StoreError("the store is closed")
        if self._writer is None:
            raise StoreError("the database was opened for reading only")
        return self._writer

    async def _write(self, work: Callable[[Writer], T]) -> T:
        return await self._to_write().run(work)

    def _failed(self, error: Exception) -> asyncio.Future[Any]:
        failed: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        failed.set_exception(error)
        return failed

    async def close(self) -> None:
        if self._closing is None:
            self._closing = asyncio.ensure_future(self._close())
        await asyncio.shield(self._closing)

    async def abandon(self) -> None:
        if self._writer is not None:
            await self._writer.abandon()

    async def _close(self) -> None:
        # Readers first: the last connection to be closed is the one that can bring everything into one file.
        await self._end_reads()
        await self._readers.close()
        if self._sweeping is not None:
            self._sweeping.cancel()
            await _wait_out(self._sweeping)
        if self._writer is not None:
            await self._writer.close()


async def open_sqlite(
    path_or_url: str | Path, *, read_only: bool = False, writer: WriterPlace = "thread"
) -> SqliteStore:
    """Open a database by its path or as `sqlite:///PATH`; unless `read_only`, make or migrate it if need be.

    For writing, the file belongs to one process at a time. For reading, it can be opened beside a server,
    after one that was killed, and at rest; nothing is written to it then.

    Raises DatabaseInUse if another process (or store) writes to it, SchemaError if it is not one of Perdure's
    or of another version, and StoreUnavailable or another StoreError if it cannot be opened.
    """
    path = database_path(path_or_url)
    opening = asyncio.ensure_future(_open_to_read(path) if read_only else _open_to_write(path, writer))
    try:
        return await asyncio.shield(opening)
    except asyncio.CancelledError:
        await _wait_out(opening)
        if not opening.cancelled() and opening.exception() is None:
            await _wait_out(asyncio.ensure_future(opening.result().close()))
        raise


async def _wait_out(task: asyncio.Future[Any]) -> None:
    """Wait until a task is done, however often this one is cancelled meanwhile: what it has open must not be left."""
    while not task.done():
        with suppress(asyncio.CancelledError):
            await asyncio.wait([task])
    if not task.cancelled():
        task.exception()


async def _open_to_read(path: str) -> SqliteStore:
    if not await asyncio.to_thread(Path(path).exists):
        raise StoreUnavailable(f"{path} does not exist")
    return SqliteStore(await Readers.open(path), None)


def _writer() -> type[Writer]:
    """The writer. A command that reads does without, and starts quicker."""
    from perdure.store.sqlite.writer.writer import Writer  # noqa: PLC0415

    return Writer


async def _open_to_write(path: str, place: WriterPlace) -> SqliteStore:
    from perdure.store.sqlite.writer.process import WriterProcess  # noqa: PLC0415 likewise
    from perdure.store.sqlite.writer.thread import WriterThread  # noqa: PLC0415

    writer: _Writing = await (WriterProcess if place == "process" else WriterThread).open(path)
    try:
        store = SqliteStore(await Readers.open(path), writer)
    except BaseException:
        await writer.close()
        raise
    store.sweep()
    return store
