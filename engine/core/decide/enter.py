"""Entering states: one function for each state type, and the loop that runs until every frame waits.

A state that needs nobody is entered and left by one event (`StatePassed`). One that waits is entered by the event that
says what for, and left by another, later decision. Whatever goes wrong on the way in raises `StatesError` before an
event is emitted, and is caught in `enter`; the state then fails, as one that was entered.
"""

from __future__ import annotations

from typing import Final

from perdure.engine.core import events as e
from perdure.engine.core.decide.call import enter_task
from perdure.engine.core.decide.context import environment
from perdure.engine.core.decide.draft import ExecutionDraft
from perdure.engine.core.decide.fail import fail_by_definition, fail_state
from perdure.engine.core.decide.fork import begin_iteration, end_fork, enter_map, enter_parallel
from perdure.engine.core.decide.hold import give_places_back, may_not_go_on
from perdure.engine.core.decide.leave import leave
from perdure.engine.core.decide.quota import stops
from perdure.engine.core.decision import ITERATIONS_AHEAD
from perdure.engine.core.dispatch import Dispatch
from perdure.engine.core.effects import Continue, SetTimer
from perdure.engine.core.state import Frame, State
from perdure.engine.language import (
    ChoiceState,
    CompiledState,
    FailState,
    Left,
    MapState,
    ParallelState,
    PassState,
    StatesError,
    SucceedState,
    TaskState,
    WaitState,
)


def advance(draft: ExecutionDraft) -> None:
    """Go on until every frame is in a phase, or the execution has ended.

    After the moves that the facts allow, or all the time that it has, it stops with the effect
    `Continue`, so that neither a loop nor many slow expressions starve the others.
    """
    if draft.state.pause is not None or may_not_go_on(draft):
        return
    # Before each move: whether the run has used up a quota, which pauses it. After it: whether there is time for
    # another; so there is always one, and a loop of slow expressions gets on, one state a turn.
    time_left_s = draft.facts.expression_timeout_s
    for _ in range(draft.facts.transitions_max):
        if stops(draft) or not _move(draft):
            give_places_back(draft)
            return
        if time_left_s is not None and time_left_s() <= 0:
            break
    if not draft.state.is_over and (draft.state.ready or draft.state.actionable_forks):
        draft.effects.append(Continue())
    else:  # its last move was the last one allowed
        give_places_back(draft)


def _move(draft: ExecutionDraft) -> bool:
    """End a fork, begin an iteration, or enter a state, in this order; whether there was something to do.

    Ends come first, so that what is cancelled does not go on; iterations are begun some way ahead of their states.
    """
    state = draft.state
    if state.actionable_forks and _move_fork(draft, state):
        return True
    if state.ready:
        enter(draft, state.ready[0])
        return True
    return False


def _move_fork(draft: ExecutionDraft, state: State) -> bool:
    """Settle a fork or begin an iteration; whether there was anything to do."""
    # A settled fork goes before all others that could begin an iteration, whichever has come first: what is settled by
    # a failure cancels, and of what it cancels nothing more is to begin.
    at_work = [state.forks[seq] for seq in state.actionable_forks]
    for fork in at_work:
        if fork.is_settled:
            end_fork(draft, fork)
            return True
    if len(state.ready) < ITERATIONS_AHEAD:
        # The first in the list stays first until it has no room: one Map begins all that it may, then the next.
        begin_iteration(draft, at_work[0])
        return True
    return False


def enter(draft: ExecutionDraft, scope: str) -> None:
    """Enter the state that a scope has come to, or try it again."""
    state = draft.state_of(scope)
    try:
        _ENTER[type(state)](draft, state, scope, draft.state.frames[scope])
    except StatesError as problem:
        fail_state(draft, scope, problem)


def _enter_pass(draft: ExecutionDraft, state: PassState, scope: str, _frame: Frame) -> None:
    """Pass through a Pass state: it is entered and left in one event."""
    env = environment(draft, scope)
    leave(
        draft,
        scope,
        state.leave(state.result(state.arguments(env), env), env),
        state.next,
        lambda output, following, assigned: e.StatePassed(state.name, "Pass", output, following, assigned, scope),
    )


def _enter_choice(draft: ExecutionDraft, state: ChoiceState, scope: str, _frame: Frame) -> None:
    """Pass through a Choice state; the event records which rule decided, so that nobody has to evaluate it again."""
    chosen = state.choose(environment(draft, scope))
    leave(
        draft,
        scope,
        Left(chosen.output, chosen.assigned),
        chosen.next,
        lambda output, following, assigned: e.StatePassed(
            state.name, "Choice", output, following, assigned, scope, chosen.rule
        ),
    )


def _enter_succeed(draft: ExecutionDraft, state: SucceedState, scope: str, _frame: Frame) -> None:
    """End a scope well at a Succeed state."""
    # It ends its scope only: in a branch or an iteration the fork goes on until the others have ended.
    env = environment(draft, scope)
    leave(
        draft,
        scope,
        state.leave(state.arguments(env), env),
        None,
        lambda output, _, assigned: e.StatePassed(state.name, "Succeed", output, None, assigned, scope),
    )


def _enter_fail(draft: ExecutionDraft, state: FailState, scope: str, _frame: Frame) -> None:
    """End a scope at a Fail state, with the error and cause that it names."""
    fail_by_definition(draft, scope, *state.failure(environment(draft, scope)))


def _enter_wait(draft: ExecutionDraft, state: WaitState, scope: str, _frame: Frame) -> None:
    """Set the timer of a Wait state."""
    # Also for an instant that has passed: a Wait state is always left by its timer, in a decision of its own.
    due_at = state.due_ms(environment(draft, scope), draft.facts.now)
    draft.emit(e.TimerSet(state.name, due_at, scope))
    draft.effects.append(SetTimer(due_at))


_ENTER: Final = (
    Dispatch[ExecutionDraft, [str, Frame], None](__name__)
    .on(PassState, _enter_pass)
    .on(ChoiceState, _enter_choice)
    .on(SucceedState, _enter_succeed)
    .on(FailState, _enter_fail)
    .on(WaitState, _enter_wait)
    .on(TaskState, enter_task)
    .on(ParallelState, enter_parallel)
    .on(MapState, enter_map)
    .over(CompiledState)
)
