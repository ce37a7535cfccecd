"""Leaving states: the output, where it goes, and the end of an execution."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from engine.core import events as e
from engine.core.decide.context import context_of
from engine.core.decide.draft import Draft
from engine.core.refs import Ref, ref
from engine.core.state import TOP
from engine.language import FailState, State, StatesError, literal_errors

RESERVED_ERRORS: Final = frozenset(
    {
        "States.ALL",
        "States.BranchFailed",
        "States.DataLimitExceeded",
        "States.ExceedToleratedFailureThreshold",
        "States.HeartbeatTimeout",
        "States.Http.Socket",
        "States.IntrinsicFailure",
        "States.ItemReaderFailed",
        "States.NoChoiceMatched",
        "States.ParameterPathFailure",
        "States.Permissions",
        "States.QueryEvaluationError",
        "States.ResultPathMatchFailure",
        "States.ResultWriterFailed",
        "States.Runtime",
        "States.TaskFailed",
        "States.Timeout",
    }
)
"""Names that the States Language reserves: they tell nothing about anybody's business."""


def leave(
    draft: Draft,
    scope: str,
    state: State,
    result: Any,
    event: Callable[[Any, str | None], e.Event],
    *,
    payload: Mapping[str, Any] | None = None,
    result_ref: Ref | None = None,
    fails_here: bool = False,
) -> None:
    """Emit the event that leaves `state` with `result`, and end the execution where the definition does.

    `event(output, next)` makes it. An output that cannot be computed fails the execution: what came from outside (a
    result, `result_ref`; or with `fails_here` a timer) is recorded all the same with a null output, while a state that
    is just being entered raises `StatesError` to the caller.
    """
    if isinstance(state, FailState):
        message = "a Fail state has no output"
        raise TypeError(message)
    frame = draft.state.frames[scope]
    raw_input = draft.value(frame.input)
    members = dict(payload or {})
    try:
        output = state.output(raw_input, result, context_of(draft, frame, state))
    except StatesError as problem:
        if result_ref is None and not fails_here:
            raise
        draft.emit(event(None, None), members)
        fail(draft, problem, state)
        return
    known = {frame.input: raw_input}
    if result_ref is not None:
        known[result_ref] = result
    reference = draft.refer(output, known, "output", members)
    draft.emit(event(reference, state.next), members)
    if scope == TOP and _is_last(draft.steps[-1].recorded.event):
        draft.emit(e.ExecutionSucceeded(reference))


def _is_last(event: e.Event) -> bool:
    return getattr(event, "next", None) is None


def fail(
    draft: Draft,
    problem: StatesError | tuple[str | None, str | None],
    state: State,
    *,
    is_entry: bool = False,
) -> None:
    """End the execution as failed. `is_entry`: the state failed before it left an event of its own."""
    error: str | None
    cause: str | None
    if isinstance(problem, StatesError):
        where = (
            f"An error occurred while executing the state '{state.name}' (entered at the event id #{draft.state.seq})."
        )
        error, cause = problem.error, f"{where} {problem.cause}"
    else:
        error, cause = problem
    members: dict[str, Any] = {}
    name, error_ref, cause_ref = describe_error(draft, error, cause, members)
    draft.emit(e.ExecutionFailed(name, error_ref, cause_ref, state.name, state.type if is_entry else None), members)


def describe_error(
    draft: Draft, error: str | None, cause: str | None, members: dict[str, Any]
) -> tuple[str | None, Ref | None, Ref | None]:
    """An error as an event carries it: its name if that is no business data, else a reference; and the cause's."""
    is_open = error is None or error in RESERVED_ERRORS or error in literal_errors(draft.facts.machine)
    if not is_open:
        members["error"] = error
    if cause is not None:
        members["cause"] = cause
    return (
        error if is_open else None,
        None if is_open else ref(draft.next_seq, "error"),
        None if cause is None else ref(draft.next_seq, "cause"),
    )
