"""Bulk writes: many rows in one statement.

While SQLite runs a statement other threads run Python, and after it the writer has to ask for the interpreter again,
and waits for it longer than it works. So a table's rows of a batch go into as few statements as can be, usually one:
statements are of a few sizes, each compiled once, and what is left of one is filled up with rows of nulls, which it
passes over.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from itertools import chain
from sqlite3 import Cursor
from typing import Any, Final, NamedTuple, TypeAlias

from sqlalchemy import Column, LargeBinary

SIZES: Final = (1, 2, 4, 8, 16, 32, 64, 128, 256)
"""The number of rows a statement has room for."""

NULL: Final = float("nan")
"""Null in the form that the driver binds quickest: for None it looks for an adapter first. SQLite has no NaN."""

_VALUES: Final = re.compile(r"VALUES (\(\?(?:, \?)*\))")

Binder: TypeAlias = Callable[[Iterable[Any]], Iterable[Any]]


class Prepared(NamedTuple):
    """A statement and its values, those of so many rows of so many columns and the nulls behind them."""

    text: str
    values: list[Any]
    rows: int
    width: int

    def write(self, cursor: Cursor) -> int:
        """Run it; gives how many rows were written."""
        return cursor.execute(self.text, self.values).rowcount

    def number(self, first: int) -> int:
        """Number the rows in their first column; gives the number after the last."""
        end = first + self.rows
        self.values[: self.rows * self.width : self.width] = range(first, end)
        return end


class Bulk:
    """A statement of which the text has one row of values, `VALUES (?, …)`, and its columns."""

    def __init__(self, text: str, columns: Sequence[Column[Any]]) -> None:
        found = _VALUES.search(text)
        if found is None or found[1].count("?") != len(columns):
            raise AssertionError(f"{text}: it has no row of {len(columns)} values")
        self._before, self._row, self._after = text[: found.start()], found[1], text[found.end() :]
        self._width = len(columns)
        self._binders = [(number, bind) for number, bind in enumerate(map(binder, columns)) if bind is not None]
        self._texts: dict[int, str] = {}

    def prepare(self, rows: Sequence[Sequence[Any]]) -> list[Prepared]:
        """The statements that write these rows, none of which begins with a null."""
        if not rows:
            return []
        width = self._width
        values = list(chain.from_iterable(rows))
        if len(values) != width * len(rows):
            raise ValueError(f"a row has other than the {width} values that are written here")
        for column, bind in self._binders:
            values[column::width] = bind(values[column::width])
        if len(rows) <= SIZES[-1]:
            return [self._filled(values, len(rows))]
        most = width * SIZES[-1]
        parts = (values[start : start + most] for start in range(0, len(values), most))
        return [self._filled(part, len(part) // width) for part in parts]

    def _filled(self, values: list[Any], count: int) -> Prepared:
        size = next(size for size in SIZES if size >= count)
        width = self._width
        values += [NULL] * ((size - count) * width)
        return Prepared(self._text(size), values, count, width)

    def _text(self, size: int) -> str:
        text = self._texts.get(size)
        if text is None:
            rows = ", ".join([self._row] * size)
            is_source = self._before.rstrip().endswith("(")  # an UPDATE ... FROM (VALUES ...): nulls match nothing
            values = f"VALUES {rows}"
            if not is_source:
                values = f"SELECT * FROM ({values}) WHERE column1 IS NOT NULL"  # noqa: S608 nothing but question marks
            text = self._texts[size] = f"{self._before}{values}{self._after}"
        return text


def binder(column: Column[Any]) -> Binder | None:
    """A function that converts a column's values to the types that the driver binds fastest; null if they are.

    For each None and each bytes it looks for an adapter first, which takes longer than all else about the row (a third
    of a batch's time). It does not for a bytearray, which is stored as the same bytes, nor for a float.
    """
    is_binary = isinstance(column.type, LargeBinary)
    if column.nullable:
        return _nullable_binary if is_binary else _nullable
    return _binary if is_binary else None


def bound(values: Iterable[Any]) -> list[Any]:
    """The values of one row in the same forms, whatever their columns are."""
    return [NULL if value is None else bytearray(value) if type(value) is bytes else value for value in values]


def _binary(values: Iterable[Any]) -> Iterable[Any]:
    return map(bytearray, values)


def _nullable(values: Iterable[Any]) -> Iterable[Any]:
    return [NULL if value is None else value for value in values]


def _nullable_binary(values: Iterable[Any]) -> Iterable[Any]:
    return [NULL if value is None else bytearray(value) for value in values]
