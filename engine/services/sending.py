"""Sends a command from outside, and turns the reply into an answer or an exception."""

from __future__ import annotations

from typing import Any

from perdure.engine.core.decision import Rejection
from perdure.engine.errors import REFUSALS, PerdureError, Unavailable
from perdure.engine.language import Machine
from perdure.engine.runtime.callers import Caller, IdempotencyClaim
from perdure.engine.runtime.node import NodeParts
from perdure.engine.runtime.processing.requests import MOVED, Accepted, ClaimConflict, CommandRequest, Rejected
from perdure.store.records import ProcessIdRow, StreamKind


class ClaimLost(Exception):
    """Another request had the idempotency key of the caller's terms first."""


class StreamMoved(Exception):
    """The stream of the caller's terms has moved on since they were set."""


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
    """Send a command and wait until its reply is on disk; a rejection is returned and not raised.

    Raises `ClaimLost` and `StreamMoved`, if the caller has such terms.
    """
    claim, unmoved = caller.terms
    request = CommandRequest(
        kind=kind,
        stream_id=stream_id,
        organization_id=caller.organization_id,
        workspace_id=_workspace(caller, kind),
        command=command,
        actor=caller.actor,
        machine=machine,
        process_id=process_id,
        idempotency=remembered or claim,
        grant=caller.grant,
        seq=unmoved[1] if unmoved is not None and unmoved[0] == stream_id else None,
    )
    reply = await node.processor.submit(request)
    if isinstance(reply, ClaimConflict) and claim is not None:
        raise ClaimLost
    if isinstance(reply, Rejected) and reply.rejection is MOVED:
        raise StreamMoved
    return reply


def refused(rejection: Rejection, position: int) -> PerdureError:
    """The exception for a rejection."""
    return REFUSALS.get(rejection.code, Unavailable)(rejection.message, rejection.details, position=position)
