"""The key's organization (part of the resource API): its settings are shown and changed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import msgspec

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
    """Change the settings that are sent; they hold at once, for all runs and requests of the organization."""
    access = call.engine.services.access
    return data(organization_json(await access.change_organization(call.principal, _given(call.body))))


async def get_any_organization(call: RouteCall[Any, None]) -> Reply:
    """An organization with its plan and its settings; another one than the key's own only an operator sees."""
    return data(
        organization_json(await call.engine.services.access.any_organization(call.principal, call.path_id("id")))
    )


async def change_any_organization(call: RouteCall[Any, schemas.OrganizationChange]) -> Reply:
    """Change the plan, or the settings, of any organization; they hold at once."""
    access = call.engine.services.access
    return data(
        organization_json(await access.change_organization(call.principal, _given(call.body), call.path_id("id")))
    )


def _given(change: schemas.OrganizationChange) -> dict[str, Any]:
    """What is changed, as one object of settings: the plan is one of them."""
    given = {} if change.settings is msgspec.UNSET else given_settings(change.settings)
    return given if change.plan is msgspec.UNSET else {**given, "plan": change.plan}


def organization_json(row: OrganizationRow) -> dict[str, Any]:
    """An organization as it is shown."""
    settings = all_members(organization_settings(row.settings))
    plan = settings.pop("plan")
    return {"id": ids.text(row.organization_id), "name": row.name, "plan": plan, "settings": settings}


ROUTES: Final[Sequence[Route]] = (
    route(
        *(KEYS, "GET", "organization", "organization.view", get_organization),
        is_of_one=True,
        answer=common.Data[schemas.OrganizationShown],
    ),
    route(
        *(KEYS, "PATCH", "organization", "operator", change_organization),
        changes=lambda call: call.caller.organization_id,
        body=schemas.OrganizationChange,
        answer=common.Data[schemas.OrganizationShown],
        refusals=frozenset({"CONFLICT"}),
    ),
    route(
        *(KEYS, "GET", "organizations/{id}", "organization.view", get_any_organization),
        is_of_one=True,
        answer=common.Data[schemas.OrganizationShown],
        refusals=frozenset({"NOT_FOUND"}),
    ),
    route(
        *(KEYS, "PATCH", "organizations/{id}", "operator", change_any_organization),
        changes=lambda call: call.path_id("id"),
        body=schemas.OrganizationChange,
        answer=common.Data[schemas.OrganizationShown],
        refusals=frozenset({"NOT_FOUND", "CONFLICT"}),
    ),
)
