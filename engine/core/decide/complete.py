"""What comes back: a step's result, a timer that is due, and the go-ahead after a pause for breath."""

from __future__ import annotations

from typing import Any

from engine.core import events as e
from engine.core.commands import Advance, CompleteTask, Failed, FireTimer, Succeeded
from engine.core.decide.context import context_of
from engine.core.decide.draft import Draft
from engine.core.decide.enter import advance
from engine.core.decide.leave import describe_error, leave
from engine.core.decide.refuse import stale
from engine.core.decision import Decision, Facts, Outcome
from engine.core.refs import ref
from engine.core.state import InTask, InTimer, State
from engine.language import WaitState


def complete_task(state: State, command: CompleteTask, facts: Facts) -> Decision:
    """Record a step's outcome and go on. If its state has been left, it is recorded as ignored and changes nothing."""
    draft = Draft(state, facts, caused_by=command.seq)
    frame = state.frames.get(command.scope)
    task = frame.phase if frame else None
    if not isinstance(task, InTask) or task.seq != command.seq:
        _ignore(draft, command)
        return draft.decision()
    if isinstance(command.outcome, Failed):
        _task_failed(draft, command, command.outcome)
    elif task.wait is not None:
        result = ref(draft.next_seq, "result")
        draft.emit(
            e.TaskSubmitted(command.state, result, command.attempt, command.scope),
            {"result": command.outcome.result},
        )
    else:
        _task_succeeded(draft, command, command.outcome)
    return draft.decision()


def _task_succeeded(draft: Draft, command: CompleteTask, outcome: Succeeded) -> None:
    result = ref(draft.next_seq, "result")
    leave(
        draft,
        command.scope,
        draft.facts.machine.states[command.state],
        outcome.result,
        lambda output, following: e.TaskSucceeded(
            command.state, result, output, following, command.attempt, command.scope
        ),
        payload={"result": outcome.result},
        result_ref=result,
    )
    advance(draft)


def _task_failed(draft: Draft, command: CompleteTask, outcome: Failed) -> None:
    """The failure of a step, and, as nothing catches it, of the execution; the latter points to the former."""
    members: dict[str, Any] = {}
    error, error_ref, cause = describe_error(draft, outcome.error, outcome.cause, members)
    draft.emit(e.TaskFailed(command.state, error, error_ref, cause, command.attempt, command.scope), members)
    draft.emit(e.ExecutionFailed(error, error_ref, cause, command.state))


def _ignore(draft: Draft, command: CompleteTask) -> None:
    outcome = command.outcome
    has_succeeded = isinstance(outcome, Succeeded)
    draft.emit(
        e.ResultIgnored(
            command.state,
            "succeeded" if has_succeeded else "failed",
            command.attempt,
            command.visit,
            command.scope,
        ),
        {"result": outcome.result} if has_succeeded else {"error": outcome.error, "cause": outcome.cause},
    )


def fire_timer(state: State, command: FireTimer, facts: Facts) -> Outcome:
    """Leave the Wait state whose timer has come due. Never early: `now` must have reached the due instant."""
    found = next(
        (
            (scope, frame, frame.phase)
            for scope, frame in state.frames.items()
            if isinstance(frame.phase, InTimer) and frame.phase.seq == command.timer
        ),
        None,
    )
    if found is None:
        return stale(f"no timer {command.timer} is set")
    scope, frame, timer = found
    if facts.now < timer.due_at:
        return stale(f"timer {command.timer} is not due before {timer.due_at}")
    definition = facts.machine.states[frame.state]
    if not isinstance(definition, WaitState):
        message = f"state {frame.state!r} is no Wait state"
        raise TypeError(message)
    draft = Draft(state, facts, caused_by=timer.seq)
    effective = definition.effective_input(draft.value(frame.input), context_of(draft, frame, definition))
    leave(
        draft,
        scope,
        definition,
        effective,
        lambda output, following: e.TimerFired(frame.state, timer.seq, output, following, scope),
        fails_here=True,
    )
    advance(draft)
    return draft.decision()


def go_on(state: State, _command: Advance, facts: Facts) -> Outcome:
    """Go on after `Continue`. Nothing to enter: somebody else was faster."""
    draft = Draft(state, facts)
    advance(draft)
    return draft.decision() if draft.steps else stale("there is nothing to go on with")
