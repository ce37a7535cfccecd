"""Resume: which wait a call means, and what it is told.

An external system may come early, late, twice, or all at once; exactly one resume ends a wait, and a late answer to
one question never answers the next (`api.md`, resumeWorkflow).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from engine.core import events as e
from engine.core.commands import Resume
from engine.core.decide.draft import Draft
from engine.core.decide.enter import advance
from engine.core.decide.leave import leave_after
from engine.core.decide.refuse import refuse
from engine.core.decision import Code, Decision, Facts, Need, Outcome, Rejection
from engine.core.refs import ref
from engine.core.state import Frame, InWait, State
from engine.language import TaskState

RESTARTED = "restarted"
ALREADY_RESTARTED = "already restarted"

_Open = tuple[str, Frame, InWait]


def resume(state: State, command: Resume, facts: Facts) -> Outcome:
    """End the wait that the command means, or say why not."""
    if state.status == "terminated":
        return _refuse(state, facts, "CONFLICT", "the execution has been terminated")
    meant = [
        item
        for item in state.open_waits()
        if command.wait in (None, item[2].wait) and command.state in (None, item[1].state)
    ]
    if len(meant) > 1:
        return _ambiguous(state, facts, meant)
    if meant:
        return _end_wait(state, command, facts, meant[0])
    return _none_open(state, command, facts)


def _end_wait(state: State, command: Resume, facts: Facts, opened: _Open) -> Decision:
    scope, frame, wait = opened
    draft = Draft(state, facts, caused_by=wait.seq)
    definition = draft.definition(scope, TaskState)
    result = ref(draft.next_seq, "result")
    leave_after(
        draft,
        scope,
        definition,
        lambda raw_input, context: definition.output(raw_input, command.payload, context),
        lambda output, following: e.WaitResumed(frame.state, wait.wait, result, output, following, scope),
        {"result": command.payload},
    )
    advance(draft)
    return draft.decision(RESTARTED)


def _none_open(state: State, command: Resume, facts: Facts) -> Outcome:
    """No open wait fits: was the one that is meant ended before, and how, or has it not opened yet?"""
    outcome: str | None
    if command.wait is not None:
        ended = {item.wait: item for item in state.ended_waits.values()}
        if command.wait in ended:
            outcome = ended[command.wait].outcome
        elif command.wait in facts.known_waits:
            outcome = facts.known_waits[command.wait]
        else:
            return Need(waits=(command.wait,))
    elif command.state is not None:
        last = state.ended_waits.get(command.state)
        outcome = last.outcome if last else None
    else:
        outcome = next((item.outcome for item in reversed(state.ended_waits.values())), None)
    if outcome == "resumed":
        return Decision((), (), ALREADY_RESTARTED)
    if outcome is not None:
        return _refuse(state, facts, "WAIT_EXPIRED", f"that wait is over: it was {outcome}, not resumed")
    return _not_waiting(state, command, facts)


def _not_waiting(state: State, command: Resume, facts: Facts) -> Rejection:
    details = {"status": state.status, "state": state.current}
    named = "" if command.wait is None else f" {command.wait}"
    place = "" if command.state is None else f" at state {command.state!r}"
    message = f"no wait{named}{place} has opened; the execution is {state.status} in state {state.current!r}"
    if command.may_hold and not state.is_over and command.wait is None and _may_open(command, facts):
        return Rejection("NOT_WAITING", message, details, is_early=True)
    return _refuse(state, facts, "NOT_WAITING", message, details)


def _may_open(command: Resume, facts: Facts) -> bool:
    """Whether a wait that the call could mean can still open: the state that it names, if any, must be one."""
    if command.state is None:
        return True
    named = facts.machine.states.get(command.state)
    return isinstance(named, TaskState) and named.resource.kind != "step"


def _ambiguous(state: State, facts: Facts, meant: list[_Open]) -> Rejection:
    waits = [{"wait_id": wait.wait, "state": frame.state} for _, frame, wait in meant]
    message = f"{len(waits)} waits are open; name one with wait_id or state"
    return _refuse(state, facts, "AMBIGUOUS_WAIT", message, {"waits": waits})


def _refuse(
    state: State, facts: Facts, code: Code, message: str, details: Mapping[str, Any] | None = None
) -> Rejection:
    return refuse(state, facts, "resume", code, message, details)
