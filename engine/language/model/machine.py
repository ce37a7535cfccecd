"""Machines: compiled definitions."""

from collections.abc import Iterator, Mapping

import msgspec

from perdure.engine.language.model.states import FailState, HandlingState, MapState, ParallelState, State, TaskState


class Machine(msgspec.Struct, frozen=True, kw_only=True):
    """A compiled definition, or one that is nested in another: a branch of a Parallel, the processor of a Map.

    Attributes:
        start_at: Name of the first state.
        states: Its states by name, in document order.
        comment: What the author says about it.
        query_language: The query language of states that name none.
        timeout_seconds: How long an execution may take; None for no limit.
        version: Version of the States Language, if the definition has it.
        literal_errors: The error names that stand in the definition, nested machines included.
        varies: Whether a task of it may be called again with other parameters in the same visit.
    """

    start_at: str
    states: Mapping[str, State]
    comment: str | None = None
    query_language: str = "JSONPath"
    timeout_seconds: int | None = None
    version: str | None = None
    literal_errors: frozenset[str] = frozenset()
    varies: bool = False


def nested_in(state: State) -> tuple[Machine, ...]:
    """Give the machines that a state runs."""
    if isinstance(state, ParallelState):
        return state.branches
    return (state.processor,) if isinstance(state, MapState) else ()


def varies(state: State) -> bool:
    """Say whether a task of this state, or in it, may be called again with other parameters in the same visit.

    One that is tried again itself may if it reads the context object; one in a Parallel or Map that is tried again may
    in any case.
    """
    if not isinstance(state, HandlingState):
        return False
    if isinstance(state, TaskState):
        return bool(state.retriers) and state.reads_context
    return bool(state.retriers) or any(machine.varies for machine in nested_in(state))


def errors_in(states: Mapping[str, State]) -> Iterator[str]:
    """List the error names that stand in Fail states, Retry and Catch, those of nested machines included."""
    for state in states.values():
        if isinstance(state, FailState) and state.literal_error is not None:
            yield state.literal_error
        if isinstance(state, HandlingState):
            for names in (*(each.errors for each in state.retriers), *(each.errors for each in state.catchers)):
                yield from names.names
        for machine in nested_in(state):
            yield from machine.literal_errors
