"""Limits in force: how many runs a limit allows now, by the latest settings."""

from __future__ import annotations

from perdure.engine.core.settings import organization_settings, version_settings
from perdure.store.protocols import Catalog
from perdure.store.records import QueueRow, WorkflowVersionRow


async def limit_in_force(store: Catalog, kind: str, row: QueueRow) -> int | None:
    """How many runs have a place at once in a limit of this kind that a queued run stands before; null: any number."""
    if kind == "organization":
        organization = await store.organization(row.organization_id)
        return None if organization is None else organization_settings(organization.settings).concurrency_limit
    version = await version_in_force(store, row.workflow_id)
    if version is None:
        return None
    settings = version_settings(version.settings)
    # Of a workflow that counts otherwise by now those that queue as it did before are let go.
    return settings.concurrency_limit if (settings.concurrency_key is None) == (kind == "workflow") else None


async def version_in_force(store: Catalog, workflow_id: bytes) -> WorkflowVersionRow | None:
    """The version of a workflow whose settings hold for all its runs: the latest one that is published.

    Of a workflow that never was, whose draft is tried out, it is that draft.
    """
    version = await store.latest_published(workflow_id)
    if version is None:
        workflow = await store.workflow(workflow_id)
        latest = 1 if workflow is None else workflow.latest_version
        version = await store.workflow_version(workflow_id, latest)
    return version


def kinds_of(row: QueueRow) -> list[str]:
    """The kinds of the limits that a queued run needs a place in."""
    return [row.kind] if row.also_key is None else [row.kind, "organization"]
