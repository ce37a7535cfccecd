"""Requests: commands on their way through the processor, and the types of replies."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple, TypeAlias

import msgspec

from perdure.engine.core import ids
from perdure.engine.core.decision import Rejection
from perdure.engine.language import Machine
from perdure.engine.runtime.callers import Grant, IdempotencyClaim
from perdure.engine.runtime.telemetry.request_context import current_request
from perdure.store.records import Claim, IdempotencyRow, ProcessIdRow, SlotRow, StreamKind


class Accepted(NamedTuple):
    """The reply that a command was accepted. `position` is that of the log when it became true.

    `recorded_at` is when its events were recorded; null if it has none.
    """

    answer: Any
    position: int
    recorded_at: int | None = None


class Rejected(NamedTuple):
    """The reply that a command was rejected, by a state that is on disk."""

    rejection: Rejection
    position: int


class ClaimConflict(NamedTuple):
    """The reply that another request had the process id or idempotency key first: look up its result."""


MOVED: Final = Rejection("STALE", "the stream has moved on from what the request was made from")

CommandReply: TypeAlias = Accepted | Rejected | ClaimConflict


class CommandRequest(msgspec.Struct, eq=False):
    """A command about one stream.

    `machine` is given by who starts an execution. `process_id`, `idempotency` and `places` (in limits, by their keys)
    are claims: only one request ever wins each. `grant` is what whoever sent it acts by. `reply` is done when, and only
    when, what it says is on disk; null if nobody listens. Without `may_create` the stream is there, whatever the
    command: somebody else has begun it. With a `seq` the command is decided only while the stream ends there, and else
    refused as `MOVED`. `request_id` is for the log.
    """

    kind: StreamKind
    stream_id: bytes
    organization_id: bytes
    workspace_id: bytes | None
    command: Any
    actor: str
    reply: asyncio.Future[CommandReply] | None = None
    machine: Machine | None = None
    process_id: ProcessIdRow | None = None
    idempotency: IdempotencyClaim | None = None
    places: Sequence[tuple[bytes, int]] = ()
    known_waits: Mapping[str, str | None] = {}
    chances: list[str] = []
    seed: bytes | None = None
    is_internal: bool = False
    may_create: bool = True
    grant: Grant | None = None
    seq: int | None = None
    request_id: str | None = msgspec.field(default_factory=current_request)

    def tell(self, reply: CommandReply) -> None:
        """Give the reply, if whoever sent the request still waits for it."""
        if self.reply is not None and not self.reply.done():
            self.reply.set_result(reply)

    def fail(self, error: Exception) -> None:
        """Complete the reply with an error."""
        if self.reply is not None and not self.reply.done():
            self.reply.set_exception(error)
            if self.is_internal:
                self.reply.exception()  # looked at: nobody may be listening

    @property
    def claims(self) -> bool:
        """Whether the request has a claim."""
        return self.process_id is not None or self.idempotency is not None or bool(self.places)

    @property
    def remembered(self) -> Sequence[IdempotencyClaim]:
        """The claims that its answer is kept under."""
        if self.idempotency is None:
            return ()
        beside = self.idempotency.beside
        return (self.idempotency,) if beside is None else (self.idempotency, beside)

    def claim_keys(self) -> list[tuple[str, bytes, str]]:
        """The request's claims as keys to compare with other requests'."""
        keys = [("place", key, str(place)) for key, place in self.places]
        if self.process_id is not None:
            keys.append(("process", self.process_id.workspace_id, self.process_id.process_id))
        keys += [("idempotency", claim.workspace_id, claim.key) for claim in self.remembered]
        return keys


class RecordedRandomness(msgspec.Struct, eq=False):
    """Ids and random bytes for the decision of a request: the same ones when it is decided again."""

    request: CommandRequest
    new_id: Callable[[], bytes]
    random: Callable[[int], bytes]
    ids: int = 0
    pieces: int = 0

    def draw(self) -> str:
        """The next id."""
        request = self.request
        if self.ids == len(request.chances):
            request.chances = [*request.chances, ids.text(self.new_id())]
        self.ids += 1
        return request.chances[self.ids - 1]

    def random_bytes(self, count: int) -> bytes:
        """The next so many bytes: SHAKE-256 of a random seed and of how many pieces were drawn before."""
        if self.request.seed is None:
            self.request.seed = self.random(32)
        self.pieces += 1
        return hashlib.shake_256(self.request.seed + self.pieces.to_bytes(8, "big")).digest(count)


def from_inside(stream_id: bytes, command: Any, actor: str, request_id: str | None = None) -> CommandRequest:
    """A request from inside about an execution that exists."""
    return CommandRequest(
        kind="execution",
        stream_id=stream_id,
        organization_id=b"",
        workspace_id=None,
        command=command,
        actor=actor,
        is_internal=True,
        request_id=request_id or current_request(),
    )


def claim_key(claim: Claim) -> tuple[str, bytes, str]:
    """The key of a claim's row."""
    if isinstance(claim, IdempotencyRow):
        return ("idempotency", claim.workspace_id, claim.key)
    if isinstance(claim, SlotRow):
        return ("place", claim.limit_key, str(claim.place))
    return ("process", claim.workspace_id, claim.process_id)
