"""The quota of open runs of a workflow: while so many have not ended, no further one is started.

A quota is no limit: it stops a workflow that starts itself again and again, and nobody counts on the very number. So it
is looked at before a start, and not claimed by it: what several nodes start at once, or one before its commits are on
disk, may go beyond it by that much. What was read a moment ago and all that was started here since are an upper bound,
as far as this node knows, so the counts are read seldom unless a workflow is near its quota.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Final, NamedTuple

import msgspec

from perdure.engine.core.transitions import TERMINAL
from perdure.engine.errors import Conflict
from perdure.engine.limits import Limits
from perdure.engine.runtime.callers import Caller
from perdure.engine.runtime.clock import Clock
from perdure.engine.services.run_limits import RunLimits
from perdure.engine.services.starting import Start
from perdure.store.protocols import Executions

READ_AFTER_MS: Final = 10_000
"""What other nodes have started since is not known here: after so long the counts are read again."""

KNOWN_MAX: Final = 10_000
"""So many workflows are known at a time."""


class _Known(msgspec.Struct):
    """How many runs a workflow has at the most, as of a reading at an instant (ticks) and what was started since."""

    count: int
    read_at: int


class OpenRuns:
    """The open runs of workflows, as far as their quota needs them."""

    def __init__(self, store: Executions, clock: Clock, limits: Limits) -> None:
        self._store = store
        self._clock = clock
        self._max: Final = limits.workflow_open_runs_max
        self._known: OrderedDict[bytes, _Known] = OrderedDict()

    async def why_not(self, workspace_id: bytes, workflow_id: bytes) -> str | None:
        """The reason why no further run of a workflow may be started now; null: it may, and is counted."""
        known = self._known.get(workflow_id)
        if known is None or known.count >= self._max or self._clock.ticks() - known.read_at >= READ_AFTER_MS:
            counts = await self._store.execution_counts(workspace_id, workflow_id=workflow_id)
            known = _Known(sum(row.total for row in counts if row.status not in TERMINAL), self._clock.ticks())
            self._known[workflow_id] = known
            if len(self._known) > KNOWN_MAX:
                self._known.popitem(last=False)
        if known.count >= self._max:
            return (
                f"the workflow has {known.count:,} runs that have not ended, and its quota (workflow_open_runs_max) "
                f"is {self._max:,}: end some of them, or raise it"
            )
        known.count += 1
        return None


class StartRules(NamedTuple):
    """Rules of a start: whatever starts a run asks for its limits, and whether its workflow has too many open."""

    limits: RunLimits
    open_runs: OpenRuns

    async def limited(self, caller: Caller, start: Start) -> Start:
        """The start with the limits that it counts in. Raises `Conflict` if too many runs are open, and `Invalid`."""
        version = start.found.version
        reason = await self.open_runs.why_not(version.workspace_id, version.workflow_id)
        if reason is not None:
            raise Conflict(reason)
        return await self.limits.limited(caller, start)
