"""Records of steps: what a run's log tells to somebody who thinks in steps, and not in states.

`read_steps` folds events into a timeline (`handlers.follow`), puts the visits of its states together to runs of steps
(`step_runs.py`), and shows the steps of an outline in its order, those that never ran too.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Final, Literal, NamedTuple, TypeAlias

from perdure.engine.core.events import Recorded
from perdure.engine.history.error_codes import StepError
from perdure.engine.history.handlers import follow
from perdure.engine.history.step_runs import Place, Placed, StepRun, placed
from perdure.engine.history.timeline import Timeline
from perdure.engine.language.formats.flow import DocumentOutline, StepOutline

StepStatus: TypeAlias = Literal["pending", "running", "retrying", "completed", "failed", "skipped"]

RECORDS_MAX: Final = 5_000
"""So many records are made of a run; of one with more, those that are first in the order of the document."""

_BRANCHED: Final = frozenset({"parallel", "Parallel"})


class StepAttempt(NamedTuple):
    """One attempt of a step, from 1. `error` is null if it did not fail. Instants are milliseconds, null if lost."""

    attempt: int
    started_at: int | None
    completed_at: int | None
    error: StepError | None


class StepPart(NamedTuple):
    """One iteration of a loop, or one branch of a parallel step, with records of its steps; `number` counts from 0."""

    kind: Literal["iteration", "branch"]
    number: int
    steps: tuple[StepRecord, ...]


class StepRecord(NamedTuple):
    """A step of a run.

    `type`: an action, a kind of step, or (without an outline) the type of a state.
    `status`: `retrying`: it failed, and is to be tried again; `failed` also where the run went on (with an output);
        `skipped`: it never ran, and will not; `pending`: it may come.
    `started_at`, `completed_at`, `duration_ms`: null until there is such.
    `attempts`: all calls of it, those before a redrive too; none of a step that never ran.
    `input`: what it was called with; of a step that calls nothing, what came in. Null if erased.
    `output`: null until it has one, or if erased.
    `runs`: how often it ran, in a cycle; all else is of the last time.
    `parts`: of a loop the iterations that began, of a parallel step its branches; empty of others.
    """

    id: str
    name: str
    type: str
    status: StepStatus
    started_at: int | None = None
    completed_at: int | None = None
    attempts: tuple[StepAttempt, ...] = ()
    input: Any = None
    output: Any = None
    error: StepError | None = None
    runs: int = 0
    parts: tuple[StepPart, ...] = ()

    @property
    def duration_ms(self) -> int | None:
        """The time from its start to its end."""
        if self.started_at is None or self.completed_at is None:
            return None
        return self.completed_at - self.started_at


class RunSteps(NamedTuple):
    """The records of a run's steps; `truncated`: there are more, or some of its events were not read."""

    steps: tuple[StepRecord, ...]
    truncated: bool


def read_steps(events: Iterable[Recorded], outline: DocumentOutline, *, records_max: int = RECORDS_MAX) -> RunSteps:
    """Give the records of a run's steps.

    Events ascend. What only missing ones could tell is null, and steps that may have run in them are left out.
    """
    timeline = follow(events)
    return steps_of(timeline, outline, placed(timeline, outline.states), records_max=records_max)


def steps_of(
    timeline: Timeline,
    outline: DocumentOutline,
    runs: Placed,
    *,
    window: slice = slice(None),
    records_max: int = RECORDS_MAX,
) -> RunSteps:
    """Give the records of the steps of a timeline, whose visits were put together to runs.

    `window`: which of the steps at the top level.
    """
    shown = _Shown(timeline, outline, records_max)
    records = shown.place(runs.top, outline.steps, window, is_over=timeline.ending is not None)
    return RunSteps(records, shown.left < 0 or not timeline.is_whole)


def all_steps(records: Iterable[StepRecord]) -> Iterator[StepRecord]:
    """List records and those in them, in order."""
    for record in records:
        yield record
        for part in record.parts:
            yield from all_steps(part.steps)


class _Shown:
    """Makes the records of one run; `left` is how many more may be made, below 0 if some were left out."""

    def __init__(self, timeline: Timeline, outline: DocumentOutline, left: int) -> None:
        self.timeline = timeline
        self.outline = outline
        self.left = left

    def place(
        self, place: Place, steps: tuple[StepOutline, ...], window: slice = slice(None), *, is_over: bool
    ) -> tuple[StepRecord, ...]:
        """Show the steps of a machine: as the outline has them, and then those that it does not have there."""
        to_come = frozenset[str]() if is_over or place.is_over else self._to_come(place, steps)
        known = {step.id for step in steps}
        more = (StepOutline(name, name, run.first.type) for name, run in place.runs.items() if name not in known)
        records = []
        for step in (*steps, *more)[window]:
            run = place.runs.get(step.id)
            if run is None and not self.timeline.is_whole:
                continue  # it may have run in what was not read
            if not self._has_room():
                break
            records.append(self._never(step, to_come) if run is None else self._ran(step, run))
        return tuple(records)

    def _has_room(self) -> bool:
        self.left -= 1
        return self.left >= 0

    def _to_come(self, place: Place, steps: tuple[StepOutline, ...]) -> frozenset[str]:
        """Give the steps of a machine under way that may still come."""
        if place.last is None:
            return frozenset(step.id for step in steps)
        ahead, found = list(self.outline.follows.get(place.last.id, ())), set[str]()
        while ahead:
            name = ahead.pop()
            if name not in found:
                found.add(name)
                ahead += self.outline.follows.get(name, ())
        return frozenset(found)

    def _never(self, step: StepOutline, to_come: frozenset[str]) -> StepRecord:
        status: StepStatus = "pending" if step.id in to_come else "skipped"
        parts = list[StepPart]()
        if step.kind in _BRANCHED:
            for index, body in enumerate(step.bodies):
                inner = frozenset(each.id for each in body) if status == "pending" else frozenset()
                steps = tuple(self._never(each, inner) for each in body if self._has_room())
                parts.append(StepPart("branch", index, steps))
        return StepRecord(step.id, step.name, step.kind, status, parts=tuple(parts))

    def _ran(self, step: StepOutline, run: StepRun) -> StepRecord:
        end = run.end(self.timeline)
        return StepRecord(
            id=step.id,
            name=step.name,
            type=step.kind,
            status=end.status,
            started_at=run.first.entered_at,
            completed_at=end.at,
            attempts=tuple(self._attempts(run, end.error)),
            input=self.timeline.value(run.input),
            output=self.timeline.value(end.output),
            error=end.error,
            runs=run.count,
            parts=tuple(self._parts(step, run, is_over=end.at is not None)),
        )

    def _attempts(self, run: StepRun, error: StepError | None) -> Iterator[StepAttempt]:
        for number, call in enumerate(run.attempts(self.timeline, error), start=1):
            yield StepAttempt(number, *call)

    def _parts(self, step: StepOutline, run: StepRun, *, is_over: bool) -> Iterator[StepPart]:
        is_loop = run.fork_type == "Map" or (run.fork_type is None and step.kind not in _BRANCHED)
        if is_loop:
            body = step.bodies[0] if step.bodies else ()
            for index, place in sorted(run.parts.items()):
                if self.left < 0:
                    return
                yield StepPart("iteration", index, self.place(place, body, is_over=is_over))
            return
        indexes = range(max(len(step.bodies), max(run.parts, default=-1) + 1))
        for index in indexes:
            body = step.bodies[index] if index < len(step.bodies) else ()
            place = run.parts.get(index) or Place()
            yield StepPart("branch", index, self.place(place, body, is_over=is_over))
