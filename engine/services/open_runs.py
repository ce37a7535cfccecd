"""The quota of open runs of a workflow: while so many have not ended, no further one is started.

A quota is no limit: it stops a workflow that starts itself again and again, and nobody counts on the very number. So it
is looked at before a start, and not claimed by it: what several nodes start at once, or one before its commits are on
disk, may go beyond it by that much. What was read a moment ago and all that was started here since are an upper bound,
as far as this node knows, so the counts are read seldom unless a workflow is near its quota.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import msgspec

from perdure.engine.core import ids
from perdure.engine.core.transitions import TERMINAL
from perdure.engine.errors import Conflict
from perdure.engine.runtime.callers import Caller
from perdure.engine.runtime.clock import Clock
from perdure.engine.runtime.processing.quotas import QuotaSource
from perdure.engine.services.cache import Cache
from perdure.engine.services.documents import input_schema_of
from perdure.engine.services.inputs import check_input
from perdure.engine.services.run_limits import RunLimits
from perdure.engine.services.starting import Start
from perdure.store.protocols import Executions
from perdure.store.records import WorkflowVersionRow

READ_AFTER_MS: Final = 10_000
"""What other nodes have started since is not known here: after so long the counts are read again."""

KNOWN_MAX: Final = 10_000
"""So many workflows are known at a time."""


class TooMany(NamedTuple):
    """The reason why a workflow gets no further run: it has as many open ones as its quota says."""

    reason: str
    quota: int

    def refusal(self) -> Conflict:
        """The error that says so."""
        return Conflict(self.reason, {"limit": self.quota})


class _Known(msgspec.Struct):
    """How many runs a workflow has at the most, as of a reading at an instant (ticks) and what was started since."""

    count: int
    read_at: int


class OpenRuns:
    """The open runs of workflows, as far as their quota needs them."""

    def __init__(self, store: Executions, clock: Clock, quotas: QuotaSource) -> None:
        self._store = store
        self._clock = clock
        self._quotas = quotas
        self._known = Cache[tuple[bytes, bytes], _Known](KNOWN_MAX)

    async def why_not(self, caller: Caller, version: WorkflowVersionRow) -> TooMany | None:
        """The reason why no further run of this workflow may be started now; null: it may, and is counted.

        Those in a sandbox and those outside are counted each by themselves.
        """
        workflow_id = version.workflow_id
        of = (version.organization_id, ids.text(workflow_id))
        quota = (self._quotas.known(of) or await self._quotas.read(of)).open_runs
        key = (caller.workspace_id, workflow_id)
        known = self._known.get(key)
        if known is not None and (known.count >= quota.most or self._clock.ticks() - known.read_at >= READ_AFTER_MS):
            self._known.drop(key)
            known = None
        if known is None:
            known = await self._known.read(key, lambda: self._read(*key))
        if known.count >= quota.most:
            return TooMany(
                f"the workflow has {known.count:,} runs that have not ended, and its quota ({quota.name}) "
                f"is {quota.most:,}: end some of them, or raise it",
                quota.most,
            )
        known.count += 1
        return None

    async def _read(self, workspace_id: bytes, workflow_id: bytes) -> _Known:
        counts = await self._store.execution_counts(workspace_id, workflow_id=workflow_id)
        return _Known(sum(row.total for row in counts if row.status not in TERMINAL), self._clock.ticks())


class StartRules(NamedTuple):
    """Rules of a start: whatever starts a run asks for its limits, and whether its workflow has too many open."""

    limits: RunLimits
    open_runs: OpenRuns

    async def limited(self, caller: Caller, start: Start) -> Start:
        """The start with the limits that it counts in.

        Raises `Conflict` if too many runs are open, and `Invalid`, also for an input that the workflow does not take.
        """
        check_input(start.input, input_schema_of(start.found.version))
        too_many = await self.open_runs.why_not(caller, start.found.version)
        if too_many is not None:
            raise too_many.refusal()
        return await self.limits.limited(caller, start)
