"""Caches of stored values. A value read before a change and delivered after it is never cached."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

K = TypeVar("K")
V = TypeVar("V")


class _Look(Generic[K]):
    """A read that is under way; stale as soon as what it reads has been changed."""

    __slots__ = ("is_stale", "key")

    def __init__(self, key: K) -> None:
        self.key = key
        self.is_stale = False


class Cache(Generic[K, V]):
    """Values read from the store, each kept until what it was read from changes: then call `forget`.

    A read that began before a change may end after it and know nothing of it. Kept, it would be believed for ever; so
    it is made again. All who read a key at once get the same object. With a `limit` the least recently used go first.
    """

    def __init__(self, limit: int | None = None) -> None:
        self._limit = limit
        self._values: OrderedDict[K, V] = OrderedDict()
        self._looks: set[_Look[K]] = set()

    def get(self, key: K) -> V | None:
        """The cached value; null if there is none."""
        value = self._values.get(key)
        if value is not None and self._limit is not None:
            self._values.move_to_end(key)
        return value

    async def read(self, key: K, reading: Callable[[], Awaitable[V]]) -> V:
        """The cached value, or else the result of `reading`, which is cached. Raises what that raises."""
        look = _Look(key)
        self._looks.add(look)
        try:
            while (value := self.get(key)) is None:
                look.is_stale = False
                found = await reading()
                if not look.is_stale:
                    return self._keep(key, found)
            return value
        finally:
            self._looks.discard(look)

    def _keep(self, key: K, value: V) -> V:
        value = self._values.setdefault(key, value)
        if self._limit is not None and len(self._values) > self._limit:
            self._values.popitem(last=False)
        return value

    def forget(self, has_changed: Callable[[K], bool]) -> list[V]:
        """Let go of the values whose keys have changed, and of what is being read for them; gives the values."""
        for look in self._looks:
            look.is_stale = look.is_stale or has_changed(look.key)
        return [self._values.pop(key) for key in [key for key in self._values if has_changed(key)]]
