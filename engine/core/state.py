"""The state of an execution: a fold over its events, and nothing else.

It holds references to business data, never copies (`refs.py`), so that it can be stored as a snapshot and outlive an
erasure. A state is never changed: `evolve` makes the next one from a shallow copy, and what can grow large is in
mappings that share what did not change (`persistent.py`).

A *frame* is one place of control, named by its scope: "" is the top level of the definition. A Parallel or Map state
that was entered is a *fork*, named by the seq of the event that says so; its branches and iterations have the scopes
SEQ.0, SEQ.1 and so on. A seq is never used twice, so no scope ever comes back.

Where an event moves the frame of its scope, as every test of the core checks at every event (a frame is *ready* that is
in no phase, and *gone* when its scope is not there). In a word: to be entered, to be waited in, to be left.

    gone     -> ready         IterationStarted IterationRedriven
    gone     -> InFork        IterationRedriven
    ready    -> ready, gone   StatePassed StateFailed
    ready    -> InTask        TaskScheduled
    ready    -> InWait        WaitOpened
    ready    -> InTimer       TimerSet
    ready    -> InFork        BranchesStarted MapStarted
    ready    -> InRetry       StateFailed
    InRetry  -> InTask        TaskScheduled
    InRetry  -> InWait        WaitOpened
    InRetry  -> InFork        BranchesStarted MapStarted
    InRetry  -> ready, gone   StateFailed
    InRetry  -> InRetry       StateFailed
    InRetry  -> ready         RetryDue
    InTask   -> InTask        TaskQueued TaskStarted TaskInterrupted TaskRedispatched TaskHeartbeat TaskSubmitted
    InTask   -> InWait        TaskSubmitted
    InTask   -> ready, gone   TaskSucceeded WaitResumed TaskFailed TaskTimedOut WaitExpired
    InTask   -> InRetry       TaskFailed TaskTimedOut WaitExpired
    InWait   -> InTask        TaskScheduled
    InWait   -> InWait        TaskHeartbeat
    InWait   -> ready, gone   WaitResumed TaskFailed WaitExpired
    InWait   -> InRetry       TaskFailed WaitExpired
    InTimer  -> ready, gone   TimerFired
    InFork   -> ready, gone   StateExited StateFailed
    InFork   -> InRetry       StateFailed

A frame arrives ready at the next state, or where its own state is about to fail by the next event. The first frame
begins with `ExecutionStarted`, those of branches with `BranchesStarted`; what is below a fork goes with it, and all
goes with the end. `ExecutionRedriven` brings back the first frame, and all branches below it; `ExecutionForked` makes
every frame ready but those that are in a fork. `ResultIgnored` moves nothing.

Much of `State` could be found by a walk over its frames: who is ready, what is open, which timers are set, how many are
moved by whom. It is kept beside them since a Map may have ten thousand iterations under way, and a decision must cost
the same as with one. Frames and forks are moved in one place each (`engine.core.frames`, `engine.core.forks`), so
that the two agree.
"""

from __future__ import annotations

from typing import Final, Literal, TypeAlias

import msgspec

from perdure.engine.core.events import CountsRule, Origin, Parent, ResumeRule, RunLimit
from perdure.engine.core.pause_events import Quota
from perdure.engine.core.persistent import PersistentMap
from perdure.engine.core.refs import Ref
from perdure.engine.core.transitions import TERMINAL, Status

TOP: str = ""
"""The scope of the execution's own top level."""

ENGINE: Final = "engine"
TIME: Final = "time"
OTHERS: Final = "others"

EXECUTION_TIMER: Final = 1
"""The timer of the execution's own time limit: the seq of its first event."""

SETTINGS_TIMER: Final = 0
"""The timer of the time limit that the workflow's settings give it: the seq of no event."""


class Queued(msgspec.Struct, frozen=True, gc=False):
    """A step that waits for a slot, with the rest of its time limit and its heartbeat interval."""

    left_ms: int | None = None
    heartbeat_ms: int | None = None


class InTask(msgspec.Struct, frozen=True, tag="task", gc=False):
    """A step has been called, or is about to be, or a child was started; `seq` is its `TaskScheduled`.

    `wait` is the id of the wait that was opened with it. `timer` names the timer of its time limit. `child` is the
    execution that it started, `is_submitted` once that runs, `is_awaited` if the task ends when that does. `deaths`
    counts unclean ends of the process while it ran, of late; a suspect (`is_held`) waits for its turn, which it has
    with so many others `beside` it. What is `queued` waits for its turn to be called, and its limits do not run.
    `called_at` is when it was called last.
    """

    seq: int
    resource: str
    attempt: int
    wait: str | None = None
    timer: int | None = None
    child: str | None = None
    is_awaited: bool = False
    is_submitted: bool = False
    deaths: int = 0
    deaths_alone: int = 0
    deaths_watched: int = 0
    is_held: bool = False
    queued: Queued | None = None
    beside: int = 0
    called_at: int = 0


class InWait(msgspec.Struct, frozen=True, tag="wait", gc=False):
    """An open wait; `seq` is its `WaitOpened`. `wait` is the wait's id as text."""

    seq: int
    wait: str
    attempt: int = 0
    timer: int | None = None


class InTimer(msgspec.Struct, frozen=True, tag="timer", gc=False):
    """A Wait state; `seq` is its `TimerSet`, and the timer's name."""

    seq: int
    timer: int


class InRetry(msgspec.Struct, frozen=True, tag="retry", gc=False):
    """The delay before the state is tried again; `seq` is the event of the failure, and the timer's name."""

    seq: int
    timer: int


class InFork(msgspec.Struct, frozen=True, tag="fork", gc=False):
    """A Parallel or Map state whose branches or iterations run; `seq` names the fork."""

    seq: int
    timer: None = None


Phase: TypeAlias = InTask | InWait | InTimer | InRetry | InFork


class Frame(msgspec.Struct, frozen=True, gc=False):
    """One place of control: a state, its raw input, and its phase. Without a phase it is about to be entered.

    `entry` is the number of its entry among the events of AWS's history, 0 until an event has entered it.
    `retries` counts, for each retrier of the state, how often it had it tried again. `parameters` are those of the
    state's last call, or what its branches or iterations are given. `visits` counts the entries of each state in this
    scope that calls, waits or forks. `variables` has those that this scope assigned.
    """

    state: str
    input: Ref
    entered_at: int
    phase: Phase | None = None
    # Of this visit of the state; gone when the scope arrives somewhere.
    entry: int = 0
    retries: tuple[int, ...] = ()
    parameters: Ref | None = None
    # Of the scope; taken along from state to state.
    visits: PersistentMap[str, int] = PersistentMap()
    variables: PersistentMap[str, Ref] = PersistentMap()

    @property
    def attempt(self) -> int:
        """The number of retries of the state so far."""
        return sum(self.retries)

    @property
    def visit(self) -> int:
        """The number of this visit of the state; an attempt that came to nothing before it called is none."""
        return self.visits.get(self.state, 0) + (self.parameters is None)


class Fork(msgspec.Struct, frozen=True, gc=False):
    """A Parallel or Map state whose branches or iterations run.

    `scope` is where that state is. `count` are to run, `started` have begun, in order; `live` has the indexes of those
    that run. `concurrency` 0 is any number. `outputs` are of those that succeeded, by index. `error` and `cause` are
    those of the failure that was one too many (`has_failed`). `items` is where the items stand. `again` are the indexes
    of the iterations that a redrive lets go on, as soon as there is room for them, in order.
    """

    seq: int
    scope: str
    state: str
    count: int
    started: int
    live: PersistentMap[int, None]
    outputs: PersistentMap[int, Ref] = PersistentMap()
    concurrency: int = 0
    tolerated: int = 0
    failures: int = 0
    has_failed: bool = False
    error: str | None = None
    error_ref: Ref | None = None
    cause: Ref | None = None
    items: Ref | None = None
    start_at: str = ""
    again: tuple[int, ...] = ()

    @property
    def is_settled(self) -> bool:
        """Whether nothing below decides its result any more."""
        return self.has_failed or len(self.outputs) + self.failures == self.count

    @property
    def has_room(self) -> bool:
        """Whether its next iteration may begin."""
        # Once it has failed none begins, though those under way are still there until the fork is ended.
        is_free = not self.concurrency or len(self.live) < self.concurrency
        is_left = bool(self.again) or self.started < self.count
        return is_left and is_free and not self.has_failed


class OpenWait(msgspec.Struct, frozen=True, gc=False):
    """A wait that is open, by its id in `State.waits`; `seq` is its `WaitOpened`."""

    scope: str
    state: str
    seq: int
    opened_at: int
    due_at: int | None = None


class Timer(msgspec.Struct, frozen=True, gc=False):
    """A timer that is set, by its name in `State.timers`.

    It comes due at `due_at`. Of a time limit `deadline` is the end, and `heartbeat_ms` how long the silence may be; of
    the two the earlier is due.
    """

    scope: str
    due_at: int
    deadline: int | None = None
    heartbeat_ms: int | None = None


class OngoingPause(msgspec.Struct, frozen=True, gc=False):
    """The pause of an execution: the seq, the instant and the actor of its `ExecutionPaused`, and what that says."""

    seq: int
    since: int
    by: str
    reason: Ref
    quota: Quota | None = None
    frozen_at: int | None = None


class InQueue(msgspec.Struct, frozen=True, gc=False):
    """The run queues for its places since the event of that seq, with what is left of its time limits."""

    seq: int
    left_ms: int | None = None
    limit_left_ms: int | None = None


WaitOutcome: TypeAlias = Literal["resumed", "failed", "expired", "cancelled"]
"""The ways in which waits end: by a result, by a failure from the token's holder, by time, or with their state."""


class EndedWait(msgspec.Struct, frozen=True, gc=False):
    """The last wait of a state that is no longer open, and its outcome."""

    wait: str
    state: str
    outcome: WaitOutcome


class State(msgspec.Struct, gc=False):
    """An execution. Instants are milliseconds since the epoch; ids are text.

    `ready` are the scopes that are about to enter a state, first come first. `actionable_forks` are the forks that have
    something to do: an iteration to begin, or to end themselves. `active` counts the frames that the engine must move,
    `delayed` those that time or a child moves. `ended_waits` has the last ended wait of each state of the definition,
    in the order in which they ended. `current` is the top-level state, or the last one after the end.
    `modified_by` is the last actor from outside, and `modified_at` when that was. `told` counts the
    events of AWS's history so far, up to the end, and `untold` those that follow for what was scheduled after the seq
    `untold_after` (`numbering.py`). `redrives` is how often it was redriven. `fallen` has the frames, by scope, of
    places that failed or were cut short and may yet go on, and `fallen_forks` the forks of those (`remains.py`).
    With `limits` it has `places` in them since `placed_at`, or is in the `queue`, or
    only waits and has given them back. `is_overdue`: it ends when the steps with time limits of their own are over.

    While there is a `pause`, `stopped` has the timers that stand still: all of them if the clocks do, else those of
    retry delays. `called` counts the tasks that somebody works on, `children` those of them that a child does.
    `transitions` counts the states that were entered since `transitions_since`, over a minute at the most;
    `events_until` and `bytes_until` are how far its quotas were lifted. `log_bytes` is how large its events are as they
    are written: what the driver counts, since no event says it.
    """

    status: Status = "new"
    seq: int = 0
    recorded_at: int = 0
    started_at: int = 0
    workspace: str = ""
    live: str | None = None
    workflow: str = ""
    workflow_version: int = 0
    definition_sha256: str = ""
    trigger: str = ""
    input: Ref = ""
    parent: Parent | None = None
    resume: ResumeRule = "any"
    current: str | None = None
    told: int = 0
    untold: int = 0
    untold_after: int = 0
    frames: PersistentMap[str, Frame] = PersistentMap()
    forks: PersistentMap[int, Fork] = PersistentMap()
    waits: PersistentMap[str, OpenWait] = PersistentMap()
    timers: PersistentMap[int, Timer] = PersistentMap()
    ready: tuple[str, ...] = ()
    actionable_forks: tuple[int, ...] = ()
    active: int = 0
    delayed: int = 0
    ended_waits: dict[str, EndedWait] = {}
    ended_at: int | None = None
    output: Ref | None = None
    error: str | None = None
    error_ref: Ref | None = None
    cause: Ref | None = None
    modified_by: str | None = None
    modified_at: int = 0
    refusals: int = 0
    is_quarantined: bool = False
    origin: Origin | None = None
    redrives: int = 0
    fallen: PersistentMap[str, Frame] = PersistentMap()
    fallen_forks: PersistentMap[int, Fork] = PersistentMap()
    pause: OngoingPause | None = None
    stopped: PersistentMap[int, Timer] = PersistentMap()
    called: int = 0
    children: int = 0
    transitions: int = 0
    transitions_since: int = 0
    events_until: int = 0
    bytes_until: int = 0
    log_bytes: int = 0
    limits: tuple[RunLimit, ...] = ()
    counts: CountsRule = "all"
    queue: InQueue | None = None
    places: tuple[int, ...] = ()
    placed_at: int = 0
    is_overdue: bool = False

    @property
    def is_over(self) -> bool:
        return self.status in TERMINAL

    @property
    def is_idle(self) -> bool:
        """Whether nothing happens until somebody outside, a timer or a child says so; nor after the end."""
        if self.pause is not None:  # what is ready stays so
            return self.called == self.children
        return self.queue is not None or not (self.active or self.actionable_forks)

    @property
    def limit_keys(self) -> tuple[str, ...]:
        """The keys of its limits."""
        return tuple(limit.key for limit in self.limits)

    @property
    def is_quiescent(self) -> bool:
        """Whether it is paused, and nothing of it is under way any more: no step, and no child that it awaits."""
        return self.pause is not None and not self.called

    def timer(self, name: int) -> Timer | None:
        """The timer of that name, also while it stands still."""
        return self.timers.get(name) or self.stopped.get(name)

    def task(self, scope: str) -> InTask | None:
        """The task that a scope is in, if it is in one."""
        frame = self.frames.get(scope)
        phase = None if frame is None else frame.phase
        return phase if isinstance(phase, InTask) else None

    def open_waits(self) -> list[tuple[str, OpenWait]]:
        """The open waits by id, in the order in which they were opened."""
        found = list(self.waits.items())
        return sorted(found, key=lambda item: item[1].seq) if len(found) > 1 else found

    def scopes(self) -> list[str]:
        """All scopes, outermost first, in the order in which they began."""
        return sorted(self.frames, key=scope_order)

    def below(self, fork: Fork) -> list[str]:
        """The scopes of a fork and of the forks in it, in the order in which they began."""
        found: list[str] = []
        waiting = [fork]
        while waiting:
            outer = waiting.pop()
            for index in outer.live:
                scope = scope_of(outer.seq, index)
                found.append(scope)
                phase = self.frames[scope].phase
                if isinstance(phase, InFork):
                    waiting.append(self.forks[phase.seq])
        return sorted(found, key=scope_order)


def indexes(count: int) -> PersistentMap[int, None]:
    """The indexes from 0 to `count` - 1, as `Fork.live` keeps them."""
    return PersistentMap(dict.fromkeys(range(count)))


def scope_of(fork: int, index: int) -> str:
    """The scope of a branch or an iteration."""
    return f"{fork}.{index}"


def fork_and_index(scope: str) -> tuple[int, int]:
    """The fork that a scope belongs to, and which branch or iteration of it this is; not for the top level."""
    fork, index = scope.split(".")
    return int(fork), int(index)


def scope_order(scope: str) -> tuple[int, int]:
    """A key that sorts scopes: the top level, then forks as they began, then by index."""
    return fork_and_index(scope) if scope else (0, 0)


def open_wait(phase: Phase | None) -> str | None:
    """The id of the wait that is open in this phase, if any: a bare one, or that of a step called with one."""
    return phase.wait if isinstance(phase, (InTask, InWait)) else None


def is_called(phase: Phase | None) -> bool:
    """Whether a step has been called, or a child started (or is about to be), that has not told its end."""
    return type(phase) is InTask and phase.queued is None and not phase.is_held


def is_child_running(phase: Phase | None) -> bool:
    """Whether a child was started that the task awaits."""
    return type(phase) is InTask and phase.is_submitted


def progressed_by(phase: Phase) -> str:
    """The party that moves on a frame in this phase: the engine (with the steps it calls), time or a child, or others.

    What is in no phase is moved by the engine.
    """
    # A task that waits for a slot, or is held as a suspect, is the engine's as well: whoever folds this state after a
    # crash must do something about it. A step's wait without its step is somebody else's, and so is a fork, which is
    # moved by what is below it.
    if type(phase) is InTask:
        return TIME if phase.is_submitted else ENGINE
    return TIME if type(phase) in (InTimer, InRetry) else OTHERS


def initial_state() -> State:
    """The state before the first event."""
    return State()
