"""The connections that only read: beside a writer, after one that died, or of a file at rest."""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import AsyncAdaptedQueuePool, event
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from store.errors import SchemaError
from store.migrate import is_behind
from store.sqlite.errors import store_error
from store.sqlite.location import BUSY_TIMEOUT_S, sqlite_url

_READERS_MAX: Final = 4


def open_readers(path: str) -> AsyncEngine:
    """A small pool of connections to a database that is there.

    Opened with mode=ro, they can neither write nor checkpoint, not even when the last one is closed.
    """
    engine = create_async_engine(
        sqlite_url("sqlite+aiosqlite", path, "ro"),
        poolclass=AsyncAdaptedQueuePool,
        pool_size=_READERS_MAX,
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


async def check_schema(engine: AsyncEngine) -> None:
    """See that a database can be read by this program. Raises SchemaError, or another StoreError."""
    try:
        async with engine.connect() as connection:
            behind = await connection.run_sync(is_behind)
    except DBAPIError as error:
        raise store_error(error.orig or error) from error
    if behind:
        raise SchemaError("the database is empty, or older than this program: start the server on it once")
