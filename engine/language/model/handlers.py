"""Retry and Catch: the errors that a state handles, and how."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import msgspec

from perdure.engine.language import errors
from perdure.engine.language.evaluate.environment import Environment
from perdure.engine.language.model.flows import Flow, Left
from perdure.engine.language.values import Json

SECONDS_MAX: Final = 99_999_999
"""The longest time in seconds that a definition may give, a little over three years (AWS)."""

_NOT_BY_TASK_FAILED: Final = frozenset({errors.TIMEOUT, errors.HEARTBEAT_TIMEOUT, errors.DATA_LIMIT_EXCEEDED})
"""Errors that States.TaskFailed does not match (AWS Step Functions guide, Error names)."""


class ErrorNames(msgspec.Struct, frozen=True):
    """The errors of ErrorEquals."""

    names: frozenset[str]

    def match(self, error: str | None) -> bool:
        """Say whether an error is one of these; one without a name has the reserved names only.

        States.Runtime ends an execution whatever is written: neither its own name nor States.ALL matches it (recorded).
        AWS's guide says the same of States.DataLimitExceeded, but that is recorded to be caught (test_states_errors.py,
        test_task_lambda_catch_state_all_data_limit_exceeded_on_large_utf8_response).
        """
        if error == errors.RUNTIME:
            return False
        if error in self.names or errors.ALL in self.names:
            return True
        if errors.TASK_FAILED in self.names:
            return error not in _NOT_BY_TASK_FAILED
        # A missed heartbeat is a time-out too (States Language spec, appendix A).
        return error == errors.HEARTBEAT_TIMEOUT and errors.TIMEOUT in self.names


class Retrier(msgspec.Struct, frozen=True, kw_only=True):
    """One retrier of Retry; its defaults are those of the States Language.

    `errors`: which errors it handles.
    `attempts_max`: retries that it makes at most; 0 for none.
    `interval_s`: seconds before its first retry.
    `backoff_rate`: by what each further retry multiplies the delay.
    `delay_max_s`: the longest delay in seconds.
    `has_jitter`: whether the delay is chosen at random between 0 and what it would be.
    `comment`: what the author says about it.
    """

    errors: ErrorNames
    attempts_max: int = 3
    interval_s: float = 1
    backoff_rate: float = 2.0
    delay_max_s: float = SECONDS_MAX
    has_jitter: bool = False
    comment: str | None = None

    def matches(self, error: str | None) -> bool:
        """Say whether it handles an error of this name."""
        return self.errors.match(error)

    def delay_ms(self, done: int, draw: Callable[[], float]) -> int:
        """Give the delay before the next retry, in milliseconds.

        `done`: retries that this retrier has made already.
        `draw`: gives a random number, 0 included and 1 not; called once if there is jitter, else never.
        """
        try:
            delay = min(self.interval_s * self.backoff_rate**done, self.delay_max_s)
        except OverflowError:
            delay = self.delay_max_s
        if self.has_jitter:
            delay *= draw()
        return round(delay * 1000)


class Catcher(msgspec.Struct, frozen=True, kw_only=True):
    """One catcher of Catch.

    `errors`: which errors it catches.
    `next`: the state that follows.
    `flow`: what becomes of the error: ResultPath and Assign, or Output and Assign.
    `comment`: what the author says about it.
    """

    errors: ErrorNames
    next: str
    flow: Flow
    comment: str | None = None

    def matches(self, error: str | None) -> bool:
        """Say whether it catches an error of this name."""
        return self.errors.match(error)

    def leave(self, error_output: dict[str, Json], env: Environment) -> Left:
        """Give what the state is left with.

        `error_output`: what there is of Error and Cause.
        `env`: the environment; the error becomes its error_output.

        Raises StatesError: ResultPath does not fit the raw input, or an expression fails.
        """
        env.error_output = error_output
        return self.flow.leave(error_output, env)
