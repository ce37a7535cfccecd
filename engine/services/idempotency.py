"""Idempotency keys: the first answer of a request is stored, and repetitions of the request get it again."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Final, NamedTuple, TypeAlias

from perdure.engine.errors import KeyReused, Unavailable
from perdure.engine.log.codec import decode_json
from perdure.engine.log.digests import is_same_request, request_digest
from perdure.engine.runtime.callers import Caller, IdempotencyClaim, IdempotencyKey
from perdure.engine.runtime.node import NodeParts
from perdure.engine.runtime.processing.requests import ClaimConflict
from perdure.engine.services.batched_lookups import BatchedLookups
from perdure.engine.services.sending import send

TURNS_MAX: Final = 20
"""So often a request is tried that others are faster than."""

BUSY: Final = "too many requests carry this idempotency key at once; repeat the call"


class Answered(NamedTuple):
    """A stored answer (mostly one word), the execution that it is about, and the log's position when it was read.

    `workflow_version`: of a run that was started just now, which version of its workflow it is of.
    """

    answer: Any
    execution_id: bytes
    position: int
    workflow_version: int | None = None


Attempt: TypeAlias = Callable[[IdempotencyClaim | None], Awaitable[Answered | None]]
"""One try to have a request answered, which carries the claim to its key; null: things have changed, so look again."""


class Idempotency:
    """Looks up stored answers by idempotency key, and makes the claims that store new ones."""

    def __init__(self, node: NodeParts) -> None:
        self._node = node
        self._kept = BatchedLookups(node.store.idempotency_of)

    async def run_once(
        self,
        caller: Caller,
        idempotency: IdempotencyKey | None,
        attempt: Attempt,
        *,
        turns_max: int = TURNS_MAX,
        busy: str = BUSY,
    ) -> Answered:
        """Answer a request once: with what it was answered before, or else with what `attempt` comes to.

        An answer and its claim come to disk together, or neither does. So who loses the claim has been given no answer,
        and finds the winner's: it was the same request, or another one, which is a `KeyReused`. Raises `Unavailable`,
        with what `busy` says, after too many turns, and whatever `attempt` raises.
        """
        for _ in range(turns_max):
            answered = await self._lookup(caller, idempotency)
            if answered is None:
                answered = await attempt(self._claim(caller, idempotency))
            if answered is not None:
                return answered
        raise Unavailable(busy)

    async def send_once(
        self, caller: Caller, execution_id: bytes, command: object, idempotency: IdempotencyKey | None
    ) -> Answered:
        """Send a command to an execution, once. Raises the exception of its refusal, and what `run_once` raises."""

        async def attempt(claim: IdempotencyClaim | None) -> Answered | None:
            reply = await send(self._node, caller, "execution", execution_id, command, remembered=claim)
            if isinstance(reply, ClaimConflict):
                return None
            return Answered(reply.answer, execution_id, reply.position)

        return await self.run_once(caller, idempotency, attempt)

    async def _lookup(self, caller: Caller, idempotency: IdempotencyKey | None) -> Answered | None:
        """The answer that this request got before. Raises `KeyReused` if the key belongs to another request."""
        if idempotency is None:
            return None
        row = await self._kept.get((caller.organization_id, caller.workspace_id, idempotency.key))
        if row is None:
            return None
        # Asked of the store: the processor may not have heard yet of the commit that this row came with.
        position = await self._node.store.position()
        if not is_same_request(row.salt, row.request_digest, idempotency.request):
            message = "Idempotency-Key: it was used for another request; a new request needs a new key"
            raise KeyReused(message, position=position)
        return Answered(decode_json(row.answer), row.stream_id, position)

    def _claim(self, caller: Caller, idempotency: IdempotencyKey | None) -> IdempotencyClaim | None:
        """The claim that a request must carry so that its answer is stored; null without a key."""
        if idempotency is None:
            return None
        salt = self._node.random(16)
        digest = request_digest(salt, idempotency.request)
        return IdempotencyClaim(caller.workspace_id, idempotency.key, salt, digest, caller.organization_id)
