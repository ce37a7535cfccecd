"""Task tokens: their holders complete, fail or heartbeat the task that a token was made for.

A token names a wait and holds a secret, of which the log has the digest. Whatever is wrong with one, the answer is the
same: nobody learns which waits there are.
"""

from __future__ import annotations

import hmac
from typing import Any, Final

from perdure.engine.core import commands as c
from perdure.engine.core import ids
from perdure.engine.core.decide.call import token_digest, wait_of_token
from perdure.engine.core.events import WaitOpened
from perdure.engine.errors import Invalid, NotFound
from perdure.engine.language.evaluate.sizes import exceeds
from perdure.engine.runtime.callers import Caller, IdempotencyKey
from perdure.engine.runtime.node import NodeParts
from perdure.engine.runtime.streams.stream_types import STREAM_TYPES
from perdure.engine.runtime.telemetry.request_context import bind_execution
from perdure.engine.services.idempotency import Answered, Idempotency
from perdure.store.records import WaitRow

ERROR_MAX: Final = 256
CAUSE_MAX: Final = 32_768


class TaskTokens:
    """Commands that are authorized by a task token."""

    def __init__(self, node: NodeParts, memory: Idempotency) -> None:
        self._node = node
        self._store = node.store
        self._idempotency = memory

    async def complete(
        self, caller: Caller, token: str, output: Any, *, idempotency: IdempotencyKey | None = None
    ) -> Answered:
        """End the task with this output; the answer is `completed`.

        Raises `Invalid`, `NotFound`, `Conflict` if the token has been used, `WaitExpired` if its task is over.
        """
        limit = self._node.limits.payload_max_bytes
        if exceeds(output, limit):
            raise Invalid(f"output: it must have at most {limit:,} bytes of JSON text", {"field": "output"})
        return await self._answer(caller, token, c.TaskSuccess(output), idempotency)

    async def fail(
        self,
        caller: Caller,
        token: str,
        error: str | None = None,
        cause: str | None = None,
        *,
        idempotency: IdempotencyKey | None = None,
    ) -> Answered:
        """Fail the task with an error name and a cause. Raises what `complete` raises.

        The answer has `message`, which is `completed`, and `then`, what follows. Its `kind` is `retry` (at `retry_on`),
        `catch` (leading to `next`), or `end`: nothing saves the state, and it has failed.
        """
        for field, text, longest in (("error", error, ERROR_MAX), ("cause", cause, CAUSE_MAX)):
            if text is not None and len(text) > longest:
                raise Invalid(f"{field}: it must be a text of at most {longest} characters", {"field": field})
        return await self._answer(caller, token, c.TaskFailure(error, cause), idempotency)

    async def beat(self, caller: Caller, token: str, *, idempotency: IdempotencyKey | None = None) -> Answered:
        """Send a heartbeat; the answer is `alive`. Raises what `complete` raises."""
        row = await self._wait(caller, token)
        return await self._send(caller, row, c.Beat(ids.text(row.wait_id)), idempotency)

    async def _answer(
        self, caller: Caller, token: str, outcome: c.TaskSuccess | c.TaskFailure, idempotency: IdempotencyKey | None
    ) -> Answered:
        row = await self._wait(caller, token)
        return await self._send(caller, row, c.AnswerTask(ids.text(row.wait_id), outcome), idempotency)

    async def _send(
        self, caller: Caller, row: WaitRow, command: c.AnswerTask | c.Beat, idempotency: IdempotencyKey | None
    ) -> Answered:
        holder = Caller(row.organization_id, row.workspace_id, f"token:{ids.text(row.wait_id)}", caller.grant)
        return await self._idempotency.send_once(holder, row.execution_id, command, idempotency)

    async def _wait(self, caller: Caller, token: str) -> WaitRow:
        """The wait of the caller's workspace that the token was made for. Raises `NotFound`."""
        row = await self._named(caller, token)
        expected = None if row is None else await self._digest(row)
        if row is None or expected is None or not _is_digest_of(token, expected):
            raise NotFound("there is no such task", position=self._node.processor.position)
        bind_execution(ids.text(row.execution_id))
        return row

    async def _named(self, caller: Caller, token: str) -> WaitRow | None:
        wait = wait_of_token(token)
        row = await self._store.wait(ids.parse(wait)) if ids.is_id(wait) else None
        return row if row is not None and row.workspace_id == caller.workspace_id else None

    async def _digest(self, row: WaitRow) -> str | None:
        """What the log keeps of the wait's token; null if it has none."""
        stored = await self._store.events_at(row.execution_id, [row.opened_seq])
        opened = STREAM_TYPES["execution"].vocabulary.read(stored[0].row).event
        return opened.token_sha256 if isinstance(opened, WaitOpened) else None


def _is_digest_of(token: str, expected: str) -> bool:
    """Whether this is the token; how long the answer takes tells nothing of the one expected."""
    try:
        return hmac.compare_digest(token_digest(token), expected)
    except UnicodeEncodeError:  # half of a surrogate pair: no token has one
        return False
