"""Queued steps: the time limits of a step that waits for a slot pause, and run on from when it is called.

Both events are written for steps that wait noticeably long only (the driver decides that). Between them the task has no
timer, and no death of the process is held against it. What was left of its limit is reckoned from when it began to
wait, not from when that was recorded; it runs on from the record of its turn, so it can gain the time of one commit,
and a step that is called again after a crash gains nothing.
"""

from __future__ import annotations

from perdure.engine.core import events as e
from perdure.engine.core.commands import QueueTask, StartTask
from perdure.engine.core.decide.call import run_task
from perdure.engine.core.decide.draft import ExecutionDraft
from perdure.engine.core.decide.refuse import stale
from perdure.engine.core.decision import Facts, Outcome
from perdure.engine.core.effects import SetTimer
from perdure.engine.core.state import InTask, State


def queue_task(state: State, command: QueueTask, facts: Facts) -> Outcome:
    """Record that a step waits for a slot; its time limit pauses from when it began to."""
    task = state.task(command.scope)
    if task is None or task.seq != command.seq or task.child is not None or task.is_held or task.queued is not None:
        return stale("no task is to be queued here")
    draft = ExecutionDraft(state, facts)
    put_off(draft, command.scope, task, command.since)
    return draft.decision()


def put_off(draft: ExecutionDraft, scope: str, task: InTask, since: int) -> None:
    """Record that a task waits to be called since an instant, or since the clocks of its run stand still."""
    limit = None if task.timer is None else draft.state.timer(task.timer)
    left_ms = heartbeat_ms = None
    if limit is not None and limit.deadline is not None:
        left_ms, heartbeat_ms = max(limit.deadline - min(since, draft.clock), 0), limit.heartbeat_ms
    draft.caused_by = task.seq
    draft.emit(e.TaskQueued(draft.state.frames[scope].state, left_ms, heartbeat_ms, scope))


def limits_from(draft: ExecutionDraft, task: InTask) -> tuple[int | None, int | None, int | None]:
    """The time limits of a queued task that is called now: its end, its heartbeat interval, and the first's end."""
    waited = task.queued
    if waited is None or waited.left_ms is None:
        return None, None if waited is None else waited.heartbeat_ms, None
    due_at = draft.facts.now + waited.left_ms
    interval = waited.heartbeat_ms
    return due_at, interval, None if interval is None else min(due_at, draft.facts.now + interval)


def start_task(state: State, command: StartTask, facts: Facts) -> Outcome:
    """Call a queued step: it has a slot."""
    task = state.task(command.scope)
    if task is None or task.seq != command.seq or task.is_held or task.queued is None:
        return stale("no task is queued here")
    draft = ExecutionDraft(state, facts, caused_by=task.seq)
    name = state.frames[command.scope].state
    draft.emit(e.TaskStarted(name, *limits_from(draft, task), command.scope))
    # The step is called by the effect of this decision, and so not before the log says that it is its turn.
    started = draft.state.task(command.scope)
    if started is not None and started.timer is not None:
        draft.effects.append(SetTimer(draft.state.timers[started.timer].due_at))
    run_task(draft, command.scope)
    return draft.decision()
