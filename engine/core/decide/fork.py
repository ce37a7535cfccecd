"""Parallel and Map states: starting and ending their branches and iterations.

A branch ends by an event of its own last state, and nothing here is asked then: the fork counts (`engine.core.forks`),
and when it is settled `advance` ends it, as its next move. So that is one place, whatever ended the last branch: a
result, a timer, a failure, or a chain of states that needed nobody.

Items are not copied: an iteration's input is a reference into them, unless an ItemSelector makes another. The result of
the state, which is one payload, is the first place where all outputs stand together.
"""

from __future__ import annotations

from typing import Any, Literal

from perdure.engine.core import events as e
from perdure.engine.core.chance_events import IterationRedriven
from perdure.engine.core.decide.context import MapItem, ScopeContext, environment
from perdure.engine.core.decide.draft import ExecutionDraft
from perdure.engine.core.decide.fail import fail_fork, fail_state
from perdure.engine.core.decide.leave import leave_after
from perdure.engine.core.refs import below, ref
from perdure.engine.core.state import Fork, Frame, scope_of
from perdure.engine.language import MapState, ParallelState, StatesError
from perdure.engine.language.errors import TooLarge


def enter_parallel(draft: ExecutionDraft, state: ParallelState, scope: str, frame: Frame) -> None:
    """Begin all branches, each with the same input."""
    arguments = state.arguments(environment(draft, scope))
    draft.check_size(scope, arguments)
    payload: dict[str, Any] = {}
    reference = draft.refer(arguments, frame.input, "input", payload)
    starts = tuple(branch.start_at for branch in state.branches)
    draft.emit(e.BranchesStarted(state.name, reference, starts, frame.visit, frame.attempt, scope), payload)


def enter_map(draft: ExecutionDraft, state: MapState, scope: str, frame: Frame) -> None:
    """Settle what is iterated over, and how; the iterations begin one by one."""
    env = environment(draft, scope)
    arguments = state.arguments(env)
    items = state.items(arguments, env)
    draft.check_size(scope, items)
    payload: dict[str, Any] = {}
    # The items are found by a path or made by an expression. Of a path the reference goes into the value where they
    # stand, however large: an iteration loads that one payload, and nothing is written twice.
    if state.items_ref is not None:
        reference = below(frame.input, *state.items_ref)
    else:
        reference = draft.refer(items, frame.input, "items", payload)
    started = e.MapStarted(
        state=state.name,
        items=reference,
        count=len(items),
        start_at=state.processor.start_at,
        concurrency=state.concurrency(env, arguments),
        tolerated=state.tolerance(len(items), env, arguments),
        visit=frame.visit,
        attempt=frame.attempt,
        scope=scope,
    )
    # Without items the fork is settled from its beginning, and the next move of `advance` leaves the state with [].
    draft.emit(started, payload)


def begin_iteration(draft: ExecutionDraft, fork: Fork) -> None:
    """Begin the next iteration of a Map state, or let one go on that a redrive has brought back."""
    state = draft.definition(fork.scope, MapState)
    if fork.again:
        draft.caused_by = fork.seq
        draft.emit(IterationRedriven(state.name, fork.again[0], scope_of(fork.seq, fork.again[0])))
        return
    index = fork.started
    reference = below(fork.items or "", index)
    payload: dict[str, Any] = {}
    if state.has_item_selector:
        value = draft.value(reference)
        scope_context = ScopeContext(draft, fork.scope, item=MapItem(index, value))
        try:
            selected = state.item_input(value, environment(draft, fork.scope, scope_context))
            draft.check_size(fork.scope, selected)
        except StatesError as problem:
            # It fails the Map itself: this iteration has not begun, so it is none of those that are tolerated.
            fail_state(draft, fork.scope, problem)
            return
        reference = draft.refer(selected, reference, "input", payload)
    draft.caused_by = fork.seq  # not the end of whichever iteration made room for it
    draft.emit(e.IterationStarted(state.name, index, reference, scope_of(fork.seq, index)), payload)


def end_fork(draft: ExecutionDraft, fork: Fork) -> None:
    """Leave a Parallel or Map state with what its branches or iterations gave, or fail with it.

    Of iterations whose failure is tolerated nothing stands in the result.
    """
    if fork.has_failed:
        fail_fork(draft, fork)
        return
    # In the order of the definition or the items, whoever came first. They may be many: all that are not loaded are
    # asked for at once.
    references = (fork.outputs[index] for index in range(fork.count) if index in fork.outputs)
    try:
        outputs = draft.values_within(fork.scope, references)
    except TooLarge as problem:
        draft.caused_by = fork.seq
        fail_state(draft, fork.scope, problem)
        return
    leave_fork(draft, fork, outputs)


def leave_fork(draft: ExecutionDraft, fork: Fork, outputs: list[Any]) -> None:
    """Leave a Parallel or Map state with these outputs of its branches or iterations."""
    scope = fork.scope
    kind: Literal["Parallel", "Map"] = "Parallel" if fork.items is None else "Map"
    state: ParallelState | MapState
    state = draft.definition(scope, ParallelState) if kind == "Parallel" else draft.definition(scope, MapState)
    draft.caused_by = fork.seq
    try:
        draft.check_size(scope, outputs)
    except TooLarge as problem:
        fail_state(draft, scope, problem)
        return
    result = ref(draft.next_seq, "result")

    leave_after(
        draft,
        scope,
        state,
        lambda env: state.leave(outputs, env),
        lambda output, following, assigned: e.StateExited(state.name, kind, result, output, following, assigned, scope),
        {"result": outputs},
    )
