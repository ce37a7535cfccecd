"""Tasks that others finish (part of the resource API): whoever was handed a task token answers with it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Final

import msgspec

from perdure.api.dialects import schemas as answers
from perdure.api.http.instants import iso
from perdure.api.http.routing import Reply, Route, RouteCall
from perdure.api.validation import Request
from perdure.engine.services.idempotency import Answered
from perdure.engine.services.task_tokens import CAUSE_MAX, ERROR_MAX

PREFIX: Final = "/v1/tasks/{token}"


class TaskSuccess(Request, frozen=True):
    """What the task gives: any JSON value, null too."""

    output: Any


class TaskFailure(Request, frozen=True):
    """Why the task failed: an error name, which Retry and Catch can name, and a cause for a person."""

    error: Annotated[str, msgspec.Meta(max_length=ERROR_MAX)] | None = None
    cause: Annotated[str, msgspec.Meta(max_length=CAUSE_MAX)] | None = None


class TaskHeartbeat(Request, frozen=True):
    """Nothing needs to be said."""


async def complete_task(call: RouteCall[Any, TaskSuccess]) -> Reply:
    """End the task that waits for this token; a token is good for one answer."""
    body = call.body
    return _told(
        await call.engine.services.task_tokens.complete(
            call.caller, call.path["token"], body.output, idempotency=call.idempotency(call.given)
        )
    )


async def fail_task(call: RouteCall[Any, TaskFailure | None]) -> Reply:
    """Fail the task that waits for this token, as its Retry and Catch see it: the answer says what follows.

    A token is good for one answer.
    """
    body = call.body or TaskFailure()
    answered = await call.engine.services.task_tokens.fail(
        call.caller, call.path["token"], body.error, body.cause, idempotency=call.idempotency(call.given or {})
    )
    return Reply({"success": True, "data": failed_json(answered.answer)}, position=answered.position)


def failed_json(answer: dict[str, Any]) -> dict[str, Any]:
    """What is said to who has failed a task."""
    then = dict(answer["then"])
    if "retry_on" in then:
        then["retry_at"] = iso(then.pop("retry_on"))
    return {**answer, "then": then}


async def keep_task_alive(call: RouteCall[Any, TaskHeartbeat | None]) -> Reply:
    """Say that the task is alive, before its HeartbeatSeconds have passed."""
    return _told(
        await call.engine.services.task_tokens.beat(
            call.caller, call.path["token"], idempotency=call.idempotency(call.given or {})
        )
    )


def _told(answered: Answered) -> Reply:
    return Reply({"success": True, "data": {"message": answered.answer}}, position=answered.position)


def _route(name: str, handler: Any, body: type[Request], answer: Any, *, is_body_optional: bool = True) -> Route:
    return Route(
        method="POST",
        path=f"{PREFIX}/{name}",
        scope="runs.resume",
        handler=handler,
        body=body,
        is_body_optional=is_body_optional,
        headers=("Idempotency-Key",),
        answer=answer,
        refusals=frozenset({"NOT_FOUND", "CONFLICT", "WAIT_EXPIRED"}),
        tells_position=True,
    )


ROUTES: Final[Sequence[Route]] = (
    _route("success", complete_task, TaskSuccess, answers.Data[answers.TaskCompleted], is_body_optional=False),
    _route("failure", fail_task, TaskFailure, answers.Data[answers.TaskFailed]),
    _route("heartbeat", keep_task_alive, TaskHeartbeat, answers.Data[answers.TaskAlive]),
)
