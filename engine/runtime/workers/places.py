"""Limits in force: how many runs a limit allows now, by the latest settings."""

from __future__ import annotations

from perdure.engine.core.settings import organization_settings, version_settings
from perdure.store.protocols import Catalog
from perdure.store.records import QueueRow


async def limit_in_force(store: Catalog, kind: str, row: QueueRow) -> int | None:
    """How many runs have a place at once in a limit of this kind that a queued run stands before; null: any number."""
    if kind == "organization":
        organization = await store.organization(row.organization_id)
        return None if organization is None else organization_settings(organization.settings).concurrency_limit
    version = await store.latest_published(row.workflow_id)
    if version is None:  # a draft that is tried out
        workflow = await store.workflow(row.workflow_id)
        latest = 1 if workflow is None else workflow.latest_version
        version = await store.workflow_version(row.workflow_id, latest)
    if version is None:
        return None
    settings = version_settings(version.settings)
    # Of a workflow that counts otherwise by now those that queue as it did before are let go.
    return settings.concurrency_limit if (settings.concurrency_key is None) == (kind == "workflow") else None


def kinds_of(row: QueueRow) -> list[str]:
    """The kinds of the limits that a queued run needs a place in."""
    return [row.kind] if row.also_key is None else [row.kind, "organization"]
