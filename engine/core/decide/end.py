"""Ends from outside the definition: termination, quarantine, and release from quarantine.

A termination is the one thing that is always accepted while a run is alive, in quarantine too. It gives up what is
under way, and tells a parent that awaits the run; what its steps give later is ignored.

Quarantine touches nothing: frames, waits and timers stay as they are, and nothing is done with them. A release only
takes it back. What was under way is then decided by another command, on a state that was folded anew from the log: if
deciding raises again, the release stands, and the run is set aside once more.
"""

from __future__ import annotations

from perdure.engine.core.commands import Quarantine, Release, Terminate
from perdure.engine.core.decide.draft import ExecutionDraft
from perdure.engine.core.decide.fail import finish
from perdure.engine.core.decide.refuse import refuse, stale
from perdure.engine.core.decision import Decision, Facts, Outcome
from perdure.engine.core.effects import TakeUp
from perdure.engine.core.events import ExecutionQuarantined, ExecutionReleased, ExecutionTerminated
from perdure.engine.core.refs import ref
from perdure.engine.core.state import State

TERMINATED = "terminated"
ALREADY_TERMINATED = "already terminated"
RELEASED = "released"


def terminate(state: State, command: Terminate, facts: Facts) -> Outcome:
    """End the execution now. What its steps give later is recorded as ignored."""
    # Once more is a success: whoever repeats the call after a lost answer wants to know that the run is ended.
    if state.status == "terminated":
        return Decision((), (), ALREADY_TERMINATED)
    if state.is_over:
        message = f"the execution has already ended: it is {state.status}"
        return refuse(state, facts, "terminate", "CONFLICT", message, {"status": state.status})
    draft = ExecutionDraft(state, facts)
    said = {"reason": command.reason} if command.data is None else {"reason": command.reason, "data": command.data}
    finish(draft, ExecutionTerminated(ref(draft.next_seq, "reason")), said)
    return draft.decision(TERMINATED)


def quarantine(state: State, command: Quarantine, facts: Facts) -> Outcome:
    """Quarantine the execution: only a termination or a release is accepted from here on."""
    if state.is_over or state.is_quarantined:
        return stale("there is nothing left to set aside")
    draft = ExecutionDraft(state, facts)
    draft.emit(ExecutionQuarantined(command.command, command.defect))
    return draft.decision()


def release(state: State, _command: Release, facts: Facts) -> Outcome:
    """Release the execution from quarantine. Recovery is a decision of its own, since it may raise again."""
    if state.is_over or not state.is_quarantined:
        return refuse(state, facts, "release", "CONFLICT", f"the execution is not quarantined: it is {state.status}")
    draft = ExecutionDraft(state, facts)
    draft.emit(ExecutionReleased())
    draft.effects.append(TakeUp())
    return draft.decision(RELEASED)
