"""Trying out one state (part of the resource API): nothing is called, started or kept."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import msgspec

from perdure.api.dialects import schemas as common
from perdure.api.dialects.envelopes import data
from perdure.api.dialects.resource.dialect import TRIALS, route
from perdure.api.dialects.resource.workflows import trial_schemas
from perdure.api.http.routing import Reply, Route, RouteCall
from perdure.engine.errors import Invalid
from perdure.engine.fairness import FairThread
from perdure.engine.language import DefinitionError
from perdure.engine.testing.answers import Failed, Succeeded
from perdure.engine.testing.state import NoSuchState, StateOutcome, test_state

WAITING_MAX: Final = 16

_APART: Final = FairThread("perdure-trial")
"""An expression may take a second and much memory: whoever tries many out waits for them, and others for one."""


async def try_state(call: RouteCall[Any, trial_schemas.StateTrial]) -> Reply:
    """Try out one state: its status, output and next state, and the data after each step of its processing."""
    workspace_id = call.caller.workspace_id
    _APART.check(workspace_id, WAITING_MAX)
    tested = await _APART.do(workspace_id, _tested, call.body, call.engine.limits.payload_max_bytes)
    return data(tested.document())


def _tested(body: trial_schemas.StateTrial, payload_max: int) -> StateOutcome:
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
        body=trial_schemas.StateTrial,
        answer=common.Data[trial_schemas.StateTried],
    ),
)
