"""Resources of Task states: a step, a wait, both, a child execution, or an activity.

    NAME                                  the registered step of that name
    arn:aws:lambda:…:function:NAME        the same step, so that a definition written for AWS runs unchanged
    arn:aws:states:::SERVICE:ACTION       the registered step SERVICE:ACTION
    arn:aws:states:::lambda:invoke        the step that Parameters.FunctionName names
    arn:aws:states:::http:invoke          the built-in step http_request
    wait_for_resume                       a wait and nothing else
    ….waitForResume, ….waitForTaskToken   open the wait, call the step, stay until the wait is ended

This module knows no registry: a well-formed name may still be served by nobody.
"""

from __future__ import annotations

import re
from typing import Final, Literal, TypeAlias

import msgspec

Kind: TypeAlias = Literal["step", "wait", "step_and_wait", "execution", "activity"]

WAIT: Final = "wait_for_resume"
HTTP_STEP: Final = "http_request"
WAIT_FOR_RESUME: Final = "waitForResume"
WAIT_FOR_TASK_TOKEN: Final = "waitForTaskToken"  # noqa: S105  # no secret
SYNC_PATTERNS: Final = ("sync", "sync:2")
RESOURCE_MAX: Final = 512

_INTEGRATION: Final = re.compile(
    r"arn:aws[a-z-]*:states:(?:[^:]*):(?:[^:]*):"
    r"(?P<service>(?:aws-sdk:)?[A-Za-z0-9_-]+):(?P<action>[A-Za-z0-9_-]+)(?:\.(?P<pattern>[A-Za-z0-9:]*))?"
)
_LAMBDA: Final = re.compile(r"arn:aws[a-z-]*:lambda:[^:]*:[^:]*:function:(?P<name>[^:\s]+)(?::[^:\s]+)?")
_ACTIVITY: Final = re.compile(r"arn:aws[a-z-]*:states:[^:]+:[^:]+:activity:(?P<name>[^:\s]+)")
_FUNCTION: Final = re.compile(r"(?:arn:aws[a-z-]*:lambda:[^:]*:)?[^:]*:function:([^:\s]+)(?::[^:\s]+)?")
# A dot separates the parts of a name too (`billing.charge`), so only what looks like a pattern is one.
_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*(?:[.:][A-Za-z0-9_-]+)*")


class Resource(msgspec.Struct, frozen=True):
    """A Task state's resource.

    `text`: as written in the definition.
    `kind`: what happens: a step is called (`step`), a wait is opened (`wait`), both, a child execution starts
        (`execution`), or an activity's worker is asked (`activity`).
    `step`: name of the registered step; None where there is none (`wait`) or only Parameters tell it
        (`lambda:invoke`).
    `service`: SERVICE of `arn:aws:states:::SERVICE:ACTION`, which a history calls resourceType, with `aws-sdk:` if
        it has that; None for other forms.
    `action`: ACTION with its pattern, which a history calls resource: `sendMessage.waitForTaskToken`.
    `pattern`: "" or `waitForResume`, `waitForTaskToken`, `sync`, `sync:2`.
    `is_lambda_arn`: whether a history says LambdaFunctionScheduled instead of TaskScheduled.
    """

    text: str
    kind: Kind
    step: str | None = None
    service: str | None = None
    action: str | None = None
    pattern: str = ""
    is_lambda_arn: bool = False

    @property
    def waits(self) -> bool:
        """Whether a wait is opened before anything is called."""
        return self.kind in ("wait", "step_and_wait")

    @property
    def starts_execution(self) -> bool:
        """Whether what is called is another execution."""
        return self.service == "states" and self.step is None

    @property
    def is_lambda_invoke(self) -> bool:
        """Whether Parameters.FunctionName names the step."""
        return self.service == "lambda" and self.step is None


def parse_resource(text: str) -> Resource:
    """Read the Resource of a Task state.

    Raises ValueError: it has none of the forms above; the text says what is wrong.
    """
    if len(text) > RESOURCE_MAX:
        raise ValueError(f"a resource has at most {RESOURCE_MAX} characters")
    if text.startswith("arn:"):
        return _parse_arn(text)
    if text == WAIT:
        return Resource(text, "wait")
    name, pattern = _split_pattern(text)
    if _NAME.fullmatch(name) is None:
        raise ValueError("a resource is the name of a step or an ARN, such as arn:aws:states:::SERVICE:ACTION")
    if name == WAIT:
        raise ValueError(f"{WAIT} takes no pattern: it is a wait already")
    return Resource(text, "step_and_wait" if pattern else "step", step=name, pattern=pattern)


def step_named(resource: Resource, parameters: object) -> str | None:
    """Give the step that a resource and its Parameters, as written or as filled in, name; None if none."""
    if resource.is_lambda_invoke and isinstance(parameters, dict):
        function = parameters.get("FunctionName")
        return step_of_function(function) if isinstance(function, str) else None
    return resource.step


def step_of_function(function_name: str) -> str:
    """Give the step's name for the FunctionName of `lambda:invoke`: a name, or an ARN that ends in it."""
    match = _FUNCTION.fullmatch(function_name)
    return match[1] if match else function_name


def _split_pattern(text: str) -> tuple[str, str]:
    name, dot, last = text.rpartition(".")
    if dot and last in (WAIT_FOR_RESUME, WAIT_FOR_TASK_TOKEN):
        return name, last
    if dot and last.casefold().startswith("waitfor"):
        raise ValueError(f"the patterns are .{WAIT_FOR_RESUME} and .{WAIT_FOR_TASK_TOKEN}")
    return text, ""


def _parse_arn(text: str) -> Resource:
    if match := _LAMBDA.fullmatch(text.removesuffix("." + WAIT_FOR_RESUME)):
        is_wait = text.endswith("." + WAIT_FOR_RESUME)
        return Resource(
            text,
            "step_and_wait" if is_wait else "step",
            step=match["name"],
            pattern=WAIT_FOR_RESUME if is_wait else "",
            is_lambda_arn=True,
        )
    if match := _ACTIVITY.fullmatch(text):
        return Resource(text, "activity", step=match["name"])
    if match := _INTEGRATION.fullmatch(text):
        return _parse_integration(text, match["service"], match["action"], match["pattern"])
    raise ValueError("an ARN here is a Lambda function's, or arn:aws:states:::SERVICE:ACTION")


def _parse_integration(text: str, service: str, action: str, pattern: str | None) -> Resource:
    waits = pattern in (WAIT_FOR_RESUME, WAIT_FOR_TASK_TOKEN)
    if pattern is not None and not waits and pattern not in SYNC_PATTERNS:
        known = ", ".join("." + p for p in (*SYNC_PATTERNS, WAIT_FOR_RESUME, WAIT_FOR_TASK_TOKEN))
        raise ValueError(f"unknown pattern after the action; there are {known}")
    kind: Kind = "step_and_wait" if waits else "step"
    step: str | None = f"{service}:{action}"
    if (service, action) == ("states", "startExecution"):
        kind, step = ("step_and_wait" if waits else "execution"), None
    elif (service, action) == ("lambda", "invoke"):
        step = None
    elif (service, action) == ("http", "invoke"):
        step = HTTP_STEP
    named = f"{action}.{pattern}" if pattern else action
    return Resource(text, kind, step=step, service=service, action=named, pattern=pattern or "")
