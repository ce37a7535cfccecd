"""After a restart: what was under way is done again, under the same keys.

A step may be what takes the process down. Every unclean death is counted for the tasks that ran; from the third on a
task is a suspect, and suspects run one at a time. One that was the only suspect running at five deaths fails. A clean
stop is held against nobody.
"""

from __future__ import annotations

from typing import Final

from engine.core import events as e
from engine.core.commands import Recover, Redispatch
from engine.core.decide.call import parent_of, run_task
from engine.core.decide.draft import Draft
from engine.core.decide.enter import advance
from engine.core.decide.fail import fail_task
from engine.core.decide.refuse import stale
from engine.core.decision import Facts, Outcome
from engine.core.effects import FollowChild, FollowParent, HoldSuspect, SetTimer
from engine.core.state import InTask, State

SUSPECT_DEATHS: Final = 3
DEATHS_ALONE_MAX: Final = 5


def recover(state: State, command: Recover, facts: Facts) -> Outcome:
    """Take an execution up again, wherever it was.

    Others may have moved it on since: a timer that came due, an answer. What they scheduled is not ours to call again.
    """
    if state.is_over:
        return stale("the execution is over")
    draft = Draft(state, facts)
    for scope in state.scopes():
        task = draft.state.task(scope)
        if task is not None and (command.seq is None or task.seq <= command.seq):
            _recover_task(draft, scope, task, died=command.died)
        if draft.state.is_over:
            break
    if state.parent is not None and state.parent.is_awaited:
        draft.effects.append(FollowParent(state.parent))
    advance(draft)
    draft.effects.extend(map(SetTimer, sorted({timer.due_at for timer in draft.state.timers.values()})))
    return draft.decision()


def _recover_task(draft: Draft, scope: str, task: InTask, *, died: bool) -> None:
    name = draft.state.frames[scope].state
    if task.child is not None:
        if task.is_submitted:
            draft.effects.append(FollowChild(task.child, parent_of(draft, scope, task)))
        else:
            run_task(draft, scope)
        return
    if task.is_held:
        draft.effects.append(HoldSuspect(scope, name))
        return
    was_suspect = task.deaths >= SUSPECT_DEATHS
    if not died and not was_suspect:
        run_task(draft, scope)
        return
    deaths = task.deaths + died
    deaths_alone = task.deaths_alone + (died and was_suspect)
    draft.caused_by = task.seq
    if deaths_alone >= DEATHS_ALONE_MAX:
        fail_task(draft, scope, task.attempt, "States.TaskFailed", _cause(deaths))
        return
    is_held = deaths >= SUSPECT_DEATHS
    draft.emit(e.TaskInterrupted(name, deaths, deaths_alone, is_held, scope))
    if is_held:
        draft.effects.append(HoldSuspect(scope, name))
    else:
        run_task(draft, scope)


def _cause(deaths: int) -> str:
    return (
        f"The process died {deaths} times while this step ran, {DEATHS_ALONE_MAX} times with no other suspect "
        "beside it; it is not tried again."
    )


def redispatch(state: State, command: Redispatch, facts: Facts) -> Outcome:
    """Let a held suspect run: it is its turn, and no other suspect runs."""
    task = state.task(command.scope)
    if task is None or not task.is_held:
        return stale("no task is held here")
    draft = Draft(state, facts, caused_by=task.seq)
    draft.emit(e.TaskRedispatched(state.frames[command.scope].state, command.scope))
    run_task(draft, command.scope)
    return draft.decision()
