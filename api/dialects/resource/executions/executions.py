"""Executions (part of the resource API): resumed and terminated by process id or execution id, with any payload."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from perdure.api.dialects import schemas as common
from perdure.api.dialects.envelopes import data
from perdure.api.dialects.resource.dialect import EXECUTIONS, route
from perdure.api.dialects.resource.executions import schemas
from perdure.api.dialects.run_commands import RESUME_REFUSALS, resumed, terminated
from perdure.api.http.routing import Reply, Route, RouteCall

PREFIX: Final = "executions/{process_id}"


async def resume_execution(call: RouteCall[common.ResumeQuery, schemas.ResumeAny]) -> Reply:
    """End a wait: `restarted`, or `already restarted` if an earlier resume did. No `source` is asked for."""
    answered, headers = await resumed(call, call.body.payload)
    return data({"message": answered.answer}, headers=headers, position=answered.position)


async def terminate_execution(call: RouteCall[Any, common.Terminate | None]) -> Reply:
    """End a run from outside: `terminated`, or `already terminated`."""
    return data({"message": (await terminated(call)).answer})


ROUTES: Final[Sequence[Route]] = (
    route(
        *(EXECUTIONS, "POST", f"{PREFIX}/resume", "runs.resume", resume_execution),
        query=common.ResumeQuery,
        body=schemas.ResumeAny,
        headers=("Idempotency-Key", "Prefer"),
        answer=common.Data[common.Resumed],
        refusals=RESUME_REFUSALS,
        tells_position=True,
    ),
    route(
        *(EXECUTIONS, "POST", f"{PREFIX}/terminate", "runs.terminate", terminate_execution),
        body=common.Terminate,
        is_body_optional=True,
        headers=("Idempotency-Key",),
        answer=common.Data[common.Terminated],
        refusals=frozenset({"NOT_FOUND", "CONFLICT"}),
    ),
)
