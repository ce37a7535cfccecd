"""Rejections: values, and an event for those that the execution's state caused."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from perdure.engine.core.decide.draft import ExecutionDraft
from perdure.engine.core.decision import RECORDED_REFUSALS, Facts, Rejection, RejectionCode
from perdure.engine.core.events import CommandRefused
from perdure.engine.core.state import State
from perdure.engine.language.evaluate.sizes import is_longer


def refuse(
    state: State,
    facts: Facts,
    command: str,
    code: RejectionCode,
    message: str,
    details: Mapping[str, Any] | None = None,
) -> Rejection:
    """Refuse a command that an outside party sent, and record it.

    The first 32 of a stream are recorded one by one, then one at each power of two, so that a caller who never
    stops asking cannot fill the log.
    """
    # The state counts up to the last one that was recorded; those since then are a fact of the driver's, which a
    # restart forgets: then the next record comes later, and none twice.
    count = state.refusals + facts.refusals + 1
    draft = ExecutionDraft(state, facts)
    if count <= RECORDED_REFUSALS or count & (count - 1) == 0:
        draft.emit(CommandRefused(command, code, count))
    return Rejection(code, message, details or {}, tuple(draft.steps), is_counted=True)


def too_large(field: str, value: Any, facts: Facts) -> Rejection | None:
    """Refuse a command whose value is larger than any of a run may be; null if it is not."""
    limit = facts.payload_max
    if not is_longer(value, limit):
        return None
    excess = f"it must have at most {limit:,} bytes of JSON text"
    return Rejection("VALIDATION_ERROR", f"{field}: {excess}", {"field": field, "limit": limit})


def stale(message: str) -> Rejection:
    """Reject a command from inside that is out of date; nobody needs to know."""
    return Rejection("STALE", message)
