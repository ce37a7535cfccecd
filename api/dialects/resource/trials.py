"""Trying out one state (part of the resource API): nothing is called, started or kept."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Annotated, Any, Final

import msgspec

from perdure.api.dialects import schemas as answers
from perdure.api.http.routing import Reply, Route, RouteCall
from perdure.api.validation import Request
from perdure.engine.errors import Invalid
from perdure.engine.language import DefinitionError
from perdure.engine.testing.answers import Failed, Succeeded
from perdure.engine.testing.state import NoSuchState, StateOutcome, test_state

RETRIES_MAX: Final = 10_000

_APART: Final = ThreadPoolExecutor(1, thread_name_prefix="perdure-trial")
"""An expression may take a second and much memory: whoever tries one out holds up nobody but others who do."""


class MockedError(Request, frozen=True):
    """How the state's step fails."""

    error: Annotated[str, msgspec.Meta(max_length=256)] | None = None
    cause: Annotated[str, msgspec.Meta(max_length=32_768)] | None = None


class StateTrial(Request, frozen=True):
    """A state, or a machine and the name of one of its states; what goes in, and what its step gives.

    `result` or `error` is for Task, Parallel and Map states; without either, only the input is processed. `context` is
    the whole context object, `retry_count` how often the state has been tried again.
    """

    definition: dict[str, Any]
    input: Any = msgspec.field(default_factory=dict)
    state: Annotated[str, msgspec.Meta(min_length=1, max_length=80)] | None = None
    result: Any = msgspec.UNSET
    error: MockedError | None = None
    context: dict[str, Any] | None = None
    variables: dict[str, Any] | None = None
    retry_count: Annotated[int, msgspec.Meta(ge=0, le=RETRIES_MAX)] = 0


async def try_state(call: RouteCall[Any, StateTrial]) -> Reply:
    """Try out one state: its status, output and next state, and the data after each step of its processing."""
    tested = await asyncio.get_running_loop().run_in_executor(
        _APART, _tested, call.body, call.engine.limits.payload_max_bytes
    )
    return Reply({"success": True, "data": tested.document()})


def _tested(body: StateTrial, payload_max: int) -> StateOutcome:
    if body.error is not None and body.result is not msgspec.UNSET:
        raise Invalid("error: it cannot be sent together with result", {"field": "error"})
    result: Succeeded | Failed | None = None
    if body.error is not None:
        result = Failed(body.error.error, body.error.cause)
    elif body.result is not msgspec.UNSET:
        result = Succeeded(body.result)
    try:
        return test_state(
            body.definition,
            body.input,
            state=body.state,
            result=result,
            context=body.context,
            variables=body.variables,
            retry_count=body.retry_count,
            payload_max_bytes=payload_max,
        )
    except DefinitionError as wrong:
        errors = [{"path": each.path, "message": each.message} for each in wrong.problems]
        raise Invalid(f"definition: {wrong}", {"errors": errors}) from None
    except NoSuchState as wrong:
        raise Invalid(f"state: {wrong}", {"field": "state"}) from None
    except ValueError as wrong:
        raise Invalid(str(wrong), {"field": str(wrong).partition(":")[0]}) from None


ROUTES: Final[Sequence[Route]] = (
    Route(
        method="POST",
        path="/v1/test-state",
        scope="workflows.view",
        handler=try_state,
        body=StateTrial,
        answer=answers.Data[answers.StateTried],
    ),
)
