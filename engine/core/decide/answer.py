"""Task tokens: their holder completes, fails or heartbeats the task that a token was made for.

Here a token is known to be right already (the driver has compared its digest with the one in `WaitOpened`); what is
left is a wait, which is open or not. Its end is the same as that of a resume; a failure is the step's, as Retry and
Catch see it, and a token of the attempt before is good for nothing.
"""

from __future__ import annotations

from typing import Any

from perdure.engine.core import events as e
from perdure.engine.core.commands import AnswerTask, Beat, TaskFailure
from perdure.engine.core.decide.draft import ExecutionDraft
from perdure.engine.core.decide.enter import advance
from perdure.engine.core.decide.fail import fail_task
from perdure.engine.core.decide.quota import pauses
from perdure.engine.core.decide.refuse import refuse
from perdure.engine.core.decide.resume import end_wait, outcome_of
from perdure.engine.core.decision import Facts, Need, Outcome
from perdure.engine.core.effects import SetTimer
from perdure.engine.core.state import InTask, State

COMPLETED = "completed"
ALIVE = "alive"


def answer_task(state: State, command: AnswerTask, facts: Facts) -> Outcome:
    """End the task with the outcome that its holder gives; a token is good for one."""
    opened = state.waits.get(command.wait)
    if opened is None:
        return _is_over(state, command.wait, facts, "answer_task")
    outcome = command.outcome
    if not isinstance(outcome, TaskFailure):
        return end_wait(state, facts, command.wait, outcome.result, COMPLETED)
    draft = ExecutionDraft(state, facts, caused_by=opened.seq)
    phase = state.frames[opened.scope].phase
    # The step may not have returned yet (InTask), or it has (InWait). A child that is awaited, too, goes on: it was the
    # token that ended the task, and not the other way round.
    if isinstance(phase, InTask) and phase.child is None:
        draft.give_up_task(phase)  # or another attempt might run beside it
    fail_task(draft, opened.scope, getattr(phase, "attempt", 0), outcome.error, outcome.cause, wait=command.wait)
    then = next(step.recorded.event.then for step in draft.steps if isinstance(step.recorded.event, e.TaskFailed))
    advance(draft)
    return draft.decision({"message": COMPLETED, "then": _following(then, state)})


def _following(then: e.Then | None, state: State) -> dict[str, Any]:
    """The consequence of a failure, in the answer to the caller that reported it."""
    if isinstance(then, e.Retry):  # nobody knows when, while the clocks of its run stand still
        is_frozen = state.pause is not None and state.pause.frozen_at is not None
        return {"kind": "retry"} if is_frozen else {"kind": "retry", "retry_on": then.due_at}
    if isinstance(then, e.Caught):
        return {"kind": "catch", "next": then.next}
    return {"kind": "end"}


def beat(state: State, command: Beat, facts: Facts) -> Outcome:
    """Move the time limit of the wait by its HeartbeatSeconds, at most to its end."""
    opened = state.waits.get(command.wait)
    if opened is None:
        return _is_over(state, command.wait, facts, "heartbeat")
    draft = ExecutionDraft(state, facts, caused_by=opened.seq)
    phase = state.frames[opened.scope].phase
    # While the clocks of a paused run stand still there is nothing to put off either.
    timer = None if phase is None or phase.timer is None else state.timers.get(phase.timer)
    # Without HeartbeatSeconds there is nothing to put off: the answer is the same, and no event says so. With them
    # there is always a deadline, so that a beat never puts the task's own limit off.
    if timer is not None and timer.heartbeat_ms is not None and timer.deadline is not None:
        due_at = min(timer.deadline, facts.now + timer.heartbeat_ms)
        draft.emit(e.TaskHeartbeat(opened.state, command.wait, due_at, opened.scope))
        draft.effects.append(SetTimer(due_at))
        pauses(draft)
    return draft.decision(ALIVE)


def _is_over(state: State, wait: str, facts: Facts, command: str) -> Outcome:
    """The refusal of an answer that comes when its wait has ended: it is told how that ended, for ever."""
    # A termination first: it took the waits with it, and "expired" would be half of the truth. As for a resume.
    if state.status == "terminated":
        return refuse(state, facts, command, "CONFLICT", "the execution has been terminated")
    outcome = outcome_of(state, wait, facts)
    if isinstance(outcome, Need):
        return outcome
    if outcome in ("resumed", "failed"):
        return refuse(state, facts, command, "CONFLICT", "the task has been completed: a token is good for one answer")
    if outcome is None:
        return refuse(state, facts, command, "NOT_FOUND", "there is no such task")
    return refuse(state, facts, command, "WAIT_EXPIRED", f"the task is over: its wait was {outcome}")
