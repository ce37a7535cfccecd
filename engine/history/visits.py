"""The fold: from events to the visits of states, and the moments of each, in the order of the log.

A visit is one entry of a state, until it was left. The events may have gaps (a long log is shown by its first
and last ones) and payloads may be erased: what cannot be known is null then, and nothing is guessed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal, NamedTuple, TypeAlias

from engine.core import events as e
from engine.core.refs import Ref, resolve
from engine.core.state import TOP
from engine.language import parse_resource

What: TypeAlias = Literal[
    "started",
    "entered",
    "scheduled",
    "submitted",
    "succeeded",
    "failed",
    "exited",
    "ended",
    "broken",
    "aborted",
]
"""What a moment is. The execution is started, and ended (completed), broken (failed) or aborted."""


class Failure(NamedTuple):
    """An error as events carry it: its name, or where that stands, and where the cause stands."""

    error: str | None
    error_ref: Ref | None
    cause: Ref | None


@dataclass(slots=True)
class Visit:
    """One entry of a state. `entered_at` is null if the log around it is lost, `exited_at` until it was left.

    `attempts` counts the calls of the step, or the one visit of a state that calls none.
    """

    scope: str
    state: str
    type: str
    entered_at: int | None = None
    input: Ref | None = None
    resource: str | None = None
    attempts: int = 1
    exited_at: int | None = None
    output: Ref | None = None
    failure: Failure | None = None


class Moment(NamedTuple):
    """Something that happened; `value` is what it brought: parameters, a result, an output, a reason."""

    what: What
    visit: Visit | None = None
    value: Ref | None = None
    failure: Failure | None = None


@dataclass(slots=True)
class Course:
    """All that happened. `is_whole`: no event is missing, from the first to the last one given."""

    moments: list[Moment] = field(default_factory=list)
    visits: list[Visit] = field(default_factory=list)
    is_whole: bool = True
    payloads: dict[int, Mapping[str, Any]] = field(default_factory=dict)

    def value(self, reference: Ref | None) -> Any:
        """The value behind a reference; null if there is none, or it is erased, or not among the events."""
        if reference is None:
            return None
        try:
            return resolve(reference, self.payloads)
        except LookupError:
            return None

    def error(self, failure: Failure) -> tuple[Any, Any]:
        """The name of an error, and its cause."""
        name = failure.error if failure.error_ref is None else self.value(failure.error_ref)
        return name, self.value(failure.cause)


def follow(events: Iterable[e.Recorded]) -> Course:
    """Fold events, ascending by seq, into a course."""
    fold = _Fold()
    for recorded in events:
        fold.add(recorded)
    return fold.course


class _Arrival(NamedTuple):
    """A state is about to be entered, with this input."""

    input: Ref
    at: int


class _Fold:
    """Where the fold stands: by scope the open visit, and the arrival that the next one begins with."""

    def __init__(self) -> None:
        self.course = Course()
        self.open: dict[str, Visit] = {}
        self.arrivals: dict[str, _Arrival] = {}
        self._seq = 0
        self._lost = range(0)

    def add(self, recorded: e.Recorded) -> None:
        if recorded.seq != self._seq + 1:
            self._lost = range(self._seq + 1, recorded.seq)
            self.arrivals.clear()
            self.course.is_whole = False
        self._seq = recorded.seq
        if recorded.payload is not None:
            self.course.payloads[recorded.seq] = recorded.payload
        tell = TELL.get(type(recorded.event))
        if tell is not None:
            tell(self, recorded.event, recorded)

    def say(
        self, what: What, visit: Visit | None = None, value: Ref | None = None, failure: Failure | None = None
    ) -> None:
        self.course.moments.append(Moment(what, visit, value, failure))

    def enter(self, recorded: e.Recorded, scope: str, state: str, kind: str) -> Visit:
        """Begin a visit: this event is the first one of it."""
        arrival = self.arrivals.pop(scope, None)
        visit = self._visit(Visit(scope, state, kind, recorded.recorded_at))
        if arrival is not None:
            visit.entered_at, visit.input = arrival.at, arrival.input
        self.say("entered", visit, visit.input)
        return visit

    def inside(self, recorded: e.Recorded, scope: str, state: str, kind: str) -> Visit:
        """The visit that an event belongs to which goes on with one.

        What it goes on with is the event that caused it. If that is lost, so is the beginning of the visit;
        the visit that is open here ended somewhere in the gap.
        """
        visit = self.open.get(scope)
        if visit is None or visit.state != state or recorded.caused_by in self._lost:
            return self._visit(Visit(scope, state, kind))
        return visit

    def _visit(self, visit: Visit) -> Visit:
        self.course.visits.append(visit)
        self.open[visit.scope] = visit
        return visit

    def leave(self, recorded: e.Recorded, visit: Visit, output: Ref | None) -> None:
        """End a visit with its output; with none, the failure that follows ends it."""
        if output is None:
            return
        visit.output, visit.exited_at = output, recorded.recorded_at
        del self.open[visit.scope]
        self.arrivals[visit.scope] = _Arrival(output, recorded.recorded_at)
        self.say("exited", visit, output)


# --- one function an event ----------------------------------------------------------------------------------


def _execution_started(fold: _Fold, event: e.ExecutionStarted, recorded: e.Recorded) -> None:
    fold.arrivals[TOP] = _Arrival(event.input, recorded.recorded_at)
    fold.say("started", value=event.input)


def _state_passed(fold: _Fold, event: e.StatePassed, recorded: e.Recorded) -> None:
    visit = fold.enter(recorded, event.scope, event.state, event.type)
    fold.leave(recorded, visit, event.output)


def _task_scheduled(fold: _Fold, event: e.TaskScheduled, recorded: e.Recorded) -> None:
    goes_on = event.attempt > 0 or event.wait is not None
    find = fold.inside if goes_on else fold.enter
    visit = find(recorded, event.scope, event.state, "Task")
    visit.resource, visit.attempts = event.resource, event.attempt + 1
    fold.say("scheduled", visit, event.parameters)


def _task_submitted(fold: _Fold, event: e.TaskSubmitted, recorded: e.Recorded) -> None:
    fold.say("submitted", _in_task(fold, event, recorded), event.result)


def _task_succeeded(fold: _Fold, event: e.TaskSucceeded, recorded: e.Recorded) -> None:
    visit = _in_task(fold, event, recorded)
    fold.say("succeeded", visit, event.result)
    fold.leave(recorded, visit, event.output)


def _task_failed(fold: _Fold, event: e.TaskFailed, recorded: e.Recorded) -> None:
    visit = _in_task(fold, event, recorded)
    visit.failure = Failure(event.error, event.error_ref, event.cause)
    fold.say("failed", visit, failure=visit.failure)


def _in_task(fold: _Fold, event: e.TaskSubmitted | e.TaskSucceeded | e.TaskFailed, recorded: e.Recorded) -> Visit:
    visit = fold.inside(recorded, event.scope, event.state, "Task")
    visit.attempts = event.attempt + 1
    return visit


def _wait_opened(fold: _Fold, event: e.WaitOpened, recorded: e.Recorded) -> None:
    visit = fold.enter(recorded, event.scope, event.state, "Task")
    visit.resource = event.resource
    if parse_resource(event.resource).kind == "wait":  # no step is called: `TaskScheduled` will not follow
        fold.say("scheduled", visit, event.parameters)
        fold.say("submitted", visit)


def _wait_resumed(fold: _Fold, event: e.WaitResumed, recorded: e.Recorded) -> None:
    visit = fold.inside(recorded, event.scope, event.state, "Task")
    fold.say("succeeded", visit, event.result)
    fold.leave(recorded, visit, event.output)


def _timer_set(fold: _Fold, event: e.TimerSet, recorded: e.Recorded) -> None:
    fold.enter(recorded, event.scope, event.state, "Wait")


def _timer_fired(fold: _Fold, event: e.TimerFired, recorded: e.Recorded) -> None:
    visit = fold.inside(recorded, event.scope, event.state, "Wait")
    fold.leave(recorded, visit, event.output)


def _execution_succeeded(fold: _Fold, event: e.ExecutionSucceeded, _: e.Recorded) -> None:
    fold.say("ended", value=event.output)


def _execution_failed(fold: _Fold, event: e.ExecutionFailed, recorded: e.Recorded) -> None:
    failure = Failure(event.error, event.error_ref, event.cause)
    if event.state is not None:
        if event.entered is not None:
            visit = fold.enter(recorded, TOP, event.state, event.entered)
        else:
            visit = fold.inside(recorded, TOP, event.state, "Task")
        visit.failure = failure
    _stop(fold, recorded)
    fold.say("broken", failure=failure)


def _execution_terminated(fold: _Fold, event: e.ExecutionTerminated, recorded: e.Recorded) -> None:
    _stop(fold, recorded)
    fold.say("aborted", value=event.reason)


def _stop(fold: _Fold, recorded: e.Recorded) -> None:
    for visit in fold.open.values():
        visit.exited_at = recorded.recorded_at
    fold.open.clear()


TELL: Final[dict[type[e.Event], Callable[[_Fold, Any, e.Recorded], None]]] = {
    e.ExecutionStarted: _execution_started,
    e.StatePassed: _state_passed,
    e.TaskScheduled: _task_scheduled,
    e.TaskSubmitted: _task_submitted,
    e.TaskSucceeded: _task_succeeded,
    e.TaskFailed: _task_failed,
    e.WaitOpened: _wait_opened,
    e.WaitResumed: _wait_resumed,
    e.TimerSet: _timer_set,
    e.TimerFired: _timer_fired,
    e.ExecutionSucceeded: _execution_succeeded,
    e.ExecutionFailed: _execution_failed,
    e.ExecutionTerminated: _execution_terminated,
}

BESIDE: Final[frozenset[type[e.Event]]] = frozenset(
    {e.TaskInterrupted, e.TaskRedispatched, e.ExecutionQuarantined, e.CommandRefused, e.ResultIgnored}
)
"""Events that tell nothing of the way through the states. Every type is either here or in `TELL`."""
