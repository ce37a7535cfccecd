"""The context object (`$$`) that a decision's expressions see."""

from __future__ import annotations

from typing import Any

from engine.core.decide.draft import Draft
from engine.core.state import Frame, InTask
from engine.language import State, context_object, format_instant


def context_of(draft: Draft, frame: Frame, state: State, *, wait: str | None = None) -> dict[str, Any]:
    """The context object, or an empty one for a state whose expressions never look at it.

    Raises `Missing` if the execution's input is asked for and not loaded.
    """
    if not state.needs_context:
        return {}
    facts, execution = draft.facts, draft.state
    entered: dict[str, Any] = {"Name": frame.state, "EnteredTime": format_instant(frame.entered_at)}
    task = frame.phase
    entered["RetryCount"] = task.attempt if isinstance(task, InTask) else 0
    if wait is not None:
        entered["WaitId"] = wait
    names = facts.names
    return context_object(
        execution={
            "Id": names.get("execution_id", facts.execution),
            "Input": draft.value(execution.input),
            "Name": names.get("execution_name") or _process_id(draft),
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
    """The caller's own name for the execution, or its id: it stands beside the input."""
    payload = draft.payloads.get(1) or draft.facts.payloads.get(1) or {}
    chosen = payload.get("process_id")
    return chosen if isinstance(chosen, str) else draft.facts.execution
