"""Memory: answers that are kept under an idempotency key, so that a repeated request gets its first one again."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

from perdure.engine.errors import Conflict, Unavailable
from perdure.engine.log.codec import decode_json
from perdure.engine.log.digests import is_same_request, request_digest
from perdure.engine.runtime.callers import Caller, IdempotencyKey
from perdure.engine.runtime.node import NodeParts
from perdure.engine.runtime.processing.requests import ClaimConflict, IdempotencyClaim
from perdure.engine.services.batched_lookups import BatchedLookups
from perdure.engine.services.sending import send

TRIES: Final = 20


class Answered(NamedTuple):
    """An answer that is on disk: what was said (mostly a word), of which execution, and where the log stood then."""

    answer: Any
    execution_id: bytes
    position: int


class Idempotency:
    """The answers that requests with an idempotency key got."""

    def __init__(self, node: NodeParts) -> None:
        self._node = node
        self._kept = BatchedLookups(node.store.idempotency_of)

    async def lookup(self, caller: Caller, idempotency: IdempotencyKey | None) -> Answered | None:
        """The answer that this request got before. Raises `Conflict` if the key belongs to another request."""
        if idempotency is None:
            return None
        row = await self._kept.get((caller.organization_id, caller.workspace_id, idempotency.key))
        if row is None:
            return None
        # Asked of the store: the processor may not have heard yet of the commit that this row came with.
        position = await self._node.store.position()
        if not is_same_request(row.salt, row.request_digest, idempotency.request):
            message = "Idempotency-Key: it was used for another request; a new request needs a new key"
            raise Conflict(message, position=position)
        return Answered(decode_json(row.answer), row.stream_id, position)

    def claim(self, caller: Caller, idempotency: IdempotencyKey | None) -> IdempotencyClaim | None:
        """What an order must carry so that its answer is kept."""
        if idempotency is None:
            return None
        salt = self._node.random(16)
        digest = request_digest(salt, idempotency.request)
        return IdempotencyClaim(caller.workspace_id, idempotency.key, salt, digest)

    async def send_once(
        self, caller: Caller, execution_id: bytes, command: object, idempotency: IdempotencyKey | None
    ) -> Answered:
        """Send a command to an execution, unless this request was answered before: then that answer is given.

        Raises the exception of the command's refusal, and `Conflict` if the key belongs to another request.
        """
        for _ in range(TRIES):
            known = await self.lookup(caller, idempotency)
            if known is not None:
                return known
            kept = self.claim(caller, idempotency)
            reply = await send(self._node, caller, "execution", execution_id, command, remembered=kept)
            if not isinstance(reply, ClaimConflict):
                return Answered(reply.answer, execution_id, reply.position)
        raise Unavailable("too many requests carry this idempotency key at once; repeat the call")
