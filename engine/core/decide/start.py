"""Starting an execution: its first event, and all states up to the first one that waits.

Whether the workflow may be run, and whose the process id is, was found out before: no state of one execution can say
so. What is here is the first event, and all states that need nobody: a run of such states ends in the decision that
began it.
"""

from __future__ import annotations

from typing import Any

from perdure.engine.core.commands import Trigger
from perdure.engine.core.decide.draft import ExecutionDraft
from perdure.engine.core.decide.enter import advance
from perdure.engine.core.decide.keys import salt_for
from perdure.engine.core.decide.refuse import too_large
from perdure.engine.core.decision import Facts, Outcome, Rejection
from perdure.engine.core.effects import FillPlaces, SetTimer
from perdure.engine.core.events import ExecutionStarted
from perdure.engine.core.refs import ref
from perdure.engine.core.state import State


def trigger(state: State, command: Trigger, facts: Facts) -> Outcome:
    """Start the execution, and pass through all states that need nobody."""
    # Not recorded as other rejections are: it is a repetition, as of the start of a child after a crash.
    if state.status != "new":
        return Rejection("CONFLICT", "the execution has been started before")
    refused = too_large("input", command.input, facts)
    if refused is not None:
        return refused
    draft = ExecutionDraft(state, facts)
    payload: dict[str, Any] = {"input": command.input, **salt_for(draft)}
    if command.process_id is not None:
        payload["process_id"] = command.process_id
    if command.reason is not None:
        payload["reason"] = command.reason
    timeout_ms = facts.machine.timeout_ms
    limit_ms = command.settings.timeout_ms
    # The limits of the whole run go on all the time, also while its steps wait for a slot; but not while it queues
    # itself, before it has begun.
    due_at = limit_at = None
    if not command.limits:
        due_at = None if timeout_ms is None else facts.now + timeout_ms
        limit_at = None if limit_ms is None else facts.now + limit_ms
    draft.emit(
        ExecutionStarted(
            kind="execution",
            workspace=command.workspace,
            workflow=command.workflow,
            workflow_version=command.workflow_version,
            definition_sha256=command.definition_sha256,
            trigger=command.trigger,
            start_at=facts.machine.start_at,
            input=ref(draft.next_seq, "input"),
            is_test=command.is_test,
            due_at=due_at,
            parent=command.parent,
            resume=command.settings.resume,
            origin=command.origin,
            limit_at=limit_at,
            limits=command.limits,
            counts=command.settings.concurrency_counts if command.limits else "all",
            timeout_ms=timeout_ms if command.limits else None,
            limit_ms=limit_ms if command.limits else None,
            live=command.live,
        ),
        payload,
    )
    draft.effects.extend(SetTimer(at) for at in (due_at, limit_at) if at is not None)
    if command.limits:
        draft.effects.append(FillPlaces(draft.state.limit_keys[:1]))
    advance(draft)
    return draft.decision(facts.execution)
