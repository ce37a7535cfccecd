"""`evolve` applies one event to a state; `replay` folds many.

They copy what events carry. They compute, validate and read nothing else.

An event is applied in this order: it must be the next one; the table of moves must allow it in this status; a shallow
copy of the state is made; what AWS would tell of it is counted, on the state as it was; the event's own function
changes the copy; the status is derived from what is under way then; and the table is asked once more, whether the event
may lead to that status. The last of these catches defects of `decide`: such an event is never appended.

No event says which status it leads to, but for the four ends. What is under way says so: `waiting` is when somebody
outside must answer and nothing else will happen by itself (`_status`).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, TypeAlias

from msgspec.structs import replace

from perdure.engine.core import chance_events as ce
from perdure.engine.core import chances, numbering
from perdure.engine.core import events as e
from perdure.engine.core import limit_events as le
from perdure.engine.core.calls import (
    task_heartbeat,
    task_interrupted,
    task_queued,
    task_redispatched,
    task_scheduled,
    task_started,
    task_submitted,
)
from perdure.engine.core.dispatch import Dispatch
from perdure.engine.core.forks import close_fork, end_scope, fail_scope, put_fork, start_iteration
from perdure.engine.core.frames import arrive, cancel_all_waits, end_wait, expect, stay
from perdure.engine.core.pause_events import ExecutionPaused, ExecutionUnpaused
from perdure.engine.core.pausing import (
    TRANSITION_EVENTS,
    count_transition,
    execution_paused,
    execution_unpaused,
    set_retry,
)
from perdure.engine.core.persistent import EMPTY
from perdure.engine.core.places import (
    execution_admitted,
    execution_queued,
    places_returned,
    retry_due,
    set_limits,
    timeout_deferred,
)
from perdure.engine.core.refs import Ref
from perdure.engine.core.remains import (
    forget,
    forget_all,
    forget_below,
    keep,
    keep_all,
    keep_fork,
    let_begin_anew,
)
from perdure.engine.core.sandbox_events import TaskSimulated
from perdure.engine.core.state import (
    TOP,
    Fork,
    Frame,
    InFork,
    InRetry,
    InTask,
    InTimer,
    InWait,
    OpenWait,
    State,
    Timer,
    indexes,
    initial_state,
    scope_of,
)
from perdure.engine.core.transitions import TRANSITIONS, IllegalTransition, Status
from perdure.engine.core.vocabulary import EXECUTION_EVENTS

_Leaving: TypeAlias = e.StatePassed | e.TaskSucceeded | e.WaitResumed | e.TimerFired | e.StateExited
_Failing: TypeAlias = e.TaskFailed | e.TaskTimedOut | e.WaitExpired | e.StateFailed

DEATHS_UNKNOWN: Final = 3
"""A step at so many deaths of its process may have done anything: nobody knows what came of its calls."""


class OutOfOrder(Exception):
    """The events do not follow each other by 1: the log is damaged, or read wrongly."""


def replay(events: Iterable[e.Recorded], state: State | None = None) -> State:
    """Fold events, in order, from the beginning or from a snapshot's state."""
    state = state or initial_state()
    for recorded in events:
        state = evolve(state, recorded)
    return state


def evolve(state: State, recorded: e.Recorded) -> State:
    """The state after one more event. `state` itself is left as it is.

    Raises `OutOfOrder` unless the event is the next one, `IllegalTransition` if the table does not allow it.
    """
    seq = recorded.seq
    if seq != state.seq + 1:
        message = f"event {seq} follows event {state.seq}"
        raise OutOfOrder(message)
    event = recorded.event
    kind = type(event)
    name = kind.__name__
    allowed = TRANSITIONS.get((state.status, name))
    if allowed is None:
        raise IllegalTransition(state.status, name)
    after = replace(state, seq=seq, recorded_at=recorded.recorded_at)
    # Who changed it last is somebody from outside: neither what goes on by itself, nor a command that was refused.
    if not (name == "CommandRefused" or recorded.actor.startswith("engine:")):
        after.modified_by, after.modified_at = recorded.actor, recorded.recorded_at
    if kind in TRANSITION_EVENTS:
        count_transition(after)
    numbering.begin(after, kind, event)
    told = numbering.count(after, kind, recorded)
    _EVOLVE[kind](after, event, recorded)
    after.told += told  # only now: the entry that the event makes is the first of what AWS tells of it
    if after.ended_at is None and kind not in _BESIDE:
        after.status = _status(after)
    if after.status not in allowed:
        raise IllegalTransition(state.status, name, after.status)
    return after


def _status(state: State) -> Status:
    """`waiting` if there are open waits, and no step, timer or child is under way beside them.

    `pending` if it queues, whatever waits or is ready meanwhile.
    """
    if state.queue is not None:
        return "pending"
    if state.active or state.delayed or state.actionable_forks:
        return "running"
    return "waiting" if state.waits else "running"


def _leave(state: State, event: _Leaving, _: e.Recorded) -> None:
    """Leave a state by an event with an output: on to the next one, or to the end of the scope."""
    output, scope = event.output, event.scope
    if output is None:  # it could not be computed: the failure is the next event
        stay(state, scope, None)
        return
    if event.assigned:  # before it arrives: the next state's frame takes the variables over
        _assign(state, scope, event.assigned)
    if scope == TOP:  # what a run that lives shows as its output is that of the last top-level state it left
        state.output = output
    if event.next is None and scope != TOP:
        # The fork keeps the output and may be settled by it. The state that forked stays where it is, until an event
        # of its own says what became of it.
        end_scope(state, scope, output)
    else:
        arrive(state, scope, event.next, output)


def _assign(state: State, scope: str, assigned: dict[str, Ref]) -> None:
    """Give a scope's frame the new values of its variables; those of other scopes are left as they are."""
    frame = state.frames[scope]
    variables = frame.variables
    for name, reference in assigned.items():
        variables = variables.set(name, reference)
    state.frames = state.frames.set(scope, replace(frame, variables=variables))


def _fail(state: State, event: _Failing, recorded: e.Recorded) -> None:
    """A state has failed: it is tried again, caught, or its scope fails."""
    scope, then = event.scope, event.then
    if not _is_answered(then):
        _keep(state, event)
    elif state.fallen:
        forget(state, scope)
    if isinstance(then, e.Retry):
        # Each retrier counts for itself, and a count lasts as long as the frame: arriving anywhere, also at the same
        # state again, makes a new one.
        frame = state.frames[scope]
        counts = [*frame.retries, *([0] * (then.retrier + 1 - len(frame.retries)))]
        counts[then.retrier] += 1
        state.frames = state.frames.set(scope, replace(frame, retries=tuple(counts)))
        set_retry(state, recorded.seq, Timer(scope, then.due_at))
        stay(state, scope, InRetry(recorded.seq, recorded.seq))
    elif then is not None:
        _catch(state, scope, then)
    elif scope == TOP:  # the end is the next event of the same decision: nothing is entered in between
        stay(state, scope, None)
    else:
        fail_scope(state, scope, event)


def _is_answered(then: e.Then | None) -> bool:
    """Whether a Retry or a Catch has answered a failure; not by an output that could not be computed."""
    return then is not None and (isinstance(then, e.Retry) or then.output is not None)


def _keep(state: State, event: _Failing) -> None:
    """Keep the frame of a state whose failure nothing answers, so that a redrive can go on there."""
    frame = state.frames[event.scope]
    # What a step has said itself is known: the next call is another piece of work. What was late, or took the process
    # down with it again and again, is not.
    task = frame.phase
    if isinstance(event, e.TaskFailed) and not (isinstance(task, InTask) and task.deaths >= DEATHS_UNKNOWN):
        frame = replace(frame, phase=None)
    keep(state, event.scope, frame, entered=event.type if isinstance(event, e.StateFailed) else None)


def _catch(state: State, scope: str, caught: e.Caught) -> None:
    """Follow a Catch: the error output and the variables are as the event says, and the next state is its `Next`."""
    output = caught.output
    if output is None:  # it could not be computed: that failure is the next event
        stay(state, scope, None)
        return
    if caught.assigned:
        _assign(state, scope, caught.assigned)
    if scope == TOP:
        state.output = output
    arrive(state, scope, caught.next, output)


def _end(state: State, status: Status) -> None:
    """End the run: nothing of it is under way any more.

    Whatever a step, a timer or a child still comes to is stale from here on, since it names what is no longer there.
    """
    # What is left of a run that is over: how it ended, and how the last wait of each state did, so that who comes late
    # is told the truth for ever. And what remains to be done, if it did not end well.
    cancel_all_waits(state)
    if status == "completed":
        forget_all(state)
    else:
        keep_all(state)
    state.frames, state.forks, state.timers, state.stopped = EMPTY, EMPTY, EMPTY, EMPTY
    state.ready, state.actionable_forks = (), ()
    state.active = state.delayed = state.called = state.children = 0
    state.pause, state.queue, state.places = None, None, ()
    state.ended_at = state.recorded_at
    state.status = status


# --- one function an event ---------------------------------------------------------------------------------------


def _execution_started(state: State, event: e.ExecutionStarted, recorded: e.Recorded) -> None:
    """Begin a run: its one frame is expected at the first state, with the run's input."""
    state.started_at = recorded.recorded_at
    state.workspace, state.live = event.workspace, event.live
    state.workflow = event.workflow
    state.workflow_version = event.workflow_version
    state.definition_sha256 = event.definition_sha256
    state.trigger = event.trigger
    state.input = event.input
    state.parent = event.parent
    state.resume = event.resume
    state.origin = event.origin
    set_limits(state, event, recorded.seq)
    expect(state, TOP, Frame(event.start_at, event.input, recorded.recorded_at))


def _task_succeeded(state: State, event: e.TaskSucceeded, recorded: e.Recorded) -> None:
    """A task has a result: its state is left."""
    if state.waits:
        end_wait(state, event.scope, "cancelled")  # of a child that ended before anybody used the task's token
    _leave(state, event, recorded)


def _task_simulated(_state: State, _event: TaskSimulated, _: e.Recorded) -> None:
    """Nothing changes: the result of the step that was not called follows."""


def _task_failed(state: State, event: e.TaskFailed, recorded: e.Recorded) -> None:
    """A task has failed. The wait that goes with it ends too: by a token's failure, or since nobody needs it."""
    end_wait(state, event.scope, "cancelled" if event.wait is None else "failed")
    _fail(state, event, recorded)


def _wait_opened(state: State, event: e.WaitOpened, recorded: e.Recorded) -> None:
    """A wait is open, by itself or for a task whose token somebody outside will have.

    By itself it is the frame's phase. For a task `TaskScheduled` follows in the same decision, and takes it over.
    """
    scope, seq = event.scope, recorded.seq
    timer = due_at = None
    if event.due_at is not None:
        timer = seq
        # One timer for both limits, due at the earlier; `deadline` keeps the later.
        due_at = event.due_at if event.heartbeat_due_at is None else event.heartbeat_due_at
        state.timers = state.timers.set(seq, Timer(scope, due_at, event.due_at, event.heartbeat_ms))
    opened = OpenWait(scope, event.state, seq, recorded.recorded_at, due_at)
    state.waits = state.waits.set(event.wait, opened)
    visits = state.frames[scope].visits.set(event.state, event.visit)
    stay(state, scope, InWait(seq, event.wait, event.attempt, timer), parameters=event.parameters, visits=visits)


def _wait_resumed(state: State, event: e.WaitResumed, recorded: e.Recorded) -> None:
    """A wait has ended as somebody outside said: its state is left with what they sent."""
    # The wait is closed first, here and wherever one goes with a state: the frame that names it is about to move on.
    end_wait(state, event.scope, "resumed")
    _leave(state, event, recorded)


def _wait_expired(state: State, event: e.WaitExpired, recorded: e.Recorded) -> None:
    """Nobody has ended a wait in time: its state fails with `States.Timeout`, or `States.HeartbeatTimeout`."""
    end_wait(state, event.scope, "expired")
    _fail(state, event, recorded)


def _timer_set(state: State, event: e.TimerSet, recorded: e.Recorded) -> None:
    """A Wait state has its timer."""
    state.timers = state.timers.set(recorded.seq, Timer(event.scope, event.due_at))
    stay(state, event.scope, InTimer(recorded.seq, recorded.seq))


def _branches_started(state: State, event: e.BranchesStarted, recorded: e.Recorded) -> None:
    """A Parallel has begun."""
    # All branches begin with this event: there are as many as the definition has. (Iterations begin one by one, each
    # with an event of its own: there may be ten thousand, and only some at once.)
    count = len(event.start_at)
    fork = Fork(recorded.seq, event.scope, event.state, count, count, indexes(count))
    _fork(state, event, event.input, fork)
    for index, start_at in enumerate(event.start_at):
        expect(state, scope_of(fork.seq, index), Frame(start_at, event.input, recorded.recorded_at))


def _map_started(state: State, event: e.MapStarted, recorded: e.Recorded) -> None:
    """A Map has begun; of its iterations none has.

    They begin one by one, as far as its concurrency allows, each with an event of its own that has the item's input.
    """
    fork = Fork(
        recorded.seq,
        event.scope,
        event.state,
        event.count,
        0,
        indexes(0),
        concurrency=event.concurrency,
        tolerated=event.tolerated,
        items=event.items,
        start_at=event.start_at,
    )
    _fork(state, event, event.items, fork)


def _fork(state: State, event: e.BranchesStarted | e.MapStarted, given: Ref, fork: Fork) -> None:
    """Let a frame wait for its fork."""
    # What it was given is kept as a step's parameters are: another attempt begins with the same, unless it is made
    # anew.
    visits = state.frames[event.scope].visits.set(event.state, event.visit)
    stay(state, event.scope, InFork(fork.seq), parameters=given, visits=visits)
    put_fork(state, fork)


def _iteration_started(state: State, event: e.IterationStarted, recorded: e.Recorded) -> None:
    """An iteration of a Map has begun, with its item's input."""
    start_iteration(state, event.scope, event.input, recorded.recorded_at)


def _state_failed(state: State, event: e.StateFailed, recorded: e.Recorded) -> None:
    """A state has failed by itself: an expression of it, its fork, or what it was given."""
    # What is below goes first, with its waits and timers; then its own; then it is as if it had been entered only.
    if _is_answered(event.then):
        forget_below(state, event.scope)
    else:
        keep_fork(state, event.scope)
        let_begin_anew(state, event.scope, event.error)
    close_fork(state, event.scope)
    end_wait(state, event.scope, "cancelled")
    _fail(state, event, recorded)


def _state_exited(state: State, event: e.StateExited, recorded: e.Recorded) -> None:
    """A fork has its result: the state that forked is left."""
    # First what is below, while the frame's phase still names the fork. Without an output the next event fails it.
    if event.output is None:
        keep_fork(state, event.scope)
    else:
        forget_below(state, event.scope)
    close_fork(state, event.scope)
    _leave(state, event, recorded)


def _execution_succeeded(state: State, event: e.ExecutionSucceeded, _: e.Recorded) -> None:
    """The run has ended well, with an output."""
    state.output = event.output
    _end(state, "completed")


def _execution_failed(state: State, event: e.ExecutionFailed, _: e.Recorded) -> None:
    """The run has failed. An error that an expression made stands in a payload, one of the definition here."""
    state.error, state.error_ref, state.cause = event.error, event.error_ref, event.cause
    state.output = None  # of a run that is not completed there is none, whatever it had come to
    keep(state, TOP, state.frames[TOP], entered=event.entered)
    if let_begin_anew(state, TOP, event.error):
        close_fork(state, TOP)
    _end(state, "failed")


def _execution_timed_out(state: State, _event: e.ExecutionTimedOut, _: e.Recorded) -> None:
    """The run has taken longer than its definition allows."""
    state.error = "States.Timeout"  # as AWS reports it; the event need not say so
    state.output = None
    _end(state, "timed_out")


def _execution_terminated(state: State, event: e.ExecutionTerminated, _: e.Recorded) -> None:
    """Somebody outside has ended the run."""
    state.cause = event.reason
    state.output = None
    _end(state, "terminated")


def _execution_quarantined(state: State, _event: e.ExecutionQuarantined, _: e.Recorded) -> None:
    """The run is set aside: deciding about it failed, which is a defect of ours."""
    state.is_quarantined = True  # and all else as it was: a release takes up from there


def _execution_released(state: State, _event: e.ExecutionReleased, _: e.Recorded) -> None:
    """The run is tried again."""
    state.is_quarantined = False


def _command_refused(state: State, event: e.CommandRefused, _: e.Recorded) -> None:
    """Refused commands are counted, and change nothing else."""
    state.refusals = event.count


def _result_ignored(_state: State, _event: e.ResultIgnored, _: e.Recorded) -> None:
    """Nothing changes: the execution went on without it."""


_EVOLVE: Final = (
    Dispatch[State, [e.Recorded], None](__name__)
    .on(e.ExecutionStarted, _execution_started)
    .on(e.StatePassed, _leave)
    .on(e.TaskScheduled, task_scheduled)
    .on(e.TaskQueued, task_queued)
    .on(e.TaskStarted, task_started)
    .on(e.TaskSucceeded, _task_succeeded)
    .on(e.TaskSubmitted, task_submitted)
    .on(e.TaskFailed, _task_failed)
    .on(e.TaskTimedOut, _fail)
    .on(e.TaskHeartbeat, task_heartbeat)
    .on(e.TaskInterrupted, task_interrupted)
    .on(TaskSimulated, _task_simulated)
    .on(e.TaskRedispatched, task_redispatched)
    .on(e.WaitOpened, _wait_opened)
    .on(e.WaitResumed, _wait_resumed)
    .on(e.WaitExpired, _wait_expired)
    .on(e.TimerSet, _timer_set)
    .on(e.TimerFired, _leave)
    .on(e.BranchesStarted, _branches_started)
    .on(e.MapStarted, _map_started)
    .on(e.IterationStarted, _iteration_started)
    .on(e.StateExited, _state_exited)
    .on(e.StateFailed, _state_failed)
    .on(e.ExecutionSucceeded, _execution_succeeded)
    .on(e.ExecutionFailed, _execution_failed)
    .on(e.ExecutionTimedOut, _execution_timed_out)
    .on(e.ExecutionTerminated, _execution_terminated)
    .on(e.ExecutionQuarantined, _execution_quarantined)
    .on(e.ExecutionReleased, _execution_released)
    .on(ce.ExecutionRedriven, chances.execution_redriven)
    .on(ce.IterationRedriven, chances.iteration_redriven)
    .on(ce.ExecutionForked, chances.execution_forked)
    .on(ExecutionPaused, execution_paused)
    .on(ExecutionUnpaused, execution_unpaused)
    .on(le.ExecutionAdmitted, execution_admitted)
    .on(le.ExecutionQueued, execution_queued)
    .on(le.PlacesReturned, places_returned)
    .on(le.RetryDue, retry_due)
    .on(le.TimeoutDeferred, timeout_deferred)
    .on(e.CommandRefused, _command_refused)
    .on(e.ResultIgnored, _result_ignored)
    .over(EXECUTION_EVENTS)
)

_BESIDE: Final = frozenset(
    {
        *(e.ExecutionQuarantined, e.ExecutionReleased, e.CommandRefused, e.ResultIgnored),
        *(ExecutionPaused, ExecutionUnpaused),
    }
)
"""Events that move nothing."""
