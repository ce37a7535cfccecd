"""Leaving a state: its output, where it goes, and the end of an execution."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from engine.core import events as e
from engine.core.decide.context import context_of
from engine.core.decide.draft import Draft
from engine.core.decide.fail import fail_state
from engine.core.state import TOP
from engine.language import StatesError, TaskState, WaitState


def leave(
    draft: Draft,
    scope: str,
    output: Any,
    following: str | None,
    event: Callable[[Any, str | None], e.Event],
    payload: Mapping[str, Any] | None = None,
) -> None:
    """Emit the event that leaves a state for the `following` one; if there is none, end the execution.

    `event(output, next)` makes it. An output that is the very value of the input, or of a member of `payload`, is not
    written again.
    """
    members = dict(payload or {})
    reference = draft.refer(output, draft.state.frames[scope].input, "output", members)
    draft.emit(event(reference, following), members)
    if scope == TOP and following is None:
        draft.emit(e.ExecutionSucceeded(reference))


def leave_after(
    draft: Draft,
    scope: str,
    state: TaskState | WaitState,
    output: Callable[[Any, Any], Any],
    event: Callable[[Any, str | None], e.Event],
    payload: Mapping[str, Any] | None = None,
) -> None:
    """Leave a state after something came from outside: a result, an answer, the hour.

    It is caused by the event with which the state was entered. It is recorded whether or not `output(raw input,
    context)` can be computed; if not, with a null output, and the execution fails.
    """
    frame, entered_by = draft.state.frames[scope], draft.caused_by
    try:
        computed = output(draft.value(frame.input), context_of(draft, frame, state))
    except StatesError as problem:
        draft.emit(event(None, None), payload)
        fail_state(draft, state, problem, entered_by)
    else:
        leave(draft, scope, computed, state.next, event, payload)
