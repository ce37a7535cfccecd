"""Runs: triggering, resuming and terminating executions.

Callers retry, race and come late. Every answer here is told from what is on disk, and the same request repeated gets
the same answer.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

from perdure.engine.core import commands as c
from perdure.engine.core import ids
from perdure.engine.errors import Conflict, NotFound, Unavailable
from perdure.engine.log.codec import decode_json
from perdure.engine.log.digests import canonical, is_same_request
from perdure.engine.runtime.callers import Caller, Grant, IdempotencyKey
from perdure.engine.runtime.node import NodeParts
from perdure.engine.runtime.processing.requests import ClaimConflict, Rejected
from perdure.engine.runtime.telemetry.request_context import bind_execution
from perdure.engine.runtime.watch import Watch
from perdure.engine.services.batched_lookups import BatchedLookups
from perdure.engine.services.idempotency import TRIES, Answered, Idempotency
from perdure.engine.services.sending import ask, refused, send
from perdure.engine.services.starting import Start, check_process_id, implied
from perdure.engine.services.workflows import Workflows
from perdure.store.records import ExecutionRow, ProcessIdRow

TERMINATION_REASON: Final = "Workflow execution terminated by user."


class Runs:
    """Commands about executions."""

    def __init__(self, node: NodeParts, workflows: Workflows, memory: Idempotency) -> None:
        self._node = node
        self._store = node.store
        self._workflows = workflows
        self._memory = memory
        self._named = BatchedLookups(self._store.process_ids_named)

    # --- trigger -------------------------------------------------------------------------------------------------

    async def trigger(
        self,
        caller: Caller,
        workflow_id: bytes,
        run_input: Any,
        *,
        version: int | None = None,
        process_id: str | None = None,
        trigger: str = "REQUEST",
        is_test: bool = False,
        idempotency: IdempotencyKey | None = None,
    ) -> Answered:
        """Start an execution; the answer is its id as text.

        The same process id with the same workflow (and version, if given) and input gives the first execution, for
        ever. Raises `Conflict` if the process id or idempotency key belongs to another request.
        """
        if process_id is not None:
            check_process_id(process_id)
        request = _Trigger(workflow_id, version, run_input, process_id, trigger, is_test)
        for _ in range(TRIES):
            answered = await self._memory.lookup(caller, idempotency)
            if answered is None:
                answered = await self._try_trigger(caller, request, idempotency)
            if answered is not None:
                return answered
        raise Unavailable("too many requests claim this process id or idempotency key at once; repeat the call")

    async def _try_trigger(
        self, caller: Caller, request: _Trigger, idempotency: IdempotencyKey | None
    ) -> Answered | None:
        """Start the execution, or answer from the one that has its process id; null: look again."""
        row = await implied(self._store, caller, request.process_id)
        if row is not None:
            return await self._named_by_id(caller, row, request, idempotency)
        try:
            found = await self._workflows.runnable(
                caller, request.workflow_id, request.version, is_test=request.is_test
            )
        except Conflict:  # archived since: a repeated trigger still gets its run
            existing = await self._existing(caller, request)
            if existing is None:
                raise
            return await self._again(caller, existing, request, idempotency)
        execution_id = self._node.processor.new_id()
        bind_execution(ids.text(execution_id), request.process_id)
        start = Start(found, request.input, request.process_id, request.trigger, request.is_test)
        reply = await send(
            self._node,
            caller,
            "execution",
            execution_id,
            start.command(caller),
            machine=found.machine,
            process_id=start.claim(caller, execution_id, self._node.random(16)),
            remembered=self._memory.claim(caller, idempotency),
        )
        if not isinstance(reply, ClaimConflict):
            return Answered(reply.answer, execution_id, reply.position)
        existing = await self._existing(caller, request)
        return None if existing is None else await self._again(caller, existing, request, idempotency)

    async def _existing(self, caller: Caller, request: _Trigger) -> ProcessIdRow | None:
        if request.process_id is None:
            return None
        return await self._named.get((caller.organization_id, caller.workspace_id, request.process_id))

    async def _again(
        self,
        caller: Caller,
        existing: ProcessIdRow,
        request: _Trigger,
        idempotency: IdempotencyKey | None,
    ) -> Answered | None:
        """The process id is taken: by the same request, or by another."""
        is_same = (
            existing.workflow_id == request.workflow_id
            and request.version in (None, existing.workflow_version)
            and is_same_request(existing.salt, existing.request_digest, request.input)
        )
        return await self._settle(caller, request, existing.stream_id, idempotency, is_same=is_same)

    async def _settle(
        self,
        caller: Caller,
        request: _Trigger,
        execution_id: bytes,
        idempotency: IdempotencyKey | None,
        *,
        is_same: bool,
    ) -> Answered | None:
        """Answer from the run that has the process id: remembered under an idempotency key, or refused for the log."""
        shown = ids.text(execution_id)
        bind_execution(shown, request.process_id)
        if not is_same:
            message = f"process_id: it belongs to execution {shown}, which has another workflow, version or input"
            await send(self._node, caller, "execution", execution_id, c.Refuse("trigger", message))
        if idempotency is None:
            return Answered(shown, execution_id, self._node.processor.position)
        reply = await send(
            self._node,
            caller,
            "execution",
            execution_id,
            c.Confirm(shown),
            remembered=self._memory.claim(caller, idempotency),
        )
        return None if isinstance(reply, ClaimConflict) else Answered(shown, execution_id, reply.position)

    async def _named_by_id(
        self, caller: Caller, row: ExecutionRow, request: _Trigger, idempotency: IdempotencyKey | None
    ) -> Answered | None:
        """The process id is the id of an execution, which is its process id too if it has chosen none."""
        execution_id = row.execution_id
        started = (await self._store.events_at(execution_id, [1]))[0].row
        is_same = (
            row.workflow_id == request.workflow_id
            and request.version in (None, row.workflow_version)
            and started.payload is not None
            and canonical(decode_json(started.payload)["input"]) == canonical(request.input)
            and not await self._store.process_ids_of([execution_id])
        )
        return await self._settle(caller, request, execution_id, idempotency, is_same=is_same)

    # --- resume and terminate ------------------------------------------------------------------------------------

    async def resume(
        self,
        caller: Caller,
        process_id: str,
        payload: Any,
        *,
        wait_id: str | None = None,
        state: str | None = None,
        hold_ms: int = 2000,
        idempotency: IdempotencyKey | None = None,
    ) -> Answered:
        """End a wait; the answer is `restarted` or `already restarted`.

        While the run is alive and no wait has opened that the call could mean, it is held for `hold_ms`. Raises
        `NotWaiting`, `AmbiguousWait`, `UnnamedWait`, `WaitExpired`, `Conflict` (a terminated run), `NotFound`.
        """
        execution_id = await self.find(caller, process_id)
        deadline = self._node.clock.ticks() + hold_ms
        with self._node.processor.watchers.watch(execution_id) as watch:
            for _ in range(TRIES * (1 + hold_ms)):
                watch.clear()
                known = await self._memory.lookup(caller, idempotency)
                if known is not None:
                    return known
                may_hold = self._node.clock.ticks() < deadline
                command = c.Resume(payload, wait_id, state, may_hold, idempotency is not None)
                reply = await ask(
                    self._node,
                    caller,
                    "execution",
                    execution_id,
                    command,
                    remembered=self._memory.claim(caller, idempotency),
                )
                if isinstance(reply, ClaimConflict):
                    continue
                if not isinstance(reply, Rejected):
                    return Answered(reply.answer, execution_id, reply.position)
                if not reply.rejection.is_early:
                    raise refused(reply.rejection, reply.position)
                with self._node.holds.hold(caller.workspace_id) as is_held:
                    if is_held:
                        with self._node.metrics.hold():
                            await self._hold(caller.grant, watch, deadline)
                    else:
                        deadline = 0
        raise Unavailable("the execution changes too fast to be resumed; repeat the call")

    async def _hold(self, grant: Grant | None, watch: Watch, deadline: int) -> None:
        """Wait until the execution changes, or the caller may not wait any longer; whoever asks again is told why."""
        clock = self._node.clock
        if grant is None:
            await watch.wait(clock, deadline)
            return
        with grant.held(watch):
            await watch.wait(clock, grant.until(clock, deadline))

    async def terminate(
        self,
        caller: Caller,
        process_id: str,
        reason: str = TERMINATION_REASON,
        *,
        data: dict[str, Any] | None = None,
        idempotency: IdempotencyKey | None = None,
    ) -> Answered:
        """End an execution; the answer is `terminated` or `already terminated`. `data` is kept with the reason.

        Raises `Conflict` if it had ended another way, `NotFound`.
        """
        execution_id = await self.find(caller, process_id)
        return await self._memory.send_once(caller, execution_id, c.Terminate(reason, data), idempotency)

    async def release(self, caller: Caller, process_id: str) -> Answered:
        """Take an execution out of quarantine and try again; the answer is `released`.

        It is folded anew from its events, and what was under way is taken up, under the same idempotency keys. If that
        fails again, it is set aside again. Raises `Conflict` if it is not in quarantine, `NotFound`.
        """
        execution_id = await self.find(caller, process_id)
        return await self._memory.send_once(caller, execution_id, c.Release(), None)

    # --- finding -------------------------------------------------------------------------------------------------

    async def find(self, caller: Caller, process_id: str) -> bytes:
        """The execution that a process id, chosen or implied, names in the caller's workspace. Raises `NotFound`."""
        row = await self._named.get((caller.organization_id, caller.workspace_id, process_id))
        if row is not None:
            bind_execution(ids.text(row.stream_id), process_id)
            return row.stream_id
        if ids.is_id(process_id):
            execution_id = ids.parse(process_id)
            execution = await self._store.execution(execution_id)
            if execution is not None and execution.workspace_id == caller.workspace_id:
                bind_execution(process_id)
                return execution_id
        raise NotFound(f"there is no process {process_id!r}")


class _Trigger(NamedTuple):
    """What a trigger asks for."""

    workflow_id: bytes
    version: int | None
    input: Any
    process_id: str | None
    trigger: str
    is_test: bool
