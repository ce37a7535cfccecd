"""Tables of the in-memory store: plain dicts with sorted indexes."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import islice
from typing import Any, Final, Generic, TypeVar, cast

from perdure.store.batch import FIXED_COLUMNS, KEY_COLUMNS
from perdure.store.errors import StoreError
from perdure.store.memory.ordered import Ordered
from perdure.store.records import Claim, Row

R = TypeVar("R", bound=Row | Claim)

_NONE: Final = Ordered()


class Index(Generic[R]):
    """The order of some rows within groups; a row of which the group is None is not in it."""

    def __init__(self, group: Callable[[R], Any], order: Callable[[R], Any]) -> None:
        self._group = group
        self._order = order
        self._groups: dict[Any, Ordered] = {}

    def move(self, old: R | None, new: R | None) -> None:
        """Take a row out, put one in, or replace one by the other."""
        was, now = self._place(old), self._place(new)
        if was == now:
            return
        if was is not None:
            self._groups[was[0]].remove(was[1])
        if now is not None:
            if now[0] not in self._groups:
                self._groups[now[0]] = Ordered()
            self._groups[now[0]].add(now[1])

    def _place(self, row: R | None) -> tuple[Any, Any] | None:
        group = None if row is None else self._group(row)
        return None if row is None or group is None else (group, self._order(row))

    def all(self, group: Any) -> list[Any]:
        return list(self._groups.get(group, _NONE))

    def above(self, group: Any, entry: Any, limit: int | None = None) -> list[Any]:
        """Up to `limit` entries above this one (None: all), ascending."""
        return list(islice(self._groups.get(group, _NONE).above(entry), limit))

    def below(self, group: Any, entry: Any | None, limit: int) -> list[Any]:
        """Up to `limit` entries below this one (None: from the end), descending."""
        return list(islice(self._groups.get(group, _NONE).below(entry), limit))


class MemoryTable(Generic[R]):
    """Rows by primary key. `unique` names further columns that no two rows may share."""

    def __init__(self, kind: type[R], *indexes: Index[R], unique: Iterable[str] = ()) -> None:
        self._key = KEY_COLUMNS[kind]
        self._fixed = FIXED_COLUMNS.get(kind, frozenset())
        self._indexes = indexes
        self._unique = tuple(kind._fields.index(name) for name in unique)
        self._taken: dict[tuple[Any, ...], tuple[Any, ...]] = {}
        self.rows: dict[tuple[Any, ...], R] = {}

    def put(self, row: R) -> None:
        key = row[: self._key]
        old = self.rows.get(key)
        if old is not None and self._fixed:
            row = cast("R", row._replace(**{name: getattr(old, name) for name in self._fixed}))
        if self._unique:
            if old is not None:
                del self._taken[self._values(old)]
            self._taken[self._values(row)] = key
        self.rows[key] = row
        for index in self._indexes:
            index.move(old, row)

    def delete(self, row: R) -> None:
        old = self.rows.pop(row[: self._key], None)
        if old is not None:
            for index in self._indexes:
                index.move(old, None)

    def unique(self, values: tuple[Any, ...]) -> R | None:
        """The row with these values in the unique columns."""
        key = self._taken.get(values)
        return None if key is None else self.rows[key]

    def check(self, rows: Iterable[R]) -> None:
        """Raise StoreError if one of these rows, put in this order, would share a unique value."""
        if not self._unique:
            return
        taken: dict[tuple[Any, ...], tuple[Any, ...] | None] = {}
        pending: dict[tuple[Any, ...], R] = {}
        for row in rows:
            key, values = row[: self._key], self._values(row)
            holder = taken[values] if values in taken else self._taken.get(values)
            if holder not in {None, key}:
                raise StoreError(f"another {type(row).__name__} has {values}")
            old = pending.get(key, self.rows.get(key))
            if old is not None:
                taken[self._values(old)] = None
            taken[values] = key
            pending[key] = row

    def _values(self, row: R) -> tuple[Any, ...]:
        return tuple(row[column] for column in self._unique)
