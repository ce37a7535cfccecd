"""Task states: scheduling a step or a child execution, at the first attempt and at each retry.

What a task gives off, in this order: `WaitOpened`, if somebody outside is to end it; `TaskScheduled`, if there is a
step or a child; then the effect that calls or starts it. Effects run when the events are on disk, so nobody can be told
of a wait, or hold its token, before it is there to be ended.

An effect is asked for again after every crash, under the same idempotency key and with the same parameters: they are
taken from the event, and never computed anew for the same attempt. A child has its id from the event, too, so that
starting it again is harmless.
"""

from __future__ import annotations

import base64
import hashlib
from typing import Any, Final

import msgspec

from perdure.engine.core import events as e
from perdure.engine.core.decide.context import ScopeContext, environment
from perdure.engine.core.decide.draft import ExecutionDraft
from perdure.engine.core.decide.keys import idempotency_key
from perdure.engine.core.effects import RunTask, SetTimer, StartChild
from perdure.engine.core.events import Parent
from perdure.engine.core.refs import Ref
from perdure.engine.core.state import Frame, InTask
from perdure.engine.language import Environment, TaskState, parse_resource
from perdure.engine.language.model.resources import SYNC_PATTERNS, WAIT_FOR_TASK_TOKEN
from perdure.engine.language.values import compact

TIMEOUT_MAX_MS: Final = 99_999_999_000
"""The time limit of a task with heartbeats and no TimeoutSeconds: AWS's longest, a little over three years."""

TOKEN_BYTES: Final = 32


class _Call(msgspec.Struct, gc=False):
    """The parameters and the time limits of a call."""

    arguments: Any
    parameters: Ref
    payload: dict[str, Any]
    due_at: int | None = None
    heartbeat_ms: int | None = None
    heartbeat_due_at: int | None = None


def enter_task(draft: ExecutionDraft, state: TaskState, scope: str, frame: Frame) -> None:
    """Schedule the step; if it goes with a wait, open that first, so that no answer can come before it."""
    resource = state.resource
    attempt = frame.attempt
    wait = token = None
    if resource.kind != "step":
        wait, token = _wait(draft, state)
    # The parameters may ask for the wait's id and token, so these are drawn first; whether they did is seen afterwards.
    call = _call(draft, scope, frame, state, environment(draft, scope, ScopeContext(draft, scope, wait, token)))
    # A token that stands nowhere in what is handed out can never come back. Of an awaited child the wait is there for
    # the token alone, and goes with it.
    if token is not None and resource.pattern != WAIT_FOR_TASK_TOKEN and token not in compact(call.arguments):
        token = None  # nobody is given it
        wait = wait if resource.waits else None
    # After a redrive other parameters are other work, also where no attempt could have had others.
    is_other = frame.parameters is not None and not attempt and call.parameters != frame.parameters
    visit = frame.visit + is_other
    payload, due_at = call.payload, call.due_at
    if wait is not None:
        digest = None if token is None else token_digest(token)
        opened = e.WaitOpened(
            state=state.name,
            wait=wait,
            resource=resource.text,
            parameters=call.parameters,
            visit=visit,
            attempt=attempt,
            token_sha256=digest,
            due_at=due_at,
            heartbeat_ms=call.heartbeat_ms,
            heartbeat_due_at=call.heartbeat_due_at,
            scope=scope,
        )
        draft.emit(opened, payload)
        payload = {}  # the parameters stand there now, and the next event refers to them
    if due_at is not None:
        draft.effects.append(SetTimer(due_at if call.heartbeat_due_at is None else call.heartbeat_due_at))
    if resource.kind == "wait":
        return
    scheduled = e.TaskScheduled(
        state=state.name,
        resource=resource.text,
        parameters=call.parameters,
        visit=visit,
        attempt=attempt,
        wait=wait,
        child=draft.facts.new_id() if resource.starts_execution else None,
        is_awaited=resource.starts_execution and resource.pattern in SYNC_PATTERNS,
        due_at=due_at if wait is None else None,  # with a wait the limit is the wait's
        scope=scope,
    )
    draft.emit(scheduled, payload)
    run_task(draft, scope)


def _wait(draft: ExecutionDraft, state: TaskState) -> tuple[str | None, str | None]:
    """The id and the token of the wait that may go with a call.

    Whatever waits can hand out a token, if its parameters ask for one: a `.waitForResume` that has heartbeats, and a
    child that is awaited, of which whichever comes first completes the task (recorded: callback/test_callback,
    test_sync_with_task_token).
    """
    resource = state.resource
    is_sync = resource.starts_execution and resource.pattern in SYNC_PATTERNS
    has_token = state.reads_context and (resource.waits or is_sync)
    if not (resource.waits or has_token):
        return None, None
    wait = draft.facts.new_id()
    return wait, _token(draft, wait) if has_token else None


def _call(draft: ExecutionDraft, scope: str, frame: Frame, state: TaskState, env: Environment) -> _Call:
    """Compute the parameters and the time limits.

    They are computed anew for another attempt (or after a redrive, if nobody knows what came of the last call) only if
    they look at the context object, which tells how many attempts there were: else a number or an id that was drawn for
    them would make another piece of work of each.
    """
    payload: dict[str, Any] = {}
    if frame.parameters is not None and not state.reads_context:
        reference = frame.parameters
        arguments = draft.value(reference)
    else:
        arguments = state.arguments(env)
        draft.check_size(scope, arguments)
        # Here values are compared, and not objects: what was computed anew for another attempt and is the same as
        # before is the same piece of work, and is not written twice.
        if frame.parameters is not None and compact(arguments) == compact(draft.value(frame.parameters)):
            reference = frame.parameters
        else:
            reference = draft.refer(arguments, frame.input, "parameters", payload)
    if state.timeout is None and state.heartbeat is None:
        return _Call(arguments, reference, payload)
    # From now, and not from the instant of the event, which is later if the clock was ahead before.
    timeout, heartbeat = state.timeout_ms(env, arguments), state.heartbeat_ms(env, arguments)
    if not state.resource.waits:
        heartbeat = None  # a step lives as long as its process does, and that is watched otherwise
    if timeout is None and heartbeat is not None:
        timeout = TIMEOUT_MAX_MS
    now = draft.facts.now
    due_at = None if timeout is None else now + timeout
    first_at = None if due_at is None or heartbeat is None else min(due_at, now + heartbeat)
    return _Call(arguments, reference, payload, due_at, heartbeat, first_at)


def _token(draft: ExecutionDraft, wait: str) -> str:
    """A new task token: it names the wait, and holds 256 random bits."""
    secret = base64.urlsafe_b64encode(draft.facts.random_bytes(TOKEN_BYTES)).decode().rstrip("=")
    return f"{wait}.{secret}"


def token_digest(token: str) -> str:
    """The SHA-256 of a task token, which the log keeps in place of the token."""
    return hashlib.sha256(token.encode()).hexdigest()


def wait_of_token(token: str) -> str:
    """The id of the wait that a task token names; of any other text something that is no id."""
    return token.partition(".")[0]


def run_task(draft: ExecutionDraft, scope: str) -> None:
    """Ask for the step to be called or the child to be started; after a crash, again under the same key."""
    frame = draft.state.frames[scope]
    task = frame.phase
    if not isinstance(task, InTask) or frame.parameters is None:
        message = f"the task in scope {scope!r} cannot be called: the log is damaged"
        raise TypeError(message)
    parameters = draft.value(frame.parameters)
    if task.child is not None:
        draft.effects.append(StartChild(task.child, parent_of(draft, scope, task), parameters))
        return
    draft.effects.append(
        RunTask(
            scope,
            frame.state,
            task.seq,
            task.attempt,
            frame.visit,
            task.resource,
            parameters,
            idempotency_key(draft, scope, parameters),
            task.wait,
            task.queued is not None,
        )
    )


def parent_of(draft: ExecutionDraft, scope: str, task: InTask) -> Parent:
    """The task that starts a child, as the child's first event records it."""
    frame = draft.state.frames[scope]
    pattern = parse_resource(task.resource).pattern
    return Parent(
        execution=draft.facts.execution,
        scope=scope,
        state=frame.state,
        seq=task.seq,
        visit=frame.visit,
        attempt=task.attempt,
        pattern=pattern,
        is_awaited=task.is_awaited,
        wait=task.wait,
        depth=1 if draft.state.parent is None else draft.state.parent.depth + 1,
    )
