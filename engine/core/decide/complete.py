"""Results from inside: of a step, of a timer that is due, and the continuation after the transition limit.

A call is known by the seq of its `TaskScheduled`, not by its state: the same state may be in another attempt, another
visit, or another scope by the time a result comes. If that very call is not the one that its scope is in, the result
is late. It changes nothing, but it is recorded (`ResultIgnored`): something may have been done outside, and an auditor
may ask for it. Timers and children that come late have done nothing outside, so they are `STALE`, and leave no trace.
"""

from __future__ import annotations

from typing import Any, Literal

from perdure.engine.core import events as e
from perdure.engine.core.commands import Advance, ChildStarted, CompleteTask, FireTimer, TaskFailure, TaskSuccess
from perdure.engine.core.decide.draft import ExecutionDraft
from perdure.engine.core.decide.enter import advance, enter
from perdure.engine.core.decide.fail import fail_task, finish, time_out
from perdure.engine.core.decide.hold import has_own_limit, is_held
from perdure.engine.core.decide.leave import leave_after
from perdure.engine.core.decide.quota import pauses
from perdure.engine.core.decide.refuse import stale
from perdure.engine.core.decision import Decision, Facts, Outcome
from perdure.engine.core.effects import SetTimer
from perdure.engine.core.limit_events import RetryDue, TimeoutDeferred
from perdure.engine.core.refs import ref
from perdure.engine.core.sandbox_events import TaskSimulated
from perdure.engine.core.state import EXECUTION_TIMER, SETTINGS_TIMER, InRetry, InTask, InTimer, InWait, State, Timer
from perdure.engine.language import TaskState, WaitState


def complete_task(state: State, command: CompleteTask, facts: Facts) -> Decision:
    """Record a step's outcome and go on. If its state has been left, it is recorded as ignored and changes nothing."""
    # The cause is the scheduling, whatever has happened since: so an auditor finds which call it was that gave this.
    draft = ExecutionDraft(state, facts, command.seq)
    scope, outcome = command.scope, command.outcome
    task = state.task(scope)
    if task is None or task.seq != command.seq:
        _ignore(draft, command)
        return draft.decision()
    if isinstance(outcome, TaskFailure):
        fail_task(draft, scope, task.attempt, outcome.error, outcome.cause, is_retryable=outcome.is_retryable)
    else:
        if outcome.is_simulated:
            draft.emit(TaskSimulated(command.state, task.attempt, scope))
        succeed(draft, scope, task, outcome.result)
    advance(draft)
    return draft.decision()


def start_child(state: State, command: ChildStarted, facts: Facts) -> Outcome:
    """Record that the child of a task was started: leave the state, or stay until the child or its wait ends."""
    task = state.task(command.scope)
    # The effect that starts the child is repeated after a crash, so this may come again.
    if task is None or task.seq != command.seq or task.is_submitted:
        return stale("no task waits for this child to start")
    draft = ExecutionDraft(state, facts, caused_by=command.seq)
    if task.is_awaited:
        _submit(draft, command.scope, task, command.result)
    else:
        succeed(draft, command.scope, task, command.result)
        advance(draft)
    return draft.decision()


def succeed(draft: ExecutionDraft, scope: str, task: InTask, result: Any) -> None:
    """Record a step's result, and leave the state; but if it goes with a wait stay, for the output is the answer's."""
    if task.wait is not None and not task.is_awaited:
        _submit(draft, scope, task, result)
        return
    state = draft.definition(scope, TaskState)
    reference = ref(draft.next_seq, "result")
    leave_after(
        draft,
        scope,
        state,
        lambda env: state.leave(result, env),
        lambda output, following, assigned: e.TaskSucceeded(
            state.name, reference, output, following, assigned, task.attempt, scope
        ),
        {"result": result},
    )


def _submit(draft: ExecutionDraft, scope: str, task: InTask, result: Any) -> None:
    """Record what a step gave that only begins its task: from here on somebody outside has the task's token."""
    name = draft.state.frames[scope].state
    draft.emit(e.TaskSubmitted(name, ref(draft.next_seq, "result"), task.attempt, scope), {"result": result})


def _ignore(draft: ExecutionDraft, command: CompleteTask) -> None:
    """Record a result that comes when its execution has gone on without it: nobody is told that it counted."""
    outcome = command.outcome
    word: Literal["succeeded", "failed"]
    payload: dict[str, Any]
    if isinstance(outcome, TaskSuccess):
        word, payload = "succeeded", {"result": outcome.result}
    else:
        word, payload = "failed", {"error": outcome.error, "cause": outcome.cause}
    draft.emit(e.ResultIgnored(command.state, word, command.attempt, command.visit, command.scope), payload)


def fire_timer(state: State, command: FireTimer, facts: Facts) -> Outcome:
    """Do what a timer that has come due was set for. Never early: `now` must have reached the due instant."""
    timer = state.timers.get(command.timer)
    if timer is None:
        return stale(f"no timer {command.timer} is set")
    draft = ExecutionDraft(state, facts, caused_by=command.timer or None)
    # Compared here, whatever the driver's clock has said: a timer never fires early. The driver may be early since a
    # heartbeat has put the timer off, or since its clock was set back.
    if facts.now < timer.due_at:
        draft.effects.append(SetTimer(timer.due_at))
        return draft.decision()
    # TimeoutSeconds of the machine: neither Retry nor Catch is asked, for it is no state that took too long.
    if command.timer == EXECUTION_TIMER:
        finish(draft, e.ExecutionTimedOut())
        return draft.decision()
    if command.timer == SETTINGS_TIMER:
        _end_in_time(draft)
        return draft.decision()
    _wake(draft, timer)
    advance(draft)
    return draft.decision()


def _end_in_time(draft: ExecutionDraft) -> None:
    """End the run by its workflow's settings; a step with a limit of its own goes on to its end before that."""
    if has_own_limit(draft):
        draft.emit(TimeoutDeferred())
    else:
        finish(draft, e.ExecutionTimedOut())


def _wake(draft: ExecutionDraft, timer: Timer) -> None:
    """Do what is due at a timer: leave a Wait state, try a state again, or let a task or wait time out."""
    scope = timer.scope
    phase = draft.state.frames[scope].phase
    if isinstance(phase, InTimer):
        end_wait_state(draft, scope, phase)
    elif isinstance(phase, InRetry):
        if is_held(draft.state):
            draft.emit(RetryDue(draft.state.frames[scope].state, scope))
        elif not pauses(draft):  # if it does, the delay stands still, and is over with the unpause
            enter(draft, scope)  # here, not by `advance`: the frame is in a phase, and not among those that are ready
    elif isinstance(phase, InTask | InWait):
        # One timer stands for both limits of a task, and is set to the earlier. At the deadline itself it is the
        # task's.
        is_deadline = timer.deadline is not None and timer.due_at >= timer.deadline
        time_out(draft, scope, phase, "task" if is_deadline else "heartbeat")
    else:
        message = f"nothing in scope {scope!r} has set a timer: the log is damaged"
        raise TypeError(message)


def end_wait_state(draft: ExecutionDraft, scope: str, phase: InTimer) -> None:
    """Leave a Wait state whose timer is due."""
    state = draft.definition(scope, WaitState)
    leave_after(
        draft,
        scope,
        state,
        lambda env: state.leave(state.arguments(env), env),
        lambda output, following, assigned: e.TimerFired(state.name, phase.seq, output, following, assigned, scope),
    )


def go_on(state: State, _command: Advance, facts: Facts) -> Outcome:
    """Continue after the effect `Continue`; a no-op if no frame is ready."""
    draft = ExecutionDraft(state, facts)
    advance(draft)
    return draft.decision() if draft.steps else stale("there is nothing to go on with")
