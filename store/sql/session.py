"""Runs statements on connections of the readers' pool."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, TypeAlias, TypeVar

from sqlalchemy import Select
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from perdure.store.errors import StoreError, StoreUnavailable

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

LIST_MAX: Final = 512
"""So many values stand in an `IN (…)` at the most."""

# A statement, of whatever columns.
Statement: TypeAlias = Select[*tuple[Any, ...]]

T = TypeVar("T")


def in_parts(values: list[T]) -> Iterator[list[T]]:
    """Cut what is to stand in `IN (…)` into lists of at most `LIST_MAX`."""
    for start in range(0, len(values), LIST_MAX):
        yield values[start : start + LIST_MAX]


class SqlSession:
    """Reads, each a statement of its own: no transaction stays open, so no reader holds the writer back.

    `engine` gives the pool, which is made when it is first asked for; `translate` makes a `StoreError` of what the
    driver raised.
    """

    def __init__(self, engine: Callable[[], AsyncEngine], translate: Callable[[BaseException], StoreError]) -> None:
        self._engine = engine
        self._translate = translate
        self._reads = 0
        self._is_closed = False
        self._idle = asyncio.Event()

    async def _all(self, statement: Statement, **parameters: Any) -> Sequence[Sequence[Any]]:
        """All rows of a statement that is declared once, at the top of a module.

        A list among the parameters stands in an `IN (…)`: it has at least one value and at most `LIST_MAX`. A database
        may override this with something quicker.
        """
        return await self._query(statement, parameters)

    async def _one(self, statement: Statement, **parameters: Any) -> Sequence[Any] | None:
        """The first row of such a statement."""
        rows = await self._all(statement, **parameters)
        return rows[0] if rows else None

    async def _query(
        self, statement: Statement, parameters: Mapping[str, Any] | None = None
    ) -> Sequence[Sequence[Any]]:
        """All rows of a statement that was made for this call."""
        # Shielded: a connection that is cut off in the middle, or while it is opened, would not find back.
        return await asyncio.shield(self._run(statement, parameters))

    async def _run(self, statement: Statement, parameters: Mapping[str, Any] | None) -> Sequence[Sequence[Any]]:
        with self._reading():
            async with self._engine().connect() as connection:
                return (await connection.execute(statement, parameters)).all()

    async def _within(
        self, connection: AsyncConnection, statement: Statement, parameters: Mapping[str, Any]
    ) -> Sequence[Sequence[Any]]:
        """All rows of a statement, within a transaction that its caller has begun."""
        return (await connection.execute(statement, parameters)).all()

    @contextmanager
    def _reading(self) -> Iterator[None]:
        if self._is_closed:
            raise StoreError("the store is closed")
        self._reads += 1
        try:
            yield
        except DBAPIError as error:
            raise self._translate(error.orig or error) from error
        except PoolTimeoutError as error:
            raise StoreUnavailable(f"no connection was free to read with: {error}") from error
        finally:
            self._reads -= 1
            if not self._reads:
                self._idle.set()

    async def _end_reads(self) -> None:
        """Refuse further reads, and wait for those under way."""
        self._is_closed = True
        while self._reads:
            self._idle.clear()
            await self._idle.wait()
