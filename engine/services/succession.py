"""Succession: runs of a workflow that start apart, one after another.

Whoever wants a run to begin only if none began of late reads the newest one, and claims to be the next after that. The
claim goes with the start: it is a row with a key that only one run ever gets, so of any number of calls that have read
the same, on however many nodes, one starts and the others look again.
"""

from __future__ import annotations

from typing import Final

from perdure.engine.core import ids
from perdure.engine.errors import TooSoon
from perdure.engine.log.digests import request_digest
from perdure.engine.runtime.callers import Caller, IdempotencyClaim
from perdure.engine.runtime.node import NodeParts
from perdure.store.records import ExecutionRow

KEY_PREFIX: Final = "\nafter:"
"""How the keys of such claims begin: as none does that a caller can send."""


class Succession:
    """Claims to be the next run of a workflow."""

    def __init__(self, node: NodeParts) -> None:
        self._node = node
        self._store = node.store

    async def claim(self, caller: Caller, workflow_id: bytes, apart_ms: int) -> IdempotencyClaim:
        """The claim of a run that is to begin so long after the newest one. Raises `TooSoon` if that began since.

        Ids of several nodes may be out of order by their clocks' skew: then the newest one by its id has a successor,
        and so on; the last of those counts too.
        """
        rows = await self._store.execution_page(workflow_id=workflow_id, workspace_id=caller.workspace_id, limit=1)
        run = rows[0] if rows else None
        while True:
            self._check(run, apart_ms)
            key = _key(workflow_id, run)
            taken = await self._store.idempotency_of(caller.organization_id, caller.workspace_id, [key])
            if key not in taken:
                salt = self._node.random(16)
                return IdempotencyClaim(caller.workspace_id, key, salt, request_digest(salt, key))
            run = await self._store.execution(taken[key].stream_id)
            if run is None:
                message = f"the run that came {key[1:]} is not there"
                raise LookupError(message)

    def _check(self, run: ExecutionRow | None, apart_ms: int) -> None:
        if run is None:
            return
        left_ms = run.created_at + apart_ms - self._node.clock.now()
        if left_ms > 0:
            message = (
                f"run {ids.text(run.execution_id)} of the workflow started less than {apart_ms // 1000} seconds ago: "
                "wait for it, or repeat the call later"
            )
            raise TooSoon(message, -(-left_ms // 1000))


def _key(workflow_id: bytes, run: ExecutionRow | None) -> str:
    last = "" if run is None else ids.text(run.execution_id)
    return f"{KEY_PREFIX}{ids.text(workflow_id)}:{last}"
