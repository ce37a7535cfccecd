"""The stream of a bulk job: one command for many runs, a turn at a time.

A turn is an intent: `BulkTurnBegun` has the runs that are touched next, before any of them is. So after a crash the
turn is taken again with the same runs, whose commands carry idempotency keys, and `BulkTurnEnded` says once what came
of them. The job goes on behind the last run of a turn. To stop lets the turn end that is under way.

What is looked for, and why, is business data: it stands in payloads.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal, TypeAlias, assert_never

import msgspec
from msgspec.structs import replace

from perdure.engine.core.decision import Decision, Rejection
from perdure.engine.core.dispatch import Dispatch
from perdure.engine.core.draft import Draft
from perdure.engine.core.events import Event, Recorded
from perdure.engine.core.transitions import drawn

BulkStatus: TypeAlias = Literal["new", "running", "stopping", "stopped", "completed"]

LISTED_MAX: Final = 20
"""So many failures are listed one by one; all are counted."""

# --- events ----------------------------------------------------------------------------------------------------------


class BulkStarted(Event, frozen=True):
    """The first event. `expected`: the runs that matched then, null if they were not all counted.

    Payload: `filters`, by name, `reason` if there is one, and `arguments` of the action.
    """

    kind: Literal["bulk"]
    workspace: str
    action: str
    expected: int | None = None


class BulkTurnBegun(Event, frozen=True):
    """These runs are touched next, in this order."""

    runs: tuple[str, ...]


class BulkTurnEnded(Event, frozen=True):
    """The turn is over: of so many runs the action changed something, of so many it had nothing to change.

    `failed` has how many refused it, by code. Payload, if some of them are listed: `failures`, each with
    `execution_id`, `code` and `message`.
    """

    done: int
    unchanged: int = 0
    failed: dict[str, int] = msgspec.field(default_factory=dict)


class BulkStopRequested(Event, frozen=True):
    """Somebody wants the job to stop; a turn is under way. Payload: `reason`, if there is one."""

    why: str


class BulkStopped(Event, frozen=True):
    """The job was stopped: no further run is touched. Payload: `reason`, if there is one."""

    why: str


class BulkCompleted(Event, frozen=True):
    """No run is left that matches."""


EVENTS = (BulkStarted, BulkTurnBegun, BulkTurnEnded, BulkStopRequested, BulkStopped, BulkCompleted)

TRANSITIONS: Final[Mapping[tuple[BulkStatus, type[Event]], BulkStatus]] = {
    ("new", BulkStarted): "running",
    ("running", BulkTurnBegun): "running",
    ("running", BulkTurnEnded): "running",
    ("running", BulkStopRequested): "stopping",
    ("running", BulkStopped): "stopped",
    ("running", BulkCompleted): "completed",
    ("stopping", BulkTurnEnded): "stopping",
    ("stopping", BulkStopped): "stopped",
}
"""The status after an event, by the status before it; what is not here is an error."""

ENDED: Final[frozenset[BulkStatus]] = frozenset({"stopped", "completed"})


def diagram() -> str:
    """The moves that change the status of a job, as a Mermaid state diagram: what the README shows."""
    return drawn(((before, event.__name__, after) for (before, event), after in TRANSITIONS.items()), ENDED)


# --- commands --------------------------------------------------------------------------------------------------------


class StartBulk(msgspec.Struct, frozen=True, gc=False):
    """Start a job. `payload` is that of its first event."""

    workspace: str
    action: str
    payload: Mapping[str, Any]
    expected: int | None = None


class BeginTurn(msgspec.Struct, frozen=True, gc=False):
    """Begin a turn with these runs."""

    runs: tuple[str, ...]


class EndTurn(msgspec.Struct, frozen=True, gc=False):
    """End the turn that was begun by the event `seq`, with what came of it."""

    seq: int
    done: int
    unchanged: int
    failed: Mapping[str, int]
    failures: Sequence[Mapping[str, Any]] = ()


class StopBulk(msgspec.Struct, frozen=True, gc=False):
    """Stop a job; `why` is `asked`, or what the engine found. One that has ended stays as it is."""

    why: str = "asked"
    reason: str | None = None


class CompleteBulk(msgspec.Struct, frozen=True, gc=False):
    """End a job that has come to the end of what matches."""


BulkCommand: TypeAlias = StartBulk | BeginTurn | EndTurn | StopBulk | CompleteBulk

# --- state -----------------------------------------------------------------------------------------------------------


class BulkState(msgspec.Struct, gc=False):
    """A job as its events say. `turn` has the runs of the turn that is under way, begun by the event `turn_seq`.

    `last_run` is the last run of the last turn that was begun. `listed` has the seqs of the events in whose payloads
    failures are listed.
    """

    seq: int = 0
    recorded_at: int = 0
    status: BulkStatus = "new"
    workspace: str = ""
    action: str = ""
    expected: int | None = None
    created_at: int = 0
    created_by: str = ""
    modified_by: str = ""
    ended_at: int | None = None
    turn: tuple[str, ...] = ()
    turn_seq: int = 0
    last_run: str | None = None
    done: int = 0
    unchanged: int = 0
    failed: dict[str, int] = {}
    listed: tuple[int, ...] = ()
    listed_count: int = 0
    why: str | None = None


def evolve(state: BulkState, recorded: Recorded) -> BulkState:
    """The state after one more event. Raises KeyError for one that does not follow."""
    event = recorded.event
    after = replace(
        state,
        seq=recorded.seq,
        recorded_at=recorded.recorded_at,
        modified_by=recorded.actor,
        status=TRANSITIONS[state.status, type(event)],
    )
    _EVOLVE[type(event)](after, event, recorded)
    if after.status in ENDED:
        after.ended_at = recorded.recorded_at
    return after


def _started(state: BulkState, event: BulkStarted, recorded: Recorded) -> None:
    """What is to be done, and who asked for it."""
    state.workspace, state.action, state.expected = event.workspace, event.action, event.expected
    state.created_at, state.created_by = recorded.recorded_at, recorded.actor


def _turn_begun(state: BulkState, event: BulkTurnBegun, recorded: Recorded) -> None:
    """Which runs are touched, until the turn ends."""
    state.turn, state.turn_seq, state.last_run = event.runs, recorded.seq, event.runs[-1]


def _turn_ended(state: BulkState, event: BulkTurnEnded, recorded: Recorded) -> None:
    """Added to what there was. Whether failures are listed is told by the payload being there, not by what it says."""
    state.turn, state.turn_seq = (), 0
    state.done += event.done
    state.unchanged += event.unchanged
    failed = dict(state.failed)
    for code, count in event.failed.items():
        failed[code] = failed.get(code, 0) + count
    before = min(sum(state.failed.values()), LISTED_MAX)
    state.failed = failed
    state.listed_count = min(sum(failed.values()), LISTED_MAX)
    if state.listed_count > before:
        state.listed = (*state.listed, recorded.seq)


def _stop(state: BulkState, event: BulkStopRequested | BulkStopped, _: Recorded) -> None:
    """Why, in a word."""
    state.why = event.why


def _nothing(_state: BulkState, _event: BulkCompleted, _: Recorded) -> None:
    """The status says it."""


_EVOLVE: Final = (
    Dispatch[BulkState, [Recorded], None](__name__)
    .on(BulkStarted, _started)
    .on(BulkTurnBegun, _turn_begun)
    .on(BulkTurnEnded, _turn_ended)
    .on(BulkStopRequested, _stop)
    .on(BulkStopped, _stop)
    .on(BulkCompleted, _nothing)
    .over(EVENTS)
)


def decide(state: BulkState, command: BulkCommand, *, now: int, actor: str) -> Decision | Rejection:
    """Answer a command; the answer is the job's status after it, or of a turn the seq that names it."""
    draft = Draft(state, evolve, now, actor)
    refused = _refusal(state, command)
    if refused is not None:
        return refused
    match command:
        case StartBulk():
            draft.emit(BulkStarted("bulk", command.workspace, command.action, command.expected), command.payload)
        case BeginTurn():
            draft.emit(BulkTurnBegun(command.runs))
            return Decision(tuple(draft.steps), (), draft.state.seq)
        case EndTurn():
            listed = list(command.failures)[: LISTED_MAX - state.listed_count]
            event = BulkTurnEnded(command.done, command.unchanged, dict(command.failed))
            draft.emit(event, {"failures": listed} if listed else None)
            if state.status == "stopping":
                draft.emit(BulkStopped(state.why or "asked"))
        case StopBulk():
            payload = None if command.reason is None else {"reason": command.reason}
            if state.status == "running":
                draft.emit((BulkStopRequested if state.turn else BulkStopped)(command.why), payload)
        case CompleteBulk():
            if state.status != "completed":
                draft.emit(BulkCompleted())
        case _:
            assert_never(command)
    return Decision(tuple(draft.steps), (), draft.state.status)


def _refusal(state: BulkState, command: BulkCommand) -> Rejection | None:
    """Why a command is not accepted; null if it is."""
    if not (state.seq or isinstance(command, StartBulk)):
        return Rejection("NOT_FOUND", "there is no such bulk job")
    return None if _is_allowed(state, command) else Rejection("CONFLICT", _standing(state))


def _is_allowed(state: BulkState, command: BulkCommand) -> bool:
    """Whether the state lets a command have its way, or finds that it has had it."""
    match command:
        case StartBulk():
            return not state.seq
        case StopBulk():
            return True
        case EndTurn():
            return state.turn_seq == command.seq
        case CompleteBulk():
            return state.status == "completed" or (state.status == "running" and not state.turn)
        case BeginTurn():
            return state.status == "running" and not state.turn
        case _:
            assert_never(command)


def _standing(state: BulkState) -> str:
    return f"the bulk job is {state.status}{', and in a turn' if state.turn else ''}"
