"""Runs one state by itself on the production core.

It is entered, given the result that its step (or its branches, or its iterations) would have given, and left; no
other state is entered, and nothing is called.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from itertools import chain
from typing import Any, Final, Literal, NamedTuple

from perdure.engine.core import events as e
from perdure.engine.core.commands import TaskSuccess as Given
from perdure.engine.core.decide.complete import end_wait_state, succeed
from perdure.engine.core.decide.draft import ExecutionDraft
from perdure.engine.core.decide.enter import enter
from perdure.engine.core.decide.fail import fail, fail_task
from perdure.engine.core.decide.fork import leave_fork
from perdure.engine.core.decide.resume import leave_wait
from perdure.engine.core.decision import PAYLOAD_MAX, Facts, Trial
from perdure.engine.core.persistent import PersistentMap
from perdure.engine.core.refs import below
from perdure.engine.core.state import TOP, Frame, InFork, InRetry, InTask, InTimer, InWait, State, initial_state
from perdure.engine.language import (
    CompiledState,
    DefinitionError,
    HandlingState,
    Machine,
    Problem,
    compile_state,
    context_object,
    format_instant,
    problems,
)
from perdure.engine.language.evaluate.sizes import LEVELS_MAX, exceeds
from perdure.engine.log.codec import decode_json, encode_json
from perdure.engine.steps.invoke import outcome_of
from perdure.engine.suggestions import did_you_mean
from perdure.engine.testing.answers import Failed, Succeeded
from perdure.engine.testing.clock import START

NAME: Final = "StateName"
"""The name of a state that is given without its machine."""

EXECUTION: Final = "01900000-0000-7000-8000-000000000001"


class NoSuchState(Exception):
    """The definition has no state of the name that was given."""


class StateOutcome(NamedTuple):
    """The result of running a state.

    `status` is SUCCEEDED, FAILED, RETRIABLE (a retrier would have it tried again, after `retry_delay_ms`),
    CAUGHT_ERROR, or NEEDS_RESULT (its input was processed, and what follows depends on a result that was not given).
    `inspection` has the data after each step of its input and output processing, by the names that AWS TestState gives
    them. `due_at` is when a Wait state would end, in milliseconds since 1970.
    """

    status: Literal["SUCCEEDED", "FAILED", "RETRIABLE", "CAUGHT_ERROR", "NEEDS_RESULT"]
    output: Any = None
    error: str | None = None
    cause: str | None = None
    next_state: str | None = None
    assigned: Mapping[str, Any] = {}
    inspection: Mapping[str, Any] = {}
    retry_delay_ms: int | None = None
    due_at: int | None = None

    def document(self) -> dict[str, Any]:
        """All of it as JSON values, as the API and the command line show it."""
        return {
            "status": self.status,
            "output": self.output,
            "error": self.error,
            "cause": self.cause,
            "next_state": self.next_state,
            "assigned": dict(self.assigned),
            "retry_delay_ms": self.retry_delay_ms,
            "wait_until": None if self.due_at is None else format_instant(self.due_at),
            "inspection": dict(self.inspection),
        }


def test_state(
    definition: Mapping[str, Any],
    input: Any = None,  # noqa: A002 as the States Language says it
    *,
    state: str | None = None,
    result: Succeeded | Failed | None = None,
    context: Mapping[str, Any] | None = None,
    variables: Mapping[str, Any] | None = None,
    retry_count: int = 0,
    payload_max_bytes: int = PAYLOAD_MAX,
) -> StateOutcome:
    """Try out one state: `definition` is the state itself, or a machine of which `state` names one (nested ones too).

    No input, or null, is {}, as with AWS. `result` is what its step gives; of a Parallel or Map state, the list of
    outputs; without one only the input is processed. `context` is the whole context object, `variables` are those that
    the state sees, `retry_count` is how often it has been tried again. No value has more than `payload_max_bytes` of
    JSON text, and the inspection leaves out what has.

    Raises `engine.language.errors.DefinitionError`, `NoSuchState`, `ValueError` (the input is too large, or the result
    is none of a state of this type).
    """
    name, machine = _machine(definition, state)
    trace: dict[str, Any] = {}
    _check_result(machine.states[name], result)
    result = _within(result, name, payload_max_bytes)
    _check_size("input", input, payload_max_bytes)
    _check_size("variables", dict(variables or {}), payload_max_bytes)
    payload = decode_json(encode_json({"input": {} if input is None else input, "variables": dict(variables or {})}))
    seen = _context(machine.states[name], payload["input"], retry_count) if context is None else dict(context)
    facts = Facts(
        execution=EXECUTION,
        machine=machine,
        payloads={1: payload},
        now=START,
        actor="embedded:test_state",
        new_id=lambda: EXECUTION,
        random_bytes=_Entropy().draw,
        trial=Trial(seen, trace),
        payload_max=payload_max_bytes,
    )
    retries = _retries(machine.states[name], result, retry_count)
    draft = ExecutionDraft(_entering(name, variables or {}, retries), facts)
    trace["input"] = draft.value(draft.state.input)
    if variables:
        trace["variables"] = dict(variables)
    enter(draft, TOP)
    _carry_on(draft, result, trace)
    shown = {name: value for name, value in trace.items() if not exceeds(value, payload_max_bytes)}
    return _tested(draft, shown, has_result=result is not None)


test_state.__test__ = False  # type: ignore[attr-defined]  # it is no test, whatever pytest thinks


# --- what is tried -----------------------------------------------------------------------------------------------


def _machine(definition: Mapping[str, Any], state: str | None) -> tuple[str, Machine]:
    """The state's name, and a machine of this state alone, whose `Next` may lead anywhere."""
    if state is None and "States" not in definition:
        return NAME, _alone(NAME, definition)
    found = problems(definition)
    if found:
        raise DefinitionError(found)
    if state is None:
        raise DefinitionError([Problem("", "name one of its states, or give that state alone")])
    known = list(_states(definition, "JSONPath"))
    for source in known:
        if state in source:
            return state, _alone(state, source[state])
    message = f"the definition has no state {state!r}.{did_you_mean(state, chain.from_iterable(known))}"
    raise NoSuchState(message)


def _alone(name: str, source: Mapping[str, Any]) -> Machine:
    return Machine(start_at=name, states={name: compile_state(source, name=name)})


def _states(machine: Mapping[str, Any], language: str) -> Iterator[dict[str, dict[str, Any]]]:
    """The states of a valid machine and of those nested in it, each with the query language that it inherits."""
    language = machine.get("QueryLanguage", language)
    yield {name: {"QueryLanguage": language, **source} for name, source in machine["States"].items()}
    for source in machine["States"].values():
        inner = source.get("QueryLanguage", language)
        for part in (*source.get("Branches", ()), source.get("ItemProcessor"), source.get("Iterator")):
            if part is not None:
                yield from _states(part, inner)


def _retries(state: CompiledState, result: Succeeded | Failed | None, count: int) -> tuple[int, ...]:
    """The retries that were made before, as if all were by the retrier that has to do with this result."""
    error = result.error if isinstance(result, Failed) else None
    retriers = state.retriers if isinstance(state, HandlingState) else ()
    index = next((index for index, retrier in enumerate(retriers) if retrier.matches(error)), 0)
    return (*([0] * index), count) if count else ()


def _entering(name: str, variables: Mapping[str, Any], retries: tuple[int, ...]) -> State:
    """A run that has begun and comes to this state first, or has entered it before."""
    state = initial_state()
    state.told = 2 if retries else 1
    frame = Frame(
        name,
        "1/input",
        START,
        entry=2 if retries else 0,
        retries=retries,
        visits=PersistentMap({name: 1} if retries else {}),
        variables=PersistentMap({variable: below("1/variables", variable) for variable in variables}),
    )
    state.status, state.seq, state.recorded_at, state.started_at = "running", 1, START, START
    state.input, state.current = "1/input", name
    state.frames, state.ready, state.active = PersistentMap({TOP: frame}), (TOP,), 1
    return state


def _context(state: CompiledState, run_input: Any, retry_count: int) -> dict[str, Any]:
    """The context object of a run that consists of this state, whose name AWS does not tell it."""
    now = format_instant(START)
    entered: dict[str, Any] = {"EnteredTime": now, "Name": NAME}
    if isinstance(state, HandlingState):
        entered["RetryCount"] = retry_count
    execution = {"Id": EXECUTION, "Input": run_input, "Name": EXECUTION, "RoleArn": None, "StartTime": now}
    return context_object(execution=execution, state=entered, state_machine={"Id": EXECUTION, "Name": EXECUTION})


class _Entropy:
    """Bytes that are the same in every trial, so that a trial can be repeated."""

    def __init__(self) -> None:
        self._drawn = 0

    def draw(self, count: int) -> bytes:
        self._drawn += 1
        return hashlib.shake_256(self._drawn.to_bytes(8, "big")).digest(count)


def _check_result(state: CompiledState, result: Succeeded | Failed | None) -> None:
    if not isinstance(result, Succeeded | Failed | None):
        message = (
            f"result: it must be perdure.engine.testing.Succeeded(...) or Failed(...), not a {type(result).__name__}"
        )
        raise TypeError(message)
    if not isinstance(state, HandlingState) and result is not None:
        message = f"result: a {state.type} state takes none; it goes with Task, Parallel and Map"
        raise ValueError(message)


def _within(result: Succeeded | Failed | None, name: str, size_max: int) -> Succeeded | Failed | None:
    """The result as a run would have it: one that is too large, or no JSON, is a failure."""
    if not isinstance(result, Succeeded):
        return result
    outcome = outcome_of(result.output, name, size_max)
    return Succeeded(outcome.result) if isinstance(outcome, Given) else Failed(outcome.error, outcome.cause)


def _check_size(name: str, value: Any, size_max: int) -> None:
    if exceeds(value, size_max):
        message = f"{name}: it must have at most {size_max:,} bytes of JSON text, and at most {LEVELS_MAX} levels"
        raise ValueError(message)


# --- what becomes of it ------------------------------------------------------------------------------------------


def _carry_on(draft: ExecutionDraft, result: Succeeded | Failed | None, trace: dict[str, Any]) -> None:
    """Give the state what it waits for."""
    phase = None if draft.state.is_over else draft.state.frames[TOP].phase
    if isinstance(phase, InTimer):
        end_wait_state(draft, TOP, phase)
    elif isinstance(result, Failed) and phase is not None and not isinstance(phase, InRetry):
        if isinstance(phase, InFork):
            fail(draft, TOP, result.error, result.cause)
        else:
            fail_task(draft, TOP, draft.state.frames[TOP].attempt, result.error, result.cause)
    elif isinstance(result, Succeeded):
        value = trace["result"] = result.output
        if isinstance(phase, InFork):
            _leave_fork(draft, phase, value)
        elif isinstance(phase, InTask | InWait) and phase.wait is not None:
            leave_wait(draft, phase.wait, value)
        elif isinstance(phase, InTask):
            succeed(draft, TOP, phase, value)


def _leave_fork(draft: ExecutionDraft, phase: InFork, outputs: Any) -> None:
    if not isinstance(outputs, list):
        message = "result: a Parallel or Map state gives the list of the outputs of its branches or iterations"
        raise ValueError(message)  # noqa: TRY004 a value of the wrong form
    leave_fork(draft, draft.state.forks[phase.seq], outputs)


def _tested(draft: ExecutionDraft, trace: dict[str, Any], *, has_result: bool) -> StateOutcome:
    """Read off the events what became of the state."""
    tested = StateOutcome("FAILED" if has_result else "NEEDS_RESULT", inspection=trace)
    for step in draft.steps:
        tested = _told(draft, step.recorded.event, tested)
    return tested


def _told(draft: ExecutionDraft, event: e.Event, tested: StateOutcome) -> StateOutcome:
    match event:
        case e.TimerSet(due_at=due_at):
            return tested._replace(due_at=due_at)
        case e.StatePassed() | e.TaskSucceeded() | e.WaitResumed() | e.TimerFired() | e.StateExited():
            if event.output is None:
                return tested
            assigned = {name: draft.value(each) for name, each in event.assigned.items()}
            output = draft.value(event.output)
            return tested._replace(status="SUCCEEDED", output=output, next_state=event.next, assigned=assigned)
        case e.TaskFailed() | e.StateFailed():
            return _failed(draft, event, tested._replace(**_error(draft, event)))
        case e.ExecutionFailed():
            return tested._replace(status="FAILED", output=None, next_state=None, **_error(draft, event))
    return tested


def _failed(draft: ExecutionDraft, event: e.TaskFailed | e.StateFailed, tested: StateOutcome) -> StateOutcome:
    then = event.then
    if isinstance(then, e.Retry):
        return tested._replace(status="RETRIABLE", retry_delay_ms=then.due_at - START)
    if then is None or then.output is None:
        return tested
    assigned = {name: draft.value(each) for name, each in then.assigned.items()}
    output = draft.value(then.output)
    return tested._replace(status="CAUGHT_ERROR", output=output, next_state=then.next, assigned=assigned)


def _error(draft: ExecutionDraft, event: e.TaskFailed | e.StateFailed | e.ExecutionFailed) -> dict[str, Any]:
    return {
        "error": event.error if event.error_ref is None else draft.value(event.error_ref),
        "cause": None if event.cause is None else draft.value(event.cause),
    }
