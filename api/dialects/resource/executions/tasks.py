"""Tasks that others finish (part of the resource API): whoever was handed a task token answers with it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from perdure.api.dialects import schemas as common
from perdure.api.dialects.envelopes import data
from perdure.api.dialects.resource.dialect import TASKS, route
from perdure.api.dialects.resource.executions import schemas
from perdure.api.http.instants import iso
from perdure.api.http.routing import Reply, Route, RouteCall
from perdure.api.validation import Request
from perdure.engine.services.idempotency import Answered

PREFIX: Final = "tasks/{token}"


async def complete_task(call: RouteCall[Any, schemas.TaskSuccess]) -> Reply:
    """End the task that waits for this token; a token is good for one answer."""
    body = call.body
    return _told(
        await call.engine.services.task_tokens.complete(
            call.caller, call.path["token"], body.output, idempotency=call.idempotency(call.given)
        )
    )


async def fail_task(call: RouteCall[Any, schemas.TaskFailure | None]) -> Reply:
    """Fail the task that waits for this token, as its Retry and Catch see it: the answer says what follows.

    A token is good for one answer.
    """
    body = call.body or schemas.TaskFailure()
    answered = await call.engine.services.task_tokens.fail(
        call.caller, call.path["token"], body.error, body.cause, idempotency=call.idempotency(call.given or {})
    )
    return data(failed_json(answered.answer), position=answered.position)


def failed_json(answer: dict[str, Any]) -> dict[str, Any]:
    """The answer to a call that failed a task."""
    then = dict(answer["then"])
    if "retry_on" in then:
        then["retry_at"] = iso(then.pop("retry_on"))
    return {**answer, "then": then}


async def keep_task_alive(call: RouteCall[Any, common.Nothing | None]) -> Reply:
    """Say that the task is alive, before its HeartbeatSeconds have passed."""
    return _told(
        await call.engine.services.task_tokens.beat(
            call.caller, call.path["token"], idempotency=call.idempotency(call.given or {})
        )
    )


def _told(answered: Answered) -> Reply:
    return data({"message": answered.answer}, position=answered.position)


def _route(name: str, handler: Any, body: type[Request], answer: Any, *, is_body_optional: bool = True) -> Route:
    return route(
        *(TASKS, "POST", f"{PREFIX}/{name}", "runs.resume", handler),
        body=body,
        is_body_optional=is_body_optional,
        headers=("Idempotency-Key",),
        answer=answer,
        refusals=frozenset({"NOT_FOUND", "CONFLICT", "WAIT_EXPIRED"}),
        tells_position=True,
    )


ROUTES: Final[Sequence[Route]] = (
    _route("success", complete_task, schemas.TaskSuccess, common.Data[schemas.TaskCompleted], is_body_optional=False),
    _route("failure", fail_task, schemas.TaskFailure, common.Data[schemas.TaskFailed]),
    _route("heartbeat", keep_task_alive, common.Nothing, common.Data[schemas.TaskAlive]),
)
