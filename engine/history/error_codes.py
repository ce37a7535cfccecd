"""The codes under which errors are shown to somebody who thinks in steps, and not in states."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from perdure.engine.history.timeline import Timeline, VisitFailure

CODES: Final[Mapping[str, str]] = {
    "Branch.Ended": "CANCELLED",
    "Run.Completed": "RUN_COMPLETED",
    "Run.Terminated": "RUN_TERMINATED",
    "States.BranchFailed": "BRANCH_FAILED",
    "States.DataLimitExceeded": "DATA_LIMIT_EXCEEDED",
    "States.ExceedToleratedFailureThreshold": "TOO_MANY_ITERATIONS_FAILED",
    "States.HeartbeatTimeout": "HEARTBEAT_TIMED_OUT",
    "States.Http.Socket": "CONNECTION_FAILED",
    "States.IntrinsicFailure": "EXPRESSION_FAILED",
    "States.ItemReaderFailed": "ITEMS_UNREADABLE",
    "States.NoChoiceMatched": "NO_CONDITION_MATCHED",
    "States.ParameterPathFailure": "EXPRESSION_FAILED",
    "States.Permissions": "FORBIDDEN",
    "States.QueryEvaluationError": "EXPRESSION_FAILED",
    "States.ResultPathMatchFailure": "EXPRESSION_FAILED",
    "States.ResultWriterFailed": "RESULT_UNWRITABLE",
    "States.Runtime": "RUNTIME_ERROR",
    "States.TaskFailed": "STEP_FAILED",
    "States.Timeout": "TIMED_OUT",
}
"""By the engine's own names of errors. Those of others are shown as they are."""

CANCELLED: Final = "CANCELLED"
RUN_TIMED_OUT: Final = "RUN_TIMED_OUT"


class StepError(NamedTuple):
    """An error as it is shown: its code, and what it says; null if that is erased, or nothing was said."""

    code: str
    message: str | None


CUT_SHORT: Final = StepError(CANCELLED, "it was cut short by the end of what is around it")


def code_of(error: str | None) -> str:
    """Give the code of an error's name; of one that is erased, that of any failure."""
    return CODES["States.TaskFailed"] if error is None else CODES.get(error, error)


def step_error(error: Any, cause: Any) -> StepError:
    """Give an error as it is shown, by its name and cause."""
    message = cause if cause is None or type(cause) is str else str(cause)
    return StepError(code_of(error if type(error) is str else None), message)


def shown_failure(timeline: Timeline, failure: VisitFailure) -> StepError:
    """Give a failure of a timeline as it is shown."""
    return step_error(*timeline.error(failure))
