"""An execution in the vocabulary of AWS GetExecutionHistory, for the tools that were made for it.

What has no word there is said as an integration is: a step NAME is resource NAME of resourceType `perdure`,
and a bare wait looks like a task that was submitted and waits for its token.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Any, Final, TypeAlias

from perdure.engine.core.events import Recorded
from perdure.engine.history.chain import Chain
from perdure.engine.history.handlers import follow
from perdure.engine.history.timeline import Timeline, TimelineEntry, Visit, VisitFork, What
from perdure.engine.language.instants import format_instant
from perdure.engine.language.model.resources import parse_resource

REGION: Final = "local"
OWN_STEPS: Final = "perdure"

_Said: TypeAlias = tuple[str, dict[str, Any]]

_FIELD: Final = re.compile(r" specified for the field '([^']*)' ")
"""Where the cause of an evaluation that failed names the field (recorded: test_map_state_items_eval_jsonata_fail)."""

_parsed = lru_cache(maxsize=256)(parse_resource)  # a Map names the same few again and again


def states_history(events: Iterable[Recorded]) -> list[dict[str, Any]]:
    """An execution's events as `{"id", "type", "timestamp", "previousEventId", "details"}`, numbered from 1.

    `details` has the members of what AWS calls `…EventDetails`, with JSON values where AWS has their text.
    Values whose payload is erased are null.
    """
    course = follow(events)
    history: list[dict[str, Any]] = []
    chain = Chain()
    for moment, at in zip(course.moments, course.times, strict=True):
        before = chain.before(moment)
        say = _SAY.get(moment.what)
        if say is not None:
            name, details = say(moment, course)
            event = {"id": len(history) + 1, "type": name, "timestamp": format_instant(at), "previousEventId": before}
            history.append({**event, "details": details})
        chain.add(moment, len(history), before)
    return history


# --- of the execution ---------------------------------------------------------------------------------------


def _started(moment: TimelineEntry, course: Timeline) -> _Said:
    return "ExecutionStarted", {"input": course.value(moment.value), "roleArn": ""}


def _ended(moment: TimelineEntry, course: Timeline) -> _Said:
    return "ExecutionSucceeded", {"output": course.value(moment.value)}


def _broken(moment: TimelineEntry, course: Timeline) -> _Said:
    return "ExecutionFailed", _error(moment, course)


def _timed_out(_moment: TimelineEntry, _course: Timeline) -> _Said:
    return "ExecutionTimedOut", {}


def _aborted(moment: TimelineEntry, course: Timeline) -> _Said:
    return "ExecutionAborted", {"cause": course.value(moment.value)}


# --- of a visit ---------------------------------------------------------------------------------------------


def _entered(moment: TimelineEntry, course: Timeline) -> _Said:
    visit = _visit(moment)
    return f"{visit.type}StateEntered", {"name": visit.state, "input": course.value(moment.value)}


def _exited(moment: TimelineEntry, course: Timeline) -> _Said:
    visit = _visit(moment)
    details = {"name": visit.state, "output": course.value(moment.value)}
    if visit.assigned:
        details["assignedVariables"] = {name: course.value(value) for name, value in visit.assigned.items()}
    return f"{visit.type}StateExited", details


def _state_aborted(moment: TimelineEntry, _course: Timeline) -> _Said:
    return f"{_visit(moment).type}StateAborted", {}


def _evaluation_failed(moment: TimelineEntry, course: Timeline) -> _Said:
    details = _error(moment, course)
    found = _FIELD.search(details.get("cause") or "")
    return "EvaluationFailed", {**details, "location": found and found[1], "state": _visit(moment).state}


def _visit(moment: TimelineEntry) -> Visit:
    if moment.visit is None:
        message = f"a moment that is {moment.what} belongs to a visit"
        raise TypeError(message)
    return moment.visit


def _error(moment: TimelineEntry, course: Timeline) -> dict[str, Any]:
    """Error and cause, each only if there is one."""
    if moment.failure is None:
        return {}
    error, cause = course.error(moment.failure)
    return {name: value for name, value in (("error", error), ("cause", cause)) if value is not None}


# --- of a task ----------------------------------------------------------------------------------------------


def _scheduled(moment: TimelineEntry, course: Timeline) -> _Said:
    word, resource = _task(moment)
    called: dict[str, Any] = {"input": course.value(moment.value), "resource": _visit(moment).resource}
    if word == "Task":
        called = {**resource, "region": REGION, "parameters": course.value(moment.value)}
    timeout_s, heartbeat_s = moment.limits
    limits = {"timeoutInSeconds": timeout_s, "heartbeatInSeconds": heartbeat_s}
    return f"{word}Scheduled", called | {name: limit for name, limit in limits.items() if limit is not None}


def _begun(moment: TimelineEntry, _course: Timeline) -> _Said:
    """AWS tells apart what is scheduled and what has been started; a step is called at once if there is a place."""
    word, resource = _task(moment)
    return f"{word}Started", resource


def _submitted(moment: TimelineEntry, course: Timeline) -> _Said:
    word, resource = _task(moment)
    return f"{word}Submitted", {**resource, "output": course.value(moment.value)}


def _task_succeeded(moment: TimelineEntry, course: Timeline) -> _Said:
    word, resource = _task(moment)
    return f"{word}Succeeded", {**resource, "output": course.value(moment.value)}


def _task_failed(moment: TimelineEntry, course: Timeline) -> _Said:
    word, resource = _task(moment)
    return f"{word}Failed", {**resource, **_error(moment, course)}


def _task_timed_out(moment: TimelineEntry, course: Timeline) -> _Said:
    word, resource = _task(moment)
    return f"{word}TimedOut", {**resource, **_error(moment, course)}


def _task(moment: TimelineEntry) -> _Said:
    """The word that AWS begins a task's events with, and the resource as all events of an integration name it.

    A function that waits for an answer is said as an integration.
    """
    text = _visit(moment).resource
    if text is None:  # lost with the event that scheduled it
        return "Task", {"resourceType": None, "resource": None}
    resource = _parsed(text)
    if resource.kind == "activity":
        return "Activity", {}
    if resource.is_lambda_arn and not resource.pattern:
        return "LambdaFunction", {}
    if resource.service is not None:
        return "Task", {"resourceType": resource.service, "resource": resource.action}
    if resource.is_lambda_arn:
        return "Task", {"resourceType": "lambda", "resource": f"invoke.{resource.pattern}"}
    return "Task", {"resourceType": OWN_STEPS, "resource": resource.text}


# --- of a Parallel or Map state -----------------------------------------------------------------------------


def _fork_started(moment: TimelineEntry, _course: Timeline) -> _Said:
    fork = _fork(moment)
    return f"{fork.type}StateStarted", {"length": fork.count} if fork.type == "Map" else {}


def _fork_succeeded(moment: TimelineEntry, _course: Timeline) -> _Said:
    return f"{_visit(moment).type}StateSucceeded", {}


def _fork_failed(moment: TimelineEntry, _course: Timeline) -> _Said:
    return f"{_visit(moment).type}StateFailed", {}


def _iteration(word: str) -> Callable[[TimelineEntry, Timeline], _Said]:
    def say(moment: TimelineEntry, _course: Timeline) -> _Said:
        return f"MapIteration{word}", {"index": moment.at, "name": _fork(moment).state}

    return say


def _fork(moment: TimelineEntry) -> VisitFork:
    if moment.fork is None:
        message = f"a moment that is {moment.what} belongs to a Parallel or Map state"
        raise TypeError(message)
    return moment.fork


_SAY: Final[dict[What, Callable[[TimelineEntry, Timeline], _Said]]] = {
    "started": _started,
    "ended": _ended,
    "broken": _broken,
    "timed_out": _timed_out,
    "aborted": _aborted,
    "entered": _entered,
    "exited": _exited,
    "state_aborted": _state_aborted,
    "evaluation_failed": _evaluation_failed,
    "scheduled": _scheduled,
    "begun": _begun,
    "submitted": _submitted,
    "task_succeeded": _task_succeeded,
    "task_failed": _task_failed,
    "task_timed_out": _task_timed_out,
    "fork_started": _fork_started,
    "fork_succeeded": _fork_succeeded,
    "fork_failed": _fork_failed,
    "iteration_started": _iteration("Started"),
    "iteration_succeeded": _iteration("Succeeded"),
    "iteration_failed": _iteration("Failed"),
    "iteration_aborted": _iteration("Aborted"),
}
"""The end of a branch (`branch_ended`) has no word, nor has it that a step waits for a place (`queued`)."""
