"""Failing: the error of a step, of a state, and (as nothing catches it) of the execution."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

from engine.core import events as e
from engine.core.decide.draft import Draft
from engine.core.refs import Ref, ref
from engine.language import State, StatesError, literal_errors

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


class Failure(NamedTuple):
    """An error as events carry it: its name, or a reference if that is business data; and one to its cause."""

    error: str | None
    error_ref: Ref | None
    cause: Ref | None


def fail_task(draft: Draft, scope: str, attempt: int, error: str | None, cause: str | None) -> None:
    """Record that the step which this scope called has failed; the execution's failure points to the same values."""
    name = draft.state.frames[scope].state
    failure, members = _describe(draft, error, cause)
    draft.emit(e.TaskFailed(name, *failure, attempt, scope), members)
    draft.emit(e.ExecutionFailed(*failure, name))


def fail_state(draft: Draft, state: State, problem: StatesError, entered_by: int | None = None) -> None:
    """Fail by what went wrong in a state; the cause says where, in AWS's words.

    `entered_by` is the seq of the event with which it was entered; null if it failed before it left one.
    """
    entered = f"(entered at the event id #{entered_by or draft.next_seq})"
    where = f"An error occurred while executing the state '{state.name}' {entered}."
    fail(draft, state, problem.error, f"{where} {problem.cause}", is_entry=entered_by is None)


def fail(draft: Draft, state: State, error: str | None, cause: str | None, *, is_entry: bool) -> None:
    """End the execution as failed. `is_entry`: the state failed before it left an event of its own."""
    failure, members = _describe(draft, error, cause)
    draft.emit(e.ExecutionFailed(*failure, state.name, state.type if is_entry else None), members)


def _describe(draft: Draft, error: str | None, cause: str | None) -> tuple[Failure, dict[str, Any]]:
    """An error as the next event carries it, with that event's payload."""
    is_open = error is None or error in RESERVED_ERRORS or error in literal_errors(draft.facts.machine)
    members: dict[str, Any] = {}
    if not is_open:
        members["error"] = error
    if cause is not None:
        members["cause"] = cause
    failure = Failure(
        error=error if is_open else None,
        error_ref=None if is_open else ref(draft.next_seq, "error"),
        cause=None if cause is None else ref(draft.next_seq, "cause"),
    )
    return failure, members
