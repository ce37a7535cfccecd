"""The embedded engine: Perdure inside a Python program, acting in organization and workspace `default`."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any, Self, get_args

from perdure.engine.compose import Composed, Surroundings, compose
from perdure.engine.core import ids
from perdure.engine.core.events import Recorded, ResumeRule
from perdure.engine.core.pause_events import Clocks
from perdure.engine.database import open_store
from perdure.engine.documented import Documented, given_document
from perdure.engine.errors import EngineFailed, Invalid
from perdure.engine.following import ExecutionFollower
from perdure.engine.limits import DEFAULT_LIMITS, Limits
from perdure.engine.runtime.callers import Caller
from perdure.engine.runtime.clock import Clock, SystemClock
from perdure.engine.runtime.processing import incoming
from perdure.engine.runtime.telemetry.metrics import Metrics
from perdure.engine.second_chances import SecondChances, keyed
from perdure.engine.services.authoring import Authored
from perdure.engine.services.documents import Format
from perdure.engine.services.runs import TERMINATION_REASON
from perdure.engine.steps import Registry
from perdure.engine.steps.builtin import builtin_steps
from perdure.engine.steps.http import HttpClient
from perdure.engine.views import (
    EngineStatus,
    Execution,
    ExecutionSummary,
    Page,
    Result,
    Wait,
    Workflow,
    WorkflowSummary,
    summary_of,
    workflow_of,
)
from perdure.store.protocols import Store, WriterPlace


class Engine(SecondChances, Documented):
    """A durable state-machine engine. Open it with `Engine.open`.

    Every call that changes something returns after the change is on disk. What it raises is in `engine.errors`.
    """

    def __init__(self, composed: Composed, http: HttpClient) -> None:
        self.node, self.services = composed
        self.store = self.node.store
        self._http = http
        self._default: Caller | None = None
        self._follower = ExecutionFollower(self.node, self.services.queries, self._caller)

    @classmethod
    @asynccontextmanager
    async def open(
        cls,
        database: str | Store,
        *,
        steps: Registry | None = None,
        clock: Clock | None = None,
        allow_private_addresses: bool = False,
        writer: WriterPlace = "thread",
        limits: Limits = DEFAULT_LIMITS,
    ) -> AsyncIterator[Self]:
        """Open a database (`sqlite:///runs.db`, made if it is not there) and serve it until the block ends.

        `steps` are the steps of your own; the built-in ones are there anyway. `writer` says where a
        database that is given by its URL makes its commits: in a thread of this process, or in a process of its own,
        which is worth it under load (`WriterPlace`). `limits` say how much it takes on at once.
        Raises `store.errors.DatabaseInUse` if another process serves the file.
        """
        engine = await cls.start(
            database,
            steps=steps,
            clock=clock,
            allow_private_addresses=allow_private_addresses,
            writer=writer,
            limits=limits,
        )
        try:
            yield engine
        finally:
            await asyncio.shield(engine.close())

    @classmethod
    async def start(
        cls,
        database: str | Store,
        *,
        steps: Registry | None = None,
        clock: Clock | None = None,
        allow_private_addresses: bool = False,
        writer: WriterPlace = "thread",
        limits: Limits = DEFAULT_LIMITS,
        on_failure: Callable[[Exception], None] | None = None,
    ) -> Self:
        """Open without a block; `close` must be called in the end.

        `on_failure` is called once, on the loop, if the engine stops after a failed commit.
        """
        store = await open_store(database, writer=writer) if isinstance(database, str) else database
        http = HttpClient(allow_private=allow_private_addresses)
        registry = builtin_steps(http).merged(steps or Registry())
        around = Surroundings(store, clock or SystemClock(), limits, on_failure=on_failure)
        engine = cls(compose(around, registry), http)
        try:
            await engine.node.start()
        except BaseException:
            await engine.close()
            raise
        return engine

    @classmethod
    @asynccontextmanager
    async def recorder(cls, store: Store, steps: Registry) -> AsyncIterator[Self]:
        """An engine that records and does nothing else: it calls no step, fires no timer and takes nothing up.

        The store is closed with it. An engine that is started on it goes on from there.
        """
        http = HttpClient()
        around = Surroundings(store, SystemClock())
        engine = cls(compose(around, builtin_steps(http).merged(steps), is_recorder=True), http)
        try:
            await engine.node.look()
            yield engine
        finally:
            await engine.close(0)

    async def close(self, grace_s: float = 5.0) -> None:
        """Drain and close. Steps that run have `grace_s` seconds to end; then they run again at the next start.

        Raises `EngineFailed` if the database does not answer; nothing that was answered is lost by that.
        Who waits for a run hears that it was closed.
        """
        is_home = True
        try:
            is_home = await self.node.drain(grace_s)
            self._follower.close()
            if is_home:
                await self.services.access.close()
        finally:
            try:
                await self._http.close()
            finally:
                await (self.store.close() if is_home else self.store.abandon())
        if not is_home:
            raise EngineFailed("the engine was closed while a commit was under way; the next start reads what it wrote")

    @property
    def condition(self) -> EngineStatus:
        """How the engine is now."""
        node = self.node
        loop = node.crash_loop
        return EngineStatus(
            failure=node.processor.failure,
            is_draining=node.draining.is_set(),
            is_recovering=not node.recovery.is_done.is_set(),
            deaths=loop.crashes if loop is not None and loop.is_careful else 0,
            problem=node.processor.commits.problem,
            clock=node.parts.guard.why_not(),
        )

    @property
    def position(self) -> int:
        """Where the log stands on disk."""
        return self.node.processor.position

    @property
    def node_id(self) -> str:
        return ids.text(self.node.id)

    @property
    def node_name(self) -> str:
        """The host, and the process on it."""
        return self.node.parts.sender.name

    @property
    def clock(self) -> Clock:
        return self.node.clock

    @property
    def limits(self) -> Limits:
        return self.node.limits

    @property
    def metrics(self) -> Metrics:
        """What it measures of itself since it was started."""
        return self.node.metrics

    def now(self) -> int:
        """Milliseconds since the epoch, by its clock."""
        return self.node.clock.now()

    async def accept_clock(self, step_ms: int | None = None) -> int:
        """Accept that the computer's clock was set while the engine ran (`condition.clock`), so that timers fire again.

        Gives the step in milliseconds, 0 if there was none. With `step_ms` only a step of about that is accepted:
        raises `Conflict` if it is another one by more than a minute.
        """
        return await self.services.clock.accept(await self._caller(), step_ms)

    def hold_at_most(self, calls: int) -> None:
        """Hold so many calls at once until something happens: each keeps a connection of whoever serves it."""
        self.node.holds.most = calls

    def begin_drain(self) -> None:
        """Refuse what is new from now on, and answer the calls that are held; `close` follows."""
        self.node.begin_drain()

    async def recovered(self) -> None:
        """Wait until what was under way at the start has been taken up again."""
        await self.node.recovery.is_done.wait()

    async def _caller(self) -> Caller:
        if self._default is None:
            actor = f"embedded:{os.getpid()}"
            self._default = await self.services.access.default_caller(actor)
        return self._default

    def _json(self, field: str, value: Any) -> Any:
        """A value of the caller's, copied: what it does with its own afterwards is no business of the run's."""
        return incoming.json_value(field, value, self.node.limits.payload_max_bytes)

    async def create_workflow(
        self,
        name: str,
        definition: Any,
        *,
        format: Format = "asl",  # noqa: A002 everybody's word
        description: str | None = None,
        resume: ResumeRule | None = None,
        settings: Mapping[str, Any] | None = None,
    ) -> Workflow:
        """Create and publish a workflow from an Amazon States Language definition (an object, or JSON or YAML text).

        With a `format` (`steps`, `graph`, `service`) it is a document of that. `settings` are rules for its runs, as
        the API has them (`{"timeoutMs": 60000}`); `resume` is one of them: if "named", a resume must say which wait it
        means. Raises `engine.errors.Invalid`, with every problem in `details["errors"]`.
        """
        incoming.texts(name=name, description=description)
        given, rules = given_document(definition, format), _settings(resume, settings)
        wanted = Authored(given, name, description, is_published=True, settings=rules)
        return workflow_of(await self.services.authoring.create(await self._caller(), wanted))

    async def apply_workflow(
        self,
        name: str,
        definition: Any,
        *,
        format: Format = "asl",  # noqa: A002 likewise
        description: str | None = None,
        draft: bool = False,
        resume: ResumeRule | None = None,
        settings: Mapping[str, Any] | None = None,
    ) -> Workflow:
        """Make this the definition of the workflow of that name: create it, or its next version if anything differs.

        Applied again it changes nothing, so a program may do so at each start. Raises `Invalid` as `create_workflow`
        does, `Conflict` if several workflows have the name.
        """
        incoming.texts(name=name, description=description)
        given, rules = given_document(definition, format), _settings(resume, settings)
        wanted = Authored(given, name, description, is_published=not draft, settings=rules)
        return workflow_of((await self.services.authoring.apply(await self._caller(), wanted)).saved)

    async def trigger(
        self,
        workflow_id: str,
        run_input: Any = None,
        *,
        process_id: str | None = None,
        version: int | None = None,
        idempotency_key: str | None = None,
    ) -> Execution:
        """Start an execution; without an input that is `{}`.

        With a process id the same call gives the same execution, for ever; another input under it raises `Conflict`.
        """
        incoming.texts(workflow_id=workflow_id, process_id=process_id, idempotency_key=idempotency_key)
        value = {} if run_input is None else self._json("run_input", run_input)
        request = ["trigger", workflow_id, version, process_id, value]
        answered = await self.services.runs.trigger(
            await self._caller(),
            ids.parse(workflow_id),
            value,
            version=version,
            process_id=process_id,
            trigger="MANUAL",
            idempotency=keyed(idempotency_key, request),
        )
        return Execution(answered.answer, process_id or answered.answer)

    async def resume(
        self,
        process_id: str,
        payload: Any,
        *,
        wait_id: str | None = None,
        state: str | None = None,
        hold: float = 2.0,
        idempotency_key: str | None = None,
    ) -> str:
        """End a wait: `restarted`, or `already restarted` if an earlier resume did.

        A call that comes before its wait is held for `hold` seconds. Raises `NotWaiting`, `AmbiguousWait`,
        `UnnamedWait`, `WaitExpired`, `Conflict` or `NotFound`.
        """
        incoming.texts(process_id=process_id, wait_id=wait_id, state=state, idempotency_key=idempotency_key)
        payload = self._json("payload", payload)
        answered = await self.services.runs.resume(
            await self._caller(),
            process_id,
            payload,
            wait_id=wait_id,
            state=state,
            hold_ms=round(hold * 1000),
            idempotency=keyed(idempotency_key, ["resume", process_id, wait_id, state, payload]),
        )
        return str(answered.answer)

    async def terminate(
        self,
        process_id: str,
        reason: str = TERMINATION_REASON,
        *,
        data: dict[str, Any] | None = None,
        idempotency_key: str | None = None,
    ) -> str:
        """End an execution from outside: `terminated`, or `already terminated`. `data` is kept with the reason.

        Raises `Conflict` or `NotFound`.
        """
        incoming.texts(process_id=process_id, reason=reason, idempotency_key=idempotency_key)
        data = None if data is None else self._json("data", data)
        answered = await self.services.runs.terminate(
            await self._caller(),
            process_id,
            reason,
            data=data,
            idempotency=keyed(idempotency_key, ["terminate", process_id, reason, data]),
        )
        return str(answered.answer)

    async def release(self, process_id: str) -> None:
        """Try an execution again that was set aside (`ExecutionQuarantined`) since deciding about it had failed.

        Raises `Conflict` if it is not quarantined, `NotFound`.
        """
        incoming.texts(process_id=process_id)
        await self.services.runs.release(await self._caller(), process_id)

    async def pause(
        self, process_id: str, reason: str, *, clocks: Clocks = "run", idempotency_key: str | None = None
    ) -> str:
        """Stop an execution for a while: `paused`, or `already paused`. See `engine.services.runs.Runs.pause`.

        Raises `Conflict` if it has ended, `NotFound`.
        """
        incoming.texts(process_id=process_id, reason=reason, idempotency_key=idempotency_key)
        if clocks not in get_args(Clocks):
            raise Invalid(f"clocks: {clocks!r} is none of run, freeze", {"field": "clocks"})
        key = keyed(idempotency_key, ["pause", process_id, reason, clocks])
        paused = self.services.runs.pause
        return str(
            (await paused(await self._caller(), process_id, reason=reason, clocks=clocks, idempotency=key)).answer
        )

    async def unpause(self, process_id: str, reason: str | None = None, *, idempotency_key: str | None = None) -> str:
        """Let a paused execution go on where it stands: `unpaused`, or `not paused`. Raises what `pause` does."""
        incoming.texts(process_id=process_id, reason=reason, idempotency_key=idempotency_key)
        key = keyed(idempotency_key, ["unpause", process_id, reason])
        unpaused = self.services.runs.unpause
        return str((await unpaused(await self._caller(), process_id, reason=reason, idempotency=key)).answer)

    async def complete_task(self, token: str, output: Any, *, idempotency_key: str | None = None) -> None:
        """End the task that a task token was made for (`.waitForTaskToken`) with this output, a JSON value.

        Raises `NotFound` if it is no token of ours, `Conflict` if it has been used, `WaitExpired` if its task is over.
        """
        incoming.texts(token=token, idempotency_key=idempotency_key)
        output = self._json("output", output)
        key = keyed(idempotency_key, ["complete_task", token, output])
        await self.services.task_tokens.complete(await self._caller(), token, output, idempotency=key)

    async def fail_task(
        self, token: str, error: str | None = None, cause: str | None = None, *, idempotency_key: str | None = None
    ) -> None:
        """Fail the task that a task token was made for, as Retry and Catch see it. Raises what `complete_task` does."""
        incoming.texts(token=token, error=error, cause=cause, idempotency_key=idempotency_key)
        key = keyed(idempotency_key, ["fail_task", token, error, cause])
        await self.services.task_tokens.fail(await self._caller(), token, error, cause, idempotency=key)

    async def heartbeat(self, token: str) -> None:
        """Say that the task is alive, which HeartbeatSeconds asks for. Raises what `complete_task` does."""
        await self.services.task_tokens.beat(await self._caller(), token)

    async def workflows(self, *, search: str | None = None, page: int = 1, limit: int = 100) -> list[WorkflowSummary]:
        """A page of workflows, newest first; `search` is a part of the name."""
        rows, _ = await self.services.queries.workflow_page(
            await self._caller(), offset=(page - 1) * limit, limit=limit, search=search
        )
        return [
            WorkflowSummary(ids.text(row.workflow_id), row.name, row.status, row.latest_version, row.modified_at)
            for row in rows
        ]

    async def waits(self, process_id: str | None = None, *, limit: int = 100, after: str | None = None) -> list[Wait]:
        """The open waits, oldest first, of one execution if it is named; `after` is the id of the last one before."""
        caller = await self._caller()
        found = await self.services.queries.open_waits(
            caller,
            execution_id=None if process_id is None else await self.services.runs.find(caller, process_id),
            after=b"" if after is None else ids.parse(after),
            limit=limit,
        )
        return [
            Wait(ids.text(row.wait_id), row.state, name, ids.text(row.execution_id), row.opened_at, row.due_at)
            for row, name in found
        ]

    async def status(self, process_id: str) -> ExecutionSummary:
        """The status of an execution, by process id or execution id. Raises `NotFound`."""
        caller = await self._caller()
        view = await self.services.queries.execution(caller, await self.services.runs.find(caller, process_id))
        return summary_of(view.row, view.process_id)

    async def result(self, execution_id: str, timeout: float | None = None) -> Result:  # noqa: ASYNC109 our clock
        """Wait until an execution has ended.

        Raises `TimeoutError` after `timeout` seconds, `NotFound`, `EngineFailed` if the engine stops before.
        """
        return await self._follower.result(execution_id, timeout)

    def events(self, execution_id: str, *, follow: bool = False) -> AsyncIterator[Recorded]:
        """The events of an execution in order; with `follow` also those to come, until it has ended."""
        return self._follower.events(execution_id, follow=follow)

    async def executions(
        self,
        *,
        workflow_id: str | None = None,
        limit: int = 20,
        after: str | None = None,
    ) -> Page:
        """A page of executions, newest first. `after` is the `last_key` of the page before."""
        rows, has_more = await self.services.queries.page(
            await self._caller(),
            workflow_id=None if workflow_id is None else ids.parse(workflow_id),
            before=None if after is None else ids.parse(after),
            limit=limit,
        )
        names = await self.store.process_ids_of([row.execution_id for row in rows])
        items = [summary_of(row, names.get(row.execution_id, ids.text(row.execution_id))) for row in rows]
        return Page(items, items[-1].id if has_more else None)


def _settings(resume: ResumeRule | None, settings: Mapping[str, Any] | None) -> dict[str, Any]:
    """The settings that are given; `resume` is one of them."""
    return {**({} if resume is None else {"resume": resume}), **(settings or {})}
