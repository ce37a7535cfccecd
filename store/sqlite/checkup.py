"""Read-only inspection of a SQLite file, for `perdure doctor`."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Final, NamedTuple

from sqlalchemy import exists, select

from perdure.store.records import NodeRow
from perdure.store.schema import PAUSED, events, executions
from perdure.store.sqlite.compile import compile_statement
from perdure.store.sqlite.errors import store_error
from perdure.store.sqlite.location import BUSY_TIMEOUT_S, database_path, sqlite_url
from perdure.store.sqlite.lock import is_alive
from perdure.store.sqlite.statements import UNCLEAN_NODES

WAL_RESET_BUG: Final = ((3, 7, 0), (3, 51, 2))
"""The first and the last release in which two connections that checkpoint at once can lose what was committed."""

# An index finds the events of each execution that is alive; the whole log is not read.
_later: Final = events.alias()
_QUARANTINED: Final = compile_statement(
    select(executions.c.execution_id)
    .join(events, events.c.stream_id == executions.c.execution_id)
    .where(
        executions.c.ended_at.is_(None),
        events.c.type == "ExecutionQuarantined",
        ~exists().where(
            _later.c.stream_id == events.c.stream_id, _later.c.type == "ExecutionReleased", _later.c.seq > events.c.seq
        ),
    )
    .distinct()
    .order_by(executions.c.execution_id)
)

_OVER_QUOTA: Final = compile_statement(
    select(executions.c.execution_id)
    .where(PAUSED, executions.c.paused_quota.is_not(None))
    .order_by(executions.c.execution_id)
)


class Checkup(NamedTuple):
    """The file's permissions, the size of its WAL in bytes, the SQLite that reads it, and what nodes left behind.

    `holder` is the process that its lock file names, if that process is alive.
    """

    path: str
    mode: int
    wal_bytes: int
    sqlite_version: tuple[int, int, int]
    holder: int | None
    unclean: list[NodeRow]
    quarantined: list[bytes]
    over_quota: list[bytes]


def check_up(path_or_url: str) -> Checkup:
    """Look at a database. Raises `StoreError`."""
    path = database_path(path_or_url)
    try:
        uri = str(sqlite_url("sqlite", path, "ro").database) + "?mode=ro"
        with closing(sqlite3.connect(uri, uri=True, timeout=BUSY_TIMEOUT_S)) as connection:
            unclean = [NodeRow._make(row) for row in connection.execute(UNCLEAN_NODES)]
            rows = connection.execute(_QUARANTINED.text, _QUARANTINED.values({}))
            quarantined = [bytes(row[0]) for row in rows]
            rows = connection.execute(_OVER_QUOTA.text, _OVER_QUOTA.values({}))
            over_quota = [bytes(row[0]) for row in rows]
        mode = Path(path).stat().st_mode & 0o777
    except (sqlite3.Error, OSError) as error:
        raise store_error(error) from error
    wal_bytes, version, holder = _size(f"{path}-wal"), sqlite3.sqlite_version_info, _holder(path)
    return Checkup(path, mode, wal_bytes, version, holder, unclean, quarantined, over_quota)


def _size(path: str) -> int:
    try:
        return Path(path).stat().st_size
    except OSError:
        return 0


def _holder(path: str) -> int | None:
    """Taking the lock to see whether it is free would refuse a server that starts at that moment."""
    try:
        process = int(Path(f"{path}.lock").read_text(encoding="utf-8", errors="replace").split()[1])
    except (OSError, IndexError, ValueError):
        return None
    return process if is_alive(process) else None
