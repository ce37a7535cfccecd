"""Paths and URLs of SQLite databases."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final
from urllib.parse import quote

from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

from perdure.store.errors import StoreError, StoreUnavailable

BUSY_TIMEOUT_S: Final = 5.0


def database_path(path_or_url: str | Path) -> str:
    """The absolute path of a database that is named by its path or by `sqlite:///PATH`.

    Links are followed, so that a database has one lock file whatever name it is opened by. Raises StoreError
    if the database would be in memory, the URL is of another kind, or it is a folder.
    """
    name = os.fspath(path_or_url)
    if "://" in name:
        try:
            url = make_url(name)
        except ArgumentError as error:
            raise StoreError(f"{name} is not a database URL") from error
        if url.get_backend_name() != "sqlite" or url.query or url.host:
            raise StoreError(f"{name} does not name a SQLite file: it is written sqlite:///PATH")
        name = url.database or ""
    if name in {"", ":memory:"} or name.startswith("file:"):
        raise StoreError("SQLite needs a file here; a store in memory is perdure.store.memory.MemoryStore")
    path = os.path.realpath(name)
    if Path(path).is_dir():
        raise StoreUnavailable(f"{path} is a folder; name a file in it")
    return path


def sqlite_url(drivername: str, path: str, mode: str) -> URL:
    """The URL that SQLAlchemy opens a file by; `mode` is SQLite's: ro or rw, which never makes a file."""
    return URL.create(drivername, database=f"file:{quote(path)}", query={"mode": mode, "uri": "true"})
