"""Pause and unpause by an operator.

A pause is one event. What is called goes on and is recorded when it ends; what is ready, or becomes so, waits. Since no
state is entered meanwhile, all that an unpause has to do is to ask for what was put off, as a recovery does, and to let
`advance` go on.

Both say so if there is nothing to do, so that a repetition after a lost answer is a success.
"""

from __future__ import annotations

from perdure.engine.core import events as e
from perdure.engine.core.commands import PauseExecution, UnpauseExecution
from perdure.engine.core.decide.call import run_task
from perdure.engine.core.decide.draft import ExecutionDraft
from perdure.engine.core.decide.enter import advance
from perdure.engine.core.decide.quota import granted, stop
from perdure.engine.core.decide.refuse import refuse, too_large
from perdure.engine.core.decide.turn import limits_from
from perdure.engine.core.decision import Decision, Facts, Outcome
from perdure.engine.core.effects import CallWithheld, HoldSuspect, SetTimer
from perdure.engine.core.pause_events import ExecutionUnpaused
from perdure.engine.core.refs import ref
from perdure.engine.core.state import InTask, State

PAUSED = "paused"
ALREADY_PAUSED = "already paused"
UNPAUSED = "unpaused"
NOT_PAUSED = "not paused"


def pause(state: State, command: PauseExecution, facts: Facts) -> Outcome:
    """Pause the execution, whoever paused it before: it stays as it was paused first."""
    if state.is_over:
        return _ended(state, facts, "pause")
    if state.pause is not None:
        return Decision((), (), ALREADY_PAUSED)
    refused = too_large("reason", command.reason, facts)
    if refused is not None:
        return refused
    draft = ExecutionDraft(state, facts)
    stop(draft, None, command.reason, facts.now if command.clocks == "freeze" else None)
    return draft.decision(PAUSED)


def unpause(state: State, command: UnpauseExecution, facts: Facts) -> Outcome:
    """Let the execution go on where it stands; a quota that is used up is granted once more."""
    if state.is_over:
        return _ended(state, facts, "unpause")
    if state.pause is None:
        return Decision((), (), NOT_PAUSED)
    refused = too_large("reason", command.reason, facts)
    if refused is not None:
        return refused
    draft = ExecutionDraft(state, facts)
    frozen_at = state.pause.frozen_at
    # A clock that was set back meanwhile brings nothing forward.
    shift_ms = 0 if frozen_at is None else max(facts.now - frozen_at, 0)
    said = {} if command.reason is None else {"reason": command.reason}
    reason = ref(draft.next_seq, "reason") if said else None
    draft.emit(ExecutionUnpaused(shift_ms, reason, *granted(state, facts)), said)
    unpaused = draft.caused_by
    if state.active > len(state.ready):
        draft.effects.append(CallWithheld())
    _call_what_waits(draft)
    draft.caused_by = unpaused
    advance(draft)
    due = {timer.due_at for name in state.stopped if (timer := draft.state.timers.get(name)) is not None}
    draft.effects.extend(map(SetTimer, sorted(due)))
    return draft.decision(UNPAUSED)


def _call_what_waits(draft: ExecutionDraft) -> None:
    """Ask for what no process has in memory for sure: queued steps, suspects, children that are not started."""
    state = draft.state
    waiting = [
        scope for scope in state.scopes() if (task := state.task(scope)) is not None and (task.queued or task.is_held)
    ]
    called = [scope for scope in waiting if not _task(draft, scope).is_held]
    draft.values(reference for scope in called if (reference := state.frames[scope].parameters) is not None)
    for scope in waiting:
        task = _task(draft, scope)
        name = state.frames[scope].state
        if task.is_held:
            draft.effects.append(HoldSuspect(scope, name, task.seq, task.deaths, task.deaths_watched))
            continue
        if task.child is not None:  # a child needs no slot
            draft.caused_by = task.seq
            draft.emit(e.TaskStarted(name, *limits_from(draft, task), scope))
            draft.effects.extend(SetTimer(timer) for timer in _due(draft, scope))
        run_task(draft, scope)


def _due(draft: ExecutionDraft, scope: str) -> list[int]:
    name = _task(draft, scope).timer
    return [] if name is None else [draft.state.timers[name].due_at]


def _task(draft: ExecutionDraft, scope: str) -> InTask:
    task = draft.state.task(scope)
    if task is None:
        message = f"no task is in scope {scope!r}"
        raise TypeError(message)
    return task


def _ended(state: State, facts: Facts, command: str) -> Outcome:
    message = f"the execution has already ended: it is {state.status}"
    return refuse(state, facts, command, "CONFLICT", message, {"status": state.status})
