"""Second chances: runs that did not end well are redriven, and any run can be rerun, or forked at an event.

A redrive is a command to the run itself. A rerun and a fork start another run, whose first event says which run and
which event of it (by seq and hash) it was made from. A fork takes over that run's history: it is read here, as it is on
disk, and written in one append, so that a crash never leaves a part of it; hence it is limited.
"""

from __future__ import annotations

from typing import Any, Final, Literal, NamedTuple, TypeAlias

from msgspec import UNSET

from perdure.engine.core import commands as c
from perdure.engine.core import ids
from perdure.engine.core.events import ExecutionStarted, Origin, Recorded
from perdure.engine.errors import Conflict, Invalid, NotFound
from perdure.engine.log.codec import EXECUTION
from perdure.engine.runtime.callers import Caller, IdempotencyClaim, IdempotencyKey
from perdure.engine.runtime.node import NodeParts
from perdure.engine.runtime.processing.requests import ClaimConflict
from perdure.engine.runtime.telemetry.request_context import bind_execution
from perdure.engine.services.idempotency import Answered, Idempotency
from perdure.engine.services.open_runs import StartRules
from perdure.engine.services.runs import Runs
from perdure.engine.services.sending import send
from perdure.engine.services.starting import Start, check_process_id, implied
from perdure.engine.services.workflows import Published, Workflows
from perdure.store.records import ExecutionRow, ProcessIdRow, StoredEvent

FORK_EVENTS_MAX: Final = 2_000
"""So many events a fork takes over at the most: they are written in one transaction, which others wait for."""

FORK_BYTES_MAX: Final = 16 * 1024 * 1024
"""Bytes of payloads that a fork takes over at the most."""

REASON_MAX: Final = 1024
MADE_MAX: Final = 100

Latest: TypeAlias = Literal["latest"]

_BUSY: Final = "too many requests claim this process id or idempotency key at once; repeat the call"


class RunLineage(NamedTuple):
    """The run that a run was made from (with the process id of that), how often it was redriven, and its offspring.

    Of these there are `MADE_MAX` at most, those that were made first; `has_more` says whether there are others.
    """

    row: ExecutionRow
    redrives: int
    origin: Origin | None
    reruns: list[ExecutionRow]
    forks: list[ExecutionRow]
    has_more: bool


class Chances:
    """Redrives, reruns and forks."""

    def __init__(
        self, node: NodeParts, workflows: Workflows, rules: StartRules, memory: Idempotency, runs: Runs
    ) -> None:
        self._node = node
        self._store = node.store
        self._workflows = workflows
        self._rules = rules
        self._idempotency = memory
        self._runs = runs

    # --- redrive -------------------------------------------------------------------------------------------------

    async def redrive(
        self, caller: Caller, process_id: str, *, reason: str | None = None, idempotency: IdempotencyKey | None = None
    ) -> Answered:
        """Let a run go on that failed, timed out or was terminated; the answer is `redriven`.

        It goes on at the states that failed or were cut short (`engine.core.decide.redrive`). Raises `Conflict` (it
        lives, or is completed; its workflow is archived; its payloads are erased), `Invalid`, `NotFound`.
        """
        _check_reason(reason)
        execution_id = await self._runs.find(caller, process_id)

        async def attempt(claim: IdempotencyClaim | None) -> Answered | None:
            row = await self._row(execution_id)
            found = await self._workflows.runnable(caller, row.workflow_id, row.workflow_version, is_test=True)
            self._first(await self._store.events_at(execution_id, [1]))
            command = c.RedriveExecution(reason, found.settings)
            reply = await send(self._node, caller, "execution", execution_id, command, remembered=claim)
            return None if isinstance(reply, ClaimConflict) else Answered(reply.answer, execution_id, reply.position)

        return await self._idempotency.run_once(caller, idempotency, attempt)

    # --- rerun ---------------------------------------------------------------------------------------------------

    async def rerun(
        self,
        caller: Caller,
        process_id: str,
        *,
        run_input: Any = UNSET,
        version: int | Latest | None = None,
        new_process_id: str | None = None,
        reason: str | None = None,
        trigger: str = "REQUEST",
        idempotency: IdempotencyKey | None = None,
    ) -> Answered:
        """Start another run of the same workflow, from its start; the answer is its id as text.

        It has the input of the run, or `run_input`, and its version of the workflow, or another one, or the latest.
        Raises `Conflict` (the new process id is taken; the workflow or version cannot be run), `Invalid`, `NotFound`.
        """
        _check_reason(reason)
        if new_process_id is not None:
            check_process_id(new_process_id)
        origin_id = await self._runs.find(caller, process_id)
        row = await self._row(origin_id)
        stored, first = self._first(await self._store.events_at(origin_id, [1]))
        begun = _started(first)
        origin = Origin("rerun", ids.text(origin_id), 1, stored.row.hash.hex())
        given = (first.payload or {})["input"] if run_input is UNSET else run_input
        wanted = row.workflow_version if version is None else version
        number = None if wanted == "latest" else wanted

        async def attempt(claim: IdempotencyClaim | None) -> Answered | None:
            found = await self._workflows.runnable(caller, row.workflow_id, number, is_test=begun.is_test)
            start = Start(found, given, new_process_id, trigger, begun.is_test, origin=origin, reason=reason)
            start = await self._rules.limited(caller, start)
            return await self._start(caller, found, start.command(caller), start, claim)

        return await self._idempotency.run_once(caller, idempotency, attempt, busy=_BUSY)

    # --- fork ----------------------------------------------------------------------------------------------------

    async def fork(
        self,
        caller: Caller,
        process_id: str,
        seq: int,
        *,
        state_input: Any = UNSET,
        new_process_id: str | None = None,
        reason: str | None = None,
        trigger: str = "REQUEST",
        idempotency: IdempotencyKey | None = None,
    ) -> Answered:
        """Start another run with the history of this one up to the event `seq`; the answer is its id as text.

        What was in progress there is entered anew; `state_input` is given to the one state that is. Raises `Invalid`
        (there is no such event, or it takes over too much), `Conflict` (the run had ended there; its workflow is
        archived; its payloads are erased; the new process id is taken), `NotFound`.
        """
        _check_reason(reason)
        if new_process_id is not None:
            check_process_id(new_process_id)
        origin_id = await self._runs.find(caller, process_id)
        row = await self._row(origin_id)

        async def attempt(claim: IdempotencyClaim | None) -> Answered | None:
            stored, events = await self._history(origin_id, seq)
            origin = Origin("fork", ids.text(origin_id), seq, stored[-1].row.hash.hex())
            is_test = _started(events[0]).is_test
            found = await self._workflows.runnable(caller, row.workflow_id, row.workflow_version, is_test=is_test)
            given = (events[0].payload or {})["input"]
            start = await self._rules.limited(caller, Start(found, given, new_process_id, trigger, is_test))
            command = c.ForkExecution(
                origin,
                tuple(events),
                trigger,
                found.settings,
                start.limits or (),
                new_process_id,
                reason,
                state_input,
            )
            return await self._start(caller, found, command, start, claim)

        return await self._idempotency.run_once(caller, idempotency, attempt, busy=_BUSY)

    async def _history(self, origin_id: bytes, seq: int) -> tuple[list[StoredEvent], list[Recorded]]:
        """The events of a run up to one, as they are on disk. Raises `Invalid` if it has no such event, or too many."""
        if seq > FORK_EVENTS_MAX:
            message = f"seq: a fork takes over at most {FORK_EVENTS_MAX:,} events"
            raise Invalid(message, {"field": "seq", "limit": FORK_EVENTS_MAX})
        sizes = await self._store.payload_sizes(origin_id, range(1, seq + 1))
        if sum(sizes.values()) > FORK_BYTES_MAX:
            message = f"seq: a fork takes over at most {FORK_BYTES_MAX:,} bytes of payloads"
            raise Invalid(message, {"field": "seq", "limit": FORK_BYTES_MAX})
        stored = list(await self._store.events_at(origin_id, range(1, seq + 1)))
        if len(stored) < seq:
            message = f"seq: the execution has {len(stored)} events so far; give one from 1 on"
            raise Invalid(message, {"field": "seq", "limit": len(stored)})
        if any(item.row.payload is None and item.row.payload_digest is not None for item in stored):
            raise Conflict(_ERASED)
        return stored, EXECUTION.read_all(stored)

    # --- shared --------------------------------------------------------------------------------------------------

    async def _start(
        self,
        caller: Caller,
        found: Published,
        command: c.Trigger | c.ForkExecution,
        start: Start,
        claim: IdempotencyClaim | None,
    ) -> Answered | None:
        """Start the new run; null if its idempotency key was claimed before. Raises `Conflict` for its process id."""
        name = start.process_id
        await self._check_free(caller, name)
        execution_id = self._node.processor.new_id()
        bind_execution(ids.text(execution_id), name)
        held: ProcessIdRow | None = start.claim(caller, execution_id, self._node.random(16))
        reply = await send(
            self._node,
            caller,
            "execution",
            execution_id,
            command,
            machine=found.machine,
            process_id=held,
            remembered=claim,
        )
        return None if isinstance(reply, ClaimConflict) else Answered(reply.answer, execution_id, reply.position)

    async def _check_free(self, caller: Caller, process_id: str | None) -> None:
        """Raise `Conflict` if another run has the process id: a rerun or a fork is never the same run as another."""
        if process_id is None:
            return
        taken = await self._store.process_id(caller.organization_id, caller.workspace_id, process_id)
        holder = taken and taken.stream_id
        if holder is None:
            row = await implied(self._store, caller, process_id)
            holder = row and row.execution_id
        if holder is not None:
            raise Conflict(f"process_id: it belongs to execution {ids.text(holder)}; give the new run one of its own")

    async def _row(self, execution_id: bytes) -> ExecutionRow:
        row = await self._store.execution(execution_id)
        if row is None:
            raise NotFound(f"there is no execution {ids.text(execution_id)}")
        return row

    @staticmethod
    def _first(stored: Any) -> tuple[StoredEvent, Recorded]:
        """The first event of a run. Raises `Conflict` if its payload is erased: then its inputs are gone."""
        first: StoredEvent = stored[0]
        if first.row.payload is None:
            raise Conflict(_ERASED)
        return first, EXECUTION.read(first.row)

    # --- what is shown -------------------------------------------------------------------------------------------

    async def lineage(self, caller: Caller, process_id: str) -> RunLineage:
        """The run that a run was made from, and those that were made from it. Raises `NotFound`."""
        execution_id = await self._runs.find(caller, process_id)
        row = await self._row(execution_id)
        first = _started(EXECUTION.read((await self._store.events_at(execution_id, [1]))[0].row))
        made = await self._store.executions_from(execution_id, limit=MADE_MAX + 1)
        reruns, forks = list[ExecutionRow](), list[ExecutionRow]()
        for other in made[:MADE_MAX]:
            begun = _started(EXECUTION.read((await self._store.events_at(other.execution_id, [1]))[0].row))
            is_fork = begun.origin is not None and begun.origin.kind == "fork"
            (forks if is_fork else reruns).append(other)
        redrives = await self._redrives(execution_id)
        return RunLineage(row, redrives, first.origin, reruns, forks, len(made) > MADE_MAX)

    async def _redrives(self, execution_id: bytes) -> int:
        """How often a run was redriven: the last such event says so."""
        found = await self._store.event_page(execution_id, types=["ExecutionRedriven"], newest_first=True, limit=1)
        return 0 if not found else getattr(EXECUTION.read(found[0].row).event, "count", 0)


_ERASED: Final = "the execution's payloads are erased, and its inputs with them"


def _started(recorded: Recorded) -> ExecutionStarted:
    if not isinstance(recorded.event, ExecutionStarted):
        message = f"event 1 is {type(recorded.event).__name__}: the log is damaged"
        raise TypeError(message)
    return recorded.event


def _check_reason(reason: str | None) -> None:
    """Raise `Invalid` if a reason is longer than any may be."""
    if reason is not None and len(reason) > REASON_MAX:
        raise Invalid(f"reason: it must have at most {REASON_MAX:,} characters", {"field": "reason"})
