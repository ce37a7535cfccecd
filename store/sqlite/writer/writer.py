"""The one connection that writes. All of it runs in the writer's thread or process."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Final, TypeVar

from sqlalchemy import Connection, NullPool, create_engine
from sqlalchemy.exc import DBAPIError

from perdure.store.errors import CommitUnknown, StoreError, StoreUnavailable
from perdure.store.migrate import is_behind, migrate
from perdure.store.records import Appended, NodeRow, Projected, TimerRow
from perdure.store.sqlite import statements as sql
from perdure.store.sqlite.errors import primary_code, store_error
from perdure.store.sqlite.location import BUSY_TIMEOUT_S, sqlite_url
from perdure.store.sqlite.writer.apply import Plan, apply, put_rows

T = TypeVar("T")

_PRAGMAS: Final = (
    "PRAGMA synchronous = FULL",
    "PRAGMA secure_delete = ON",  # what an erasure removes is overwritten
    "PRAGMA foreign_keys = OFF",
    "PRAGMA wal_autocheckpoint = 1000",  # of all connections this one alone checkpoints
)

WAL_BYTES_MAX: Final = 8 * 1024 * 1024
"""Twice what SQLite keeps in the WAL by itself (1,000 pages). Beyond it readers are waited for, to begin it anew."""

SWEPT_AT_ONCE: Final = 1000
"""So many waits and timers of what has ended are done in one transaction: the commits of others wait for one."""

_READERS_MS: Final = 100
"""So long at most. Who begins to read meanwhile is not in the way."""


class Writer:
    """Write transactions, one at a time, each whole or not at all.

    After a COMMIT of which nobody knows whether it is durable every later transaction raises CommitUnknown too:
    the position counter and all that callers remember may be wrong, and only a new start reads them back.
    """

    def __init__(self, path: str) -> None:
        """Open the database, of which whoever holds the lock has made the file; migrate it if need be.

        Raises StoreError.
        """
        self._connection = _connect(path)
        try:
            self._driver = _driver(self._connection)
            _prepare(self._connection, self._driver)
            self._position = _last_position(self._driver)
        except BaseException as error:
            self._connection.close()
            if isinstance(error, Exception):
                raise store_error(error) from error
            raise
        self._unknown: CommitUnknown | None = None
        self._wal = f"{path}-wal"
        self._wal_due = WAL_BYTES_MAX
        # The seam at which a test lets a commit fail.
        self.commit: Callable[[sqlite3.Connection], object] = lambda driver: driver.execute("COMMIT")

    def append(self, planned: Plan) -> Appended:
        """`Store.append`."""
        appended = self._transaction(lambda cursor: apply(cursor, planned, self._position))
        self._position = appended.position
        self._bound_wal()
        return appended

    def _bound_wal(self) -> None:
        """Begin the WAL anew if it has grown too large.

        SQLite does so by itself only at a moment when nobody reads; under constant reading there is none. A reader that
        stays is not waited for at each commit: what is in the way is asked about again when the WAL is twice as large.
        """
        size = _size(self._wal)
        if size < self._wal_due:
            return
        with suppress(sqlite3.Error):  # what is committed is so, wherever it stands
            self._driver.execute(f"PRAGMA busy_timeout = {_READERS_MS}")
            self._driver.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
            self._driver.execute(f"PRAGMA busy_timeout = {round(BUSY_TIMEOUT_S * 1000)}")
        self._wal_due = max(WAL_BYTES_MAX, 2 * _size(self._wal))

    def sweep(self) -> bool:
        """Do some of what endings say; whether there may be more to do."""
        first = self._driver.execute(sql.FIRST_ENDING).fetchone()
        if first is None:
            return False
        execution_id, seq, ended_at = first

        def some(cursor: sqlite3.Cursor) -> None:
            cancelled = cursor.execute(sql.CANCEL_WAITS, (execution_id, seq, SWEPT_AT_ONCE, ended_at)).rowcount
            gone = cursor.execute(sql.OVER_TIMERS, (execution_id, seq, SWEPT_AT_ONCE)).fetchall()
            cursor.executemany(sql.DELETES[TimerRow][0], gone)
            if max(cancelled, len(gone)) < SWEPT_AT_ONCE:
                cursor.execute(sql.DELETE_ENDING, (execution_id, seq))

        self._transaction(some)
        self._bound_wal()
        return True

    def node_started(self, node: NodeRow) -> list[NodeRow]:
        """`Store.node_started`: this process has the file to itself, so whoever did not stop has died."""

        def start(cursor: sqlite3.Cursor) -> list[NodeRow]:
            died = [NodeRow._make(row) for row in cursor.execute(sql.UNCLEAN_NODES)]
            cursor.execute(sql.STOP_UNCLEAN_NODES, (node.started_at,))
            cursor.execute(sql.PUT_NODE, node)
            return died

        return self._transaction(start)

    def node_noted(self, node: NodeRow) -> None:
        """`Store.node_noted`."""
        self._transaction(lambda cursor: cursor.execute(sql.PUT_NODE, node))

    def node_stopped(self, node_id: bytes, at: int) -> None:
        """`Store.node_stopped`."""
        self._transaction(lambda cursor: cursor.execute(sql.STOP_NODE, (at, node_id)))

    def keys_used(self, uses: Sequence[tuple[bytes, int]]) -> None:
        """`Store.keys_used`."""
        self._transaction(lambda cursor: cursor.executemany(sql.KEY_USED, uses))

    # --- a rebuild: a transaction over several calls -------------------------------------------------------------

    def begin_rebuild(self) -> None:
        """Begin `Store.rebuild`: from here on the writer takes nothing else, until its end."""
        self._begin(lambda cursor: [cursor.execute(statement) for statement in sql.CLEAR])

    def put_rebuilt(self, rows: Sequence[Projected]) -> None:
        """Write some of its rows, each of an own key. After an error all of it is rolled back."""
        if not self._driver.in_transaction:
            raise StoreError("there is no rebuild under way")
        by_kind: dict[type[Projected], list[Projected]] = {}
        for row in rows:
            by_kind.setdefault(type(row), []).append(row)

        def put(cursor: sqlite3.Cursor) -> None:
            for kind, some in by_kind.items():
                put_rows(cursor, kind, some)

        self._attempt(put)

    def end_rebuild(self) -> None:
        """Count what is there now, and commit it."""
        self._attempt(lambda cursor: cursor.execute(sql.COUNT_ALL))
        self._commit()

    def abandon_rebuild(self) -> None:
        """Leave everything as it was."""
        self._roll_back()

    # --- transactions --------------------------------------------------------------------------------------------

    def _transaction(self, work: Callable[[sqlite3.Cursor], T]) -> T:
        result = self._begin(work)
        self._commit()
        return result

    def _begin(self, work: Callable[[sqlite3.Cursor], T]) -> T:
        """Begin a transaction with some work, which is rolled back if it fails."""
        if self._unknown is not None:
            raise CommitUnknown(str(self._unknown)) from self._unknown
        if self._driver.in_transaction:
            raise StoreError("the projections are being rebuilt")

        def begun(cursor: sqlite3.Cursor) -> T:
            # IMMEDIATE: one that reads first and writes then is refused at once if another writes between.
            cursor.execute("BEGIN IMMEDIATE")
            return work(cursor)

        return self._attempt(begun)

    def _attempt(self, work: Callable[[sqlite3.Cursor], T]) -> T:
        cursor = self._driver.cursor()
        try:
            return work(cursor)
        except BaseException as error:
            self._roll_back()
            if isinstance(error, Exception):
                raise store_error(error) from error
            raise
        finally:
            cursor.close()

    def _commit(self) -> None:
        try:
            self.commit(self._driver)
        except BaseException as error:
            self._roll_back()
            if primary_code(error) == sqlite3.SQLITE_FULL:
                # Where a full disk shows in WAL mode. It is said of a write that was cut short, and the frame that
                # commits is written last: it is not there. (What fsync reports, no space too, is SQLITE_IOERR.)
                raise store_error(error) from error
            self._unknown = CommitUnknown(f"COMMIT failed, and may be durable all the same: {error}")
            raise self._unknown from error

    def _roll_back(self) -> None:
        # After some errors SQLite has rolled back by itself. If this fails nothing is lost: without COMMIT nothing
        # is durable, and the next BEGIN fails too.
        with suppress(sqlite3.Error):
            if self._driver.in_transaction:
                self._driver.execute("ROLLBACK")

    def close(self) -> None:
        """Bring everything into the one file, and close it.

        At rest the file is not in WAL mode: so reading it makes no other file, and needs no right to make one.
        """
        try:
            if self._unknown is None:
                with suppress(sqlite3.Error):  # a foreign reader is at it: the next start does it
                    self._driver.execute("PRAGMA wal_checkpoint(TRUNCATE)")
                    self._driver.execute("PRAGMA journal_mode = DELETE")
        finally:
            self._connection.close()


def _size(path: str) -> int:
    try:
        return os.stat(path).st_size  # noqa: PTH116 in a third of the time: it is asked after every commit
    except OSError:
        return 0


def _connect(path: str) -> Connection:
    engine = create_engine(
        sqlite_url("sqlite", path, "rw"),
        poolclass=NullPool,
        isolation_level="AUTOCOMMIT",  # transactions are begun and ended here, not by the driver
        connect_args={"timeout": BUSY_TIMEOUT_S, "cached_statements": 256},
    )
    try:
        return engine.connect()
    except DBAPIError as error:
        raise store_error(error) from error


def _driver(connection: Connection) -> sqlite3.Connection:
    driver = connection.connection.driver_connection
    if not isinstance(driver, sqlite3.Connection):
        raise TypeError(f"not a connection of sqlite3: {driver!r}")
    return driver


def _prepare(connection: Connection, driver: sqlite3.Connection) -> None:
    behind = is_behind(connection)  # first of all: a file that is not ours is not touched
    mode = driver.execute("PRAGMA journal_mode = WAL").fetchone()[0]
    if mode != "wal":
        raise StoreUnavailable(f"SQLite keeps the file in {mode} mode; its WAL needs a local file system")
    for pragma in _PRAGMAS:
        driver.execute(pragma)
    if behind:
        driver.execute("BEGIN IMMEDIATE")
        migrate(connection)
        driver.execute("COMMIT")


def _last_position(driver: sqlite3.Connection) -> int:
    return max(position or 0 for position in driver.execute(sql.LAST_POSITION).fetchone())
