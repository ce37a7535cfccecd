"""Last uses of keys: written to the store in batches, in the background; lost if the process dies."""

from __future__ import annotations

import asyncio
from typing import Final

import structlog

from perdure.engine.runtime.callers import Grant
from perdure.engine.runtime.clock import Clock
from perdure.store.errors import StoreError
from perdure.store.protocols import Catalog

_log = structlog.get_logger("perdure.keys")

PRECISION_MS: Final = 60_000
"""A use is noted if the last one that was is so long ago."""

DELAY_MS: Final = 10_000
"""The uses of so long are written in one transaction."""


class KeyUses:
    """The last uses of keys that are not stored yet."""

    def __init__(self, store: Catalog, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._noted: dict[bytes, int] = {}
        self._job: asyncio.Task[None] | None = None

    def note(self, grant: Grant) -> None:
        """Note the use of a key."""
        now = self._clock.now()
        if grant.used_at is not None and 0 <= now - grant.used_at < PRECISION_MS:
            return
        grant.used_at = now
        if not self._noted:
            self._clock.call_later(DELAY_MS, self._begin)
        self._noted[grant.key_id] = now

    def _begin(self) -> None:
        if self._job is None or self._job.done():
            self._job = asyncio.get_running_loop().create_task(self._write())

    async def _write(self) -> None:
        noted, self._noted = self._noted, {}
        try:
            await self._store.keys_used(noted)
        except StoreError as error:  # it is shown only, and the next use is noted again
            _log.warning("uses_not_written", error=str(error))

    async def close(self) -> None:
        """Write what is noted."""
        if self._job is not None:
            await self._job
        if self._noted:
            await self._write()
