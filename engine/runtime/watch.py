"""Watches: callers that wait for changes of an execution are woken after the commit."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from perdure.engine.runtime.clock import Clock
from perdure.engine.runtime.streams.stream import HotStream


class Watch:
    """Waits for commits that change a stream; with `for_end` only for the one that ends it.

    `state` and `payloads` are the last that were committed while watching; null before that, and whenever the last
    commit was not the last word because the next batch has the stream too.
    """

    __slots__ = ("_for_end", "_has_changed", "_waiter", "payloads", "state")

    def __init__(self, *, for_end: bool = False) -> None:
        self._for_end = for_end
        self.state: Any = None
        self.payloads: dict[int, Any] = {}
        self._has_changed = False
        self._waiter: asyncio.Future[None] | None = None

    def clear(self) -> None:
        """Forget changes so far: the next `wait` is for later ones. Call it before looking at the stream."""
        self._has_changed = False

    async def wait(self, clock: Clock, deadline: int | None = None) -> bool:
        """Wait for a change since `clear`, at the longest until `deadline` (ticks); whether one came."""
        if self._has_changed:
            return True
        waiter = self._waiter = asyncio.get_running_loop().create_future()
        alarm = None if deadline is None else clock.call_later(deadline - clock.ticks(), lambda: _wake(waiter))
        try:
            await waiter
        finally:
            self._waiter = None
            if alarm is not None:
                alarm.cancel()
        return self._has_changed

    def change(self, hot: HotStream | None) -> None:
        """Notify of a commit; without a stream only wake."""
        if self._for_end and hot is not None and not hot.stored.is_over:
            return
        is_settled = hot is not None and hot.batch is None
        self.state = hot.state if hot is not None and is_settled else None
        self.payloads = hot.payloads if hot is not None and is_settled else {}
        self._has_changed = True
        if self._waiter is not None:
            _wake(self._waiter)


def _wake(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)


class Watchers:
    """Watches by stream, and by organization."""

    def __init__(self) -> None:
        self._watches: dict[bytes, set[Watch]] = {}
        self._by_organization: dict[bytes, set[Watch]] = {}

    @contextmanager
    def watch(self, stream_id: bytes, *, for_end: bool = False) -> Iterator[Watch]:
        """Watch a stream. Begin before looking at its state, so that no change falls between."""
        with _among(self._watches, stream_id, Watch(for_end=for_end)) as watch:
            yield watch

    @contextmanager
    def watch_organization(self, organization_id: bytes) -> Iterator[Watch]:
        """Watch all streams of an organization; likewise."""
        with _among(self._by_organization, organization_id, Watch()) as watch:
            yield watch

    def notify(self, stream_id: bytes, hot: HotStream) -> None:
        """Notify the watches of a stream that was changed by a commit."""
        for watch in self._watches.get(stream_id, ()):
            watch.change(hot)
        if self._by_organization:
            for watch in self._by_organization.get(hot.organization_id, ()):
                watch.change(None)

    def notify_all(self) -> None:
        """Wake all watches: the node drains or has failed."""
        for watches in (*self._watches.values(), *self._by_organization.values()):
            for watch in watches:
                watch.change(None)


@contextmanager
def _among(watches: dict[bytes, set[Watch]], key: bytes, watch: Watch) -> Iterator[Watch]:
    """Keep a watch among the others of its key as long as it is wanted."""
    watches.setdefault(key, set()).add(watch)
    try:
        yield watch
    finally:
        watches[key].discard(watch)
        if not watches[key]:
            del watches[key]
