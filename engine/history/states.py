"""An execution in the vocabulary of AWS GetExecutionHistory, for the tools that were made for it.

What has no word there is said as an integration is: a step NAME is resource NAME of resourceType `perdure`,
and a bare wait looks like a task that was submitted and waits for its token.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final, TypeAlias

from engine.core.events import Recorded
from engine.core.state import TOP
from engine.history.visits import Course, Moment, Visit, What, follow
from engine.language import parse_resource

REGION: Final = "local"
OWN_STEPS: Final = "perdure"

_Said: TypeAlias = tuple[str, dict[str, Any]]


def states_history(events: Iterable[Recorded]) -> list[dict[str, Any]]:
    """An execution's events as `{"id", "type", "previousEventId", "details"}`, numbered from 1.

    `details` has the members of what AWS calls `…EventDetails`, with JSON values where AWS has their text.
    Values whose payload is erased are null.
    """
    course = follow(events)
    history: list[dict[str, Any]] = []
    # AWS chains the events of each branch; what begins the chain of the whole execution is 0, not its first
    # event.
    last: dict[str, int] = {}
    for moment in course.moments:
        scope = TOP if moment.visit is None else moment.visit.scope
        for name, details in _SAY[moment.what](moment, course):
            previous = 0 if moment.what == "aborted" else last.get(scope, 0)
            history.append({"id": len(history) + 1, "type": name, "previousEventId": previous, "details": details})
            if moment.what != "started":
                last[scope] = len(history)
    return history


# --- of the execution ---------------------------------------------------------------------------------------


def _started(moment: Moment, course: Course) -> Iterator[_Said]:
    yield "ExecutionStarted", {"input": course.value(moment.value), "roleArn": ""}


def _ended(moment: Moment, course: Course) -> Iterator[_Said]:
    yield "ExecutionSucceeded", {"output": course.value(moment.value)}


def _broken(moment: Moment, course: Course) -> Iterator[_Said]:
    yield "ExecutionFailed", _error(moment, course)


def _aborted(moment: Moment, course: Course) -> Iterator[_Said]:
    yield "ExecutionAborted", {"cause": course.value(moment.value)}


# --- of a visit ---------------------------------------------------------------------------------------------


def _entered(moment: Moment, course: Course) -> Iterator[_Said]:
    visit = _visit(moment)
    yield f"{visit.type}StateEntered", {"name": visit.state, "input": course.value(moment.value)}


def _exited(moment: Moment, course: Course) -> Iterator[_Said]:
    visit = _visit(moment)
    yield f"{visit.type}StateExited", {"name": visit.state, "output": course.value(moment.value)}


def _scheduled(moment: Moment, course: Course) -> Iterator[_Said]:
    """AWS tells apart what is scheduled and what has been started; here a step is called at once."""
    visit = _visit(moment)
    parameters = course.value(moment.value)
    if _is_lambda(visit):
        yield "LambdaFunctionScheduled", {"resource": visit.resource, "input": parameters}
        yield "LambdaFunctionStarted", {}
        return
    resource = _integration(visit)
    yield "TaskScheduled", {**resource, "region": REGION, "parameters": parameters}
    yield "TaskStarted", resource


def _submitted(moment: Moment, course: Course) -> Iterator[_Said]:
    yield "TaskSubmitted", {**_integration(_visit(moment)), "output": course.value(moment.value)}


def _succeeded(moment: Moment, course: Course) -> Iterator[_Said]:
    name, resource = _outcome(moment, "Succeeded")
    yield name, {**resource, "output": course.value(moment.value)}


def _failed(moment: Moment, course: Course) -> Iterator[_Said]:
    name, resource = _outcome(moment, "Failed")
    yield name, {**resource, **_error(moment, course)}


def _outcome(moment: Moment, word: str) -> _Said:
    visit = _visit(moment)
    return (f"LambdaFunction{word}", {}) if _is_lambda(visit) else (f"Task{word}", _integration(visit))


def _visit(moment: Moment) -> Visit:
    if moment.visit is None:
        message = f"a moment that is {moment.what} belongs to a visit"
        raise TypeError(message)
    return moment.visit


def _is_lambda(visit: Visit) -> bool:
    """Whether AWS says LambdaFunction…; a function that waits for an answer is said as an integration."""
    if visit.resource is None:
        return False
    resource = parse_resource(visit.resource)
    return resource.is_lambda_arn and not resource.pattern


def _integration(visit: Visit) -> dict[str, Any]:
    if visit.resource is None:  # lost with the event that scheduled it
        return {"resourceType": None, "resource": None}
    resource = parse_resource(visit.resource)
    if resource.service is not None:
        return {"resourceType": resource.service, "resource": resource.action}
    if resource.is_lambda_arn:
        return {"resourceType": "lambda", "resource": f"invoke.{resource.pattern}"}
    return {"resourceType": OWN_STEPS, "resource": resource.text}


def _error(moment: Moment, course: Course) -> dict[str, Any]:
    """Error and cause, each only if there is one."""
    if moment.failure is None:
        return {}
    error, cause = course.error(moment.failure)
    return {name: value for name, value in (("error", error), ("cause", cause)) if value is not None}


_SAY: Final[dict[What, Callable[[Moment, Course], Iterator[_Said]]]] = {
    "started": _started,
    "entered": _entered,
    "scheduled": _scheduled,
    "submitted": _submitted,
    "succeeded": _succeeded,
    "failed": _failed,
    "exited": _exited,
    "ended": _ended,
    "broken": _broken,
    "aborted": _aborted,
}
