"""The runs of steps that the visits of states make up, and the machines that they ran in.

A step may be several states: those that follow each other in a scope, and those of a machine that only one of its
states holds (`engine/adr/0046-steps-are-states-and-variables.md`). A visit within a fork of its own step belongs to the
run of the step around it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final, Literal, NamedTuple, TypeAlias

from perdure.engine.core.refs import Ref
from perdure.engine.core.state import fork_and_index
from perdure.engine.history.error_codes import CUT_SHORT, StepError, shown_failure
from perdure.engine.history.timeline import Timeline, Visit, VisitCall, VisitFailure

RanStatus: TypeAlias = Literal["running", "retrying", "completed", "failed"]

_ENDED: Final = "Branch.Ended"
_COMPLETED: Final = "Run.Completed"
_TIMED_OUT: Final = frozenset({"States.Timeout", "States.HeartbeatTimeout"})
_EARLY: Final = frozenset({_ENDED, _COMPLETED})
"""Errors that are how something ends well before its time (`engine.language.formats.machines`)."""

_Call: TypeAlias = tuple[int | None, int | None, StepError | None]


class StepEnd(NamedTuple):
    """The standing of a run of a step: when it ended, if it has, with which output and error."""

    status: RanStatus
    at: int | None = None
    output: Ref | None = None
    error: StepError | None = None


@dataclass(slots=True, eq=False)
class StepRun:
    """The last run of a step in a place; `count` is how many there were.

    `visits` are those of its states in the scope that it began in, `within` those in machines of its own. `parts` has
    the places of the machines in it by index, all of one fork, the last one that entered a step (`fork_seq`).
    """

    id: str
    visits: list[Visit]
    count: int = 1
    within: list[Visit] = field(default_factory=list)
    parts: dict[int, Place] = field(default_factory=dict)
    fork_seq: int = 0
    fork_type: str | None = None

    @property
    def first(self) -> Visit:
        """The visit that it began with."""
        return self.visits[0]

    @property
    def input(self) -> Ref | None:
        """What it was called with; if it called nothing, what came in."""
        called = (visit.parameters for visit in (*self.visits, *self.within) if visit.parameters is not None)
        return next(called, self.first.input)

    def end(self, timeline: Timeline) -> StepEnd:
        """Say how it stands."""
        visit = self.visits[-1]
        if visit.failure is not None:
            return self._failed(timeline, visit, visit.failure)
        if visit.exited_at is None:
            is_between = bool(visit.calls) and visit.calls[-1].failure is not None
            return StepEnd("retrying" if is_between else "running")
        if visit.is_cancelled:
            return StepEnd("failed", visit.exited_at, None, CUT_SHORT)
        return StepEnd("completed", visit.exited_at, visit.output)

    def _failed(self, timeline: Timeline, visit: Visit, failure: VisitFailure) -> StepEnd:
        at = visit.exited_at if visit.exited_at is not None else (visit.calls[-1].ended_at if visit.calls else None)
        name = timeline.error(failure)[0]
        is_answer = name in _TIMED_OUT and visit.output is not None and visit.following is not None
        if name == _ENDED and visit.output is not None:
            return StepEnd("completed", at, visit.output)
        if name in _EARLY:
            return StepEnd("completed", at)
        if is_answer and self._is_answered(timeline, visit):
            return StepEnd("completed", at, visit.output)
        output = None if name == "Run.Terminated" else visit.output
        return StepEnd("failed", at, output, shown_failure(timeline, failure))

    def _is_answered(self, timeline: Timeline, visit: Visit) -> bool:
        """Whether the end of the time for an approval was a rejection: its output is then one of an approval."""
        output = timeline.value(visit.output)
        return isinstance(output, dict) and output.get("approved") is False and "approvedBy" in output

    def attempts(self, timeline: Timeline, error: StepError | None) -> Iterator[_Call]:
        """List its attempts: begin, end and error of each."""
        most = max(self.visits, key=lambda visit: len(visit.calls))
        if len(most.calls) > 1:
            yield from (_shown_call(timeline, call) for call in most.calls)
            return
        last = self.visits[-1]
        yield self.first.entered_at, last.exited_at, error


def _shown_call(timeline: Timeline, call: VisitCall) -> _Call:
    error = None if call.failure is None else shown_failure(timeline, call.failure)
    return call.at, call.ended_at, error


@dataclass(slots=True, eq=False)
class Place:
    """A machine that ran, with the runs of its steps by id, in the order of their first beginning.

    `last` is the run that was entered last. `latest` is the visit of any state that was begun last.
    """

    runs: dict[str, StepRun] = field(default_factory=dict)
    last: StepRun | None = None
    latest: Visit | None = None

    @property
    def is_over(self) -> bool:
        """Whether no other state of it will be entered."""
        visit = self.latest
        return visit is not None and visit.exited_at is not None and visit.following is None

    def enter(self, step: str, visit: Visit) -> StepRun:
        """Add a visit of a step's state, which goes on with the run of that step or begins another one."""
        run = self.runs.get(step)
        before = self.last
        self.latest = visit
        if run is None:
            run = self.runs[step] = StepRun(step, [visit])
        elif run is before and run.visits[-1].state != visit.state:
            run.visits.append(visit)
        else:
            run = self.runs[step] = StepRun(step, [visit], run.count + 1)
        self.last = run
        return run


class _Placing:
    """Puts the visits of a timeline into places."""

    def __init__(self, states: Mapping[str, str]) -> None:
        self.top = Place()
        self._states = states
        self.runs: dict[int, tuple[Place, StepRun | None]] = {}
        self.holders: dict[int, StepRun] = {}

    def add(self, visit: Visit) -> None:
        """Add the next visit."""
        step = self._states.get(visit.state)
        holder = self._holder(visit)
        if step is not None and holder is not None and holder.id == step:
            holder.within.append(visit)
            self.runs[id(visit)] = self.top, holder
            return
        if holder is not None:
            self.holders[id(visit)] = holder
        place = self._place(visit, holder)
        if step is None:
            place.latest = visit
            self.runs[id(visit)] = place, None
        else:
            self.runs[id(visit)] = place, place.enter(step, visit)

    def _holder(self, visit: Visit) -> StepRun | None:
        """Find the run of the step whose fork a visit is in."""
        around = None if visit.around is None else visit.around.visit
        while around is not None:
            run = self.runs[id(around)][1]
            if run is not None:
                return run
            around = None if around.around is None else around.around.visit
        return None

    def _place(self, visit: Visit, holder: StepRun | None) -> Place:
        fork = visit.around
        if holder is None or fork is None or fork.visit is None:
            return self.top
        if self.runs[id(fork.visit)][1] is None:  # a fork that is no step's: as if it were not there
            return self.runs[id(fork.visit)][0]
        if self._states.get(visit.state) is None and fork.seq != holder.fork_seq and holder.parts:
            return Place()
        if fork.seq != holder.fork_seq:
            holder.parts.clear()
            holder.fork_seq, holder.fork_type = fork.seq, fork.type
        return holder.parts.setdefault(fork_and_index(visit.scope)[1], Place())


class Placed(NamedTuple):
    """The top machine of a run, with all that ran in it.

    `runs`: by the id of a visit's object the run of the step that it is of.
    `holders`: likewise the run of the step around it.
    """

    top: Place
    runs: dict[int, StepRun]
    holders: dict[int, StepRun]


def placed(timeline: Timeline, states: Mapping[str, str]) -> Placed:
    """Put the visits of a timeline together to runs of steps."""
    placing = _Placing(states)
    for visit in timeline.visits:
        placing.add(visit)
    runs = {key: run for key, (_, run) in placing.runs.items() if run is not None}
    return Placed(placing.top, runs, placing.holders)
