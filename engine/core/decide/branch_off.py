"""Forks of a run: another run that takes over its history up to an event, and goes its own way (decision record 45).

The events are copied under their own seqs, so that every reference holds, with all that names something outside made
anew: the ids of waits and children, which are one run's alone; and no token of the origin ends a wait here. Who reads
them later finds the same states, outputs and decisions as in the origin. Nothing of them is done again, since effects
come of the decision that a copy is not.

What was in progress at that event was the origin's. It is entered anew by the event after the copies
(`ExecutionForked`), as `advance` enters whatever is ready: a step is called under a key of this run, a wait opens with
an id of its own, a timer is set from now. What was completed stands. Of what the copies say about places, queues,
pauses and time limits nothing is left from there on: a fork with limits queues for places of its own, and has all the
time that a run has.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from msgspec import UNSET
from msgspec.structs import replace

from perdure.engine.core.chance_events import ExecutionForked
from perdure.engine.core.commands import ForkExecution
from perdure.engine.core.decide.draft import ExecutionDraft
from perdure.engine.core.decide.enter import advance
from perdure.engine.core.decide.keys import salt_for
from perdure.engine.core.decide.refuse import too_large
from perdure.engine.core.decision import Facts, Outcome, Rejection
from perdure.engine.core.draft import DraftedEvent
from perdure.engine.core.effects import SetTimer
from perdure.engine.core.events import (
    Event,
    ExecutionStarted,
    Recorded,
    StateExited,
    StatePassed,
    TaskSucceeded,
    TimerFired,
    WaitOpened,
    WaitResumed,
)
from perdure.engine.core.evolve import evolve
from perdure.engine.core.refs import ref
from perdure.engine.core.state import TOP, InFork, State, scope_of

_OWN: Final = ("wait", "child")
"""The members of events that name something of one run alone, outside of its log."""

PLACES_NAMED_MAX: Final = 5


def branch_off(state: State, command: ForkExecution, facts: Facts) -> Outcome:
    """Take over the history of another execution, and go on from its last event, or say why that cannot be."""
    if state.status != "new":
        return Rejection("CONFLICT", "the execution has been started before")
    draft = ExecutionDraft(state, facts)
    _start(draft, command)
    remade = _remaker(facts.new_id)
    for recorded in command.events[1:]:
        draft.caused_by = recorded.caused_by
        draft.emit(remade(recorded.event), recorded.payload)
    refused = _refused(draft, command, facts)
    if refused is not None:
        return refused
    _go_own_way(draft, command)
    draft.effects.extend(SetTimer(timer.due_at) for timer in draft.state.timers.values())
    advance(draft)
    return draft.decision(facts.execution)


def _start(draft: ExecutionDraft, command: ForkExecution) -> None:
    """Begin as the origin did, but with no parent, and under another name."""
    begun = command.events[0]
    if not isinstance(begun.event, ExecutionStarted):
        message = f"event 1 of the origin is {type(begun.event).__name__}: its log is damaged"
        raise TypeError(message)
    payload: dict[str, Any] = {"input": (begun.payload or {})["input"], **salt_for(draft)}
    if command.process_id is not None:
        payload["process_id"] = command.process_id
    draft.emit(replace(begun.event, trigger=command.trigger, parent=None, origin=command.origin), payload)


def _remaker(new_id: Callable[[], str]) -> Callable[[Event], Event]:
    """A function that gives the copy of an event; each wait and child has one id throughout."""
    made: dict[str, str] = {}

    def remade(event: Event) -> Event:
        changed: dict[str, Any] = {}
        for name in _OWN:
            known = getattr(event, name, None)
            if known is not None and known not in made:
                made[known] = new_id()
            if known is not None:
                changed[name] = made[known]
        if isinstance(event, WaitOpened) and event.token_sha256 is not None:
            changed["token_sha256"] = None  # who was handed a token by the origin holds none of this run's
        return replace(event, **changed) if changed else event

    return remade


def _refused(draft: ExecutionDraft, command: ForkExecution, facts: Facts) -> Rejection | None:
    """Refuse what cannot go on from there, or not with that input."""
    if _is_at_its_end(draft.steps[-1]):
        last = max(step.recorded.seq for step in draft.steps if not _is_at_its_end(step))
        message = f"seq: at event {command.origin.seq} nothing was left to be done; the last event that works is {last}"
        return Rejection("CONFLICT", message, {"field": "seq", "limit": last})
    if command.input is UNSET:
        return None
    places = _places(draft)
    if len(places) != 1:
        names = ", ".join(sorted({repr(name) for name in places.values()})[:PLACES_NAMED_MAX])
        message = f"input: {len(places)} states are in progress at that event ({names}); the input of one can be edited"
        return Rejection("VALIDATION_ERROR", message, {"field": "input"})
    return too_large("input", command.input, facts)


def _is_at_its_end(step: DraftedEvent) -> bool:
    """Whether the run has ended with this event, or the next one can only say so."""
    event = step.recorded.event
    if step.state.is_over:
        return True
    if not isinstance(event, StatePassed | TaskSucceeded | WaitResumed | TimerFired | StateExited):
        return False
    return event.scope == TOP and event.next is None and event.output is not None


def _places(draft: ExecutionDraft) -> dict[str, str]:
    """The states, by scope, that the fork is to enter: no Parallel or Map that is under way, or waits for its turn."""
    now, state = draft.facts.now, draft.state
    after = evolve(state, Recorded(state.seq + 1, now, draft.facts.actor, state.seq, ExecutionForked(), None))
    found = {scope: frame for scope, frame in after.frames.items() if not isinstance(frame.phase, InFork)}
    for fork in after.forks.values():
        waiting = (scope_of(fork.seq, index) for index in fork.again)
        found |= {scope: after.fallen[scope] for scope in waiting}
    return {scope: frame.state for scope, frame in found.items()}


def _go_own_way(draft: ExecutionDraft, command: ForkExecution) -> None:
    """Record that what follows is this run's own, with all the time that a run has, and no places yet."""
    facts, settings = draft.facts, command.settings
    timeout_ms, limit_ms = facts.machine.timeout_ms, settings.timeout_ms
    payload: dict[str, Any] = {}
    reason = given = None
    scope = ""
    if command.reason is not None:
        payload["reason"], reason = command.reason, ref(draft.next_seq, "reason")
    if command.input is not UNSET:
        payload["input"], given = command.input, ref(draft.next_seq, "input")
        (scope,) = _places(draft)
    draft.caused_by = draft.state.seq
    draft.emit(
        ExecutionForked(
            reason,
            given,
            scope,
            due_at=None if timeout_ms is None else facts.now + timeout_ms,
            limit_at=None if limit_ms is None else facts.now + limit_ms,
            limits=command.limits,
            counts=settings.concurrency_counts if command.limits else "all",
        ),
        payload,
    )
