"""Recovery: after a restart whatever was in progress is dispatched again, under the same idempotency keys.

A step may be what takes the process down. Every unclean death is counted for the tasks that ran; from the third on a
task is a suspect, which is held until it is its turn (`engine.runtime.workers.suspects`), and then watched for a while.
One that died five times while it alone was watched fails. Blame does not last: what had run for an hour has a clean
record. A clean stop is held against nobody, and no death against what only waited.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from perdure.engine.core import events as e
from perdure.engine.core.commands import Recover, Redispatch
from perdure.engine.core.decide.call import parent_of, run_task
from perdure.engine.core.decide.draft import ExecutionDraft
from perdure.engine.core.decide.enter import advance
from perdure.engine.core.decide.fail import fail_task
from perdure.engine.core.decide.refuse import stale
from perdure.engine.core.decide.turn import put_off
from perdure.engine.core.decision import Facts, Outcome
from perdure.engine.core.effects import FillPlaces, FollowChild, FollowParent, HoldSuspect, SetTimer
from perdure.engine.core.refs import Ref, seq_of
from perdure.engine.core.state import InTask, State, scope_order

SUSPECT_DEATHS: Final = 3
DEATHS_ALONE_MAX: Final = 5

WATCH_MS: Final = 10_000
"""A suspect is watched for so long at first, and twice as long with each further death: some take their time."""

WATCH_MAX_MS: Final = 320_000

FORGIVEN_MS: Final = 3_600_000
"""A step that was called longer ago than this is not to blame for a crash: its deaths are reset."""


def watch_ms(deaths: int) -> int:
    """The time (ms) for which a suspect with so many deaths runs alone and is watched."""
    return min(WATCH_MS << max(deaths - SUSPECT_DEATHS, 0), WATCH_MAX_MS)


def recover(state: State, command: Recover, facts: Facts) -> Outcome:
    """Take an execution up again, wherever it was.

    Others may have moved it on since: a timer that came due, an answer. What they scheduled is not ours to call again.
    """
    if state.is_over:
        return stale("the execution is over")
    # Scopes in the order in which they began, so that two recoveries of one log do the same. The draft's own state is
    # asked each time: a task that is given up may have taken its siblings with it.
    draft = ExecutionDraft(state, facts)
    scopes, last = _portion(state, command, facts)
    # What they are called with is asked for at once, if it is not loaded.
    draft.values(reference for scope in scopes if (reference := _called_with(state, scope)) is not None)
    for scope in scopes:
        task = draft.state.task(scope)
        if task is not None and (command.seq is None or task.seq <= command.seq):
            _recover_task(draft, scope, task, died=command.died)
        if draft.state.is_over:
            break
    if last is not None and not draft.state.is_over:
        return draft.decision(last)
    # Of one that was redriven the parent's task is over, mostly, and that is no reason to end it.
    if state.parent is not None and state.parent.is_awaited and not state.redrives:
        draft.effects.append(FollowParent(state.parent))
    if state.queue is not None:
        draft.effects.append(FillPlaces(state.limit_keys[:1]))
    # What was ready when the process died, or paused for breath, goes on. Timers come last, and all of them: also those
    # that `advance` has set, and each instant once.
    advance(draft)
    draft.effects.extend(map(SetTimer, sorted({timer.due_at for timer in draft.state.timers.values()})))
    return draft.decision()


def _portion(state: State, command: Recover, facts: Facts) -> tuple[list[str], str | None]:
    """The scopes whose tasks are taken up now, and the last of them if others follow."""
    scopes = state.scopes()
    if command.after is not None:
        done = scope_order(command.after)
        scopes = [scope for scope in scopes if scope_order(scope) > done]
    if command.bytes_max is None:
        return scopes, None
    left, seen = command.bytes_max, set[int]()
    for count, scope in enumerate(scopes):
        reference = _called_with(state, scope)
        if reference is None or (seq := seq_of(reference)) in seen:
            continue
        left -= facts.payload_sizes.get(seq, 0)
        if left < 0 and seen:
            return scopes[:count], scopes[count - 1]
        seen.add(seq)
    return scopes, None


def _called_with(state: State, scope: str) -> Ref | None:
    """Where the parameters stand of a step or a child that is to be called or started again."""
    task = None if state.pause is not None else state.task(scope)
    return None if task is None or task.is_held or task.is_submitted else state.frames[scope].parameters


def _recover_task(draft: ExecutionDraft, scope: str, task: InTask, *, died: bool) -> None:
    """Take up a task that was under way at a start: call it again, hold it as a suspect, or fail it.

    A child of its own goes on by itself and is only followed again. In a paused run nothing is called: what was is
    queued again, so that the unpause calls it.
    """
    name = draft.state.frames[scope].state
    if task.child is not None:
        if task.is_submitted:
            draft.effects.append(FollowChild(task.child, parent_of(draft, scope, task)))
        else:
            _call_again(draft, scope)
        return
    if task.is_held:
        if draft.state.pause is None:
            draft.effects.append(HoldSuspect(scope, name, task.seq, task.deaths, task.deaths_watched))
        return
    # What only waited for its turn had not been called, so it cannot have taken the process down.
    died = died and task.queued is None
    blame = _blame(task, draft.facts.now, died=died)
    if not died and blame.deaths < SUSPECT_DEATHS:
        _call_again(draft, scope)
        return
    draft.caused_by = task.seq
    if blame.alone >= DEATHS_ALONE_MAX:
        fail_task(draft, scope, task.attempt, "States.TaskFailed", _cause(blame.deaths))
        return
    is_held = blame.deaths >= SUSPECT_DEATHS
    draft.emit(e.TaskInterrupted(name, blame.deaths, blame.alone, is_held, scope, blame.watched))
    if is_held and draft.state.pause is None:
        draft.effects.append(HoldSuspect(scope, name, task.seq, blame.deaths, blame.watched))
    elif not is_held:
        _call_again(draft, scope)


def _call_again(draft: ExecutionDraft, scope: str) -> None:
    """Call a step again, or start a child again; in a paused run it waits to be called."""
    task = draft.state.task(scope)
    if draft.state.pause is None:
        run_task(draft, scope)
    elif task is not None and task.queued is None:
        put_off(draft, scope, task, draft.clock)


class _Blame(NamedTuple):
    """At how many deaths a task was there, at how many of those while it was watched, and while no other was."""

    deaths: int
    watched: int
    alone: int


def _blame(task: InTask, now: int, *, died: bool) -> _Blame:
    """Count the deaths of the process at which a task was there, with this one if the process died."""
    # From the log alone: when it was called last, and now. The time until this start is counted too, so that a slow
    # restart makes blame smaller, and never larger.
    lived_ms = now - task.called_at
    if lived_ms > FORGIVEN_MS:
        return _Blame(int(died), 0, 0)
    was_watched = died and task.deaths >= SUSPECT_DEATHS and lived_ms <= watch_ms(task.deaths)
    was_alone = was_watched and not task.beside
    return _Blame(task.deaths + died, task.deaths_watched + was_watched, task.deaths_alone + was_alone)


def _cause(deaths: int) -> str:
    """The cause with which a step fails that is taken to have killed the process again and again."""
    return (
        f"The process died {deaths} times while this step ran, {DEATHS_ALONE_MAX} times with no other suspect "
        "beside it; it is not tried again."
    )


def redispatch(state: State, command: Redispatch, facts: Facts) -> Outcome:
    """Let a held suspect run: it is its turn."""
    task = state.task(command.scope)
    if task is None or not task.is_held:
        return stale("no task is held here")
    draft = ExecutionDraft(state, facts, caused_by=task.seq)
    draft.emit(e.TaskRedispatched(state.frames[command.scope].state, command.scope, command.beside))
    run_task(draft, command.scope)
    return draft.decision()
