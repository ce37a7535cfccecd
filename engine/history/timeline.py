"""The timeline of an execution: the visits of its states, and an entry for each thing that happened, in log order.

A visit is one entry of a state, until it was left. The events may have gaps (a long log is shown by its first
and last ones) and payloads may be erased: what cannot be known is null then, and nothing is guessed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal, NamedTuple, TypeAlias

from perdure.engine.core.refs import Ref, resolve

What: TypeAlias = Literal[
    # the execution: its start, and the ways in which it ends
    "started",
    "ended",
    "broken",
    "timed_out",
    "aborted",
    "redriven",
    # a visit
    "entered",
    "scheduled",
    "queued",
    "begun",
    "submitted",
    "task_succeeded",
    "task_failed",
    "task_timed_out",
    "evaluation_failed",
    "exited",
    "state_aborted",
    # a Parallel or Map state
    "fork_started",
    "fork_succeeded",
    "fork_failed",
    "iteration_started",
    "iteration_succeeded",
    "iteration_failed",
    "iteration_aborted",
    "branch_ended",
]
"""The types of entries. An execution is ended (completed), broken (failed), timed out or aborted (terminated).

After the latter three it may be redriven.
"""

_ENDINGS: Final[frozenset[What]] = frozenset({"ended", "broken", "timed_out", "aborted"})


class VisitFailure(NamedTuple):
    """An error as events carry it: its name or a reference to it, and a reference to its cause."""

    error: str | None
    error_ref: Ref | None = None
    cause: Ref | None = None


class Retried(NamedTuple):
    """An attempt that failed at an instant, and is, or was to be, followed by another one at `due_at`."""

    at: int
    failure: VisitFailure
    due_at: int


@dataclass(slots=True, eq=False)
class VisitCall:
    """One attempt of a visit, which began at an instant; `ended_at` and `failure` are null until it has ended so.

    `place` is the number of the timeline's entries when it failed.
    """

    at: int | None
    ended_at: int | None = None
    failure: VisitFailure | None = None
    place: int = 0


@dataclass(slots=True, eq=False)
class VisitWait:
    """A wait that was opened for a visit; `outcome`, `ended_at`, `result` and the `actor` are null until it has ended.

    One that ended with what is around it has none of them.
    """

    id: str
    opened_at: int
    parameters: Ref
    due_at: int | None
    outcome: Literal["resumed", "failed", "expired"] | None = None
    ended_at: int | None = None
    result: Ref | None = None
    actor: str | None = None


class TimeLimits(NamedTuple):
    """The timeout and the heartbeat of a task in seconds; null where there is no limit."""

    timeout_s: int | None = None
    heartbeat_s: int | None = None


NO_LIMITS: Final = TimeLimits()


@dataclass(slots=True, eq=False)
class Visit:
    """One entry of a state. `entered_at` is null if the log around it is lost, `exited_at` until it was left.

    `attempts` counts the calls of the step, or how often branches or iterations were begun; it is 1 where neither is
    done. `retries` are those of the attempts that another one followed, or will; `failure` is that of the last.
    `within` names the Parallel and Map states around it, outermost first, each with the index of the branch or
    iteration. `due_at` is when what runs now times out. `seen` is the seq of the last event that is known to be of it.
    `is_cancelled`: it did not end by itself, but with what is around it.
    `begun` is the index of the entry that says that its step was called. `fallen_fork` is what was its `fork`, and may
    go on after a redrive. `following` is the state after it, null if it ended its scope. `calls` are all attempts,
    those before a redrive too; none of a visit that only passed. `parameters` are those of the last call. `around` is
    the fork that it is a part of. `begun_seq` is the event that it began with.
    """

    scope: str
    state: str
    type: str
    seen: int
    entered_at: int | None = None
    input: Ref | None = None
    resource: str | None = None
    limits: TimeLimits = NO_LIMITS
    due_at: int | None = None
    attempts: int = 1
    exited_at: int | None = None
    output: Ref | None = None
    assigned: Mapping[str, Ref] = field(default_factory=dict)
    failure: VisitFailure | None = None
    retries: list[Retried] = field(default_factory=list)
    is_cancelled: bool = False
    within: tuple[tuple[str, int], ...] = ()
    fork: VisitFork | None = None
    begun: int | None = None
    fallen_fork: VisitFork | None = None
    following: str | None = None
    calls: list[VisitCall] = field(default_factory=list)
    parameters: Ref | None = None
    around: VisitFork | None = None
    waits: list[VisitWait] = field(default_factory=list)
    begun_seq: int = 0


@dataclass(slots=True, eq=False)
class VisitFork:
    """The branches or iterations that a visit of a Parallel or Map state has begun, until that has ended.

    `visit` is null, and `count` too, if the log of its beginning is lost. `live` has, in order, the indexes of those
    that are known to run, `done` of those that succeeded. At most `concurrency` run at once (0: any
    number), and `tolerated` may fail.
    """

    seq: int
    state: str
    type: str
    visit: Visit | None = None
    count: int | None = None
    concurrency: int = 0
    tolerated: int = 0
    failures: int = 0
    live: dict[int, None] = field(default_factory=dict)
    done: set[int] = field(default_factory=set)


class TimelineEntry(NamedTuple):
    """One thing that happened; `value` refers to its parameters, result, output or reason.

    `fork` and the index `at` name the branch or iteration that it is about, or that what was aborted ran in.
    `redrives` is the number of a redrive.
    """

    what: What
    visit: Visit | None = None
    value: Ref | None = None
    failure: VisitFailure | None = None
    fork: VisitFork | None = None
    at: int = 0
    limits: TimeLimits = NO_LIMITS
    redrives: int = 0


@dataclass(slots=True)
class Timeline:
    """The entries and visits of an execution. `is_whole`: no event is missing, from the first to the last one given.

    `current` are the visits that are known to be under way; `times` has the instant (ms) of each entry.
    """

    entries: list[TimelineEntry] = field(default_factory=list)
    times: list[int] = field(default_factory=list)
    visits: list[Visit] = field(default_factory=list)
    current: list[Visit] = field(default_factory=list)
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

    def error(self, failure: VisitFailure) -> tuple[Any, Any]:
        """The name of an error, and its cause."""
        name = failure.error if failure.error_ref is None else self.value(failure.error_ref)
        return name, self.value(failure.cause)

    @property
    def ending(self) -> What | None:
        """The kind of the execution's end; null if it has not ended, or the log of that is lost."""
        last = self.entries[-1].what if self.entries else None
        return last if last in _ENDINGS else None
