"""Unseen runs: those of workflows that a caller may not see, which it then hears nothing of on any way.

Nearly every organization shows all of its workflows to all of its keys. So the workflows that are not `tenant` are kept
at hand, and where there are none nobody looks at anything.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Final, TypeVar

import msgspec

from perdure.engine.core import ids
from perdure.engine.core.versions import VisibilityChanged
from perdure.engine.errors import NotFound
from perdure.engine.runtime.callers import Caller
from perdure.engine.runtime.streams.stream import HotStream
from perdure.engine.services.cache import Cache
from perdure.store.protocols import Catalog
from perdure.store.records import ExecutionRow, NewEvent, WorkflowRow
from perdure.store.viewer import Viewer, sees

NONE: Final = frozenset[bytes]()

KNOWN_MAX: Final = 1024
"""The workflows of so many organizations are kept at hand."""

VIEWERS_MAX: Final = 256
"""And for each what so many viewers do not see."""

AT_ONCE: Final = 200
"""So many rows at least are read at a time where some may be left out."""

T = TypeVar("T")


class _Restricted(msgspec.Struct):
    """The workflows of an organization that not everybody sees, and by viewer those that they do not."""

    rows: list[WorkflowRow]
    unseen: dict[Viewer, frozenset[bytes]]


class Unseen:
    """The workflows that callers may not see."""

    def __init__(self, store: Catalog) -> None:
        self._store = store
        self._restricted = Cache[bytes, _Restricted](KNOWN_MAX)

    def on_changed(self, hot: HotStream, events: Sequence[NewEvent]) -> None:
        """A commit has changed who sees a workflow."""
        if hot.kind.name == "workflow" and any(event.type == VisibilityChanged.__name__ for event in events):
            self._restricted.forget(lambda key: key == hot.organization_id)

    async def by(self, caller: Caller) -> frozenset[bytes]:
        """The workflows of the caller's organization that it may not see; for nearly everybody there are none."""
        viewer = caller.viewer
        return NONE if viewer is None else await self.by_viewer(caller.organization_id, viewer)

    async def by_viewer(self, organization_id: bytes, viewer: Viewer) -> frozenset[bytes]:
        """The workflows of an organization that a viewer may not see."""
        known = self._restricted.get(organization_id)
        if known is None:
            known = await self._restricted.read(organization_id, lambda: self._read(organization_id))
        if not known.rows:
            return NONE
        found = known.unseen.get(viewer)
        if found is None:
            if len(known.unseen) == VIEWERS_MAX:
                known.unseen.clear()
            found = frozenset(row.workflow_id for row in known.rows if not sees(viewer, row))
            known.unseen[viewer] = found
        return found

    async def check(self, caller: Caller, row: ExecutionRow | None, execution_id: bytes) -> ExecutionRow:
        """The run, if the caller may know of it: of its workspace, and of a workflow it sees. Raises `NotFound`."""
        if row is None or row.workspace_id != caller.workspace_id or row.workflow_id in await self.by(caller):
            raise NotFound(f"there is no execution {ids.text(execution_id)}")
        return row

    async def _read(self, organization_id: bytes) -> _Restricted:
        return _Restricted(await self._store.restricted_workflows(organization_id), {})


async def filled(
    read: Callable[[T | None, int], Awaitable[list[T]]], is_seen: Callable[[T], bool] | None, limit: int
) -> list[T]:
    """So many rows that are seen, or all there are: as many reads as that takes. `read` is given the last row before.

    Without `is_seen` all are, and one read gives them.
    """
    if is_seen is None:
        return await read(None, limit)
    found: list[T] = []
    last, at_once = None, max(limit, AT_ONCE)
    while len(found) < limit:
        rows = await read(last, at_once)
        found += filter(is_seen, rows)
        if len(rows) < at_once:
            break
        last = rows[-1]
    return found[:limit]
