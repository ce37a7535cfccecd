"""Pauses (part of the resource API): an operator stops a run for a while, looks at it, and lets it go on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from perdure.api.dialects import schemas as common
from perdure.api.dialects.envelopes import data
from perdure.api.dialects.pauses import pause_json
from perdure.api.dialects.resource.dialect import EXECUTIONS, route
from perdure.api.dialects.resource.executions import pause_schemas as schemas
from perdure.api.http.instants import iso
from perdure.api.http.routing import Reply, Route, RouteCall

PREFIX: Final = "executions/{process_id}"


async def pause_execution(call: RouteCall[Any, schemas.PauseRequest]) -> Reply:
    """Pause a run: no state is entered and no step called until it is unpaused; what comes in is recorded."""
    answered = await call.engine.services.runs.pause(
        call.caller,
        call.path["process_id"],
        reason=call.body.reason,
        clocks=call.body.clocks,
        idempotency=call.idempotency(call.given),
    )
    return data({"message": answered.answer}, position=answered.position)


async def unpause_execution(call: RouteCall[Any, schemas.UnpauseRequest | None]) -> Reply:
    """Let a paused run go on where it stands."""
    body = call.body or schemas.UnpauseRequest()
    answered = await call.engine.services.runs.unpause(
        call.caller, call.path["process_id"], reason=body.reason, idempotency=call.idempotency(call.given or {})
    )
    return data({"message": answered.answer}, position=answered.position)


async def pause_of_execution(call: RouteCall[Any, None]) -> Reply:
    """The pause that a run is in, and what is still in flight; null if it is not paused."""
    execution_id = await call.engine.services.runs.find(call.caller, call.path["process_id"])
    view = await call.engine.services.queries.execution(call.caller, execution_id)
    pause = None if view.pause is None else pause_json(view.pause, iso)
    return data({"status": view.row.status, "pause": pause})


ROUTES: Final[Sequence[Route]] = (
    route(
        *(EXECUTIONS, "POST", f"{PREFIX}/pause", "runs.terminate", pause_execution),
        body=schemas.PauseRequest,
        headers=("Idempotency-Key",),
        answer=common.Data[schemas.Paused],
        refusals=frozenset({"NOT_FOUND", "CONFLICT"}),
        tells_position=True,
    ),
    route(
        *(EXECUTIONS, "POST", f"{PREFIX}/unpause", "runs.terminate", unpause_execution),
        body=schemas.UnpauseRequest,
        is_body_optional=True,
        headers=("Idempotency-Key",),
        answer=common.Data[schemas.Unpaused],
        refusals=frozenset({"NOT_FOUND", "CONFLICT"}),
        tells_position=True,
    ),
    route(
        *(EXECUTIONS, "GET", f"{PREFIX}/pause", "runs.view", pause_of_execution),
        answer=common.Data[schemas.PauseStatus],
        refusals=frozenset({"NOT_FOUND"}),
    ),
)
