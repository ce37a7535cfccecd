"""Read-only connections: beside a writer, after a crash, or of a file at rest."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

import aiosqlite
from sqlalchemy import AsyncAdaptedQueuePool, ClauseElement, NullPool, create_engine, event

from perdure.store.errors import SchemaError
from perdure.store.migrate import is_behind
from perdure.store.sqlite.compile import Compiler
from perdure.store.sqlite.errors import store_error
from perdure.store.sqlite.location import BUSY_TIMEOUT_S, sqlite_url

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine

_HELD_MAX: Final = 3  # more would only wait for one another: Python runs one thread at a time
_POOLED_MAX: Final = 2


class Readers:
    """Connections that are kept at hand for statements that are compiled once, beside a pool for all others.

    What SQLAlchemy does for a statement, a connection's way out of the pool and back, and five changes of thread
    cost 300 µs, of which 40 are left here. (Looking up a key or a stream is most of what a request costs.)
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._pool: AsyncEngine | None = None
        self._compiler = Compiler()
        self._held: list[aiosqlite.Connection] = []
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
            self._free.append(await _connect(self._path))
        self._held = list(self._free)
        if await asyncio.to_thread(_is_behind, self._path):
            raise SchemaError("the database is empty, or older than this program: start the server on it once")

    def pool(self) -> AsyncEngine:
        """The pool, made when it is first asked for: a command that reads a little does without, and starts quicker."""
        if self._pool is None:
            self._pool = _engine(self._path)
        return self._pool

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
        if self._pool is not None:
            await self._pool.dispose()


async def _connect(path: str) -> aiosqlite.Connection:
    """A connection that is held. With mode=ro it can neither write nor checkpoint, not even when it is closed."""
    connecting = aiosqlite.connect(
        f"file:{quote(path)}?mode=ro", uri=True, isolation_level=None, timeout=BUSY_TIMEOUT_S
    )
    connecting._thread.daemon = True  # noqa: SLF001 as SQLAlchemy does: a store that is never closed keeps no process
    connection = await connecting
    await connection.create_function("lower", 1, _lower, deterministic=True)
    return connection


def _is_behind(path: str) -> bool:
    engine = create_engine(
        sqlite_url("sqlite", path, "ro"), poolclass=NullPool, connect_args={"timeout": BUSY_TIMEOUT_S}
    )
    with engine.connect() as connection:
        return is_behind(connection)


def _engine(path: str) -> AsyncEngine:
    """The pool, likewise of connections that only read."""
    from sqlalchemy.ext.asyncio import create_async_engine  # noqa: PLC0415 it imports all of the ORM

    engine = create_async_engine(
        sqlite_url("sqlite+aiosqlite", path, "ro"),
        poolclass=AsyncAdaptedQueuePool,
        pool_size=_POOLED_MAX,
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
