"""Crash loops: finds the execution whose decision crashes the process at each start.

After several deaths in a row what was under way is taken up in small groups, and each is noted on disk before it has
its turn. So the next start knows which group it was: these have their turns one by one, and one that the process died
alone with is set aside. (Steps that take the process down are found out elsewhere: `engine.runtime.workers.suspects`.)
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from typing import Final

import structlog

from perdure.engine.core import ids
from perdure.engine.runtime.clock import Clock, Handle
from perdure.store.errors import StoreError
from perdure.store.protocols import Store
from perdure.store.records import NodeRow

_log = structlog.get_logger("perdure.recovery")

CRASHES_MAX: Final = 3
"""After so many deaths in a row a start is careful."""

CALM_MS: Final = 60_000
"""A node that has lived so long is in no crash loop."""

GROUP: Final = 64
"""So many streams have their turn together at a careful start."""

_ID_BYTES: Final = 16


class CrashLoop:
    """The crashes before this node's start, and the notes for the start after its own.

    `dead` are the nodes that did not stop, the last of them last.
    """

    def __init__(self, store: Store, node: NodeRow, dead: Sequence[NodeRow]) -> None:
        self._store = store
        last = dead[-1] if dead else None
        self._node = node._replace(crashes=0 if last is None else last.crashes + 1)
        self._suspected = [] if last is None else _split(last.alone_with)
        self._alarm: Handle | None = None
        self._noting: asyncio.Task[None] | None = None
        self.is_careful = self._node.crashes >= CRASHES_MAX

    @property
    def crashes(self) -> int:
        """The number of nodes in a row that crashed."""
        return self._node.crashes

    @property
    def guilty(self) -> bytes | None:
        """The only stream that was in progress when the last node crashed; null if there was none."""
        return self._suspected[0] if self.is_careful and len(self._suspected) == 1 else None

    def groups(self, streams: Sequence[bytes]) -> Iterator[list[bytes]]:
        """The streams in the groups in which they have their turns: those of the group at the last death one by one."""
        suspected = set(self._suspected)
        for stream_id in streams:
            if stream_id in suspected and stream_id != self.guilty:
                yield [stream_id]
        others = [stream_id for stream_id in streams if stream_id not in suspected]
        for start in range(0, len(others), GROUP):
            yield others[start : start + GROUP]

    async def begin(self, clock: Clock) -> None:
        """Store the number of crashes, and 0 once this node has run for a while."""
        if not self._node.crashes:
            return
        await self._note()
        if self.is_careful:
            guilty = None if self.guilty is None else ids.text(self.guilty)
            _log.error("crash_loop", deaths=self._node.crashes, set_aside=guilty)
        self._wait_for_calm(clock)

    def _wait_for_calm(self, clock: Clock) -> None:
        self._alarm = clock.call_later(CALM_MS, lambda: self._be_calm(clock))

    def _be_calm(self, clock: Clock) -> None:
        if self._node.alone_with:  # not before all have had their turns
            self._wait_for_calm(clock)
            return
        self._node = self._node._replace(crashes=0)
        self._noting = asyncio.get_running_loop().create_task(self._note())

    async def alone_with(self, streams: Sequence[bytes]) -> None:
        """Store that only these streams are in progress."""
        self._node = self._node._replace(alone_with=b"".join(streams))
        await self._note()

    async def _note(self) -> None:
        try:
            await self._store.node_noted(self._node)
        except StoreError as error:  # the next start knows less
            _log.error("node_not_noted", error=str(error))

    def close(self) -> None:
        """Store nothing more: the node stops."""
        if self._alarm is not None:
            self._alarm.cancel()


def _split(streams: bytes) -> list[bytes]:
    return [streams[start : start + _ID_BYTES] for start in range(0, len(streams), _ID_BYTES)]
