"""The quotas in force: a workflow's own, else those of its organization, else the engine's, which none exceeds.

They are those of the latest published version, whichever version runs, and hold for runs that are under way too. What
was read is kept until a commit changes the workflow or the settings of the organization.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from perdure.engine.core import ids
from perdure.engine.core.settings import NO_QUOTAS, Quotas, organization_settings, version_settings
from perdure.engine.limits import Limits
from perdure.engine.runtime.processing.quotas import Ceiling, RunQuotas, WorkflowKey, quotas_of_engine
from perdure.engine.runtime.streams.changes import changes_organization, changes_workflow
from perdure.engine.runtime.streams.stream import HotStream
from perdure.engine.runtime.workers.places import version_in_force
from perdure.engine.services.cache import Cache
from perdure.store.protocols import Catalog
from perdure.store.records import NewEvent

KNOWN_MAX: Final = 10_000
"""So many workflows are known at a time."""


class QuotasInForce:
    """The quotas of workflows. Implements `engine.runtime.processing.quotas.QuotaSource`."""

    def __init__(self, store: Catalog, limits: Limits) -> None:
        self._store = store
        self._engine: Final = quotas_of_engine(limits)
        self._transitions: Final = limits.run_transitions_per_s_max
        self._cache = Cache[WorkflowKey, RunQuotas](KNOWN_MAX)
        self.known: Final = self._cache.get

    async def read(self, key: WorkflowKey) -> RunQuotas:
        """The quotas that hold for a workflow. Raises `StoreError`."""
        return await self._cache.read(key, lambda: self._read(key))

    def on_changed(self, hot: HotStream, events: Sequence[NewEvent]) -> None:
        """A commit has changed a workflow or an organization, and maybe quotas."""
        if changes_workflow(hot, events):
            key = (hot.organization_id, hot.text)
            self._cache.forget(lambda known: known == key)
        elif changes_organization(hot, events):
            self._cache.forget(lambda known: known[0] == hot.stream_id)

    async def _read(self, key: WorkflowKey) -> RunQuotas:
        organization_id, workflow = key
        version = await version_in_force(self._store, ids.parse(workflow))
        of_workflow = None if version is None else version_settings(version.settings).quotas
        organization = await self._store.organization(organization_id)
        of_organization = None if organization is None else organization_settings(organization.settings).quotas
        if of_workflow is None and of_organization is None:
            return self._engine
        return self._chosen(of_workflow or NO_QUOTAS, of_organization or NO_QUOTAS)

    def _chosen(self, workflow: Quotas, organization: Quotas) -> RunQuotas:
        engine, names = self._engine, self._engine.names
        most_events = Ceiling(engine.events_max, names["events"])
        most_bytes = Ceiling(engine.bytes_max, names["bytes"])
        most_hurry = Ceiling(self._transitions, names["transitions"])
        a_second = (workflow.transitions_per_second, organization.transitions_per_second)
        events = _chosen(most_events, "events", workflow.events, organization.events)
        size = _chosen(most_bytes, "bytes", workflow.bytes, organization.bytes)
        pace = _chosen(most_hurry, "transitionsPerSecond", *a_second)
        return RunQuotas(
            events.most,
            size.most,
            60 * pace.most,
            {"events": events.name, "bytes": size.name, "transitions": pace.name},
            _chosen(engine.open_runs, "openRuns", workflow.open_runs, organization.open_runs),
            _chosen(engine.child_depth, "childDepth", workflow.child_depth, organization.child_depth),
        )


def _chosen(engine: Ceiling, member: str, workflow: int | None, organization: int | None) -> Ceiling:
    """The first that is set; the engine's instead, if it is more than that."""
    said = Ceiling(organization, f"quotas.{member} of the organization") if organization is not None else engine
    said = Ceiling(workflow, f"quotas.{member} of the workflow") if workflow is not None else said
    return said if said.most <= engine.most else engine
