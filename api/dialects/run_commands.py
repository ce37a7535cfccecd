"""Commands about a run that several dialects have: each answers in its own envelope."""

from __future__ import annotations

from typing import Any, Final

from perdure.api.dialects.schemas import ResumeQuery, Terminate
from perdure.api.http.headers import HOLD_DEFAULT_MS, preferred_wait_s
from perdure.api.http.routing import RouteCall
from perdure.api.validation import id_of
from perdure.engine.core import ids
from perdure.engine.services.idempotency import Answered
from perdure.engine.services.inputs import said_beside

RESUME_REFUSALS: Final = frozenset(
    {"NOT_FOUND", "CONFLICT", "NOT_WAITING", "AMBIGUOUS_WAIT", "NAME_THE_WAIT", "WAIT_EXPIRED"}
)


async def resumed(call: RouteCall[ResumeQuery, Any], payload: Any) -> tuple[Answered, dict[str, str]]:
    """End a wait of the process in the path with this payload; the answer, and the headers that go with it."""
    wait_id = call.query.wait_id
    preferred_s = preferred_wait_s(call.headers)
    answered = await call.engine.services.runs.resume(
        call.caller,
        call.path["process_id"],
        payload,
        wait_id=None if wait_id is None else ids.text(id_of("wait_id", wait_id)),
        state=call.query.state,
        hold_ms=HOLD_DEFAULT_MS if preferred_s is None else preferred_s * 1000,
        idempotency=call.idempotency(call.given),
    )
    return answered, {} if preferred_s is None else {"Preference-Applied": f"wait={preferred_s}"}


async def terminated(call: RouteCall[Any, Terminate | None]) -> Answered:
    """End the process in the path."""
    body = call.body or Terminate()
    return await call.engine.services.runs.terminate(
        call.caller,
        call.path["process_id"],
        body.payload.termination_reason,
        data=said_beside((call.given or {}).get("payload", {})),
        idempotency=call.idempotency(call.given or {}),
    )
