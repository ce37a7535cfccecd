"""What comes back: a step's result, a timer that is due, and the go-ahead after a pause for breath."""

from __future__ import annotations

from typing import Any, Literal

from engine.core import events as e
from engine.core.commands import Advance, CompleteTask, Failed, FireTimer, Succeeded
from engine.core.decide.draft import Draft
from engine.core.decide.enter import advance
from engine.core.decide.fail import fail_task
from engine.core.decide.leave import leave_after
from engine.core.decide.refuse import stale
from engine.core.decision import Decision, Facts, Outcome
from engine.core.refs import ref
from engine.core.state import InTask, InTimer, State
from engine.language import TaskState, WaitState


def complete_task(state: State, command: CompleteTask, facts: Facts) -> Decision:
    """Record a step's outcome and go on. If its state has been left, it is recorded as ignored and changes nothing."""
    draft = Draft(state, facts, caused_by=command.seq)
    task = state.task(command.scope)
    if task is None or task.seq != command.seq:
        _ignore(draft, command)
    elif isinstance(command.outcome, Failed):
        fail_task(draft, command.scope, task.attempt, command.outcome.error, command.outcome.cause)
    else:
        _succeed(draft, command.scope, task, command.outcome)
    return draft.decision()


def _succeed(draft: Draft, scope: str, task: InTask, outcome: Succeeded) -> None:
    """Leave the state with the result; but with `.waitForResume` stay, for the output is the answer's."""
    name = draft.state.frames[scope].state
    result = ref(draft.next_seq, "result")
    payload = {"result": outcome.result}
    if task.wait is not None:
        draft.emit(e.TaskSubmitted(name, result, task.attempt, scope), payload)
        return
    state = draft.definition(scope, TaskState)
    leave_after(
        draft,
        scope,
        state,
        lambda raw_input, context: state.output(raw_input, outcome.result, context),
        lambda output, following: e.TaskSucceeded(name, result, output, following, task.attempt, scope),
        payload,
    )
    advance(draft)


def _ignore(draft: Draft, command: CompleteTask) -> None:
    outcome = command.outcome
    word: Literal["succeeded", "failed"]
    payload: dict[str, Any]
    if isinstance(outcome, Succeeded):
        word, payload = "succeeded", {"result": outcome.result}
    else:
        word, payload = "failed", {"error": outcome.error, "cause": outcome.cause}
    draft.emit(e.ResultIgnored(command.state, word, command.attempt, command.visit, command.scope), payload)


def fire_timer(state: State, command: FireTimer, facts: Facts) -> Outcome:
    """Leave the Wait state whose timer has come due. Never early: `now` must have reached the due instant."""
    found = next(
        (
            (scope, frame.phase)
            for scope, frame in state.frames.items()
            if isinstance(frame.phase, InTimer) and frame.phase.seq == command.timer
        ),
        None,
    )
    if found is None:
        return stale(f"no timer {command.timer} is set")
    scope, timer = found
    if facts.now < timer.due_at:
        return stale(f"timer {command.timer} is not due before {timer.due_at}")
    draft = Draft(state, facts, caused_by=timer.seq)
    definition = draft.definition(scope, WaitState)
    leave_after(
        draft,
        scope,
        definition,
        lambda raw_input, context: definition.output(
            raw_input, definition.effective_input(raw_input, context), context
        ),
        lambda output, following: e.TimerFired(definition.name, timer.seq, output, following, scope),
    )
    advance(draft)
    return draft.decision()


def go_on(state: State, _command: Advance, facts: Facts) -> Outcome:
    """Go on after `Continue`. Nothing to enter: somebody else was faster."""
    draft = Draft(state, facts)
    advance(draft)
    return draft.decision() if draft.steps else stale("there is nothing to go on with")
