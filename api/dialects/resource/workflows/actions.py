"""The catalog of actions (part of the resource API): what steps of workflows can do."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from perdure.api.dialects import schemas as common
from perdure.api.dialects.envelopes import data
from perdure.api.dialects.resource.dialect import ACTIONS, route
from perdure.api.dialects.resource.workflows import action_schemas
from perdure.api.http.routing import Reply, Route, RouteCall
from perdure.engine.errors import NotFound
from perdure.engine.language.formats.later import not_yet
from perdure.engine.shown import shown
from perdure.engine.suggestions import did_you_mean

_NAME_MAX: Final = 200


async def list_actions(call: RouteCall[Any, None]) -> Reply:
    """All that steps of workflows can do here, by name: the catalog, and the steps that this server has of its own."""
    return data(call.engine.services.actions.documents())


async def show_action(call: RouteCall[Any, None]) -> Reply:
    """One action, with JSON Schemas of its config and its output, and examples."""
    name, actions = call.path["name"], call.engine.services.actions
    action = actions.get(name)
    if action is None:
        near = did_you_mean(name, actions) if len(name) <= _NAME_MAX else ""
        raise NotFound(not_yet(name) or f"there is no action {shown(name)}.{near}")
    return data(action.document())


ROUTES: Final[Sequence[Route]] = (
    route(
        *(ACTIONS, "GET", "actions", "workflows.view", list_actions),
        answer=action_schemas.ActionsListed,
    ),
    route(
        *(ACTIONS, "GET", "actions/{name}", "workflows.view", show_action),
        answer=common.Data[action_schemas.ActionShown],
        refusals=frozenset({"NOT_FOUND"}),
    ),
)
