"""The catalog of the in-memory store: organizations, keys and workflows."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice

from perdure.store.memory.tables import Index, MemoryTable
from perdure.store.records import ApiKeyRow, OrganizationRow, WorkflowRow, WorkflowVersionRow, WorkspaceRow
from perdure.store.viewer import TENANT, Viewer, sees


class MemoryCatalog:
    """The tables of the catalog, and `Catalog` over them."""

    def __init__(self) -> None:
        self._organizations = MemoryTable(OrganizationRow, unique=["name"])
        self._workspaces = MemoryTable(WorkspaceRow, unique=["organization_id", "name"])
        self._keys_of = Index[ApiKeyRow](lambda row: row.organization_id, lambda row: row.key_id)
        self._api_keys = MemoryTable(ApiKeyRow, self._keys_of, unique=["key_digest"])
        self._key_uses: dict[bytes, int] = {}
        self._workflows_of = Index[WorkflowRow](lambda row: row.workspace_id, lambda row: row.workflow_id)
        self._workflows_named = Index[WorkflowRow](
            lambda row: (row.workspace_id, row.name), lambda row: row.workflow_id
        )
        self._workflows = MemoryTable(WorkflowRow, self._workflows_of, self._workflows_named)
        self._versions_of = Index[WorkflowVersionRow](lambda row: row.workflow_id, lambda row: row.version)
        self._versions_in = Index[WorkflowVersionRow](
            lambda row: (row.organization_id, row.workspace_id), lambda row: row[:2]
        )
        self._versions_within = Index[WorkflowVersionRow](lambda row: row.organization_id, lambda row: row[:2])
        self._versions = MemoryTable(WorkflowVersionRow, self._versions_of, self._versions_in, self._versions_within)

    async def organization(self, organization_id: bytes) -> OrganizationRow | None:
        return self._organizations.rows.get((organization_id,))

    async def organization_named(self, name: str) -> OrganizationRow | None:
        return self._organizations.unique((name,))

    async def organizations(self) -> list[OrganizationRow]:
        return [row for _, row in sorted(self._organizations.rows.items())]

    async def workspace(self, workspace_id: bytes) -> WorkspaceRow | None:
        return self._workspaces.rows.get((workspace_id,))

    async def workspace_named(self, organization_id: bytes, name: str) -> WorkspaceRow | None:
        return self._workspaces.unique((organization_id, name))

    async def sandboxes(self, organization_id: bytes) -> list[WorkspaceRow]:
        rows = sorted(self._workspaces.rows.values())
        return [row for row in rows if row.organization_id == organization_id and row.live_workspace_id is not None]

    async def api_key_by_digest(self, key_digest: bytes) -> ApiKeyRow | None:
        return self._api_keys.unique((key_digest,))

    async def api_key(self, key_id: bytes) -> ApiKeyRow | None:
        return self._api_keys.rows.get((key_id,))

    async def api_keys(
        self, organization_id: bytes, workspace_id: bytes | None = None, *, after: bytes = b"", limit: int | None = None
    ) -> list[ApiKeyRow]:
        rows = [self._api_keys.rows[key_id,] for key_id in self._keys_of.all(organization_id) if key_id > after]
        return [row for row in rows if workspace_id is None or row.workspace_id == workspace_id][:limit]

    async def latest_keys(self, limit: int) -> list[bytes]:
        live = (row for row in self._api_keys.rows.values() if row.revoked_at is None)
        latest = sorted(live, key=lambda row: (self._key_uses.get(row.key_id, row.created_at), row.key_id))
        return [row.key_digest for row in reversed(latest)][:limit]

    async def has_operator(self, besides: bytes, now: int) -> bool:
        return any(
            "operator" in row.scopes.split()
            for row in self._api_keys.rows.values()
            if row.organization_id != besides
            and row.revoked_at is None
            and (row.expires_at is None or row.expires_at > now)
        )

    async def key_uses(self, key_ids: Sequence[bytes]) -> dict[bytes, int]:
        return {key_id: self._key_uses[key_id] for key_id in key_ids if key_id in self._key_uses}

    async def workflow(self, workflow_id: bytes) -> WorkflowRow | None:
        return self._workflows.rows.get((workflow_id,))

    async def restricted_workflows(self, organization_id: bytes) -> list[WorkflowRow]:
        rows = self._workflows.rows.values()
        return [row for row in rows if row.organization_id == organization_id and row.visibility != TENANT]

    async def workflows_of(self, workflow_ids: Sequence[bytes]) -> dict[bytes, WorkflowRow]:
        rows = (self._workflows.rows.get((workflow_id,)) for workflow_id in workflow_ids)
        return {row.workflow_id: row for row in rows if row is not None}

    async def workflow_version(self, workflow_id: bytes, version: int) -> WorkflowVersionRow | None:
        return self._versions.rows.get((workflow_id, version))

    async def latest_published(self, workflow_id: bytes) -> WorkflowVersionRow | None:
        versions = await self.workflow_versions(workflow_id)
        return next((row for row in reversed(versions) if row.published_at is not None), None)

    async def workflow_versions(self, workflow_id: bytes) -> list[WorkflowVersionRow]:
        return [self._versions.rows[workflow_id, version] for version in self._versions_of.all(workflow_id)]

    async def workflows(
        self,
        workspace_id: bytes,
        *,
        status: str | None = None,
        search: str | None = None,
        viewer: Viewer | None = None,
        before: bytes | None = None,
        limit: int = 20,
        offset: int = 0,
    ) -> tuple[list[WorkflowRow], int]:
        rows = [self._workflows.rows[workflow_id,] for workflow_id in self._workflows_of.all(workspace_id)]
        found = [
            row
            for row in reversed(rows)
            if (status is None or row.status == status)
            and (search is None or search.lower() in row.name.lower())
            and (viewer is None or sees(viewer, row))
        ]
        page = [row for row in found if before is None or row.workflow_id < before]
        return page[offset : offset + limit], len(found)

    async def workflows_named(self, workspace_id: bytes, name: str, viewer: Viewer | None = None) -> list[WorkflowRow]:
        ids = reversed(self._workflows_named.all((workspace_id, name)))
        rows = [self._workflows.rows[workflow_id,] for workflow_id in ids]
        rows = [row for row in rows if viewer is None or sees(viewer, row)]
        return ([row for row in rows if row.status != "archived"] or rows)[:2]

    async def workflow_version_page(
        self,
        organization_id: bytes,
        *,
        workspace_id: bytes | None,
        viewer: Viewer | None = None,
        before: tuple[bytes, int] | None = None,
        limit: int = 20,
    ) -> list[tuple[WorkflowRow, WorkflowVersionRow]]:
        if workspace_id is None:
            keys = self._versions_within.below(organization_id, before, len(self._versions.rows))
        else:
            keys = self._versions_in.below((organization_id, workspace_id), before, len(self._versions.rows))
        found = ((self._workflows.rows[key[:1]], self._versions.rows[key]) for key in keys)
        return list(islice((pair for pair in found if viewer is None or sees(viewer, pair[0])), limit))
