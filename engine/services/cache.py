"""Caches of stored values. A value read before a change and delivered after it is never cached."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

K = TypeVar("K")
V = TypeVar("V")


class _Look(Generic[V]):
    """A read that is under way, and what comes of it for all who wait for it; null: whoever read was called off.

    It is stale as soon as what it reads has been changed.
    """

    __slots__ = ("found", "is_stale")

    def __init__(self) -> None:
        self.found: asyncio.Future[V | None] = asyncio.get_running_loop().create_future()
        self.is_stale = False


class Cache(Generic[K, V]):
    """Values read from the store, each kept until what it was read from changes: then call `forget`.

    A read that began before a change may end after it and know nothing of it. Kept, it would be believed for ever; so
    it is made again. Whoever wants a key that is being read waits for that, so that a crowd costs one read, and all get
    the same object. With a `limit` the least recently used go first.
    """

    def __init__(self, limit: int | None = None) -> None:
        self._limit = limit
        self._values: OrderedDict[K, V] = OrderedDict()
        self._looks: dict[K, _Look[V]] = {}

    def get(self, key: K) -> V | None:
        """The cached value; null if there is none."""
        value = self._values.get(key)
        if value is not None and self._limit is not None:
            self._values.move_to_end(key)
        return value

    async def read(self, key: K, reading: Callable[[], Awaitable[V]]) -> V:
        """The cached value, or else the result of `reading`, which is cached. Raises what that raises."""
        while (value := self.get(key)) is None:
            look = self._looks.get(key)
            if look is None:
                return await self._look(key, reading)
            value = await asyncio.shield(look.found)
            if value is not None:
                break
        return value

    async def _look(self, key: K, reading: Callable[[], Awaitable[V]]) -> V:
        """Read a value for all who want it, again if it has changed meanwhile."""
        look = self._looks[key] = _Look[V]()
        try:
            while True:
                look.is_stale = False
                found = await reading()
                if not look.is_stale:
                    break
            kept = self._keep(key, found)
            look.found.set_result(kept)
        except Exception as error:
            look.found.set_exception(error)
            look.found.exception()  # looked at: maybe nobody waits
            raise
        finally:
            del self._looks[key]
            if not look.found.done():
                look.found.set_result(None)
        return kept

    def _keep(self, key: K, value: V) -> V:
        value = self._values.setdefault(key, value)
        if self._limit is not None and len(self._values) > self._limit:
            self._values.popitem(last=False)
        return value

    def forget(self, has_changed: Callable[[K], bool]) -> list[V]:
        """Let go of the values whose keys have changed, and of what is being read for them; gives the values."""
        for key, look in self._looks.items():
            look.is_stale = look.is_stale or has_changed(key)
        return [self._values.pop(key) for key in [key for key in self._values if has_changed(key)]]

    def drop(self, key: K) -> None:
        """Let go of one value that is to be read again, since it is old."""
        self._values.pop(key, None)
