"""The key's organization (part of the resource API): its settings are shown and changed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from perdure.api.dialects import schemas as common
from perdure.api.dialects.envelopes import data
from perdure.api.dialects.resource.dialect import KEYS, route
from perdure.api.dialects.resource.workflows import setting_schemas as schemas
from perdure.api.dialects.resource.workflows.workflows import given_settings
from perdure.api.http.routing import Reply, Route, RouteCall
from perdure.engine.core import ids
from perdure.engine.core.settings import organization_settings
from perdure.engine.services.settings import all_members
from perdure.store.records import OrganizationRow


async def get_organization(call: RouteCall[Any, None]) -> Reply:
    """The organization that the key belongs to, with its settings."""
    return data(organization_json(await call.engine.services.access.own_organization(call.caller)))


async def change_organization(call: RouteCall[Any, schemas.OrganizationChange]) -> Reply:
    """Change the settings that are sent; they hold at once, for all runs of the organization."""
    given = given_settings(call.body.settings)
    return data(organization_json(await call.engine.services.access.change_organization(call.principal, given)))


def organization_json(row: OrganizationRow) -> dict[str, Any]:
    """An organization as it is shown."""
    settings = all_members(organization_settings(row.settings))
    return {"id": ids.text(row.organization_id), "name": row.name, "settings": settings}


ROUTES: Final[Sequence[Route]] = (
    route(
        *(KEYS, "GET", "organization", "organization.view", get_organization),
        answer=common.Data[schemas.OrganizationShown],
    ),
    route(
        *(KEYS, "PATCH", "organization", "operator", change_organization),
        body=schemas.OrganizationChange,
        answer=common.Data[schemas.OrganizationShown],
        refusals=frozenset({"CONFLICT"}),
    ),
)
