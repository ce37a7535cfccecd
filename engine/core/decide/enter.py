"""Entering states: one function for each type, and the loop that goes on until something must be waited for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from engine.core import events as e
from engine.core.decide.context import context_of
from engine.core.decide.draft import Draft
from engine.core.decide.fail import fail, fail_state
from engine.core.decide.leave import leave
from engine.core.decision import TRANSITIONS_MAX
from engine.core.effects import Continue, RunTask, SetTimer
from engine.core.ids import percent_encoded
from engine.core.state import Frame, visit_key
from engine.language import (
    ChoiceState,
    FailState,
    PassState,
    StatesError,
    SucceedState,
    TaskState,
    WaitState,
)


def advance(draft: Draft) -> None:
    """Enter states until every frame is in a phase, or the execution has ended.

    After `TRANSITIONS_MAX` states it stops with the effect `Continue`, so that a loop cannot starve the others.
    """
    for _ in range(TRANSITIONS_MAX):
        scope = _to_enter(draft)
        if scope is None:
            return
        _enter(draft, scope)
    if _to_enter(draft) is not None:
        draft.effects.append(Continue())


def _to_enter(draft: Draft) -> str | None:
    """The first scope that is about to enter a state."""
    for scope, frame in draft.state.frames.items():
        if frame.phase is None:
            return scope
    return None


def _enter(draft: Draft, scope: str) -> None:
    frame = draft.state.frames[scope]
    state = draft.facts.machine.states[frame.state]
    try:
        _ENTER[state.type](draft, scope, frame, state)
    except StatesError as problem:
        fail_state(draft, state, problem)


def _enter_pass(draft: Draft, scope: str, frame: Frame, state: PassState) -> None:
    raw_input, context = draft.value(frame.input), context_of(draft, frame, state)
    result = state.result(state.effective_input(raw_input, context))
    leave(
        draft,
        scope,
        state.output(raw_input, result, context),
        state.next,
        lambda output, following: e.StatePassed(state.name, "Pass", output, following, scope),
    )


def _enter_choice(draft: Draft, scope: str, frame: Frame, state: ChoiceState) -> None:
    raw_input, context = draft.value(frame.input), context_of(draft, frame, state)
    effective = state.effective_input(raw_input, context)
    chosen = state.choose(effective, context)
    leave(
        draft,
        scope,
        state.output(raw_input, effective, context),
        chosen,
        lambda output, following: e.StatePassed(state.name, "Choice", output, following, scope),
    )


def _enter_succeed(draft: Draft, scope: str, frame: Frame, state: SucceedState) -> None:
    raw_input, context = draft.value(frame.input), context_of(draft, frame, state)
    leave(
        draft,
        scope,
        state.output(raw_input, state.effective_input(raw_input, context), context),
        None,
        lambda output, _: e.StatePassed(state.name, "Succeed", output, None, scope),
    )


def _enter_fail(draft: Draft, _scope: str, frame: Frame, state: FailState) -> None:
    error, cause = state.failure(draft.value(frame.input), context_of(draft, frame, state))
    fail(draft, state, error, cause, is_entry=True)


def _enter_wait(draft: Draft, scope: str, frame: Frame, state: WaitState) -> None:
    context = context_of(draft, frame, state)
    effective = state.effective_input(draft.value(frame.input), context)
    due_at = state.due_ms(effective, context, draft.facts.now)
    draft.emit(e.TimerSet(state.name, due_at, scope))
    draft.effects.append(SetTimer(due_at))


def _enter_task(draft: Draft, scope: str, frame: Frame, state: TaskState) -> None:
    """Schedule the step; with `.waitForResume` open the wait first, so that no answer can come before it."""
    resource = state.resource
    wait = None if resource.kind == "step" else draft.facts.chance()
    context = context_of(draft, frame, state, wait=wait)
    parameters = state.effective_input(draft.value(frame.input), context)
    visit = draft.state.visits.get(visit_key(scope, state.name), 0) + 1
    payload: dict[str, Any] = {}
    reference = draft.refer(parameters, frame.input, "parameters", payload)
    if wait is not None:
        draft.emit(e.WaitOpened(state.name, wait, resource.text, reference, visit, scope), payload)
        payload = {}
    if resource.kind != "wait":
        draft.emit(e.TaskScheduled(state.name, resource.text, reference, visit, 0, wait, scope), payload)
    run_task(draft, scope)


def run_task(draft: Draft, scope: str) -> None:
    """Ask for the step to be called, if this scope is in a task; after a crash, again under the same key."""
    name, task = draft.state.frames[scope].state, draft.state.task(scope)
    if task is None:
        return
    visit = draft.state.visits[visit_key(scope, name)]
    draft.effects.append(
        RunTask(
            scope=scope,
            state=name,
            seq=task.seq,
            attempt=task.attempt,
            visit=visit,
            resource=task.resource,
            parameters=draft.value(task.parameters),
            idempotency_key=idempotency_key(draft.facts.execution, name, scope, visit),
            wait=task.wait.wait if task.wait else None,
        )
    )


def idempotency_key(execution: str, state: str, scope: str, visit: int) -> str:
    """`execution/state/iteration/visit`, each percent-encoded; an iteration that is none is `-`.

    Every attempt and every repetition after a crash carries the same key (`reliability.md`, steps).
    """
    return f"{execution}/{percent_encoded(state)}/{percent_encoded(scope) or '-'}/{visit}"


_ENTER: dict[str, Callable[[Draft, str, Frame, Any], None]] = {
    "Pass": _enter_pass,
    "Choice": _enter_choice,
    "Succeed": _enter_succeed,
    "Fail": _enter_fail,
    "Wait": _enter_wait,
    "Task": _enter_task,
}
