"""The legal transitions of an execution as a table: (status, event) to the statuses that may follow.

`evolve` looks every event up here; what is missing is an error. The diagram in the README is drawn from this table.
`running` is: in a task, in a Wait state, in a retry delay, or between two states. `waiting` is: in open waits and
nothing else. `pending` queues for places in limits: nothing of it is begun.

The table is smaller than "everything that is not terminal may follow anything", and that is its use: a step, a timer or
a state can only do something in a run that is `running`, since it is what makes it so. What moves a `waiting` run on is
an answer from outside, or that the time for one is over; all else ends it, or moves nothing. Tests go everywhere that
commands can lead, and see that each move of the table is made.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final, Literal, TypeAlias

Status: TypeAlias = Literal["new", "pending", "running", "waiting", "completed", "failed", "timed_out", "terminated"]

TERMINAL: Final[frozenset[Status]] = frozenset({"completed", "failed", "timed_out", "terminated"})

_RUNNING: Final[frozenset[Status]] = frozenset({"running"})
_ALIVE: Final[frozenset[Status]] = frozenset({"running", "waiting"})
_WAITING: Final[frozenset[Status]] = frozenset({"waiting"})
_PENDING: Final[frozenset[Status]] = frozenset({"pending"})

TRANSITIONS: Final[Mapping[tuple[Status, str], frozenset[Status]]] = {
    ("new", "ExecutionStarted"): frozenset({"running", "pending"}),
    ("pending", "ExecutionAdmitted"): _RUNNING,
    ("running", "ExecutionQueued"): _PENDING,
    ("waiting", "PlacesReturned"): _WAITING,
    ("running", "TimeoutDeferred"): _RUNNING,
    ("waiting", "TimeoutDeferred"): _WAITING,
    ("running", "RetryDue"): _RUNNING,
    # What comes from outside to a run that queues again is recorded, and what follows from it waits.
    **{
        ("pending", event): _PENDING
        for event in (
            *("WaitResumed", "WaitExpired", "TaskFailed", "StateFailed", "TaskHeartbeat", "RetryDue"),
            *("ExecutionQuarantined", "ExecutionReleased"),
        )
    },
    ("pending", "ExecutionTerminated"): frozenset({"terminated"}),
    # A branch may wait while another one moves: what moves one of them leads to either status.
    **{
        ("running", event): _ALIVE
        for event in (
            "StatePassed",
            "TaskSucceeded",
            "TaskSubmitted",
            "TaskFailed",
            "TaskTimedOut",
            "WaitOpened",
            "WaitResumed",
            "WaitExpired",
            "TimerFired",
            "StateExited",
            "StateFailed",
        )
    },
    ("running", "TaskScheduled"): _RUNNING,
    ("waiting", "TaskScheduled"): _RUNNING,  # with `.waitForResume` the wait is opened first
    ("running", "TaskQueued"): _RUNNING,
    ("running", "TaskStarted"): _RUNNING,
    ("running", "TaskInterrupted"): _RUNNING,
    ("running", "TaskSimulated"): _RUNNING,
    ("running", "TaskRedispatched"): _RUNNING,
    ("running", "TimerSet"): _RUNNING,
    ("running", "BranchesStarted"): _RUNNING,
    ("running", "MapStarted"): _RUNNING,
    ("running", "IterationStarted"): _RUNNING,
    ("running", "TaskHeartbeat"): _RUNNING,
    ("waiting", "TaskHeartbeat"): _WAITING,
    # What ends a wait. TaskFailed: whoever holds its token says so. The status after it may be `waiting` again: a
    # branch ends with its wait, while the wait of another one is still open.
    **{("waiting", event): _ALIVE for event in ("WaitResumed", "WaitExpired", "TaskFailed")},
    ("running", "ExecutionSucceeded"): frozenset({"completed"}),
    ("running", "ExecutionFailed"): frozenset({"failed"}),
    ("running", "ExecutionTimedOut"): frozenset({"timed_out"}),
    ("waiting", "ExecutionTimedOut"): frozenset({"timed_out"}),
    ("running", "ExecutionTerminated"): frozenset({"terminated"}),
    ("waiting", "ExecutionTerminated"): frozenset({"terminated"}),
    ("running", "ExecutionQuarantined"): _RUNNING,
    ("waiting", "ExecutionQuarantined"): _WAITING,
    ("running", "ExecutionReleased"): _RUNNING,
    ("waiting", "ExecutionReleased"): _WAITING,
    # The one way back from an end, and only from one that is no success.
    **{(status, "ExecutionRedriven"): _RUNNING for status in ("failed", "timed_out", "terminated")},
    ("running", "IterationRedriven"): _RUNNING,
    # What was in progress is entered anew, whatever it waited for.
    ("pending", "ExecutionForked"): _RUNNING,
    ("running", "ExecutionForked"): _RUNNING,
    ("waiting", "ExecutionForked"): _RUNNING,
    # A pause is no status: what is paused has one, and keeps it (`pausing.py`).
    ("pending", "ExecutionPaused"): _PENDING,
    ("pending", "ExecutionUnpaused"): _PENDING,
    ("running", "ExecutionPaused"): _RUNNING,
    ("waiting", "ExecutionPaused"): _WAITING,
    ("running", "ExecutionUnpaused"): _RUNNING,
    ("waiting", "ExecutionUnpaused"): _WAITING,
    # Events that may be recorded at any time, also after the end; they move nothing. Nothing else follows an end.
    **{
        (status, event): frozenset({status})
        for status in ("pending", "running", "waiting", *sorted(TERMINAL))
        for event in ("CommandRefused", "ResultIgnored")
    },
}


class IllegalTransition(Exception):
    """An event that the table does not allow: the log is damaged, or `decide` has a defect."""

    def __init__(self, status: Status, event: str, after: Status | None = None) -> None:
        move = f"{event} in status {status}" + (f" leading to {after}" if after else "")
        super().__init__(f"not a legal transition: {move}")
        self.status = status
        self.event = event


def diagram() -> str:
    """The moves that change the status, as a Mermaid state diagram: what the README shows."""
    moves = [(before, event, after) for (before, event), statuses in TRANSITIONS.items() for after in sorted(statuses)]
    return drawn(moves, TERMINAL)


def drawn(moves: Iterable[tuple[str, str, str]], terminal: Iterable[str]) -> str:
    """A Mermaid state diagram of moves (status, event, next status), but for those that stay where they are."""
    changes: dict[tuple[str, str], list[str]] = {}
    for before, event, after in moves:
        if after != before:
            changes.setdefault((before, after), []).append(event)
    lines = [
        f"    {'[*]' if before == 'new' else before} --> {after}: {'<br/>'.join(names)}"
        for (before, after), names in changes.items()
    ]
    return "\n".join(["stateDiagram-v2", *lines, *(f"    {status} --> [*]" for status in sorted(terminal))])
