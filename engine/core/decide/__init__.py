"""`decide`: the pure answer to a command. Nothing else knows a rule of an execution.

Commands come from two sides. From outside come Trigger, Fork, Resume, Terminate, AnswerTask, Beat, Release, Redrive,
PauseExecution and UnpauseExecution (and Confirm and Refuse, which only have something stored, or recorded): their
senders get a reply, and a rejection that the state causes is recorded. All others come from inside: the driver sends
them since an effect, a timer or a restart says so, and what has lost its reason meanwhile is `STALE`, which nobody
needs to know. Either kind may come late, twice, or after the end; so each module here first finds out what is still
there, by names that never come back (the seq of an event, the id of a wait), and only then does anything.
"""

from __future__ import annotations

from typing import Final

from perdure.engine.core import commands as c
from perdure.engine.core import paused
from perdure.engine.core.decide.admit import admit
from perdure.engine.core.decide.answer import answer_task, beat
from perdure.engine.core.decide.branch_off import branch_off
from perdure.engine.core.decide.complete import complete_task, fire_timer, go_on, start_child
from perdure.engine.core.decide.end import quarantine, release, terminate
from perdure.engine.core.decide.pause import pause, unpause
from perdure.engine.core.decide.recover import recover, redispatch
from perdure.engine.core.decide.redrive import redrive
from perdure.engine.core.decide.refuse import refuse, stale
from perdure.engine.core.decide.resume import resume
from perdure.engine.core.decide.start import trigger
from perdure.engine.core.decide.turn import queue_task, start_task
from perdure.engine.core.decision import Decision, Facts, Need, Outcome, Rejection
from perdure.engine.core.dispatch import Dispatch, check_complete
from perdure.engine.core.refs import PayloadMissing
from perdure.engine.core.state import State
from perdure.engine.language.errors import TooSlow

_DECIDE: Final = (
    Dispatch[State, [Facts], Outcome](__name__)
    .on(c.Trigger, trigger)
    .on(c.ForkExecution, branch_off)
    .on(c.Admit, admit)
    .on(c.Advance, go_on)
    .on(c.QueueTask, queue_task)
    .on(c.StartTask, start_task)
    .on(c.CompleteTask, complete_task)
    .on(c.ChildStarted, start_child)
    .on(c.AnswerTask, answer_task)
    .on(c.Beat, beat)
    .on(c.FireTimer, fire_timer)
    .on(c.Resume, resume)
    .on(c.Terminate, terminate)
    .on(c.Recover, recover)
    .on(c.Redispatch, redispatch)
    .on(c.Quarantine, quarantine)
    .on(c.Release, release)
    .on(c.RedriveExecution, redrive)
    .on(c.PauseExecution, pause)
    .on(c.UnpauseExecution, unpause)
    .on(c.Refuse, lambda state, command, facts: refuse(state, facts, command.command, "CONFLICT", command.message))
    .on(c.Confirm, lambda _state, command, _facts: Decision((), (), command.answer))
    .over(c.Command)
)
check_complete(paused.__name__, c.Command, paused.PAUSED)


def decide(state: State, command: c.Command, facts: Facts) -> Outcome:
    """Answer a command. `state` is left as it is; the same arguments give the same answer.

    Anything raised is a defect of ours (or of a damaged log), never the fault of a caller: the driver quarantines
    the execution.
    """
    kind = type(command)
    if state.status == "new" and kind not in (c.Trigger, c.ForkExecution):
        return Rejection("NOT_FOUND", "there is no such execution")
    # Whatever raised once may raise again, for as long as program and log are what they are. So nothing is decided here
    # but what needs no look at the definition: the end, the release, and what is only stored or recorded.
    is_aside = state.is_quarantined and not state.is_over
    if is_aside and not isinstance(
        command, c.Terminate | c.Quarantine | c.Release | c.PauseExecution | c.Confirm | c.Refuse
    ):
        return Rejection("UNAVAILABLE", "the execution is quarantined: deciding a command about it failed")
    if state.pause is not None and paused.PAUSED[kind].does == "put off":
        return stale("the execution is paused")
    # Both of these unwind a decision that was half made. That costs nothing but time: its draft is dropped, `state` was
    # never changed, and the random values are the same again.
    try:
        return _DECIDE[kind](state, command, facts)
    except PayloadMissing as missing:
        return Need(seqs=missing.seqs)
    except TooSlow:
        return Need(is_slow=True)


__all__ = ["decide"]
