"""Second chances as an embedding program gives them: redrives, reruns and forks of executions."""

from __future__ import annotations

from typing import Any, Literal, Protocol

from msgspec import UNSET

from perdure.engine.compose import Services
from perdure.engine.runtime.callers import Caller, IdempotencyKey
from perdure.engine.runtime.processing import incoming
from perdure.engine.views import Execution


class Embedded(Protocol):
    """An engine that these calls belong to."""

    services: Services

    async def _caller(self) -> Caller: ...

    def _json(self, field: str, value: Any) -> Any: ...


class SecondChances:
    """The calls of an engine about executions that are to go on, or to be had again."""

    async def redrive(
        self: Embedded, process_id: str, *, reason: str | None = None, idempotency_key: str | None = None
    ) -> None:
        """Let an execution go on that failed, timed out or was terminated. What succeeded is not done again.

        Raises `Conflict` (it lives, or is completed), `Invalid`, `NotFound`.
        """
        incoming.texts(process_id=process_id, reason=reason, idempotency_key=idempotency_key)
        key = keyed(idempotency_key, ["redrive", process_id, reason])
        await self.services.chances.redrive(await self._caller(), process_id, reason=reason, idempotency=key)

    async def rerun(
        self: Embedded,
        process_id: str,
        *,
        run_input: Any = UNSET,
        version: int | Literal["latest"] | None = None,
        new_process_id: str | None = None,
        reason: str | None = None,
        idempotency_key: str | None = None,
    ) -> Execution:
        """Start another execution of the same workflow from its start, with the same input or another one.

        `version` of the workflow: the same one unless given. Raises `Conflict`, `Invalid` or `NotFound`.
        """
        incoming.texts(
            process_id=process_id, new_process_id=new_process_id, reason=reason, idempotency_key=idempotency_key
        )
        value = run_input if run_input is UNSET else self._json("run_input", run_input)
        request = ["rerun", process_id, version, new_process_id, reason, None if value is UNSET else [value]]
        answered = await self.services.chances.rerun(
            await self._caller(),
            process_id,
            run_input=value,
            version=version,
            new_process_id=new_process_id,
            reason=reason,
            trigger="MANUAL",
            idempotency=keyed(idempotency_key, request),
        )
        return Execution(answered.answer, new_process_id or answered.answer)

    async def fork(
        self: Embedded,
        process_id: str,
        seq: int,
        *,
        state_input: Any = UNSET,
        new_process_id: str | None = None,
        reason: str | None = None,
        idempotency_key: str | None = None,
    ) -> Execution:
        """Start another execution with the history of this one up to the event `seq`.

        What was completed there is not done again, what was in progress is begun anew: the one state, with
        `state_input` if that is given. Raises `Conflict`, `Invalid` or `NotFound`.
        """
        incoming.texts(
            process_id=process_id, new_process_id=new_process_id, reason=reason, idempotency_key=idempotency_key
        )
        value = state_input if state_input is UNSET else self._json("state_input", state_input)
        request = ["fork", process_id, seq, new_process_id, reason, None if value is UNSET else [value]]
        answered = await self.services.chances.fork(
            await self._caller(),
            process_id,
            seq,
            state_input=value,
            new_process_id=new_process_id,
            reason=reason,
            trigger="MANUAL",
            idempotency=keyed(idempotency_key, request),
        )
        return Execution(answered.answer, new_process_id or answered.answer)


def keyed(key: str | None, request: list[Any]) -> IdempotencyKey | None:
    """The idempotency key of a call, with what was asked for; null if it has none."""
    return None if key is None else IdempotencyKey(key, request)
