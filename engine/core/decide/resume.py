"""Resume: finds the wait that a call means, and ends it or rejects the call.

An external system may come early, late, twice, or all at once; exactly one resume ends a wait, and a late answer to
one question never answers the next (`api/CONTRACT.md`, "Resuming").

What is asked, in this order: was the run terminated (then nothing else is true of it); must the call name its wait, and
does not; which open waits could it mean. One: it ends that. Several: it is told which. None: what became of the one
that it would have meant decides. A wait that was resumed makes the call a repetition (a no-op, answered as such, for
ever); one that ended otherwise makes it late; and if there was none the call is early, which time may lift.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from heapq import nsmallest
from itertools import islice
from typing import Any

from perdure.engine.core import events as e
from perdure.engine.core.commands import Resume
from perdure.engine.core.decide.draft import ExecutionDraft
from perdure.engine.core.decide.enter import advance
from perdure.engine.core.decide.leave import leave_after
from perdure.engine.core.decide.refuse import refuse, too_large
from perdure.engine.core.decision import Decision, Facts, Need, Outcome, Rejection, RejectionCode
from perdure.engine.core.refs import ref
from perdure.engine.core.state import OpenWait, State
from perdure.engine.language import Machine, TaskState, nested_in
from perdure.engine.suggestions import did_you_mean

RESTARTED = "restarted"
ALREADY_RESTARTED = "already restarted"

WAITS_NAMED_MAX = 100
"""So many open waits a refusal names."""

NEAR_AMONG_MAX = 100
"""Among so many states one of a similar name is looked for."""

PLACES_NAMED_MAX = 5
"""So many states the message of a refusal names."""


def resume(state: State, command: Resume, facts: Facts) -> Outcome:
    """End the wait that the command means, or say why not."""
    if state.status == "terminated":
        return _refuse(state, facts, "CONFLICT", "the execution has been terminated")
    # Before anything is looked at, open or not: a caller that does not name its wait hears of it at the first call, and
    # not when a run asks twice.
    if state.resume == "named" and command.wait is None and command.state is None and not command.is_keyed:
        return _unnamed(state, facts)
    meant = _meant(state, command)
    if len(meant) > 1:
        return _ambiguous(state, facts, meant)
    # The payload last: a call that could not end a wait hears of that, however large it is.
    if meant:
        refused = too_large("payload", command.payload, facts)
        if refused is not None:
            return refused
        return end_wait(state, facts, meant[0][0], command.payload, RESTARTED)
    return _none_open(state, command, facts)


def _meant(state: State, command: Resume) -> list[tuple[str, OpenWait]]:
    """The open waits that the command could mean, in no order."""
    if command.wait is None:
        found = list(state.waits.items())
    else:
        opened = state.waits.get(command.wait)
        found = [] if opened is None else [(command.wait, opened)]
    return found if command.state is None else [item for item in found if item[1].state == command.state]


def end_wait(state: State, facts: Facts, wait: str, payload: Any, answer: str) -> Decision:
    """End an open wait with this payload as its result, and go on."""
    draft = ExecutionDraft(state, facts, caused_by=state.waits[wait].seq)
    leave_wait(draft, wait, payload)
    advance(draft)
    return draft.decision(answer)


def leave_wait(draft: ExecutionDraft, wait: str, payload: Any) -> None:
    """Leave the state that has this wait open, with the payload as its result."""
    opened = draft.state.waits[wait]
    scope = opened.scope
    definition = draft.definition(scope, TaskState)
    result = ref(draft.next_seq, "result")
    leave_after(
        draft,
        scope,
        definition,
        lambda env: definition.leave(payload, env),
        lambda output, following, assigned: e.WaitResumed(
            opened.state, wait, result, output, following, assigned, scope
        ),
        {"result": payload},
    )


def outcome_of(state: State, wait: str, facts: Facts) -> str | Need | None:
    """The outcome of a wait that is not open; null if there is no such wait."""
    # The state knows the last wait of each state of the definition, so it does not grow with a loop. Of an older one
    # the table of waits knows; the driver looks it up, and the decision is made again.
    for ended in state.ended_waits.values():
        if ended.wait == wait:
            return ended.outcome
    return facts.known_waits[wait] if wait in facts.known_waits else Need(waits=(wait,))


def _none_open(state: State, command: Resume, facts: Facts) -> Outcome:
    """No open wait fits: was the one that is meant ended before, and how, or has it not opened yet?"""
    outcome: str | Need | None
    if command.wait is not None:
        outcome = outcome_of(state, command.wait, facts)
        if isinstance(outcome, Need):
            return outcome
    elif command.state is not None:
        last = state.ended_waits.get(command.state)
        outcome = last.outcome if last else None
    else:
        outcome = next((item.outcome for item in reversed(state.ended_waits.values())), None)
    # A repetition, as far as anybody can tell: no event. Whether this caller was the one that ended it, only an
    # idempotency key could say, and then it would not have come here.
    if outcome == "resumed":
        return Decision((), (), ALREADY_RESTARTED)
    if outcome is not None:
        return _refuse(state, facts, "WAIT_EXPIRED", f"that wait is over: it was {outcome}, not resumed")
    return _not_waiting(state, command, facts)


def _not_waiting(state: State, command: Resume, facts: Facts) -> Rejection:
    """Refuse a call for which no wait is open and none has ended; it may be held if one may still open."""
    details = {"status": state.status, "state": state.current}
    named = "" if command.wait is None else f" {command.wait}"
    place = "" if command.state is None else f" at state {command.state!r}"
    message = f"no wait{named}{place} has opened; the execution is {state.status} in state {state.current!r}"
    # Only a call that names no wait may be held: the id of a wait is made when it opens, so an unknown one stays
    # unknown.
    is_known = command.state is None or command.state in _waiting_states(facts.machine)
    if command.may_hold and not state.is_over and command.wait is None and is_known:
        return Rejection("NOT_WAITING", message, details, is_early=True)
    if not is_known:
        near = did_you_mean(command.state or "", islice(_waiting_states(facts.machine), NEAR_AMONG_MAX))
        message = f"{message}; the workflow has no state of that name that waits for a resume.{near}"
    return _refuse(state, facts, "NOT_WAITING", message, details)


def _waiting_states(machine: Machine) -> Iterator[str]:
    """The states that open a wait, in a machine and in the branches and iterations of it."""
    for name, state in machine.states.items():
        if isinstance(state, TaskState) and state.resource.waits:
            yield name
        for inner in nested_in(state):
            yield from _waiting_states(inner)


def _unnamed(state: State, facts: Facts) -> Rejection:
    """Refuse a call that could be a repetition of one that ended an earlier wait."""
    waits = list(state.waits.items())
    message = (
        "a resume of this workflow must name its wait with state or wait_id, or carry an Idempotency-Key; "
        f"open: {_places(waits)}"
    )
    details = {"status": state.status, "state": state.current, "waits": _listed(waits)}
    return _refuse(state, facts, "NAME_THE_WAIT", message, details)


def _places(waits: list[tuple[str, OpenWait]]) -> str:
    """The states at which these waits are open, in words."""
    names = sorted({opened.state for _, opened in waits})
    shown = ", ".join(map(repr, names[:PLACES_NAMED_MAX]))
    return f"{shown} and more" if len(names) > PLACES_NAMED_MAX else shown or "none"


def _ambiguous(state: State, facts: Facts, meant: list[tuple[str, OpenWait]]) -> Rejection:
    """Refuse a call that could mean several open waits, and name them."""
    message = f"{len(meant)} waits are open; name one with wait_id or state"
    return _refuse(state, facts, "AMBIGUOUS_WAIT", message, {"waits": _listed(meant)})


def _listed(waits: list[tuple[str, OpenWait]]) -> list[dict[str, Any]]:
    """Those of them that were opened first."""
    first = nsmallest(WAITS_NAMED_MAX, waits, key=lambda item: item[1].seq)
    return [{"wait_id": wait, "state": opened.state} for wait, opened in first]


def _refuse(
    state: State, facts: Facts, code: RejectionCode, message: str, details: Mapping[str, Any] | None = None
) -> Rejection:
    """Refuse a resume; the refusal is recorded now and then (`engine.core.decide.refuse`)."""
    return refuse(state, facts, "resume", code, message, details)
