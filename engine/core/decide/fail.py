"""Failures: Retry and Catch of a state, and the end of its scope if neither handles the error.

The rules, as the States Language has them (Errors):

- Retriers are looked through in order, and the first that matches the error decides: it has another attempt made, or,
  if it has none left, no retrier does. Catchers are asked then.
- Whatever neither saves fails the scope. At the top level that is the execution; in a branch or an iteration it is
  counted by the fork, which fails when it was one too many, and asks Retry and Catch of its own state in its turn.
- A failure while a catcher's output is computed asks nobody: it would be asked for ever.

What follows is decided before the event is made, and stands in it (`then`): replay never asks again. So an event of a
failure says what happened, why, and what is next; delays are drawn here, once.

Names of errors are told from business data: those that the language reserves, or that stand in the definition itself,
are in the event's `data`; any other may be anything that a step made up, and is in the payload, as causes are.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Literal, NamedTuple

from perdure.engine.core import events as e
from perdure.engine.core.decide.context import environment
from perdure.engine.core.decide.draft import ExecutionDraft
from perdure.engine.core.effects import FillPlaces, SetTimer, TellParent
from perdure.engine.core.refs import Ref, ref
from perdure.engine.core.state import TOP, Fork, InFork, InTask, InWait
from perdure.engine.language import HandlingState, StatesError, literal_errors
from perdure.engine.language.errors import HEARTBEAT_TIMEOUT, TIMEOUT, TooLarge

RESERVED_ERRORS: Final = frozenset(
    {
        "States.ALL",
        "States.BranchFailed",
        "States.DataLimitExceeded",
        "States.ExceedToleratedFailureThreshold",
        "States.HeartbeatTimeout",
        "States.Http.Socket",
        "States.IntrinsicFailure",
        "States.ItemReaderFailed",
        "States.NoChoiceMatched",
        "States.ParameterPathFailure",
        "States.Permissions",
        "States.QueryEvaluationError",
        "States.ResultPathMatchFailure",
        "States.ResultWriterFailed",
        "States.Runtime",
        "States.TaskFailed",
        "States.Timeout",
    }
)
"""Names that the States Language reserves: they tell nothing about anybody's business."""


class Failure(NamedTuple):
    """An error as events carry it: its name, or a reference if that is business data; and one to its cause."""

    error: str | None
    error_ref: Ref | None
    cause: Ref | None


class Thrown(NamedTuple):
    """An error as Retry and Catch see it: `names` are those it goes by, the first of them its own."""

    error: str | None
    cause: str | None
    names: tuple[str | None, ...]
    is_retryable: bool = True


def fail_task(
    draft: ExecutionDraft,
    scope: str,
    attempt: int,
    error: str | None,
    cause: str | None,
    *,
    wait: str | None = None,
    is_retryable: bool = True,
) -> None:
    """Record that the step which this scope called has failed, and what follows.

    `wait` is the wait whose token's holder says so, if that is who says it. A failure that trying again cannot mend is
    not `is_retryable`, and is left to Catch.
    """
    members: dict[str, Any] = {}
    failure = _describe(draft, error, cause, members)
    then, problem = _then(draft, scope, Thrown(error, cause, (error,), is_retryable), members)
    name = draft.state.frames[scope].state
    draft.emit(e.TaskFailed(name, *failure, attempt, wait, then, scope), members)
    _go_on(draft, scope, then, problem, failure)


def time_out(draft: ExecutionDraft, scope: str, phase: InTask | InWait, limit: Literal["task", "heartbeat"]) -> None:
    """Record that the step or the wait of this scope took too long, and what follows.

    AWS reports a missed heartbeat as States.Timeout (recorded: timeouts/test_heartbeats); Retry and Catch may also
    name it States.HeartbeatTimeout (States Language, appendix A).
    """
    members: dict[str, Any] = {}
    names = (TIMEOUT,) if limit == "task" else (TIMEOUT, HEARTBEAT_TIMEOUT)
    then, problem = _then(draft, scope, Thrown(TIMEOUT, "", names), members)  # the one Cause that is empty: recorded
    name = draft.state.frames[scope].state
    # Before the event, which takes the task out of the frame. Its step may still return, and is ignored then.
    if isinstance(phase, InTask):
        draft.give_up_task(phase)
    if phase.wait is not None:
        draft.emit(e.WaitExpired(name, phase.wait, limit, TIMEOUT, phase.attempt, then, scope), members)
    else:
        draft.emit(e.TaskTimedOut(name, limit, TIMEOUT, phase.attempt, then, scope), members)
    _go_on(draft, scope, then, problem, Failure(TIMEOUT, None, None))


def fail_state(draft: ExecutionDraft, scope: str, problem: StatesError, *, is_final: bool = False) -> None:
    """Fail by what went wrong in a state; the cause says where, in AWS's words. `is_final`: no Retry or Catch is asked.

    A state that has left no event of its own is entered by its failure.
    """
    frame = draft.state.frames[scope]
    entered = f"(entered at the event id #{frame.entry or draft.state.told + 1})"
    where = f"An error occurred while executing the state '{frame.state}' {entered}."
    cause = problem.cause if isinstance(problem, TooLarge) else f"{where} {problem.cause}"
    fail(draft, scope, problem.error, cause, is_entry=not frame.entry, is_final=is_final)


def fail_by_definition(draft: ExecutionDraft, scope: str, error: str | None, cause: str | None) -> None:
    """Fail because a Fail state says so."""
    # Its own Retry and Catch are not asked, since it can have none (`HandlingState`); those of a fork around it are.
    fail(draft, scope, error, cause, is_entry=not draft.state.frames[scope].entry)


def fail(
    draft: ExecutionDraft,
    scope: str,
    error: str | None,
    cause: str | None,
    *,
    is_entry: bool = False,
    is_final: bool = False,
) -> None:
    """Fail the state that a scope is in. `is_entry`: it left no event of its own before."""
    state = draft.state_of(scope)
    members: dict[str, Any] = {}
    failure = _describe(draft, error, cause, members)
    then: e.Then | None = None
    problem: StatesError | None = None
    if not is_final:
        then, problem = _then(draft, scope, Thrown(error, cause, (error,)), members)
    # At the top level nothing comes between the failure of the state and the end, so one event says both.
    if then is None and scope == TOP:
        finish(draft, e.ExecutionFailed(*failure, state.name, state.type if is_entry else None), members)
        return
    _give_up_below(draft, scope)  # before the event, which takes the frames below away
    draft.emit(e.StateFailed(state.name, state.type, *failure, is_entry, then, scope), members)
    _go_on(draft, scope, then, problem, failure)


def fail_fork(draft: ExecutionDraft, fork: Fork) -> None:
    """Fail a Parallel or Map state as one of its branches or iterations did; the others are given up."""
    state = draft.state_of(fork.scope)
    error = fork.error if fork.error_ref is None else draft.value(fork.error_ref)
    cause = None if fork.cause is None else draft.value(fork.cause)
    members: dict[str, Any] = {}
    then, problem = _then(draft, fork.scope, Thrown(error, cause, (error,)), members)
    failure = Failure(fork.error, fork.error_ref, fork.cause)
    _give_up_below(draft, fork.scope)
    draft.emit(e.StateFailed(state.name, state.type, *failure, then=then, scope=fork.scope), members)
    _go_on(draft, fork.scope, then, problem, failure)


def _give_up_below(draft: ExecutionDraft, scope: str) -> None:
    """Let go of what the branches or iterations of a state do, if it is in a fork."""
    phase = draft.state.frames[scope].phase
    if isinstance(phase, InFork):
        draft.give_up(draft.state.below(draft.state.forks[phase.seq]))


def _then(
    draft: ExecutionDraft, scope: str, thrown: Thrown, members: dict[str, Any]
) -> tuple[e.Then | None, StatesError | None]:
    """The consequence of an error by Retry and Catch of the state; and the error of computing that, if there was one.

    Each retrier has its own count; the first one that matches decides (States Language, Retrying after error).
    """
    # Everything is computed before anything is emitted: `members` is the payload of the very next event, and references
    # into it are made here.
    state, frame = draft.state_of(scope), draft.state.frames[scope]
    if not isinstance(state, HandlingState):
        return None, None
    for index, retrier in enumerate(state.retriers if thrown.is_retryable else ()):
        if any(map(retrier.matches, thrown.names)):
            # Counted since the scope arrived at the state (`engine.core.frames.arrive`), for each retrier by itself.
            done = frame.retries[index] if index < len(frame.retries) else 0
            if done < retrier.attempts_max:
                return e.Retry(index, draft.clock + retrier.delay_ms(done, lambda: _draw(draft))), None
            break  # it has decided: no later retrier is asked
    for index, catcher in enumerate(state.catchers):
        if any(map(catcher.matches, thrown.names)):
            error_output = {"Error": thrown.error, "Cause": thrown.cause}
            try:
                # With the state's raw input: what InputPath and Parameters made of it was for its work.
                left = catcher.leave(error_output, environment(draft, scope))
                draft.check_size_left(scope, left, {})
            except StatesError as problem:
                # The event says that it was caught, and has no output; the failure of the catcher is the next event.
                return e.Caught(index, catcher.next), problem
            output = draft.refer(left.output, frame.input, "output", members)
            assigned = draft.refer_all(left.assigned, frame.input, members)
            return e.Caught(index, catcher.next, output, assigned), None
    return None, None


def _draw(draft: ExecutionDraft) -> float:
    """A number from 0 up to but not including 1, with 53 random bits, as a float holds them."""
    return (int.from_bytes(draft.facts.random_bytes(7), "big") >> 3) / (1 << 53)


def _go_on(
    draft: ExecutionDraft, scope: str, then: e.Then | None, problem: StatesError | None, failure: Failure
) -> None:
    """Do what follows a failure that has been recorded; the execution's failure points to the same values."""
    if problem is not None:
        fail_state(draft, scope, problem, is_final=True)
    elif isinstance(then, e.Retry):
        if draft.state.pause is None:  # if not, its delay stands still
            draft.effects.append(SetTimer(then.due_at))
    elif then is None and scope == TOP:
        finish(draft, e.ExecutionFailed(*failure, draft.state.frames[scope].state))


def _describe(draft: ExecutionDraft, error: str | None, cause: str | None, members: dict[str, Any]) -> Failure:
    """An error as the next event carries it; what is business data goes into that event's payload."""
    is_open = error is None or error in RESERVED_ERRORS or error in literal_errors(draft.facts.machine)
    if not is_open:
        members["error"] = error
    if cause is not None:
        members["cause"] = cause
    return Failure(
        error=error if is_open else None,
        error_ref=None if is_open else ref(draft.next_seq, "error"),
        cause=None if cause is None else ref(draft.next_seq, "cause"),
    )


def finish(draft: ExecutionDraft, event: e.Event, payload: Mapping[str, Any] | None = None) -> None:
    """End the execution by this event; what still runs is cancelled, and a parent that awaits the end is notified."""
    # Before the event: it takes the frames away, and with them the knowledge of what was under way.
    if draft.state.active or draft.state.delayed:  # if not, no step and no child is under way
        draft.give_up_all()
    had_places, keys = bool(draft.state.places), draft.state.limit_keys
    draft.emit(event, payload)
    if had_places:
        draft.effects.append(FillPlaces(keys))
    parent = draft.state.parent
    if parent is not None and parent.is_awaited:
        draft.effects.append(TellParent(parent))
