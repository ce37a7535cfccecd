"""Maps SQLite's errors to those of a store."""

from __future__ import annotations

import sqlite3
from typing import Final

from sqlalchemy.exc import DBAPIError

from perdure.store.errors import SchemaError, StoreError, StoreFull, StoreUnavailable

_UNAVAILABLE: Final = {
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_LOCKED,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_PROTOCOL,
    sqlite3.SQLITE_PERM,
    sqlite3.SQLITE_NOMEM,
}


def primary_code(error: BaseException) -> int | None:
    """SQLite's primary result code; the extended one says more and starts with it."""
    code = getattr(error, "sqlite_errorcode", None)
    return None if code is None else code & 0xFF


def store_error(error: BaseException) -> StoreError:
    """The `StoreError` for an error after which nothing was written."""
    if isinstance(error, StoreError):
        return error
    if isinstance(error, DBAPIError):
        error = error.orig or error  # what the driver raised, out of SQLAlchemy's wrapping
    code = primary_code(error)
    if code == sqlite3.SQLITE_FULL:
        return StoreFull(f"no space left: {error}")
    if code in _UNAVAILABLE:
        return StoreUnavailable(f"SQLite: {error}")
    if code == sqlite3.SQLITE_NOTADB:
        return SchemaError("the file is not a SQLite database; name another one")
    return StoreError(f"{type(error).__name__}: {error}")
