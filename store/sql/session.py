"""Running a statement on a connection of the readers' pool."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final, TypeVar

from sqlalchemy import Executable, Row
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine

from store.errors import StoreError

# A database takes at most some 32,000 parameters in a statement.
_PARAMETERS_MAX: Final = 10_000

T = TypeVar("T")


def in_parts(values: list[T]) -> Iterator[list[T]]:
    """Cut what is to stand in `IN (…)` into lists that a statement can take."""
    for start in range(0, len(values), _PARAMETERS_MAX):
        yield values[start : start + _PARAMETERS_MAX]


class SqlSession:
    """Reads, each a statement of its own: no transaction stays open, so no reader holds the writer back.

    `translate` makes a `StoreError` of what the driver raised.
    """

    def __init__(self, engine: AsyncEngine, translate: Callable[[BaseException], StoreError]) -> None:
        self._engine = engine
        self._translate = translate
        self._reads = 0
        self._is_closed = False
        self._idle = asyncio.Event()

    async def _rows(
        self, statement: Executable, parameters: Mapping[str, Any] | None = None
    ) -> Sequence[Row[Any]]:
        if self._is_closed:
            raise StoreError("the store is closed")
        self._reads += 1
        try:
            async with self._engine.connect() as connection:
                return (await connection.execute(statement, parameters)).all()
        except DBAPIError as error:
            raise self._translate(error.orig or error) from error
        finally:
            self._reads -= 1
            if not self._reads:
                self._idle.set()

    async def _first(
        self, statement: Executable, parameters: Mapping[str, Any] | None = None
    ) -> Row[Any] | None:
        rows = await self._rows(statement, parameters)
        return rows[0] if rows else None

    async def _close_readers(self) -> None:
        """Refuse further reads, let those under way end, close the connections."""
        self._is_closed = True
        while self._reads:
            self._idle.clear()
            await self._idle.wait()
        await self._engine.dispose()
