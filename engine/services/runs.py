"""Runs: triggering, resuming, pausing, terminating and releasing executions.

Callers retry, race and come late. Every answer here is told from what is on disk, and the same request repeated gets
the same answer.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

from perdure.engine.core import commands as c
from perdure.engine.core import ids
from perdure.engine.core.pause_events import Clocks
from perdure.engine.errors import Conflict, NotFound
from perdure.engine.log.codec import decode_json
from perdure.engine.log.digests import canonical, is_same_request
from perdure.engine.runtime.callers import Caller, IdempotencyClaim, IdempotencyKey
from perdure.engine.runtime.node import NodeParts
from perdure.engine.runtime.processing.requests import ClaimConflict, Rejected
from perdure.engine.runtime.telemetry.request_context import bind_execution
from perdure.engine.runtime.watch import Watch
from perdure.engine.services.batched_lookups import BatchedLookups
from perdure.engine.services.documents import input_schema_of
from perdure.engine.services.idempotency import TURNS_MAX, Answered, Idempotency
from perdure.engine.services.inputs import InputRefused, check_input
from perdure.engine.services.open_runs import StartRules
from perdure.engine.services.sending import ask, refused, send
from perdure.engine.services.starting import Start, check_process_id, implied
from perdure.engine.services.succession import Succession
from perdure.engine.services.unseen import Unseen
from perdure.engine.services.workflows import Published, Workflows

TERMINATION_REASON: Final = "Workflow execution terminated by user."

_TRIGGER_BUSY: Final = "too many requests claim this process id or idempotency key at once; repeat the call"
_RESUME_BUSY: Final = "the execution changes too fast to be resumed; repeat the call"


class Runs:
    """Commands about executions."""

    def __init__(
        self,
        node: NodeParts,
        workflows: Workflows,
        starting: StartRules,
        memory: Idempotency,
        unseen: Unseen | None = None,
    ) -> None:
        self._limits, self._open_runs = starting
        self._node = node
        self._store = node.store
        self._workflows = workflows
        self._idempotency = memory
        self._succession = Succession(node)
        self._unseen = unseen or Unseen(node.store)
        self._named = BatchedLookups(self._store.process_ids_named)

    # --- trigger -------------------------------------------------------------------------------------------------

    async def trigger(  # noqa: PLR0913 all that a run is started with
        self,
        caller: Caller,
        workflow_id: bytes,
        run_input: Any,
        *,
        version: int | None = None,
        process_id: str | None = None,
        trigger: str = "REQUEST",
        is_test: bool = False,
        apart_ms: int = 0,
        idempotency: IdempotencyKey | None = None,
    ) -> Answered:
        """Start an execution; the answer is its id as text.

        The same process id with the same workflow (and version, if given) and input gives the first execution, for
        ever. Raises `Conflict` if the process id or idempotency key belongs to another request, and `TooSoon` if a run
        of the workflow was started less than `apart_ms` ago, whoever started that.
        """
        if process_id is not None:
            check_process_id(process_id)
        request = _Trigger(workflow_id, version, run_input, process_id, trigger, is_test, apart_ms)
        return await self._idempotency.run_once(
            caller, idempotency, lambda claim: self._try_trigger(caller, request, claim), busy=_TRIGGER_BUSY
        )

    async def _try_trigger(self, caller: Caller, request: _Trigger, claim: IdempotencyClaim | None) -> Answered | None:
        """Start the execution, or answer from the one that has its process id."""
        holder = await self._implied_holder(caller, request)
        if holder is None:
            try:
                found = await self._workflows.runnable(
                    caller, request.workflow_id, request.version, is_test=request.is_test
                )
                check_input(request.input, input_schema_of(found.version))
                await self._check_open_runs(caller, found)
            except (Conflict, InputRefused):  # archived since, or too many are open: a repeat still gets its run
                holder = await self._holder(caller, request)
                if holder is None:
                    raise
            else:
                started = await self._start(caller, found, request, claim)
                holder = await self._holder(caller, request) if started is None else None
                if holder is None:  # it has started, or only the idempotency key was lost
                    return started
        return await self._answer_of(caller, holder, request, claim)

    async def _start(
        self, caller: Caller, found: Published, request: _Trigger, claim: IdempotencyClaim | None
    ) -> Answered | None:
        """Start the execution; null if its process id, idempotency key or turn was claimed before."""
        start = Start(found, request.input, request.process_id, request.trigger, request.is_test)
        start = await self._limits.limited(caller, start)
        if request.apart_ms:
            turn = await self._succession.claim(caller, request.workflow_id, request.apart_ms)
            claim = turn if claim is None else claim._replace(beside=turn)
        execution_id = self._node.processor.new_id()
        bind_execution(ids.text(execution_id), request.process_id)
        reply = await send(
            self._node,
            caller,
            "execution",
            execution_id,
            start.command(caller),
            machine=found.machine,
            process_id=start.claim(caller, execution_id, self._node.random(16)),
            remembered=claim,
        )
        if isinstance(reply, ClaimConflict):
            return None
        return Answered(reply.answer, execution_id, reply.position, found.version.version)

    async def _check_open_runs(self, caller: Caller, found: Published) -> None:
        """Raise `Conflict` if the workflow has as many open runs as any may have."""
        too_many = await self._open_runs.why_not(caller, found.version)
        if too_many is not None:
            raise too_many.refusal()

    async def _holder(self, caller: Caller, request: _Trigger) -> _Holder | None:
        """The execution that was started under the process id."""
        if request.process_id is None:
            return None
        row = await self._named.get((caller.organization_id, caller.workspace_id, request.process_id))
        if row is None:
            return None
        is_same = (
            row.workflow_id == request.workflow_id
            and request.version in (None, row.workflow_version)
            and is_same_request(row.salt, row.request_digest, request.input)
        )
        return _Holder(row.stream_id, is_same)

    async def _implied_holder(self, caller: Caller, request: _Trigger) -> _Holder | None:
        """The execution whose id the process id is: that is its process id, too, if it has chosen none."""
        row = await implied(self._store, caller, request.process_id)
        if row is None:
            return None
        started = (await self._store.events_at(row.execution_id, [1]))[0].row
        is_same = (
            row.workflow_id == request.workflow_id
            and request.version in (None, row.workflow_version)
            and started.payload is not None
            and canonical(decode_json(started.payload)["input"]) == canonical(request.input)
            and not await self._store.process_ids_of([row.execution_id])
        )
        return _Holder(row.execution_id, is_same)

    async def _answer_of(
        self, caller: Caller, holder: _Holder, request: _Trigger, claim: IdempotencyClaim | None
    ) -> Answered | None:
        """Answer from the run that has the process id: kept under an idempotency key, or refused for the log."""
        execution_id, shown = holder.execution_id, ids.text(holder.execution_id)
        bind_execution(shown, request.process_id)
        if not holder.is_same:
            message = f"process_id: it belongs to execution {shown}, which has another workflow, version or input"
            await send(self._node, caller, "execution", execution_id, c.Refuse("trigger", message))
        if claim is None:
            return Answered(shown, execution_id, self._node.processor.position)
        reply = await send(self._node, caller, "execution", execution_id, c.Confirm(shown), remembered=claim)
        return None if isinstance(reply, ClaimConflict) else Answered(shown, execution_id, reply.position)

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
        with self._node.processor.watchers.watch(execution_id) as watch:
            hold = _Hold(watch, self._node.clock.ticks() + hold_ms)

            async def attempt(claim: IdempotencyClaim | None) -> Answered | None:
                may_hold = self._node.clock.ticks() < hold.deadline
                command = c.Resume(payload, wait_id, state, may_hold, claim is not None)
                reply = await ask(self._node, caller, "execution", execution_id, command, remembered=claim)
                if isinstance(reply, ClaimConflict):
                    return None
                if not isinstance(reply, Rejected):
                    return Answered(reply.answer, execution_id, reply.position)
                if not reply.rejection.is_early:
                    raise refused(reply.rejection, reply.position)
                await self._hold(caller, hold)
                return None

            turns_max = TURNS_MAX * (1 + hold_ms)
            return await self._idempotency.run_once(
                caller, idempotency, attempt, turns_max=turns_max, busy=_RESUME_BUSY
            )

    async def _hold(self, caller: Caller, hold: _Hold) -> None:
        """Wait until the execution changes, or the caller may not wait any longer; whoever asks again is told why."""
        clock, watch = self._node.clock, hold.watch
        with self._node.holds.hold(caller.workspace_id) as is_held:
            if not is_held:
                hold.deadline = 0
            elif caller.grant is None:
                with self._node.metrics.hold():
                    await watch.wait(clock, hold.deadline)
            else:
                with self._node.metrics.hold(), caller.grant.held(watch):
                    await watch.wait(clock, caller.grant.until(clock, hold.deadline))
        watch.clear()  # before anything is looked at again, so that no change falls between

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
        return await self._idempotency.send_once(caller, execution_id, c.Terminate(reason, data), idempotency)

    async def release(self, caller: Caller, process_id: str) -> Answered:
        """Take an execution out of quarantine and try again; the answer is `released`.

        It is folded anew from its events, and what was under way is taken up, under the same idempotency keys. If that
        fails again, it is set aside again. Raises `Conflict` if it is not in quarantine, `NotFound`.
        """
        execution_id = await self.find(caller, process_id)
        return await self._idempotency.send_once(caller, execution_id, c.Release(), None)

    async def pause(
        self,
        caller: Caller,
        process_id: str,
        *,
        reason: str,
        clocks: Clocks = "run",
        idempotency: IdempotencyKey | None = None,
    ) -> Answered:
        """Stop an execution for a while; the answer is `paused` or `already paused`.

        No state is entered and no step called until it is unpaused; what is called goes on, and what comes in is
        recorded. `clocks`: time limits and Wait states `run` on, or `freeze` and keep what is left of them. Raises
        `Conflict` if it has ended, `NotFound`.
        """
        execution_id = await self.find(caller, process_id)
        return await self._idempotency.send_once(caller, execution_id, c.PauseExecution(reason, clocks), idempotency)

    async def unpause(
        self,
        caller: Caller,
        process_id: str,
        *,
        reason: str | None = None,
        idempotency: IdempotencyKey | None = None,
    ) -> Answered:
        """Let a paused execution go on where it stands; the answer is `unpaused` or `not paused`.

        A quota that it has used up is granted once more. Raises `Conflict` if it has ended, `NotFound`.
        """
        execution_id = await self.find(caller, process_id)
        return await self._idempotency.send_once(caller, execution_id, c.UnpauseExecution(reason), idempotency)

    # --- finding -------------------------------------------------------------------------------------------------

    async def find(self, caller: Caller, process_id: str) -> bytes:
        """The execution that a process id, chosen or implied, names in the caller's workspace. Raises `NotFound`."""
        row = await self._named.get((caller.organization_id, caller.workspace_id, process_id))
        unseen = await self._unseen.by(caller)
        if row is not None and row.workflow_id not in unseen:
            bind_execution(ids.text(row.stream_id), process_id)
            return row.stream_id
        name = ids.unprefixed(process_id)
        if row is None and ids.is_id(name):
            execution_id = ids.parse(name)
            execution = await self._store.execution(execution_id)
            is_here = execution is not None and execution.workspace_id == caller.workspace_id
            if execution is not None and is_here and execution.workflow_id not in unseen:
                bind_execution(name)
                return execution_id
        raise NotFound(f"there is no process {process_id!r}")


class _Holder(NamedTuple):
    """The execution that has a process id, and whether it was started by the same request as this one."""

    execution_id: bytes
    is_same: bool


class _Hold:
    """How long a call may be held (until `deadline`, in ticks), and what ends that sooner."""

    __slots__ = ("deadline", "watch")

    def __init__(self, watch: Watch, deadline: int) -> None:
        self.watch = watch
        self.deadline = deadline


class _Trigger(NamedTuple):
    """What a trigger asks for."""

    workflow_id: bytes
    version: int | None
    input: Any
    process_id: str | None
    trigger: str
    is_test: bool
    apart_ms: int
