"""The clock (part of the resource API): how it stands to the computer's, and the acceptance of a step."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from perdure.api.dialects import schemas as common
from perdure.api.dialects.envelopes import data
from perdure.api.dialects.resource.access import schemas
from perdure.api.dialects.resource.dialect import CLOCK, route
from perdure.api.http.instants import iso
from perdure.api.http.routing import Reply, Route, RouteCall


async def show_clock(call: RouteCall[Any, None]) -> Reply:
    """The server's clock, and the step of the computer's that stops it from firing timers, if there is one."""
    status = call.engine.services.clock.status()
    return data(
        {
            "now": iso(status.now),
            "wall": iso(status.wall),
            "is_trusted": not status.step_ms,
            "step_ms": status.step_ms,
            "problem": status.problem,
        }
    )


async def accept_clock(call: RouteCall[Any, schemas.ClockStep | None]) -> Reply:
    """Accept that the computer's clock was set while the server ran: its own is moved, and it fires timers again.

    What has come due by that is fired at once. The acceptance stands in the log; where there is nothing to accept,
    nothing is changed.
    """
    meant = None if call.body is None else call.body.step_ms
    accepted = await call.engine.services.clock.accept(call.caller, meant)
    return data({"message": "accepted" if accepted else "nothing to accept", "step_ms": accepted})


ROUTES: Final[Sequence[Route]] = (
    route(
        *(CLOCK, "GET", "clock", "operator", show_clock),
        answer=common.Data[schemas.ClockShown],
    ),
    route(
        *(CLOCK, "POST", "clock/accept", "operator", accept_clock),
        body=schemas.ClockStep,
        is_body_optional=True,
        answer=common.Data[schemas.ClockAnswer],
        refusals=frozenset({"CONFLICT"}),
    ),
)
