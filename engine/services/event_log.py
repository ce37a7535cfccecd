"""The event log for callers: pages of a run's events, and of all events of an organization.

A page never cuts an event. Whoever has read everything may wait for more: it is woken by the commit that brings it.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import Final, NamedTuple

from perdure.engine.core.transitions import TERMINAL
from perdure.engine.errors import Invalid, Unavailable
from perdure.engine.runtime.callers import Caller
from perdure.engine.runtime.node import NodeParts
from perdure.engine.runtime.watch import Watch
from perdure.engine.services.unseen import Unseen
from perdure.store.records import ExecutionRow, StoredEvent

PAGE_BYTES_MAX: Final = 4 * 1024 * 1024
"""So much text of events stands on a page; one event does in any case."""

AT_ONCE: Final = 50
"""So many events are read at a time: each may be large."""


class EventPage(NamedTuple):
    """Some events in order. `after` asks for the next page, which `has_more` says is there."""

    events: list[StoredEvent]
    after: int
    has_more: bool


class RunEvents(NamedTuple):
    """A page of a run's events, and the run as it was just before."""

    run: ExecutionRow
    page: EventPage


class EventLog:
    """Pages of events, limited to what a caller may see."""

    def __init__(self, node: NodeParts, unseen: Unseen) -> None:
        self._node = node
        self._store = node.store
        self._unseen = unseen

    # --- one run -------------------------------------------------------------------------------------------------

    async def of_execution(
        self,
        caller: Caller,
        execution_id: bytes,
        *,
        after: int | None = None,
        limit: int = 100,
        types: Sequence[str] = (),
        newest_first: bool = False,
        hold_ms: int = 0,
    ) -> RunEvents:
        """Events of a run of the caller's workspace beyond a seq. Raises `NotFound`.

        Where there is none yet the call is held for `hold_ms`, unless the run has ended.
        """
        deadline = self._node.clock.ticks() + hold_ms
        with self._node.processor.watchers.watch(execution_id) as watch:
            while True:
                watch.clear()
                # First: what had ended then is on the page.
                run = await self._unseen.check(caller, await self._store.execution(execution_id), execution_id)
                page = await self._run_page(execution_id, after, limit, types, newest_first=newest_first)
                is_over = run.status in TERMINAL
                if page.events or is_over or not await self._wait(caller, watch, deadline):
                    return RunEvents(run, page)

    async def _run_page(
        self, execution_id: bytes, after: int | None, limit: int, types: Sequence[str], *, newest_first: bool
    ) -> EventPage:
        async def ahead() -> AsyncGenerator[StoredEvent]:
            beyond = after
            while some := await self._store.event_page(
                execution_id, after=beyond, types=types, newest_first=newest_first, limit=min(AT_ONCE, limit + 1)
            ):
                for stored in some:
                    yield stored
                beyond = some[-1].row.seq

        events, has_more = await _fill(ahead(), limit)
        return EventPage(events, events[-1].row.seq if events else after or 0, has_more)

    # --- an organization -----------------------------------------------------------------------------------------

    async def of_organization(
        self, caller: Caller, *, whole: bool, after: int = 0, limit: int = 100, hold_ms: int = 0
    ) -> EventPage:
        """The events above a position: of the caller's workspace, or (`whole`) of all of its organization.

        Nothing is left out up to the page's `after`, whatever others append meanwhile. A page without events may have
        a next one: what it has looked at was others'. Raises `Invalid` for a position that the log has not reached.
        """
        deadline = self._node.clock.ticks() + hold_ms
        if after > await self._store.position():
            raise Invalid(f"after: the log has no position {after} yet; send one that an answer has given")
        with self._node.processor.watchers.watch_organization(caller.organization_id) as watch:
            while True:
                watch.clear()
                page = await self._log_page(caller, after, limit, whole=whole)
                if page.events or page.has_more or not await self._wait(caller, watch, deadline):
                    return page
                after = page.after

    async def _log_page(self, caller: Caller, after: int, limit: int, *, whole: bool) -> EventPage:
        position, is_end = after, False

        async def ahead() -> AsyncGenerator[StoredEvent]:
            nonlocal position, is_end
            is_full = True
            while is_full:
                found = await self._store.log_page(
                    caller.organization_id,
                    workspace_id=None if whole else caller.workspace_id,
                    after=position,
                    limit=min(AT_ONCE, limit + 1),
                )
                is_full = len(found.events) == min(AT_ONCE, limit + 1)
                for stored in await self._seen(caller, found.events):
                    yield stored
                position, is_end = found.position, found.is_end

        events, is_cut = await _fill(ahead(), limit)
        if is_cut:
            return EventPage(events, events[-1].position, has_more=True)
        return EventPage(events, position, has_more=not is_end)

    async def _seen(self, caller: Caller, events: list[StoredEvent]) -> list[StoredEvent]:
        """The events of these that are not of a workflow that the caller may not see, or of a run of one."""
        unseen = await self._unseen.by(caller)
        if not unseen:
            return events
        hidden = set(unseen)
        for stream_id in {stored.row.stream_id for stored in events}:
            run = await self._store.execution(stream_id)
            if run is not None and run.workflow_id in unseen:
                hidden.add(stream_id)
        return [stored for stored in events if stored.row.stream_id not in hidden]

    # --- both ----------------------------------------------------------------------------------------------------

    async def _wait(self, caller: Caller, watch: Watch, deadline: int) -> bool:
        """Hold the call until something happens; false if it must be answered now.

        Raises `Unauthorized` if meanwhile the caller's key was revoked or has expired: it is told nothing more; and
        `Unavailable` if too many calls are held.
        """
        node, grant = self._node, caller.grant
        if node.draining.is_set() or node.processor.failure is not None or node.clock.ticks() >= deadline:
            return False
        with node.holds.hold(caller.workspace_id) as is_held:
            if not is_held:
                raise Unavailable("too many calls are held; repeat it without wait, or later")
            if grant is None:
                return await watch.wait(node.clock, deadline)
            with grant.held(watch):
                has_changed = await watch.wait(node.clock, grant.until(node.clock, deadline))
        grant.check(node.clock)
        return has_changed


async def _fill(ahead: AsyncGenerator[StoredEvent], limit: int) -> tuple[list[StoredEvent], bool]:
    """As many events as a page takes, and whether there is one that it did not."""
    events: list[StoredEvent] = []
    size = 0
    async with aclosing(ahead):
        async for stored in ahead:
            size += len(stored.row.data) + len(stored.row.payload or "")
            if len(events) == limit or (events and size > PAGE_BYTES_MAX):
                return events, True
            events.append(stored)
    return events, False
