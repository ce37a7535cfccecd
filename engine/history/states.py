"""An execution in the vocabulary of AWS GetExecutionHistory, for tools that read that.

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

_AwsEvent: TypeAlias = tuple[str, dict[str, Any]]

_FIELD: Final = re.compile(r" specified for the field '([^']*)' ")
"""Finds the field in the cause of an evaluation that failed (recorded: test_map_state_items_eval_jsonata_fail)."""

_parsed = lru_cache(maxsize=256)(parse_resource)  # a Map names the same few again and again


def states_history(events: Iterable[Recorded]) -> list[dict[str, Any]]:
    """An execution's events as `{"id", "type", "timestamp", "previousEventId", "details"}`, numbered from 1.

    `details` has the members of what AWS calls `…EventDetails`, with JSON values where AWS has their text.
    Values whose payload is erased are null.
    """
    timeline = follow(events)
    history: list[dict[str, Any]] = []
    chain = Chain()
    for entry, at in zip(timeline.entries, timeline.times, strict=True):
        before = chain.before(entry)
        convert = _CONVERTERS.get(entry.what)
        if convert is not None:
            name, details = convert(entry, timeline)
            event = {"id": len(history) + 1, "type": name, "timestamp": format_instant(at), "previousEventId": before}
            history.append({**event, "details": details})
        chain.add(entry, len(history), before)
    return history


# --- of the execution ---------------------------------------------------------------------------------------


def _started(entry: TimelineEntry, timeline: Timeline) -> _AwsEvent:
    return "ExecutionStarted", {"input": timeline.value(entry.value), "roleArn": ""}


def _ended(entry: TimelineEntry, timeline: Timeline) -> _AwsEvent:
    return "ExecutionSucceeded", {"output": timeline.value(entry.value)}


def _broken(entry: TimelineEntry, timeline: Timeline) -> _AwsEvent:
    return "ExecutionFailed", _error(entry, timeline)


def _timed_out(_entry: TimelineEntry, _timeline: Timeline) -> _AwsEvent:
    return "ExecutionTimedOut", {}


def _aborted(entry: TimelineEntry, timeline: Timeline) -> _AwsEvent:
    return "ExecutionAborted", {"cause": timeline.value(entry.value)}


def _redriven(entry: TimelineEntry, _timeline: Timeline) -> _AwsEvent:
    return "ExecutionRedriven", {"redriveCount": entry.redrives}


# --- of a visit ---------------------------------------------------------------------------------------------


def _entered(entry: TimelineEntry, timeline: Timeline) -> _AwsEvent:
    visit = _visit(entry)
    return f"{visit.type}StateEntered", {"name": visit.state, "input": timeline.value(entry.value)}


def _exited(entry: TimelineEntry, timeline: Timeline) -> _AwsEvent:
    visit = _visit(entry)
    details = {"name": visit.state, "output": timeline.value(entry.value)}
    if visit.assigned:
        details["assignedVariables"] = {name: timeline.value(value) for name, value in visit.assigned.items()}
    return f"{visit.type}StateExited", details


def _state_aborted(entry: TimelineEntry, _timeline: Timeline) -> _AwsEvent:
    return f"{_visit(entry).type}StateAborted", {}


def _evaluation_failed(entry: TimelineEntry, timeline: Timeline) -> _AwsEvent:
    details = _error(entry, timeline)
    found = _FIELD.search(details.get("cause") or "")
    return "EvaluationFailed", {**details, "location": found and found[1], "state": _visit(entry).state}


def _visit(entry: TimelineEntry) -> Visit:
    if entry.visit is None:
        message = f"an entry that is {entry.what} belongs to a visit"
        raise TypeError(message)
    return entry.visit


def _error(entry: TimelineEntry, timeline: Timeline) -> dict[str, Any]:
    """Error and cause, each only if there is one."""
    if entry.failure is None:
        return {}
    error, cause = timeline.error(entry.failure)
    return {name: value for name, value in (("error", error), ("cause", cause)) if value is not None}


# --- of a task ----------------------------------------------------------------------------------------------


def _scheduled(entry: TimelineEntry, timeline: Timeline) -> _AwsEvent:
    word, resource = _task(entry)
    called: dict[str, Any] = {"input": timeline.value(entry.value), "resource": _visit(entry).resource}
    if word == "Task":
        called = {**resource, "region": REGION, "parameters": timeline.value(entry.value)}
    timeout_s, heartbeat_s = entry.limits
    limits = {"timeoutInSeconds": timeout_s, "heartbeatInSeconds": heartbeat_s}
    return f"{word}Scheduled", called | {name: limit for name, limit in limits.items() if limit is not None}


def _begun(entry: TimelineEntry, _timeline: Timeline) -> _AwsEvent:
    """AWS tells apart what is scheduled and what has been started; a step is called at once if a slot is free."""
    word, resource = _task(entry)
    return f"{word}Started", resource


def _submitted(entry: TimelineEntry, timeline: Timeline) -> _AwsEvent:
    word, resource = _task(entry)
    return f"{word}Submitted", {**resource, "output": timeline.value(entry.value)}


def _task_succeeded(entry: TimelineEntry, timeline: Timeline) -> _AwsEvent:
    word, resource = _task(entry)
    return f"{word}Succeeded", {**resource, "output": timeline.value(entry.value)}


def _task_failed(entry: TimelineEntry, timeline: Timeline) -> _AwsEvent:
    word, resource = _task(entry)
    return f"{word}Failed", {**resource, **_error(entry, timeline)}


def _task_timed_out(entry: TimelineEntry, timeline: Timeline) -> _AwsEvent:
    word, resource = _task(entry)
    return f"{word}TimedOut", {**resource, **_error(entry, timeline)}


def _task(entry: TimelineEntry) -> _AwsEvent:
    """The word that AWS begins a task's events with, and the resource as all events of an integration name it.

    A function that waits for an answer is said as an integration.
    """
    text = _visit(entry).resource
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


def _fork_started(entry: TimelineEntry, _timeline: Timeline) -> _AwsEvent:
    fork = _fork(entry)
    return f"{fork.type}StateStarted", {"length": fork.count} if fork.type == "Map" else {}


def _fork_succeeded(entry: TimelineEntry, _timeline: Timeline) -> _AwsEvent:
    return f"{_visit(entry).type}StateSucceeded", {}


def _fork_failed(entry: TimelineEntry, _timeline: Timeline) -> _AwsEvent:
    return f"{_visit(entry).type}StateFailed", {}


def _iteration(word: str) -> Callable[[TimelineEntry, Timeline], _AwsEvent]:
    def convert(entry: TimelineEntry, _timeline: Timeline) -> _AwsEvent:
        return f"MapIteration{word}", {"index": entry.at, "name": _fork(entry).state}

    return convert


def _fork(entry: TimelineEntry) -> VisitFork:
    if entry.fork is None:
        message = f"an entry that is {entry.what} belongs to a Parallel or Map state"
        raise TypeError(message)
    return entry.fork


_CONVERTERS: Final[dict[What, Callable[[TimelineEntry, Timeline], _AwsEvent]]] = {
    "started": _started,
    "ended": _ended,
    "broken": _broken,
    "timed_out": _timed_out,
    "aborted": _aborted,
    "redriven": _redriven,
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
"""The end of a branch (`branch_ended`) has no word, nor has it that a step waits for a slot (`queued`)."""
