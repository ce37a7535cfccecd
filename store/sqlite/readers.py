"""The connections that only read: beside a writer, after one that died, or of a file at rest."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Mapping, Sequence
from typing import Any, Final

import aiosqlite
from sqlalchemy import AsyncAdaptedQueuePool, ClauseElement, event
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from store.errors import SchemaError
from store.migrate import is_behind
from store.sqlite.compile import Compiler
from store.sqlite.errors import store_error
from store.sqlite.location import BUSY_TIMEOUT_S, sqlite_url

_HELD_MAX: Final = 3  # more would only wait for one another: Python runs one thread at a time
_POOLED_MAX: Final = 2


class Readers:
    """Connections that are kept at hand for statements that are compiled once, beside a pool for all others.

    What SQLAlchemy does for a statement, a connection's way out of the pool and back, and five changes of thread
    cost 300 µs, of which 40 are left here. (Looking up a key or a stream is most of what a request costs.)
    """

    def __init__(self, path: str) -> None:
        self.engine = _engine(path)
        self._compiler = Compiler()
        self._held: list[AsyncConnection] = []
        self._free: list[aiosqlite.Connection] = []
        self._turns = asyncio.Semaphore(_HELD_MAX)

    @classmethod
    async def open(cls, path: str) -> Readers:
        """Open a database that is there. Raises SchemaError if this program cannot read it, or StoreError.

        Not to be cancelled half-way: it would leave a connection that nobody closes.
        """
        readers = cls(path)
        try:
            await readers._open()
        except BaseException as error:
            await readers.close()
            if isinstance(error, Exception):
                raise store_error(error) from error
            raise
        return readers

    async def _open(self) -> None:
        for _ in range(_HELD_MAX):
            self._held.append(await self.engine.connect())
        for connection in self._held:
            driver = (await connection.get_raw_connection()).driver_connection
            if not isinstance(driver, aiosqlite.Connection):
                raise TypeError(f"not a connection of aiosqlite: {driver!r}")
            self._free.append(driver)
        if await self._held[0].run_sync(is_behind):
            raise SchemaError("the database is empty, or older than this program: start the server on it once")

    async def fetch(self, statement: ClauseElement, parameters: Mapping[str, Any]) -> Sequence[Sequence[Any]]:
        """All rows of a statement that is the same object each time. Raises StoreError."""
        text, values = self._compiler.compiled(statement, parameters)
        async with self._turns:
            # The one used last is at hand first, its pages still in its cache. If the caller is cancelled it is
            # free at once all the same: what comes next waits in the line of its thread.
            connection = self._free.pop()
            try:
                return list(await connection.execute_fetchall(text, values))
            except sqlite3.Error as error:
                raise store_error(error) from error
            finally:
                self._free.append(connection)

    async def close(self) -> None:
        """Close all connections, of which none is in use."""
        for connection in self._held:
            await connection.close()
        await self.engine.dispose()


def _engine(path: str) -> AsyncEngine:
    """Opened with mode=ro, a connection can neither write nor checkpoint, not even when it is closed."""
    engine = create_async_engine(
        sqlite_url("sqlite+aiosqlite", path, "ro"),
        poolclass=AsyncAdaptedQueuePool,
        pool_size=_HELD_MAX + _POOLED_MAX,
        max_overflow=0,
        isolation_level="AUTOCOMMIT",
        skip_autocommit_rollback=True,
        connect_args={"timeout": BUSY_TIMEOUT_S},
    )
    event.listen(engine.sync_engine, "connect", _on_connect)
    return engine


def _on_connect(connection: Any, _: object) -> None:
    # SQLite's own knows ASCII only.
    connection.create_function("lower", 1, _lower, deterministic=True)


def _lower(value: str | None) -> str | None:
    return None if value is None else value.lower()
