"""Schedules: part of a workflow's stream. A calendar, and what was decided of each of its instants (*slots*).

Each slot is decided once. `fired`: it started a run. `caught_up`: it did so later, after an outage. `missed`: it came
during an outage and was left out. `skipped_overlap`: the run before it went on. `skipped_paused`: the schedule or its
workflow was paused. Slots of which nobody saw the moment (an outage, a pause), and that came to the same, are one event
with the first, the last and their count.

What a calendar says is no business of the core: a command brings what is due (`Due`) and which slot follows. It is
compared with the slot that the state says is next, so whoever was overtaken decides nothing (`STALE`).

A run that is to start is an intent: its id is drawn with the decision, and it is asked for again (`StartScheduled`)
until an event says that it has started or why it cannot. Under that id a repeat is harmless.
"""

from __future__ import annotations

from typing import Any, Final, Literal, NamedTuple, Protocol, TypeAlias

import msgspec
from msgspec.structs import replace

from perdure.engine.core.dispatch import Dispatch
from perdure.engine.core.draft import Folded
from perdure.engine.core.events import Event, Recorded
from perdure.engine.core.refs import Ref

Overlap: TypeAlias = Literal["allow", "skip", "buffer_one"]
CatchUp: TypeAlias = Literal["none", "latest", "all"]
SlotOutcome: TypeAlias = Literal["fired", "caught_up", "missed", "skipped_overlap", "skipped_paused"]

LATE_MS: Final = 60_000
"""A slot that is decided so much later came during an outage: what becomes of it is a matter of catching up."""

CAUGHT_UP_MAX: Final = 1000
"""So many slots of an outage are caught up at most, the latest ones."""

SCHEDULES_MAX: Final = 100
"""So many schedules a workflow may have."""

RECENT: Final = 10
"""So many of the last decisions a schedule shows."""

# --- events ------------------------------------------------------------------------------------------------------


class Timing(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True, gc=False):
    """The calendar of a schedule: `cron` in a time zone, or so many (`every`) of a `unit`, counted from `anchor`.

    It has no slot before `start_at` and none after `end_at`.
    """

    cron: str | None = None
    timezone: str = "UTC"
    every: int | None = None
    unit: str | None = None
    anchor: int = 0
    start_at: int | None = None
    end_at: int | None = None


class ScheduleAdded(Event, frozen=True):
    """A schedule of this workflow, with its first slot, `due_at`.

    `is_main`: it is the one that the workflow's `cron_expression` speaks of. Payload, if it has one: `input`, the
    template of its runs' input.
    """

    schedule: str
    timing: Timing
    due_at: int
    overlap: Overlap = "allow"
    catch_up: CatchUp = "latest"
    is_enabled: bool = True
    is_main: bool = False
    input: Ref | None = None


class ScheduleChanged(Event, frozen=True):
    """A schedule as it is from here on; likewise. Its next slot is `due_at`, null if it has none left."""

    schedule: str
    timing: Timing
    overlap: Overlap = "allow"
    catch_up: CatchUp = "latest"
    due_at: int | None = None
    input: Ref | None = None


class ScheduleRemoved(Event, frozen=True):
    """A schedule is no more; the runs that it has decided on start all the same."""

    schedule: str


class SchedulePaused(Event, frozen=True):
    """The slots of a schedule are skipped from here on."""

    schedule: str


class SchedulePlayed(Event, frozen=True):
    """A schedule goes on with its next slot; those that were skipped are not made up for."""

    schedule: str


class WorkflowPaused(Event, frozen=True):
    """No run of the workflow starts from here on, and the slots of its schedules are skipped."""


class WorkflowResumed(Event, frozen=True):
    """Runs of the workflow start again; what its schedules skipped is not made up for."""


class SlotDecided(Event, frozen=True):
    """The outcome of a slot, or of `count` slots from `first` to `last`; the next slot is `due_at`, null if none is.

    `run` is the run that it starts, and `input` what its input is made from; of `skipped_overlap`, `run` is the one
    that went on.
    """

    schedule: str
    outcome: SlotOutcome
    first: int
    last: int
    count: int = 1
    due_at: int | None = None
    run: str | None = None
    input: Ref | None = None


class SlotBuffered(Event, frozen=True):
    """A slot came while the schedule's last run went on; it is decided when that has ended. `due_at` as above."""

    schedule: str
    slot: int
    due_at: int | None = None


class ScheduleRunRequested(Event, frozen=True):
    """Somebody had a schedule start a run now, beside its slots."""

    schedule: str
    run: str
    at: int
    input: Ref | None = None


class ScheduledRunsStarted(Event, frozen=True):
    """These runs, which the schedule has decided on, are in the log."""

    schedule: str
    runs: tuple[str, ...]


class ScheduledRunRefused(Event, frozen=True):
    """A run that the schedule has decided on cannot start. Payload: `reason`."""

    schedule: str
    run: str
    code: str
    reason: Ref


RUN_EVENTS: Final = (SlotDecided, SlotBuffered, ScheduleRunRequested, ScheduledRunsStarted, ScheduledRunRefused)
"""The events about runs: they change nothing of what a workflow is."""

EVENTS: Final = (
    *(ScheduleAdded, ScheduleChanged, ScheduleRemoved, SchedulePaused, SchedulePlayed),
    *(WorkflowPaused, WorkflowResumed, *RUN_EVENTS),
)

# --- state -------------------------------------------------------------------------------------------------------


class Intent(msgspec.Struct, frozen=True, gc=False):
    """A run that is to start: for a slot, or at the instant at which somebody asked for it."""

    at: int
    input: Ref | None = None
    is_asked_for: bool = False


class Schedule(msgspec.Struct, frozen=True, gc=False):
    """A schedule. `next_at` is the first slot that is not decided, `buffered` one that waits for the end of a run.

    `last_run` is the latest run that one of its slots has started. `starting` has the runs that are not known to have
    started, by id. `recent` has the seqs of the last decisions, `revision` that of the last event that somebody else
    than time brought. One that was removed stays until nothing of it is starting.
    """

    timing: Timing
    overlap: Overlap
    catch_up: CatchUp
    is_enabled: bool
    is_main: bool
    input: Ref | None
    next_at: int | None
    revision: int
    created_at: int
    created_by: str
    modified_at: int
    modified_by: str
    buffered: int | None = None
    last_run: str | None = None
    starting: dict[str, Intent] = {}
    recent: tuple[int, ...] = ()
    is_removed: bool = False


class Scheduled(Folded, Protocol):
    """The part of a workflow's state that its schedules need."""

    schedules: dict[str, Schedule]
    is_paused: bool

    @property
    def is_archived(self) -> bool:
        """Whether nothing of it may start any more."""
        ...


def is_active(state: Scheduled, schedule: Schedule) -> bool:
    """Whether the slots of a schedule start runs."""
    return schedule.is_enabled and not (schedule.is_removed or state.is_paused or state.is_archived)


def evolve(schedules: dict[str, Schedule], event: Any, recorded: Recorded) -> dict[str, Schedule]:
    """The schedules after an event about one of them."""
    after = _EVOLVE[type(event)](schedules.get(event.schedule), event, recorded)
    if after is None or (after.is_removed and not after.starting):
        return {name: each for name, each in schedules.items() if name != event.schedule}
    return {**schedules, event.schedule: after}


def _added(_: Schedule | None, event: ScheduleAdded, recorded: Recorded) -> Schedule:
    """A schedule begins with its first slot."""
    at, by = recorded.recorded_at, recorded.actor
    return Schedule(
        *(event.timing, event.overlap, event.catch_up, event.is_enabled, event.is_main, event.input, event.due_at),
        *(recorded.seq, at, by, at, by),
    )


def _changed(before: Schedule, event: ScheduleChanged, recorded: Recorded) -> Schedule:
    """All that may be changed of a schedule is in the event."""
    return _touched(
        before,
        recorded,
        timing=event.timing,
        overlap=event.overlap,
        catch_up=event.catch_up,
        next_at=event.due_at,
        input=event.input,
    )


def _touched(before: Schedule, recorded: Recorded, **changes: Any) -> Schedule:
    """Somebody has changed a schedule: what was seen of it before is no longer what there is."""
    return replace(
        before,
        revision=recorded.seq,
        modified_at=recorded.recorded_at,
        modified_by=recorded.actor,
        **changes,
    )


def _decided(before: Schedule, event: SlotDecided, recorded: Recorded) -> Schedule:
    """A slot is decided; one that had been buffered leaves the next one as it is."""
    recent = (*before.recent[-(RECENT - 1) :], recorded.seq)
    buffered = None if event.last == before.buffered else before.buffered
    after = replace(before, next_at=event.due_at, recent=recent, buffered=buffered)
    if event.run is None or event.outcome == "skipped_overlap":
        return after
    starting = {**after.starting, event.run: Intent(event.last, event.input)}
    return replace(after, last_run=event.run, starting=starting)


def _requested(before: Schedule, event: ScheduleRunRequested, _: Recorded) -> Schedule:
    """A run is to start, beside the slots: the latest one of a slot stays what a policy of overlap looks at."""
    intent = Intent(event.at, event.input, is_asked_for=True)
    return replace(before, starting={**before.starting, event.run: intent})


def _started(before: Schedule, event: ScheduledRunsStarted, _: Recorded) -> Schedule:
    """Some runs need not be asked for any more."""
    gone = set(event.runs)
    return replace(before, starting={run: each for run, each in before.starting.items() if run not in gone})


def _refused(before: Schedule, event: ScheduledRunRefused, recorded: Recorded) -> Schedule:
    """A run will never be: nothing waits for its end."""
    last_run = None if before.last_run == event.run else before.last_run
    recent = (*before.recent[-(RECENT - 1) :], recorded.seq)
    starting = {run: each for run, each in before.starting.items() if run != event.run}
    return replace(before, starting=starting, last_run=last_run, recent=recent)


_EVOLVE: Final = (
    Dispatch[Any, [Recorded], Schedule | None](__name__)
    .on(ScheduleAdded, _added)
    .on(ScheduleChanged, _changed)
    .on(ScheduleRemoved, lambda before, _, recorded: _touched(before, recorded, is_removed=True, next_at=None))
    .on(SchedulePaused, lambda before, _, recorded: _touched(before, recorded, is_enabled=False))
    .on(SchedulePlayed, lambda before, _, recorded: _touched(before, recorded, is_enabled=True))
    .on(SlotDecided, _decided)
    .on(SlotBuffered, lambda before, event, _: replace(before, buffered=event.slot, next_at=event.due_at))
    .on(ScheduleRunRequested, _requested)
    .on(ScheduledRunsStarted, _started)
    .on(ScheduledRunRefused, _refused)
    .over(EVENTS, beside=(WorkflowPaused, WorkflowResumed))
)

# --- commands ----------------------------------------------------------------------------------------------------


class Due(msgspec.Struct, frozen=True, gc=False):
    """The slots of a schedule that have come, from its next one on: `count`, of which `slots` are the latest.

    `older` is the last of those before them, null if there are none. `due_at` is the slot that comes after all of them.
    `run` is the schedule's last run, as whoever asks has looked it up, and `is_over` whether that has ended: what the
    decision is to rest on.
    """

    schedule: str
    revision: int
    first: int
    count: int
    slots: tuple[int, ...]
    due_at: int | None
    older: int | None = None
    run: str | None = None
    is_over: bool = False


class DecideSlots(msgspec.Struct, frozen=True, gc=False):
    """Decide the slots of schedules that have come; the answer has those schedules that have moved on meanwhile."""

    due: tuple[Due, ...]


class TakeBuffered(msgspec.Struct, frozen=True, gc=False):
    """Decide the slot that was buffered: the run that it waited for has ended."""

    schedule: str
    slot: int
    run: str


class RunNow(msgspec.Struct, frozen=True, gc=False):
    """Start a run of a schedule now, also of one that is paused; the answer is its id."""

    schedule: str


class RunRefusal(NamedTuple):
    """The reason why a run cannot start."""

    run: str
    code: str
    reason: str


class RunsOf(NamedTuple):
    """The outcome of runs that a schedule has decided on."""

    schedule: str
    started: tuple[str, ...] = ()
    refused: tuple[RunRefusal, ...] = ()


class AcknowledgeRuns(msgspec.Struct, frozen=True, gc=False):
    """Note what became of runs that schedules have decided on."""

    runs: tuple[RunsOf, ...]


class RecoverSchedules(msgspec.Struct, frozen=True, gc=False):
    """Ask again for what is starting, and follow what a buffered slot waits for."""


class ScheduleSpec(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A schedule as it is to be, with its first slot, `due_at`. `input` is the template of its runs' input."""

    timing: Timing
    due_at: int | None
    overlap: Overlap = "allow"
    catch_up: CatchUp = "latest"
    is_enabled: bool = True
    is_main: bool = False
    input: Any = None


class ScheduleEdit(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Change a schedule, or remove it (no `spec`). `revision` is its own as whoever asks has seen it.

    `due` has the slots that have come and are not decided; they are, before anything changes.
    """

    schedule: str
    revision: int
    spec: ScheduleSpec | None = None
    keeps_input: bool = False
    due: Due | None = None


class EditSchedules(msgspec.Struct, frozen=True, gc=False):
    """Add, change and remove schedules, all or none; the answer are the ids of those that were added."""

    added: tuple[ScheduleSpec, ...] = ()
    edited: tuple[ScheduleEdit, ...] = ()


class SwitchSchedules(msgspec.Struct, frozen=True, gc=False):
    """Pause or play these schedules. `due` has what has come meanwhile of those that are played."""

    schedules: tuple[str, ...]
    is_enabled: bool
    due: tuple[Due, ...] = ()


class PauseWorkflow(msgspec.Struct, frozen=True, gc=False):
    """Let no run of the workflow start until it is resumed."""


class ResumeWorkflow(msgspec.Struct, frozen=True, gc=False):
    """Let runs start again. `due` has what has come meanwhile of its schedules."""

    due: tuple[Due, ...] = ()


ScheduleCommand: TypeAlias = (
    DecideSlots
    | TakeBuffered
    | RunNow
    | AcknowledgeRuns
    | RecoverSchedules
    | EditSchedules
    | SwitchSchedules
    | PauseWorkflow
    | ResumeWorkflow
)
