"""Releases (part of the resource API): a run that was set aside, since deciding about it had failed, is tried again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from perdure.api.dialects import schemas as common
from perdure.api.dialects.envelopes import data
from perdure.api.dialects.resource.dialect import EXECUTIONS, route
from perdure.api.dialects.resource.executions import schemas
from perdure.api.http.routing import Reply, Route, RouteCall


async def release_execution(call: RouteCall[Any, common.Nothing | None]) -> Reply:
    """Try a run again that was set aside: it is read anew from its events, and what was under way is taken up."""
    answered = await call.engine.services.runs.release(call.caller, call.path["process_id"])
    return data({"message": answered.answer}, position=answered.position)


ROUTES: Final[Sequence[Route]] = (
    route(
        *(EXECUTIONS, "POST", "executions/{process_id}/release", "runs.terminate", release_execution),
        body=common.Nothing,
        is_body_optional=True,
        answer=common.Data[schemas.Released],
        refusals=frozenset({"NOT_FOUND", "CONFLICT"}),
        tells_position=True,
    ),
)
