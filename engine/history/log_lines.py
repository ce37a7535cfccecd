"""Log lines: what happened in a run, in words, for somebody who thinks in steps."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final, Literal, NamedTuple, TypeAlias

from perdure.engine.history.error_codes import shown_failure
from perdure.engine.history.step_runs import Placed, StepRun
from perdure.engine.history.timeline import Timeline, TimelineEntry, Visit, VisitCall, What

Level: TypeAlias = Literal["debug", "info", "warn", "error"]

LOG_ACTION: Final = "log"
"""The action whose calls are lines of their own."""

_LEVELS: Final[dict[str, Level]] = {"debug": "debug", "info": "info", "warning": "warn", "error": "error"}


class LogLine(NamedTuple):
    """A line: when, how grave, of which step (null: the run), in words; `data` is null if erased, or there is none."""

    at: int
    level: Level
    node_id: str | None
    message: str
    data: Any = None


_RUN: Final[dict[What, tuple[Level, str]]] = {
    "started": ("info", "Run started"),
    "ended": ("info", "Run completed"),
    "broken": ("error", "Run failed"),
    "timed_out": ("error", "Run timed out"),
    "aborted": ("warn", "Run cancelled"),
    "redriven": ("info", "Run retried"),
}


def log_lines(timeline: Timeline, placed: Placed) -> list[LogLine]:
    """Give the lines of a run, in the order in which it happened."""
    found = list[tuple[int, LogLine]]()
    for visit in timeline.visits:
        run = placed.runs.get(id(visit))
        if run is not None:
            found += _failures(timeline, run, visit)
    for place, (entry, at) in enumerate(zip(timeline.entries, timeline.times, strict=True)):
        found += ((place, line) for line in _of_entry(timeline, placed, entry, at))
    found.sort(key=lambda item: item[0])
    return [line for _, line in found]


def _of_entry(timeline: Timeline, placed: Placed, entry: TimelineEntry, at: int) -> Iterator[LogLine]:
    if entry.what in _RUN:
        level, message = _RUN[entry.what]
        error = None if entry.failure is None else shown_failure(timeline, entry.failure)
        more = "" if error is None else f": {error.code}" + (f": {error.message}" if error.message else "")
        yield LogLine(at, level, None, message + more, None)
        return
    visit = entry.visit
    run = None if visit is None else placed.runs.get(id(visit))
    if visit is None or run is None:
        return
    if entry.what == "entered" and run.first is visit:
        yield LogLine(at, "info", run.id, f"Step {run.id!r} began")
    elif entry.what == "scheduled":
        yield from _called(timeline, run, visit, entry, at)
    elif entry.what == "exited" and run.visits[-1] is visit:
        end = run.end(timeline)
        if end.status == "completed":
            yield LogLine(at, "info", run.id, f"Step {run.id!r} completed")


def _called(timeline: Timeline, run: StepRun, visit: Visit, entry: TimelineEntry, at: int) -> Iterator[LogLine]:
    """Tell what a step calls: a line of the author's own, or that it waits."""
    given = timeline.value(entry.value)
    if visit.resource == LOG_ACTION:
        line = given if isinstance(given, dict) else {}
        message, level = line.get("message"), line.get("level", "info")
        level = _LEVELS.get(level, "info") if isinstance(level, str) else "info"
        yield LogLine(at, level, run.id, "" if message is None else str(message), line.get("fields"))
    elif any(wait.opened_at == at for wait in visit.waits):
        yield LogLine(at, "info", run.id, f"Step {run.id!r} waits for an answer", given)


def _failures(timeline: Timeline, run: StepRun, visit: Visit) -> Iterator[tuple[int, LogLine]]:
    """Tell of the attempts that failed; of how a step ended well although a state of it failed nothing is told."""
    for number, call in enumerate(visit.calls, start=1):
        is_last = call is visit.calls[-1]
        if call.failure is None or call.ended_at is None:
            continue
        if is_last and visit.failure is not None and run.end(timeline).status != "failed":
            continue
        yield call.place, _failed(timeline, run, call, number, is_last=is_last and visit.failure is not None)


def _failed(timeline: Timeline, run: StepRun, call: VisitCall, number: int, *, is_last: bool) -> LogLine:
    if call.failure is None or call.ended_at is None:
        message = "a call that has failed says how and when"
        raise ValueError(message)
    error = shown_failure(timeline, call.failure)
    why = error.code if error.message is None else f"{error.code}: {error.message}"
    if is_last:
        return LogLine(call.ended_at, "error", run.id, f"Step {run.id!r} failed: {why}")
    return LogLine(call.ended_at, "warn", run.id, f"Step {run.id!r} failed at attempt {number}, and is retried: {why}")
