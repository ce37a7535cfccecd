"""From a Task's resource and parameters to a call, and from what the step gave to an outcome.

Nothing here waits, reads a clock or starts a task. Steps are other people's code: what they get is a copy,
what they give is copied and checked, and what they raise is turned into text, whatever it is.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, Final, NamedTuple, TypeAlias

from perdure.engine.core.commands import TaskFailure, TaskSuccess
from perdure.engine.language import errors
from perdure.engine.language.errors import StatesError
from perdure.engine.language.model.resources import Resource, parse_resource, step_of_function
from perdure.engine.log.codec import decode_json, encode_json
from perdure.engine.steps.registry import StepFailed
from perdure.engine.steps.values import NotJson, ValueTooLarge, bounded, class_name, json_copy, text_of

Outcome: TypeAlias = TaskSuccess | TaskFailure

RESULT_MAX: Final = 1_048_576
"""Bytes of JSON text that a step's result may have, unless a setting says less."""
CAUSE_MAX: Final = 32_768
"""Bytes of UTF-8 that a cause may have; AWS keeps as many characters."""
ERROR_MAX: Final = 256
"""Bytes of UTF-8 that an error name may have."""

NOT_JSON: Final = "States.TaskFailed"

_resource: Callable[[str], Resource] = functools.lru_cache(maxsize=1024)(parse_resource)


class StepCall(NamedTuple):
    """What a Task state asks for.

    Attributes:
        step_name: Name of the step; a registry may have none of that name.
        parameters: What to give it a copy of.
        wrap: Makes the state's result of the step's result, when that is JSON; None if they are the same.
    """

    step_name: str
    parameters: Any
    wrap: Callable[[Any], Any] | None = None

    @property
    def input(self) -> Any:
        """What to give the step: each time a copy, which it may change. Made when it is called, as many may wait."""
        return fresh(self.parameters)

    def outcome(self, value: Any, called: str = "?", size_max: int = RESULT_MAX) -> Outcome:
        """The outcome of a call that returned this value: checked, copied, wrapped. Never raises.

        `called` is as in `outcome_of`; of what is wrapped the size of the inner value counts.
        """
        outcome = outcome_of(value, called, size_max, self.step_name)
        if self.wrap is None or isinstance(outcome, TaskFailure):
            return outcome
        return TaskSuccess(self.wrap(outcome.result))


def call_for(resource_text: str, parameters: Any) -> StepCall:
    """The call that a Task's resource and parameters mean.

    Raises:
        StatesError: The parameters of `lambda:invoke` name no function.
        ValueError: The resource is malformed, or a mere wait, for which nothing is called.
    """
    resource = _resource(resource_text)
    if resource.is_lambda_invoke:
        return _lambda_call(parameters)
    name = resource.step
    if name is None and resource.service is not None and resource.action is not None:
        name = f"{resource.service}:{resource.action.partition('.')[0]}"
    if name is None:
        raise ValueError(f"{resource_text} is a wait: there is no step to call")
    return StepCall(name, parameters)


def _lambda_call(parameters: Any) -> StepCall:
    function = parameters.get("FunctionName") if type(parameters) is dict else None
    if type(function) is not str:
        raise StatesError(errors.RUNTIME, "The parameters of lambda:invoke must hold a FunctionName.")
    return StepCall(step_of_function(function), parameters.get("Payload", {}), _lambda_result)


def _lambda_result(result: Any) -> Any:
    return {"ExecutedVersion": "$LATEST", "Payload": result, "StatusCode": 200}


def fresh(value: Any) -> Any:
    """A copy of a JSON value that shares nothing with it."""
    return decode_json(encode_json(value))


def called_of(resource: str, state: str) -> str:
    """What AWS calls a task in a cause: its ARN, or else its state's name."""
    return resource if resource.startswith("arn:") else state


def outcome_of(value: Any, called: str = "?", size_max: int = RESULT_MAX, step_name: str | None = None) -> Outcome:
    """Make what a step returned a JSON value of its own, which later changes by the step cannot reach.

    Tuples become arrays, and subclasses of str, int, float, list and dict what they are made of. A value that
    is not JSON or too deep gives `States.TaskFailed`; one of more than `size_max` bytes of JSON text gives
    `States.DataLimitExceeded`, in AWS's words. Never raises. `called` is what `called_of` says, and `step_name` the
    step, if there is one: they are for the causes.
    """
    try:
        return TaskSuccess(json_copy(value, size_max))
    except ValueTooLarge:
        excess = errors.TooLarge(called)
        return TaskFailure(excess.error, bounded(excess.cause, CAUSE_MAX))
    except NotJson as refusal:
        return TaskFailure(NOT_JSON, bounded(f"Step '{step_name or called}' returned {refusal}.", CAUSE_MAX))


def failure_of(exception: BaseException) -> TaskFailure:
    """Turn what a step raised into its error and cause: valid Unicode of bounded length. Never raises.

    `StepFailed` and `StatesError` say both. Of any other exception the error is the name of its class and the
    cause its text, as AWS Lambda reports it.
    """
    error, cause = _named(exception) if isinstance(exception, StepFailed | StatesError) else (None, exception)
    name = "" if error is None else text_of(error)
    return TaskFailure(
        bounded(name or class_name(exception) or "Exception", ERROR_MAX),
        None if cause is None else bounded(text_of(cause), CAUSE_MAX),
        getattr(exception, "is_retryable", True) is not False if isinstance(exception, StepFailed) else True,
    )


def _named(exception: StepFailed | StatesError) -> tuple[Any, Any]:
    try:
        return exception.error, exception.cause
    except Exception:  # noqa: BLE001  # a subclass that did not call our constructor, or has its own ideas
        return None, exception
