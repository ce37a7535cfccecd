"""Watching streams: who waits for something to happen to an execution is woken after the commit."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from engine.runtime.hot import HotStream


class Watch:
    """`changed` is set after each commit that changed the stream.

    `is_changing`: the last commit left it alive, so there is no need to read it to know that it goes on.
    """

    __slots__ = ("changed", "is_changing")

    def __init__(self) -> None:
        self.changed = asyncio.Event()
        self.is_changing = False


class Watchers:
    """Watches by stream."""

    def __init__(self) -> None:
        self._watches: dict[bytes, set[Watch]] = {}

    @contextmanager
    def watch(self, stream_id: bytes) -> Iterator[Watch]:
        """Watch a stream. Begin before looking at its state, so that no change falls between."""
        watch = Watch()
        self._watches.setdefault(stream_id, set()).add(watch)
        try:
            yield watch
        finally:
            watches = self._watches[stream_id]
            watches.discard(watch)
            if not watches:
                del self._watches[stream_id]

    def notify(self, stream_id: bytes, hot: HotStream) -> None:
        for watch in self._watches.get(stream_id, ()):
            watch.is_changing = not getattr(hot.state, "is_over", False)
            watch.changed.set()

    def notify_all(self) -> None:
        for watches in self._watches.values():
            for watch in watches:
                watch.is_changing = False
                watch.changed.set()
