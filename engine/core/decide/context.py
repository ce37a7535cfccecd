"""The context object (`$$`) that a decision's expressions see."""

from __future__ import annotations

from typing import Any

from engine.core.decide.draft import Draft
from engine.core.refs import seq_of
from engine.core.state import Frame, InTask, open_wait
from engine.language import State, context_object, format_instant


def context_of(draft: Draft, frame: Frame, state: State, *, wait: str | None = None) -> dict[str, Any]:
    """The context object, or an empty one for a state whose expressions never look at it.

    `wait` is the id of a wait that is about to be opened. Raises `Missing` if the execution's input is not loaded.
    """
    if not state.needs_context:
        return {}
    facts, execution = draft.facts, draft.state
    entered: dict[str, Any] = {"Name": frame.state, "EnteredTime": format_instant(frame.entered_at)}
    phase = frame.phase
    if isinstance(phase, InTask) and phase.attempt:
        entered["RetryCount"] = phase.attempt
    opened = open_wait(phase)
    if wait or opened:
        entered["WaitId"] = opened.wait if opened else wait
    names = facts.names
    return context_object(
        execution={
            "Id": names.get("execution_id", facts.execution),
            "Input": draft.value(execution.input),
            "Name": names.get("execution_name") or _process_id(draft),
            "RedriveCount": 0,
            "RoleArn": names.get("role_arn", ""),
            "StartTime": format_instant(execution.started_at),
        },
        state=entered,
        state_machine={
            "Id": names.get("state_machine_id", execution.workflow),
            "Name": names.get("state_machine_name", execution.workflow),
        },
    )


def _process_id(draft: Draft) -> str:
    """The caller's own name for the execution, which stands beside the input, or its id."""
    seq = seq_of(draft.state.input)
    payloads = draft.payloads if seq in draft.payloads else draft.facts.payloads
    name: str = payloads[seq].get("process_id", draft.facts.execution)
    return name
