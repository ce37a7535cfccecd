"""Executions (part of the resource API): resumed and terminated by process id or execution id, with any payload."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from perdure.api.dialects import schemas as answers
from perdure.api.dialects.process.routes import RESUME_REFUSALS, ResumeQuery, Terminate, resumed, terminated
from perdure.api.http.routing import Reply, Route, RouteCall
from perdure.api.validation import Request

PREFIX: Final = "/v1/executions/{process_id}"


class ResumeAny(Request, frozen=True):
    """What becomes the output of the state that waited: any JSON value, null too."""

    payload: Any


async def resume_execution(call: RouteCall[ResumeQuery, ResumeAny]) -> Reply:
    """End a wait: `restarted`, or `already restarted` if an earlier resume did. No `source` is asked for."""
    answered, headers = await resumed(call, call.body.payload)
    return Reply({"success": True, "data": {"message": answered.answer}}, headers=headers, position=answered.position)


async def terminate_execution(call: RouteCall[Any, Terminate | None]) -> Reply:
    """End a run from outside: `terminated`, or `already terminated`."""
    return Reply({"success": True, "data": {"message": (await terminated(call)).answer}})


ROUTES: Final[Sequence[Route]] = (
    Route(
        method="POST",
        path=f"{PREFIX}/resume",
        scope="runs.resume",
        query=ResumeQuery,
        body=ResumeAny,
        handler=resume_execution,
        headers=("Idempotency-Key", "Prefer"),
        answer=answers.Data[answers.Resumed],
        refusals=RESUME_REFUSALS,
        tells_position=True,
    ),
    Route(
        method="POST",
        path=f"{PREFIX}/terminate",
        scope="runs.terminate",
        body=Terminate,
        is_body_optional=True,
        handler=terminate_execution,
        headers=("Idempotency-Key",),
        answer=answers.Data[answers.Terminated],
        refusals=frozenset({"NOT_FOUND", "CONFLICT"}),
    ),
)
