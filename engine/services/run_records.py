"""Runs as somebody sees them who thinks in steps: their steps, approvals, log lines, and what they wait for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, Literal, NamedTuple, Protocol, TypeAlias

from perdure.engine.core import ids
from perdure.engine.core.events import Recorded
from perdure.engine.core.transitions import TERMINAL
from perdure.engine.errors import NotFound
from perdure.engine.history.approvals import Approval, approvals_of
from perdure.engine.history.error_codes import CANCELLED, RUN_TIMED_OUT, StepError, step_error
from perdure.engine.history.handlers import follow
from perdure.engine.history.log_lines import LogLine, log_lines
from perdure.engine.history.step_records import StepRecord, all_steps, steps_of
from perdure.engine.history.step_runs import Placed, placed
from perdure.engine.history.timeline import Timeline
from perdure.engine.language.formats.flow import DocumentOutline
from perdure.engine.log.codec import EXECUTION, decode_json
from perdure.engine.runtime.callers import Caller
from perdure.engine.services.cache import Cache
from perdure.engine.services.queries import ExecutionView, Queries
from perdure.store.protocols import Store
from perdure.store.records import ExecutionRow, WorkflowVersionRow

EVENTS_MAX: Final = 20_000
"""So many events of a run are read; of a longer one the first and the last."""

LISTED_EVENTS_MAX: Final = 200
"""So many events of each run of a page are read, the last ones."""

LINES_MAX: Final = 1_000
"""So many lines of its log a run is shown with, the last ones."""

OUTLINES_MAX: Final = 512

WaitingKind: TypeAlias = Literal["approval", "wait", "pause"]


class Outlines(Protocol):
    """The source of the steps of versions (`Documents`)."""

    def outline(self, row: WorkflowVersionRow) -> DocumentOutline:
        """Give the steps of a version, and which state works for which of them."""
        ...


class RunError(NamedTuple):
    """The error of a run: its code, what it says, and the id of the step that it came from, null if from none."""

    code: str
    message: str | None
    step: str | None


class WaitingFor(NamedTuple):
    """Something that a run waits for.

    `id`: of the approval or wait; null of a pause.
    `step_id`: the step that waits; null of a pause.
    `title`: what is asked; of a pause its reason.
    `due_at`: when it is over at the latest.
    """

    kind: WaitingKind
    id: str | None
    step_id: str | None
    title: str | None
    since: int
    due_at: int | None


class RunRecord(NamedTuple):
    """A run. Instants are milliseconds.

    `error`: of one that did not end well.
    `suspended`: it waits for somebody or was paused, and nothing else of it goes on.
    `queue_position`: its place in line, from 1; null if it does not queue.
    `started_at`: when it entered its first state; null if it still waits for its turn, or ended before that.
    `truncated`: it has more steps than are here.
    """

    row: ExecutionRow
    process_id: str
    input: Any
    output: Any
    error: RunError | None
    steps: tuple[StepRecord, ...]
    approvals: tuple[Approval, ...]
    waiting_for: tuple[WaitingFor, ...]
    suspended: bool
    queue_position: int | None
    truncated: bool
    started_at: int | None

    @property
    def version(self) -> int:
        """The version of its workflow."""
        return self.row.workflow_version

    @property
    def trigger(self) -> str:
        """What started it."""
        return self.row.trigger_type

    @property
    def ended_at(self) -> int | None:
        """When it ended; null if it has not."""
        return self.row.ended_at

    @property
    def duration_ms(self) -> int | None:
        """The time from its first state to its end; none if it never had its turn."""
        if self.row.ended_at is None:
            return None
        return 0 if self.started_at is None else self.row.ended_at - self.started_at


class StepPage(NamedTuple):
    """Some of a run's steps at the top level, in order; `after` asks for the next, null if there is none."""

    steps: tuple[StepRecord, ...]
    after: int | None
    truncated: bool


class LinePage(NamedTuple):
    """Some lines of a run's log, in order; `after` asks for the next, null if there is none."""

    lines: tuple[LogLine, ...]
    after: int | None
    truncated: bool


class WholeRun(NamedTuple):
    """A run with lines of its log, in order; `is_cut`: there are more before or among them."""

    record: RunRecord
    lines: tuple[LogLine, ...]
    is_cut: bool


class ReadRun(NamedTuple):
    """The events of a run, folded."""

    outline: DocumentOutline
    timeline: Timeline
    placed: Placed


class RunRecords:
    """Reads of runs by their steps, limited to what a caller may see."""

    def __init__(self, store: Store, queries: Queries, outlines: Outlines) -> None:
        self._store = store
        self._queries = queries
        self._outlines = outlines
        self._known: Cache[tuple[bytes, int], DocumentOutline] = Cache(OUTLINES_MAX)

    async def of(self, caller: Caller, execution_id: bytes) -> RunRecord:
        """One run of the caller's workspace. Raises `NotFound`."""
        view = await self._queries.execution(caller, execution_id)
        read = await self.read(view.row)
        line = None if view.row.status != "pending" else await self._queries.queue(execution_id)
        return _record(view, read, None if line is None else line.position)

    async def whole(self, caller: Caller, execution_id: bytes, *, lines_max: int = LINES_MAX) -> WholeRun:
        """One run with the last lines of its log, read at once. Raises `NotFound`."""
        view = await self._queries.execution(caller, execution_id)
        read = await self.read(view.row)
        line = None if view.row.status != "pending" else await self._queries.queue(execution_id)
        lines = log_lines(read.timeline, read.placed)
        is_cut = len(lines) > lines_max or not read.timeline.is_whole
        record = _record(view, read, None if line is None else line.position)
        return WholeRun(record, tuple(lines[-lines_max:]), is_cut)

    async def many(self, rows: Sequence[ExecutionRow]) -> list[RunRecord]:
        """Runs of a page, each with what its last events tell (`LISTED_EVENTS_MAX`): all of a short one.

        So many reads whatever the number of runs, and one for each version that was not read of late. The place in line
        is asked for by none.
        """
        views = await self._queries.views(rows)
        events = await self._store.last_events_of([row.execution_id for row in rows], LISTED_EVENTS_MAX)
        found = []
        for view in views:
            recorded = EXECUTION.read_all(events.get(view.row.execution_id, []))
            found.append(_record(view, _folded(recorded, await self._outline(view.row)), None))
        return found

    async def steps(self, caller: Caller, execution_id: bytes, *, after: int = 0, limit: int = 50) -> StepPage:
        """A page of a run's steps at the top level, beyond so many of them. Raises `NotFound`."""
        row = (await self._queries.execution(caller, execution_id)).row
        read = await self.read(row)
        found = steps_of(read.timeline, read.outline, read.placed, window=slice(after, after + limit + 1))
        has_more = len(found.steps) > limit
        return StepPage(found.steps[:limit], after + limit if has_more else None, found.truncated)

    async def logs(self, caller: Caller, execution_id: bytes, *, after: int = 0, limit: int = 100) -> LinePage:
        """A page of a run's log, beyond so many of its lines. Raises `NotFound`."""
        row = (await self._queries.execution(caller, execution_id)).row
        read = await self.read(row)
        lines = log_lines(read.timeline, read.placed)
        has_more = after + limit < len(lines)
        return LinePage(
            tuple(lines[after : after + limit]), after + limit if has_more else None, not read.timeline.is_whole
        )

    async def approvals(self, caller: Caller, execution_id: bytes) -> tuple[Approval, ...]:
        """The approvals of a run. Raises `NotFound`."""
        row = (await self._queries.execution(caller, execution_id)).row
        read = await self.read(row)
        return approvals_of(read.timeline, read.outline, read.placed)

    async def read(self, row: ExecutionRow) -> ReadRun:
        """The events of a run, folded; of one with very many the first and the last."""
        return _folded(await self._events(row), await self._outline(row))

    async def _events(self, row: ExecutionRow) -> list[Recorded]:
        events = await self._queries.events(row.execution_id, limit=EVENTS_MAX)
        if len(events) < EVENTS_MAX:
            return events
        half = EVENTS_MAX // 2
        last = await self._queries.last_events(row.execution_id, half)
        first = events if last[0].seq <= EVENTS_MAX else events[:half]
        return [*first, *(recorded for recorded in last if recorded.seq > first[-1].seq)]

    async def _outline(self, row: ExecutionRow) -> DocumentOutline:
        async def read() -> DocumentOutline:
            version = await self._store.workflow_version(row.workflow_id, row.workflow_version)
            if version is None:
                raise NotFound(f"there is no version {row.workflow_version} of workflow {ids.text(row.workflow_id)}")
            return self._outlines.outline(version).following(decode_json(version.definition))

        return await self._known.read((row.workflow_id, row.workflow_version), read)


def _folded(events: Sequence[Recorded], outline: DocumentOutline) -> ReadRun:
    timeline = follow(events)
    return ReadRun(outline, timeline, placed(timeline, outline.states))


def _record(view: ExecutionView, read: ReadRun, queue_position: int | None) -> RunRecord:
    steps = steps_of(read.timeline, read.outline, read.placed)
    approvals = approvals_of(read.timeline, read.outline, read.placed)
    row = view.row
    return RunRecord(
        row=row,
        process_id=view.process_id,
        input=view.input,
        output=view.output,
        error=_error(view, steps.steps),
        steps=steps.steps,
        approvals=approvals,
        waiting_for=tuple(_waiting(view, read, approvals)),
        suspended=row.status == "waiting" or (row.paused_at is not None and row.status not in TERMINAL),
        queue_position=queue_position,
        truncated=steps.truncated,
        started_at=_started_at(row, read.timeline),
    )


def _started_at(row: ExecutionRow, timeline: Timeline) -> int | None:
    """When a run entered its first state; if the events that tell are not among those read: when it was made."""
    if row.status == "pending" or (timeline.is_whole and not timeline.visits):
        return None
    first = timeline.visits[0].entered_at if timeline.is_whole else None
    return row.created_at if first is None else first


def _error(view: ExecutionView, steps: Sequence[StepRecord]) -> RunError | None:
    """The error of a run that did not end well."""
    status = view.row.status
    if status == "failed":
        return RunError(*step_error(view.error, view.cause), _culprit(steps))
    if status == "timed_out":
        return RunError(RUN_TIMED_OUT, "the run took longer than it may", _culprit(steps))
    if status == "terminated":
        return RunError(CANCELLED, view.cause if type(view.cause) is str else None, None)
    return None


def _culprit(steps: Sequence[StepRecord]) -> str | None:
    """The step that has failed a run: the innermost that was not cut short, of the last that failed; else that."""
    failed = [step for step in steps if step.status == "failed"]
    if not failed:
        return None
    last = max(failed, key=lambda step: step.completed_at or 0)
    found = last
    for step in all_steps([last]):
        if step.status == "failed" and step.error is not None and _is_own(step.error):
            found = step
    return found.id


def _is_own(error: StepError) -> bool:
    return error.code != CANCELLED


def _waiting(view: ExecutionView, read: ReadRun, approvals: Sequence[Approval]) -> list[WaitingFor]:
    """What a run waits for: open approvals, other open waits, and who paused it."""
    if view.row.status in TERMINAL:
        return []
    found = [
        WaitingFor("approval", each.id, each.step_id, each.title, each.requested_at, each.due_at)
        for each in approvals
        if each.open_wait is not None
    ]
    known = {wait for each in approvals for wait in each.waits}
    for visit in read.timeline.current:
        for wait in visit.waits:
            if wait.outcome is None and wait.id not in known and wait is visit.waits[-1]:
                step = read.placed.runs.get(id(visit))
                step_id = None if step is None else step.id
                found.append(WaitingFor("wait", wait.id, step_id, None, wait.opened_at, wait.due_at))
    if view.row.paused_at is not None:
        reason = None if view.pause is None else view.pause.reason
        found.append(WaitingFor("pause", None, None, reason, view.row.paused_at, None))
    return found
