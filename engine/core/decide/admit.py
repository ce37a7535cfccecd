"""Admission: a queued run has its places, and goes on from where it stands.

Which places, and that nobody else has them, is for whoever asks to see to: each is claimed in the append that has this
event. The run's time limits begin here, or run on with what was left of them.
"""

from __future__ import annotations

from perdure.engine.core.commands import Admit
from perdure.engine.core.decide.draft import ExecutionDraft
from perdure.engine.core.decide.enter import advance
from perdure.engine.core.decide.refuse import stale
from perdure.engine.core.decision import Facts, Outcome
from perdure.engine.core.effects import SetTimer
from perdure.engine.core.limit_events import ExecutionAdmitted
from perdure.engine.core.state import State


def admit(state: State, command: Admit, facts: Facts) -> Outcome:
    """Give a queued run its places, and let it go on."""
    queue = state.queue
    if queue is None or queue.seq != command.seq or len(command.places) != len(state.limits):
        return stale("the execution does not queue for these places")
    draft = ExecutionDraft(state, facts, caused_by=queue.seq)
    ends = [None if left is None else draft.clock + left for left in (queue.left_ms, queue.limit_left_ms)]
    draft.emit(ExecutionAdmitted(command.places, *ends))
    draft.effects.extend(SetTimer(at) for at in ends if at is not None)
    advance(draft)
    return draft.decision()
