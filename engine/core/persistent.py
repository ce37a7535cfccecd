"""A persistent (immutable) map: each change returns a new map that shares most of its structure with the old one.

State is kept after every event of a decision, and a Map may have ten thousand iterations under way: copying a `dict`
of them for each event would take quadratic time. Here a change copies one shard and the list of shards, and there are
about as many shards as each has entries: of ten thousand entries, some hundred.

Equality must not depend on how the entries are laid out: a state that was folded event by event and one
that was read from a snapshot have other shards, and are the same state. So whoever needs an order sorts, and hashes of
texts, which differ from process to process, decide of nothing but the place.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from itertools import chain
from typing import Any, Final, Generic, NamedTuple, TypeVar, overload

K = TypeVar("K")
V = TypeVar("V")
D = TypeVar("D")

_new = object.__new__

SMALL_MAX = 32
"""So many entries are kept in one `dict`."""


class Change(NamedTuple, Generic[K, V]):
    """The values of two maps under one key; null where a map has no such key."""

    key: K
    before: V | None
    after: V | None


class PersistentMap(Generic[K, V]):
    """An immutable mapping. The order of its entries means nothing: sort where order matters.

    A small one, as nearly all are, is one `dict` (`_only`); a large one is spread over `_shards` by its keys' hashes.
    """

    __slots__ = ("_only", "_shards", "_size")

    def __init__(self, entries: dict[K, V] | None = None) -> None:
        self._spread(entries or {})

    def _spread(self, entries: dict[K, V]) -> None:
        """Lay the entries out anew, in so many shards as fit their number."""
        self._size = len(entries)
        self._only: dict[K, V] | None = entries
        self._shards: tuple[dict[K, V], ...] = ()
        if self._size <= SMALL_MAX:
            return
        count = 4
        while count * count < self._size:
            count *= 2
        shards: tuple[dict[K, V], ...] = tuple({} for _ in range(count))
        for key, value in entries.items():
            shards[hash(key) % count][key] = value
        self._only, self._shards = None, shards

    def set(self, key: K, value: V) -> PersistentMap[K, V]:
        """The map with this value under the key."""
        only = self._only
        if only is None:
            index = hash(key) % len(self._shards)
            shard = self._shards[index]
            return self._with(index, {**shard, key: value}, self._size + (key not in shard))
        changed = {**only, key: value}
        if len(changed) > SMALL_MAX:
            return PersistentMap(changed)
        made: PersistentMap[K, V] = _new(PersistentMap)
        made._only = changed  # of a small one nothing else is ever looked at
        return made

    def delete(self, key: K) -> PersistentMap[K, V]:
        """The map without the key; this very map if it has no such key."""
        index = 0
        shard = self._only
        if shard is None:
            index = hash(key) % len(self._shards)
            shard = self._shards[index]
        if key not in shard:
            return self
        if self._only is not None and len(shard) == 1:
            return EMPTY
        changed = shard.copy()
        del changed[key]
        if self._only is None:
            return self._with(index, changed, self._size - 1)
        made: PersistentMap[K, V] = _new(PersistentMap)
        made._only = changed
        return made

    def without(self, keys: Collection[K]) -> PersistentMap[K, V]:
        """The map without these keys, all of which it has; if they are many, it is rebuilt once."""
        if len(keys) <= SMALL_MAX:
            made = self
            for key in keys:
                made = made.delete(key)
            return made
        gone = set(keys)
        return PersistentMap({key: value for key, value in self.items() if key not in gone})

    def _with(self, index: int, shard: dict[K, V], size: int) -> PersistentMap[K, V]:
        """The map with one of its parts replaced; all other parts are shared with this one."""
        count = len(self._shards)
        made: PersistentMap[K, V] = _new(PersistentMap)
        made._only = None
        made._shards = (*self._shards[:index], shard, *self._shards[index + 1 :])
        made._size = size
        # Laid out anew when it has grown or shrunk by a factor: seldom enough that each change costs a share of it
        # only, and with room between the bounds, so that a change there and back does not do it each time.
        if not count * count // 16 <= size <= count * count * 2:
            made._spread(dict(made.items()))
        return made

    @overload
    def get(self, key: K) -> V | None: ...
    @overload
    def get(self, key: K, default: D) -> V | D: ...
    def get(self, key: K, default: D | None = None) -> V | D | None:
        """The value under the key, or the default."""
        only = self._only
        if only is not None:
            return only.get(key, default)
        return self._shards[hash(key) % len(self._shards)].get(key, default)

    def __getitem__(self, key: K) -> V:
        only = self._only
        if only is not None:
            return only[key]
        return self._shards[hash(key) % len(self._shards)][key]

    def __contains__(self, key: object) -> bool:
        only = self._only
        return key in (only if only is not None else self._shards[hash(key) % len(self._shards)])

    def __len__(self) -> int:
        only = self._only
        return self._size if only is None else len(only)

    def parts(self) -> tuple[dict[K, V], ...]:
        """The shards of the map; not to be changed."""
        return self._shards if self._only is None else (self._only,)

    def __iter__(self) -> Iterator[K]:
        only = self._only
        return iter(only) if only is not None else chain.from_iterable(self._shards)

    def items(self) -> Iterator[tuple[K, V]]:
        """The entries."""
        only = self._only
        return iter(only.items()) if only is not None else chain.from_iterable(map(dict.items, self._shards))

    def values(self) -> Iterator[V]:
        """The values."""
        only = self._only
        return iter(only.values()) if only is not None else chain.from_iterable(map(dict.values, self._shards))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, PersistentMap):
            return NotImplemented
        return self is other or (len(self) == len(other) and dict(self.items()) == dict(other.items()))

    __hash__ = None  # type: ignore[assignment]  # its values may be unhashable

    def __repr__(self) -> str:
        return f"PersistentMap({dict(self.items())!r})"

    def changes_from(self, before: PersistentMap[K, V]) -> Iterator[Change[K, V]]:
        """The changes since `before`, an earlier version of this map; only shards that differ are compared."""
        if self is before:
            return
        olds, news = before.parts(), self.parts()
        if len(olds) != len(news):
            pairs = [(dict(before.items()), dict(self.items()))]
        else:
            pairs = [(old, new) for old, new in zip(olds, news, strict=True) if old is not new]
        for old, new in pairs:
            for key, value in old.items():
                now = new.get(key)
                if now is not value:
                    yield Change(key, value, now)
            for key, value in new.items():
                if key not in old:
                    yield Change(key, None, value)


EMPTY: Final[PersistentMap[Any, Any]] = PersistentMap()
"""All that are made empty later on: one object, and not one for each step of each run."""
