"""Trying out one state (part of the resource API): nothing is called, started or kept."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

import msgspec

from perdure.api.dialects import schemas as common
from perdure.api.dialects.envelopes import data
from perdure.api.dialects.resource import schemas
from perdure.api.dialects.resource.dialect import TRIALS, route
from perdure.api.http.routing import Reply, Route, RouteCall
from perdure.engine.errors import Invalid
from perdure.engine.language import DefinitionError
from perdure.engine.testing.answers import Failed, Succeeded
from perdure.engine.testing.state import NoSuchState, StateOutcome, test_state

_APART: Final = ThreadPoolExecutor(1, thread_name_prefix="perdure-trial")
"""An expression may take a second and much memory: whoever tries one out holds up nobody but others who do."""


async def try_state(call: RouteCall[Any, schemas.StateTrial]) -> Reply:
    """Try out one state: its status, output and next state, and the data after each step of its processing."""
    tested = await asyncio.get_running_loop().run_in_executor(
        _APART, _tested, call.body, call.engine.limits.payload_max_bytes
    )
    return data(tested.document())


def _tested(body: schemas.StateTrial, payload_max: int) -> StateOutcome:
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
    route(
        *(TRIALS, "POST", "test-state", "workflows.view", try_state),
        body=schemas.StateTrial,
        answer=common.Data[schemas.StateTried],
    ),
)
