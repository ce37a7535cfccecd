"""Organizations, keys and workflows, read with SQL."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Final

from sqlalchemy import ColumnElement, Select, and_, bindparam, func, or_, select, tuple_

from perdure.store.records import ApiKeyRow, OrganizationRow, WorkflowRow, WorkflowVersionRow, WorkspaceRow
from perdure.store.schema import (
    IS_OPERATOR,
    RESTRICTED,
    api_keys,
    key_uses,
    organizations,
    workflow_versions,
    workflows,
    workspaces,
)
from perdure.store.sql.session import SqlSession, Statement, in_parts
from perdure.store.viewer import SHARED, TENANT, Viewer, mark

_ORGANIZATIONS: Final = select(organizations).order_by(organizations.c.organization_id)
_ORGANIZATION: Final = select(organizations).where(organizations.c.organization_id == bindparam("id"))
_ORGANIZATION_NAMED: Final = select(organizations).where(organizations.c.name == bindparam("name"))
_WORKSPACE: Final = select(workspaces).where(workspaces.c.workspace_id == bindparam("id"))
_WORKSPACE_NAMED: Final = select(workspaces).where(
    workspaces.c.organization_id == bindparam("id"), workspaces.c.name == bindparam("name")
)
_SANDBOXES: Final = select(workspaces).where(
    workspaces.c.organization_id == bindparam("id"), workspaces.c.live_workspace_id.is_not(None)
)
_KEY: Final = select(api_keys).where(api_keys.c.key_id == bindparam("id"))
_KEYS_OF: Final = (
    select(api_keys)
    .where(api_keys.c.organization_id == bindparam("organization_id"), api_keys.c.key_id > bindparam("after"))
    .order_by(api_keys.c.key_id)
    .limit(bindparam("limit"))
)
_KEYS_IN: Final = _KEYS_OF.where(api_keys.c.workspace_id == bindparam("workspace_id"))
_NO_LIMIT: Final = 2**63 - 1
_KEY_USES: Final = select(key_uses).where(key_uses.c.key_id.in_(bindparam("key_ids", expanding=True)))
_KEY_BY_DIGEST: Final = select(api_keys).where(api_keys.c.key_digest == bindparam("digest"))
_LATEST_KEYS: Final = (
    select(api_keys.c.key_digest)
    .outerjoin(key_uses, key_uses.c.key_id == api_keys.c.key_id)
    .where(api_keys.c.revoked_at.is_(None))
    .order_by(func.coalesce(key_uses.c.used_at, api_keys.c.created_at).desc(), api_keys.c.key_id.desc())
    .limit(bindparam("limit"))
)
_OPERATOR: Final = (
    select(api_keys.c.key_id)
    .where(
        IS_OPERATOR,
        api_keys.c.revoked_at.is_(None),
        or_(api_keys.c.expires_at.is_(None), api_keys.c.expires_at > bindparam("now")),
    )
    .limit(1)
)
_OPERATOR_BELOW: Final = _OPERATOR.where(api_keys.c.organization_id < bindparam("besides"))
_OPERATOR_ABOVE: Final = _OPERATOR.where(api_keys.c.organization_id > bindparam("besides"))
_WORKFLOW: Final = select(workflows).where(workflows.c.workflow_id == bindparam("id"))
_WORKFLOWS_OF: Final = select(workflows).where(workflows.c.workflow_id.in_(bindparam("ids", expanding=True)))
_RESTRICTED: Final = select(workflows).where(RESTRICTED, workflows.c.organization_id == bindparam("id"))
_VERSIONS: Final = select(workflow_versions).where(workflow_versions.c.workflow_id == bindparam("id"))
_ALL_VERSIONS: Final = _VERSIONS.order_by(workflow_versions.c.version)
_VERSION: Final = _VERSIONS.where(workflow_versions.c.version == bindparam("version"))
_LATEST_PUBLISHED: Final = (
    _VERSIONS.where(workflow_versions.c.published_at.is_not(None)).order_by(workflow_versions.c.version.desc()).limit(1)
)
_CONDITIONS: Final = {
    "status": workflows.c.status == bindparam("status"),
    # A part is in a name if taking it out changes the name. (LIKE would need escapes, and has a limit.)
    "search": func.replace(func.lower(workflows.c.name), bindparam("search"), "") != func.lower(workflows.c.name),
    "before": workflows.c.workflow_id < bindparam("before"),
}


def _seen_by(roles: int) -> ColumnElement[bool]:
    """As `store.viewer.sees`, for somebody with so many roles."""
    shared = [_has(workflows.c.shared_users, "viewer_user")]
    shared += [_has(workflows.c.shared_roles, f"viewer_role_{number}") for number in range(roles)]
    return or_(
        workflows.c.visibility == TENANT,
        and_(workflows.c.owner != "", workflows.c.owner == bindparam("viewer_owner")),
        and_(workflows.c.owner == "", workflows.c.created_by == bindparam("viewer_actor")),
        and_(workflows.c.visibility == SHARED, or_(*shared)),
    )


def _has(column: ColumnElement[str], name: str) -> ColumnElement[bool]:
    # Taking it out changes the text if it is in there. (LIKE has no regard to case.)
    return func.replace(column, bindparam(name), "") != column


def _viewer_values(viewer: Viewer) -> dict[str, str]:
    return {
        "viewer_user": mark(viewer.user_id),  # "" taken out changes nothing
        "viewer_owner": viewer.user_id or "",
        "viewer_actor": viewer.actor,
        **{f"viewer_role_{number}": mark(role) for number, role in enumerate(viewer.role_ids)},
    }


@lru_cache(maxsize=256)
def _pages(names: tuple[str, ...], roles: int | None) -> tuple[Statement, Statement]:
    """The queries for a page and for how many there are; the number is of all pages, whatever the page is before."""

    def filtered(query: Select[Any], given: Sequence[str]) -> Select[Any]:
        seen = [] if roles is None else [_seen_by(roles)]
        return query.where(workflows.c.workspace_id == bindparam("id"), *(_CONDITIONS[name] for name in given), *seen)

    page = filtered(select(workflows), names).order_by(workflows.c.workflow_id.desc())
    count = filtered(select(func.count()).select_from(workflows), [name for name in names if name != "before"])
    return page.limit(bindparam("limit")).offset(bindparam("offset")), count


_NAMED: Final = (
    select(workflows)
    .where(workflows.c.workspace_id == bindparam("id"), workflows.c.name == bindparam("name"))
    .order_by(workflows.c.workflow_id.desc())
    .limit(2)
)


@lru_cache(maxsize=64)
def _named(roles: int | None) -> tuple[Statement, Statement]:
    """The queries for those of a name that are in use, and for all."""
    seen = _NAMED if roles is None else _NAMED.where(_seen_by(roles))
    return seen.where(workflows.c.status != "archived"), seen


class SqlCatalog(SqlSession):
    """`Catalog` over SQL."""

    async def organization(self, organization_id: bytes) -> OrganizationRow | None:
        row = await self._one(_ORGANIZATION, id=organization_id)
        return None if row is None else OrganizationRow._make(row)

    async def organization_named(self, name: str) -> OrganizationRow | None:
        row = await self._one(_ORGANIZATION_NAMED, name=name)
        return None if row is None else OrganizationRow._make(row)

    async def organizations(self) -> list[OrganizationRow]:
        return [OrganizationRow._make(row) for row in await self._all(_ORGANIZATIONS)]

    async def workspace(self, workspace_id: bytes) -> WorkspaceRow | None:
        row = await self._one(_WORKSPACE, id=workspace_id)
        return None if row is None else WorkspaceRow._make(row)

    async def workspace_named(self, organization_id: bytes, name: str) -> WorkspaceRow | None:
        row = await self._one(_WORKSPACE_NAMED, id=organization_id, name=name)
        return None if row is None else WorkspaceRow._make(row)

    async def sandboxes(self, organization_id: bytes) -> list[WorkspaceRow]:
        return sorted(WorkspaceRow._make(row) for row in await self._all(_SANDBOXES, id=organization_id))

    async def api_key_by_digest(self, key_digest: bytes) -> ApiKeyRow | None:
        row = await self._one(_KEY_BY_DIGEST, digest=key_digest)
        return None if row is None else ApiKeyRow._make(row)

    async def api_key(self, key_id: bytes) -> ApiKeyRow | None:
        row = await self._one(_KEY, id=key_id)
        return None if row is None else ApiKeyRow._make(row)

    async def api_keys(
        self, organization_id: bytes, workspace_id: bytes | None = None, *, after: bytes = b"", limit: int | None = None
    ) -> list[ApiKeyRow]:
        wanted = {"organization_id": organization_id, "after": after, "limit": _NO_LIMIT if limit is None else limit}
        if workspace_id is None:
            rows = await self._all(_KEYS_OF, **wanted)
        else:
            rows = await self._all(_KEYS_IN, **wanted, workspace_id=workspace_id)
        return [ApiKeyRow._make(row) for row in rows]

    async def latest_keys(self, limit: int) -> list[bytes]:
        return [row[0] for row in await self._all(_LATEST_KEYS, limit=limit)]

    async def has_operator(self, besides: bytes, now: int) -> bool:
        below = await self._one(_OPERATOR_BELOW, besides=besides, now=now)
        return (below or await self._one(_OPERATOR_ABOVE, besides=besides, now=now)) is not None

    async def key_uses(self, key_ids: Sequence[bytes]) -> dict[bytes, int]:
        found: dict[bytes, int] = {}
        for some in in_parts(list(key_ids)):
            found |= {row[0]: row[1] for row in await self._all(_KEY_USES, key_ids=some)}
        return found

    async def workflow(self, workflow_id: bytes) -> WorkflowRow | None:
        row = await self._one(_WORKFLOW, id=workflow_id)
        return None if row is None else WorkflowRow._make(row)

    async def restricted_workflows(self, organization_id: bytes) -> list[WorkflowRow]:
        return [WorkflowRow._make(row) for row in await self._all(_RESTRICTED, id=organization_id)]

    async def workflows_of(self, workflow_ids: Sequence[bytes]) -> dict[bytes, WorkflowRow]:
        found: dict[bytes, WorkflowRow] = {}
        for some in in_parts(list(workflow_ids)):
            rows = map(WorkflowRow._make, await self._all(_WORKFLOWS_OF, ids=some))
            found.update({row.workflow_id: row for row in rows})
        return found

    async def workflow_version(self, workflow_id: bytes, version: int) -> WorkflowVersionRow | None:
        row = await self._one(_VERSION, id=workflow_id, version=version)
        return None if row is None else WorkflowVersionRow._make(row)

    async def latest_published(self, workflow_id: bytes) -> WorkflowVersionRow | None:
        row = await self._one(_LATEST_PUBLISHED, id=workflow_id)
        return None if row is None else WorkflowVersionRow._make(row)

    async def workflow_versions(self, workflow_id: bytes) -> list[WorkflowVersionRow]:
        return [WorkflowVersionRow._make(row) for row in await self._all(_ALL_VERSIONS, id=workflow_id)]

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
        wanted = {"status": status, "search": search.lower() if search else None, "before": before}
        given: dict[str, Any] = {name: value for name, value in wanted.items() if value is not None}
        page, count = _pages(tuple(given), None if viewer is None else len(viewer.role_ids))
        given |= {"id": workspace_id, **(_viewer_values(viewer) if viewer else {})}
        rows = await self._all(page, **given, limit=limit, offset=offset)
        counted = await self._all(count, **{name: value for name, value in given.items() if name != "before"})
        return [WorkflowRow._make(row) for row in rows], counted[0][0]

    async def workflows_named(self, workspace_id: bytes, name: str, viewer: Viewer | None = None) -> list[WorkflowRow]:
        in_use, of_any_status = _named(None if viewer is None else len(viewer.role_ids))
        given = {"id": workspace_id, "name": name, **(_viewer_values(viewer) if viewer else {})}
        rows = await self._all(in_use, **given) or await self._all(of_any_status, **given)
        return [WorkflowRow._make(row) for row in rows]

    async def workflow_version_page(
        self,
        organization_id: bytes,
        *,
        workspace_id: bytes | None,
        viewer: Viewer | None = None,
        before: tuple[bytes, int] | None = None,
        limit: int = 20,
    ) -> list[tuple[WorkflowRow, WorkflowVersionRow]]:
        versions = workflow_versions.c
        wanted: list[ColumnElement[bool]] = [versions.organization_id == organization_id]
        if workspace_id is not None:
            wanted.append(versions.workspace_id == workspace_id)
        if viewer is not None:
            wanted.append(_seen_by(len(viewer.role_ids)))
        query: Statement = (
            select(workflows, workflow_versions)
            .join(workflow_versions, workflows.c.workflow_id == versions.workflow_id)
            .where(*wanted)
            .order_by(versions.workflow_id.desc(), versions.version.desc())
            .limit(limit)
        )
        if before is not None:
            query = query.where(tuple_(versions.workflow_id, versions.version) < before)
        width = len(WorkflowRow._fields)
        return [
            (WorkflowRow._make(row[:width]), WorkflowVersionRow._make(row[width:]))
            for row in await self._query(query, _viewer_values(viewer) if viewer else None)
        ]
