"""`states:startExecution`: its parameters, and the child's result as AWS formats it.

An `ExecutionArn` is the execution's id and a `StateMachineArn` the workflow's, as the context object has them. Dates
are milliseconds since the epoch, as AWS's are in results.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import msgspec

from perdure.engine.core.commands import TaskFailure
from perdure.engine.language import errors
from perdure.engine.log.codec import decode_json, encode_json
from perdure.engine.steps.invoke import CAUSE_MAX, RESULT_MAX, StepOutcome, outcome_of
from perdure.engine.steps.registry import StepFailed
from perdure.engine.steps.values import NotJson, ValueTooLarge, json_copy

NAME: Final = "states:startExecution"
DOES_NOT_EXIST: Final = "StepFunctions.StateMachineDoesNotExistException"
LIMIT_EXCEEDED: Final = "StepFunctions.ExecutionLimitExceeded"
DELETING: Final = "StepFunctions.StateMachineDeletingException"
ALREADY_EXISTS: Final = "StepFunctions.ExecutionAlreadyExistsException"
INVALID_ARN: Final = "StepFunctions.InvalidArnException"
INVALID_NAME: Final = "StepFunctions.InvalidNameException"
INVALID_INPUT: Final = "StepFunctions.InvalidExecutionInputException"

STATUS: Final[Mapping[str, str]] = {
    "completed": "SUCCEEDED",
    "failed": "FAILED",
    "timed_out": "TIMED_OUT",
    "terminated": "ABORTED",
}

_FIELDS: Final = ("StateMachineArn", "Input", "Name")
_ARN_PREFIX_PARTS: Final = 6
_VERSIONED: Final = re.compile(r"(?P<name>.+):(?P<version>[1-9][0-9]{0,8})", re.DOTALL)


class Wanted(NamedTuple):
    """The execution that a task asks for; `target` names its workflow."""

    target: str
    input: Any
    name: str | None


class Ended(NamedTuple):
    """An execution that has ended. Instants are milliseconds since the epoch."""

    execution_id: str
    name: str
    workflow_id: str
    status: str
    started_at: int
    ended_at: int
    input: Any
    output: Any
    error: str | None
    cause: str | None


def wanted_by(parameters: Any, size_max: int = RESULT_MAX) -> Wanted:
    """Read the parameters of `states:startExecution`. Raises `StepFailed`, with the error that AWS gives.

    An input has at most `size_max` bytes of JSON text.
    """
    if type(parameters) is not dict:
        raise StepFailed(errors.RUNTIME, "The parameters of startExecution must be an object with a StateMachineArn.")
    for field in parameters:
        if field not in _FIELDS:
            raise StepFailed(errors.RUNTIME, f"The field {field!r} is not supported by startExecution.")
    target, name = parameters.get("StateMachineArn"), parameters.get("Name")
    if target is None:
        raise StepFailed(errors.RUNTIME, "The field 'StateMachineArn' is required but was missing.")
    if type(target) is not str:
        raise StepFailed(INVALID_ARN, "StateMachineArn must be a text: the id or the name of a workflow.")
    if name is not None and type(name) is not str:
        raise StepFailed(INVALID_NAME, "Name must be a text.")
    return Wanted(target, _input(parameters.get("Input"), size_max), name)


def _input(given: Any, size_max: int) -> Any:
    """The child's input; none is `{}`, and a text is JSON text, as it is for AWS's StartExecution."""
    if given is None:
        return {}
    if type(given) is not str:
        return given
    try:
        return json_copy(decode_json(given), size_max)
    except (msgspec.DecodeError, RecursionError, UnicodeError, NotJson, ValueTooLarge) as problem:
        raise StepFailed(INVALID_INPUT, f"Input is a text, and not that of a JSON value: {problem}") from None


def readings_of(target: str) -> list[tuple[str, int | None]]:
    """The possible meanings of a StateMachineArn, in the order to try: a workflow's id or name, perhaps with a version.

    Of an ARN what counts is what follows its type.
    """
    if target.startswith("arn:"):
        target = target.split(":", _ARN_PREFIX_PARTS)[-1]
    versioned = _VERSIONED.fullmatch(target)
    readings: list[tuple[str, int | None]] = [(target, None)]
    if versioned is not None:
        readings.append((versioned["name"], int(versioned["version"])))
    return readings


def started(execution_id: str, at: int) -> dict[str, Any]:
    """The result of a task whose child has been started."""
    return {"ExecutionArn": execution_id, "StartDate": at}


def outcome_for(ended: Ended, pattern: str, size_max: int = RESULT_MAX) -> StepOutcome:
    """The outcome of a task whose awaited child has ended: at most `size_max` bytes of JSON text.

    `.sync` gives input and output as JSON text, `.sync:2` as JSON. A child that did not succeed fails the task, and
    tells of itself in the cause.
    """
    if ended.status != "completed":
        return TaskFailure(errors.TASK_FAILED, _cause(ended))
    is_text = pattern == "sync"
    described = {
        **_described(ended),
        "Input": _text(ended.input) if is_text else ended.input,
        "InputDetails": {"Included": True},
        "Output": _text(ended.output) if is_text else ended.output,
        "OutputDetails": {"Included": True},
    }
    return outcome_of(dict(sorted(described.items())), NAME, size_max)


def _cause(ended: Ended) -> str:
    """The child's description as JSON text; what makes it longer than a cause may be is left out."""
    described = {**_described(ended), "InputDetails": {"Included": True}, "Input": _text(ended.input)}
    if ended.error is not None:
        described["Error"] = ended.error
    if ended.cause is not None:
        described["Cause"] = ended.cause
    for member in ("Input", "Cause"):
        if len(text := _text(dict(sorted(described.items())))) <= CAUSE_MAX:
            return text
        described.pop(member, None)
        if member == "Input":
            described["InputDetails"] = {"Included": False}
    return _text(dict(sorted(described.items())))


def _described(ended: Ended) -> dict[str, Any]:
    return {
        "ExecutionArn": ended.execution_id,
        "Name": ended.name,
        "StartDate": ended.started_at,
        "StateMachineArn": ended.workflow_id,
        "Status": STATUS[ended.status],
        "StopDate": ended.ended_at,
    }


def _text(value: Any) -> str:
    return encode_json(value).decode()
