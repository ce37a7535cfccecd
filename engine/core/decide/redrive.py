"""Redrives: a run that did not end well goes on at the states that failed or were cut short (decision record 39).

As in AWS Step Functions: what has succeeded keeps its output and is not called again; of a Parallel or Map only the
branches and iterations go on that failed, or were aborted because of those. Inputs are kept, attempts and the time
limit are counted anew, a wait opens anew under another id.

What is to go on stands in the state (`engine.core.remains`). So nothing is decided here but whether: the event brings
it back, and `advance` enters it.
"""

from __future__ import annotations

from perdure.engine.core.chance_events import ExecutionRedriven
from perdure.engine.core.commands import RedriveExecution
from perdure.engine.core.decide.draft import ExecutionDraft
from perdure.engine.core.decide.enter import advance
from perdure.engine.core.decide.refuse import refuse
from perdure.engine.core.decision import Facts, Outcome
from perdure.engine.core.effects import SetTimer
from perdure.engine.core.refs import ref
from perdure.engine.core.state import State

REDRIVEN = "redriven"


def redrive(state: State, command: RedriveExecution, facts: Facts) -> Outcome:
    """Let an execution go on that failed, timed out or was terminated, or say why it cannot."""
    details = {"status": state.status}
    if not state.is_over:
        message = f"the execution is {state.status}: only one that failed, timed out or was terminated can be redriven"
        return refuse(state, facts, "redrive", "CONFLICT", message, details)
    if state.status == "completed":
        message = "the execution is completed: nothing of it is left to be done; rerun it, or fork it, for another run"
        return refuse(state, facts, "redrive", "CONFLICT", message, details)
    draft = ExecutionDraft(state, facts)
    timeout_ms = facts.machine.timeout_ms
    due_at = None if timeout_ms is None else facts.now + timeout_ms
    reason = None if command.reason is None else ref(draft.next_seq, "reason")
    said = {} if command.reason is None else {"reason": command.reason}
    limit_ms = command.settings.timeout_ms
    limit_at = None if limit_ms is None else facts.now + limit_ms
    draft.emit(ExecutionRedriven(state.redrives + 1, reason, due_at, limit_at), said)
    draft.effects.extend(SetTimer(at) for at in (due_at, limit_at) if at is not None)
    advance(draft)
    return draft.decision(REDRIVEN)
