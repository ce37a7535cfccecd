"""Sends a command from outside, and turns the reply into an answer or an exception."""

from __future__ import annotations

from typing import Any

from perdure.engine.core.decision import Rejection
from perdure.engine.errors import REFUSALS, PerdureError, Unavailable
from perdure.engine.language import Machine
from perdure.engine.runtime.callers import Caller
from perdure.engine.runtime.node import NodeParts
from perdure.engine.runtime.processing.requests import (
    Accepted,
    ClaimConflict,
    CommandRequest,
    IdempotencyClaim,
    Rejected,
)
from perdure.store.records import ProcessIdRow, StreamKind


async def send(
    node: NodeParts,
    caller: Caller,
    kind: StreamKind,
    stream_id: bytes,
    command: Any,
    *,
    machine: Machine | None = None,
    process_id: ProcessIdRow | None = None,
    remembered: IdempotencyClaim | None = None,
) -> Accepted | ClaimConflict:
    """Send a command and wait until its answer is on disk. Raises the exception of its refusal."""
    reply = await ask(
        node, caller, kind, stream_id, command, machine=machine, process_id=process_id, remembered=remembered
    )
    if isinstance(reply, Rejected):
        raise refused(reply.rejection, reply.position)
    return reply


def _workspace(caller: Caller, kind: StreamKind) -> bytes | None:
    if kind == "organization":
        return None
    return caller.home_workspace_id if kind == "workflow" else caller.workspace_id


async def ask(
    node: NodeParts,
    caller: Caller,
    kind: StreamKind,
    stream_id: bytes,
    command: Any,
    *,
    machine: Machine | None = None,
    process_id: ProcessIdRow | None = None,
    remembered: IdempotencyClaim | None = None,
) -> Accepted | Rejected | ClaimConflict:
    """Send a command and wait until its reply is on disk; a rejection is returned and not raised."""
    request = CommandRequest(
        kind=kind,
        stream_id=stream_id,
        organization_id=caller.organization_id,
        workspace_id=_workspace(caller, kind),
        command=command,
        actor=caller.actor,
        machine=machine,
        process_id=process_id,
        idempotency=remembered,
        grant=caller.grant,
    )
    return await node.processor.submit(request)


def refused(rejection: Rejection, position: int) -> PerdureError:
    """The exception for a rejection."""
    return REFUSALS.get(rejection.code, Unavailable)(rejection.message, rejection.details, position=position)
