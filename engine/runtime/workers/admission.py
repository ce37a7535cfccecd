"""Admission: queued runs are given their places, first come first served.

A run stands in one line: that of its workflow, of its key, or of its organization if that is its only limit. Whoever is
first in a line is admitted when there is a place in each of its limits, all at once: nobody holds one and waits for
another, so nobody waits in a circle. A run whose own line's place is free and who only lacks one in the organization's
limit is noted there (`_Blocked`); of those, and of the line of the organization itself, the one who has queued longest
has the next place. Nobody is passed for ever: in its line nobody passes it, and in the shared limit nobody who came
later.

That two runs never have one place is for the log to see to: each place is claimed in the append that has the event. So
what is read here may be out of date, and nothing here must be remembered: after a start all lines are looked at.

A place is a number from 1 to the limit in force, that of the latest settings. When a limit is lowered nobody is thrown
out, and nobody is admitted until there are fewer than it says.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from heapq import heapify, heappop, heappush
from itertools import count
from typing import Final, Literal, TypeAlias

import structlog

from perdure.engine.core import ids
from perdure.engine.core.commands import Admit
from perdure.engine.errors import EngineFailed, Unavailable
from perdure.engine.runtime.clock import Clock
from perdure.engine.runtime.processing.processor import Processor
from perdure.engine.runtime.processing.requests import Accepted, ClaimConflict, from_inside
from perdure.engine.runtime.streams.changes import changes_organization, changes_workflow
from perdure.engine.runtime.streams.stream import HotStream
from perdure.engine.runtime.telemetry.metrics import Metrics
from perdure.engine.runtime.telemetry.request_context import set_request
from perdure.engine.runtime.workers.places import limit_in_force
from perdure.store.errors import StoreError
from perdure.store.protocols import Store
from perdure.store.records import NewEvent, QueuedRow, QueueRow

_log = structlog.get_logger("perdure.admission")

AT_ONCE: Final = 64
"""So many limits are looked at beside each other: their runs are admitted in the same commits."""

RETRY_MS: Final = 1000
"""What the store did not serve is tried again so long after."""

KNOWN_MAX: Final = 10_000
"""So many limits are known at a time."""

_Outcome: TypeAlias = Literal["admitted", "full", "gone", "refused"]


class Admission:
    """Admits queued runs. `actor` is what the log says admitted them."""

    def __init__(self, store: Store, processor: Processor, clock: Clock, actor: str, metrics: Metrics) -> None:
        self._store = store
        self._processor = processor
        self._clock = clock
        self._actor = actor
        self._metrics = metrics
        self._wanted: dict[bytes, None] = {}
        self._blocked: dict[bytes, dict[bytes, int]] = {}
        self._in_force: dict[tuple[str, bytes], int | None] = {}
        self._changes = 0
        self._is_surveying = False
        self._job: asyncio.Task[None] | None = None
        self._is_closed = True

    # --- what is asked for ---------------------------------------------------------------------------------------

    def start(self) -> None:
        """Look at all lines: in some there may be places that a crash has kept from being given."""
        self._is_closed = False
        self.survey()

    def survey(self) -> None:
        """Look at all lines, in the background."""
        self._is_surveying = True
        self._go()

    def fill(self, keys: Iterable[str]) -> None:
        """Look at these limits: somebody queues for them, or a place was given back."""
        self._wanted.update(dict.fromkeys(map(bytes.fromhex, keys)))
        self._go()

    def on_changed(self, hot: HotStream, events: Sequence[NewEvent]) -> None:
        """A commit has changed a workflow or an organization, and maybe a limit: what was read of it is out of date."""
        if not (changes_workflow(hot, events) or changes_organization(hot, events)):
            return
        self._changes += 1
        self._in_force = {key: limit for key, limit in self._in_force.items() if key[1] != hot.stream_id}
        if not self._is_closed:
            self.survey()

    def halt(self) -> None:
        """Admit nobody more."""
        self._is_closed = True

    async def close(self) -> None:
        """Admit nobody more, and let go of what is under way: the next start looks at all lines."""
        self.halt()
        if self._job is not None:
            self._job.cancel()
            await asyncio.gather(self._job, return_exceptions=True)

    # --- the work ------------------------------------------------------------------------------------------------

    def _go(self) -> None:
        if not self._is_closed and (self._job is None or self._job.done()):
            self._job = asyncio.get_running_loop().create_task(self._work())

    async def _work(self) -> None:
        set_request(None)  # not for whoever happened to ask
        try:
            while not self._is_closed and (self._is_surveying or self._wanted):
                if self._is_surveying:
                    await self._list()
                await self._fill_some()
        except StoreError as error:
            _log.error("lines_not_read", error=str(error))
            self._metrics.fail("lines_not_read")
            self._is_surveying = True  # whatever was to be looked at is among all lines
            self._clock.call_later(RETRY_MS, self._go)
        except (EngineFailed, Unavailable):  # the engine is closing
            self.halt()

    async def _list(self) -> None:
        self._is_surveying = False
        after = b""
        while page := await self._store.lines(after=after):
            self._wanted.update(dict.fromkeys(page))
            after = page[-1]

    async def _fill_some(self) -> None:
        """Look at some of the limits that are to be looked at. What fails leaves the others to come to their end."""
        some = list(self._wanted)[:AT_ONCE]
        for key in some:
            del self._wanted[key]
        results = await asyncio.gather(*map(self._fill, some), return_exceptions=True)
        for result in results:
            if isinstance(result, BaseException):
                raise result

    async def _fill(self, key: bytes) -> None:
        """Admit from the line of a limit, and from those that wait for a place in it, whoever has queued longest."""
        lines = {key: 0} | self._blocked.pop(key, {})
        after = dict.fromkeys(lines, 0)
        heads: list[tuple[int, bytes, QueueRow]] = []
        for line in lines:
            await self._push(heads, line, 0)
        heapify(heads)
        while heads and not self._is_closed:
            position, line, row = heappop(heads)
            outcome = await self._try(QueuedRow(position, row))
            if outcome == "refused":  # it is set aside: nobody behind it waits for that
                after[line] = position
            if outcome != "full":
                await self._push(heads, line, after[line])

    async def _push(self, heads: list[tuple[int, bytes, QueueRow]], line: bytes, after: int) -> None:
        first = await self._store.first_in_line(line, after=after)
        if first is not None:
            heappush(heads, (first.position, line, first.row))

    async def _try(self, first: QueuedRow) -> _Outcome:
        """Admit the first of a line, if there is a place in all its limits."""
        row = first.row
        place = await self._free(row.kind, row, row.limit_key)
        if place is None:
            return "full"
        places = [(row.limit_key, place)]
        shared = row.limit_key
        if row.also_key is not None:
            shared = row.also_key
            also = await self._free("organization", row, shared)
            if also is None:
                self._block(shared, first)
                return "full"
            places.append((shared, also))
        if any(position < first.position for position in self._blocked.get(shared, {}).values()):
            self._wanted[shared] = None  # they came before, so it is their turn; and after that this one's
            self._block(shared, first)
            return "full"
        return await self._admit(row, places)

    def _block(self, shared: bytes, first: QueuedRow) -> None:
        if shared != first.row.limit_key:
            self._blocked.setdefault(shared, {})[first.row.limit_key] = first.position

    async def _free(self, kind: str, row: QueueRow, key: bytes) -> int | None:
        """The first free place of a limit; null if as many are taken as it allows."""
        taken = await self._store.places_taken(key)
        limit = await self._limit(kind, row)
        if limit is not None and len(taken) >= limit:
            return None
        known = set(taken)
        return next(place for place in count(1) if place not in known)

    async def _admit(self, row: QueueRow, places: Sequence[tuple[bytes, int]]) -> _Outcome:
        request = from_inside(row.execution_id, Admit(row.seq, tuple(place for _, place in places)), self._actor)
        request.places = places
        reply = await self._processor.submit(request)
        if isinstance(reply, Accepted):
            return "admitted"
        if isinstance(reply, ClaimConflict):
            return "gone"  # somebody else has one of the places: what is free is looked up again
        now = await self._store.in_line(row.execution_id)
        if now is None or now.row.seq != row.seq:
            return "gone"
        _log.warning("not_admitted", execution_id=ids.text(row.execution_id), problem=reply.rejection.message)
        return "refused"

    # --- limits in force -----------------------------------------------------------------------------------------

    async def _limit(self, kind: str, row: QueueRow) -> int | None:
        """How many a limit allows now; null: any number."""
        key = (kind, row.organization_id if kind == "organization" else row.workflow_id)
        while key not in self._in_force:
            seen = self._changes
            found = await limit_in_force(self._store, kind, row)
            if seen == self._changes:  # or it was read before a change
                if len(self._in_force) >= KNOWN_MAX:
                    self._in_force.clear()
                self._in_force[key] = found
        return self._in_force[key]
