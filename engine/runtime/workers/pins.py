"""Pins: the hash of an event of the whole log is recorded, now and then, in an organization's stream.

An event's hash does not cover its position. So whoever takes a run away and numbers the rest anew, or lets two events
change places, would leave chains that hold. A pin, which is chained, has the hash of the event at its position and a
digest of all since the pin before it, by position. It costs one event in a hundred thousand, and one when a node stops
or follows one that did not stop; the hashes are read beside what goes on, in parts.
"""

from __future__ import annotations

import asyncio
import hashlib
import sys
from typing import Final

import structlog

from perdure.engine.core.organization import PinLog
from perdure.engine.core.pinned import LogPinned
from perdure.engine.errors import PerdureError
from perdure.engine.log.codec import decode_json
from perdure.engine.runtime.processing.processor import Processor
from perdure.engine.runtime.processing.requests import CommandRequest
from perdure.store.chain import LOG_DOMAIN
from perdure.store.errors import StoreError
from perdure.store.protocols import Store
from perdure.store.records import StoredEvent

_log = structlog.get_logger("perdure.pins")

PIN_EVERY: Final = 100_000
"""Positions between two pins of a node that goes on."""

COVERED_MAX: Final = 10 * PIN_EVERY
"""A pin's digest goes back so far at the most: a log from before there were pins may be long."""

HASHES_AT_ONCE: Final = 4096


class Pins:
    """Pins the log of a node's store."""

    def __init__(self, store: Store, processor: Processor, actor: str) -> None:
        self._store = store
        self._processor = processor
        self._actor = actor
        self._job: asyncio.Task[None] | None = None
        self.due = sys.maxsize

    def begin(self) -> None:
        """Count from where the log stands."""
        self.due = self._processor.position + PIN_EVERY

    def on_moved(self, position: int) -> None:
        """Pin, if the log has come far enough since the last one."""
        if position >= self.due and (self._job is None or self._job.done()):
            self._job = asyncio.get_running_loop().create_task(self.pin())

    async def pin(self) -> None:
        """Pin the last event that is on disk, unless that is a pin. The pin is on disk once the processor is idle."""
        self.begin()
        try:
            position = await self._store.position()
            last = await anext(self._store.log(after=position - 1), None) if position else None
            if last is not None and last.row.type != LogPinned.__name__:
                after = await self._begin_of(position)
                self._processor.post(self._request(last, after, await self._digest(after, position)))
        except (StoreError, PerdureError) as error:  # the next one covers what this one would have
            _log.error("log_not_pinned", error=str(error))

    async def _begin_of(self, position: int) -> int:
        """Behind which position the digest begins: behind what the last pin has pinned."""
        earliest = max(0, position - COVERED_MAX)
        pin = await self._store.last_of_type(LogPinned.__name__, after=earliest)
        if pin is None:
            return earliest
        pinned = decode_json(pin.row.data).get("position")
        return pinned if isinstance(pinned, int) and earliest <= pinned < position else earliest

    async def _digest(self, after: int, through: int) -> str:
        digest = hashlib.sha256(LOG_DOMAIN)
        for start in range(after, through, HASHES_AT_ONCE):
            digest.update(b"".join(await self._store.hashes(start, min(start + HASHES_AT_ONCE, through))))
        return digest.hexdigest()

    def _request(self, last: StoredEvent, after: int, log_sha256: str) -> CommandRequest:
        organization_id = last.row.organization_id
        return CommandRequest(
            kind="organization",
            stream_id=organization_id,
            organization_id=organization_id,
            workspace_id=None,
            command=PinLog(last.position, last.row.hash.hex(), after, log_sha256),
            actor=self._actor,
            is_internal=True,
        )

    async def close(self, patience_s: float) -> None:
        """Wait for the pin that is being made, so long at most."""
        if self._job is not None:
            await asyncio.wait([self._job], timeout=patience_s)
