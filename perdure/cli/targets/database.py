"""Changes written straight to a database, while no server holds it.

What is recorded is what a server would have recorded, and nothing more: no step is called, no timer fires and nothing
is taken up that another process left. A server that starts on the database goes on from there. (A command that ran
steps would be done before they are, and would need everybody's registry.)
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, Literal, NamedTuple

import click

from perdure.api.actor import terminal_actor
from perdure.api.dialects.resource.access.keys import person_of
from perdure.api.dialects.resource.access.organizations import organization_json
from perdure.api.dialects.resource.access.schemas import NewKey
from perdure.api.dialects.resource.executions.chance_schemas import ForkRequest, RerunRequest
from perdure.api.dialects.resource.executions.pause_schemas import (
    PauseRequest,
    UnpauseRequest,
)
from perdure.api.dialects.resource.executions.schemas import TaskFailure, TaskSuccess
from perdure.api.dialects.resource.executions.tasks import failed_json
from perdure.api.dialects.resource.workflows.schedule_json import (
    schedule_json,
)
from perdure.api.dialects.resource.workflows.schemas import AppliedWorkflow, Named, NewWorkflow
from perdure.api.dialects.resource.workflows.workflows import given_settings
from perdure.api.dialects.schemas import Terminate, Termination
from perdure.api.http.bulk_json import bulk_json
from perdure.api.validation import milliseconds, read
from perdure.cli.names import only_schedule
from perdure.cli.options import DatabaseScope
from perdure.cli.output import instant
from perdure.cli.runner import CommandNotRun, run
from perdure.cli.targets.reader import (
    find_execution,
    find_for,
    find_key,
    find_workflow,
    key_json,
    open_database,
    reader,
)
from perdure.engine.core import ids
from perdure.engine.core.pause_events import Clocks
from perdure.engine.embedded import Engine
from perdure.engine.runtime.callers import Caller
from perdure.engine.services.access import SCOPES
from perdure.engine.services.authoring import Authored
from perdure.engine.services.bulk import BulkOrder
from perdure.engine.services.documents import GivenDocument
from perdure.engine.services.inputs import ProcessIdNoText, ProcessIdsDiffer, chosen_process_id, said_beside
from perdure.engine.services.principals import MadeKey, Principal
from perdure.engine.services.run_filters import Given
from perdure.engine.services.workflows import Saved
from perdure.engine.steps import Registry, load_registry
from perdure.store.records import WorkflowRow


@asynccontextmanager
async def recorder(database: str, registry: Registry) -> AsyncIterator[Engine]:
    """An engine that records and does nothing else. Raises `DatabaseInUse` while a server holds the database."""
    async with Engine.recorder(await open_database(database, read_only=False), registry) as engine:
        yield engine


class RunOrder(NamedTuple):
    """A run that is to start, of a workflow by name or id."""

    workflow: str
    run_input: dict[str, Any]
    process_id: str | None
    version: int | None

    async def start(self, engine: Engine, caller: Caller) -> dict[str, Any]:
        """Start it; its ids. Raises `PerdureError`, `CommandFailed`."""
        row = await find_workflow(engine.store, caller, self.workflow)
        answered = await engine.services.runs.trigger(
            caller,
            row.workflow_id,
            self.run_input,
            version=self.version,
            process_id=self.process_id,
            trigger="MANUAL",
        )
        return {
            "execution_id": answered.answer,
            "process_id": self.process_id or answered.answer,
            "workflow_id": ids.text(row.workflow_id),
        }


class Direct:
    """A database. Implements `Target`."""

    def __init__(self, scope: DatabaseScope, steps: str | None) -> None:
        try:
            self._registry = Registry() if not steps else load_registry(steps)
        except ValueError as error:
            raise CommandNotRun(f"steps: {error}") from None
        self._scope = scope
        self._actor = terminal_actor()

    def _do(self, work: Callable[[Engine, Caller], Awaitable[dict[str, Any]]], *, makes: bool = False) -> Any:
        return run(self._done(work, makes=makes))

    async def _done(self, work: Callable[[Engine, Caller], Awaitable[Any]], *, makes: bool) -> Any:
        if not makes:  # what is not there is not made in passing
            async with reader(self._scope.database):
                pass
        async with recorder(self._scope.database, self._registry) as engine:
            return await work(engine, await find_for(engine, self._scope, self._actor, is_made=makes))

    def create_workflow(
        self,
        name: str,
        definition: Any,
        description: str | None,
        *,
        is_draft: bool,
        settings: dict[str, Any],
        written_as: str,
    ) -> dict[str, Any]:
        stated = definition if written_as == "asl" else {}
        given = {"name": name, "definition": stated, "description": description, "settings": settings}

        async def create(engine: Engine, caller: Caller) -> dict[str, Any]:
            body = read(NewWorkflow, given)
            wanted = Authored(
                GivenDocument(written_as, body.definition if written_as == "asl" else definition),
                name=body.name,
                description=body.description,
                is_published=not is_draft,
                settings=given_settings(body.settings),
            )
            return _saved(await engine.services.authoring.create(caller, wanted))

        return dict(self._do(create, makes=True))

    def apply_workflow(
        self,
        name: str,
        definition: Any,
        description: str | None,
        *,
        is_draft: bool,
        settings: dict[str, Any],
        written_as: str,
    ) -> dict[str, Any]:
        async def apply(engine: Engine, caller: Caller) -> dict[str, Any]:
            stated = definition if written_as == "asl" else {}
            given = {"definition": stated, "description": description, "settings": settings}
            body = read(AppliedWorkflow, given)
            wanted = Authored(
                GivenDocument(written_as, body.definition if written_as == "asl" else definition),
                name=read(Named, {"name": name}).name,
                description=body.description,
                is_published=not is_draft,
                settings=settings,
            )
            applied = await engine.services.authoring.apply(caller, wanted)
            return {**_saved(applied.saved), "outcome": applied.outcome}

        return dict(self._do(apply, makes=True))

    def publish_workflow(self, workflow: str) -> dict[str, Any]:
        async def publish(engine: Engine, caller: Caller) -> dict[str, Any]:
            row = await find_workflow(engine.store, caller, workflow)
            return _saved(await engine.services.workflows.change(caller, row.workflow_id, is_published=True))

        return dict(self._do(publish))

    def archive_workflow(self, workflow: str) -> dict[str, Any]:
        async def archive(engine: Engine, caller: Caller) -> dict[str, Any]:
            row = await find_workflow(engine.store, caller, workflow)
            return _brief(await engine.services.workflows.archive(caller, row.workflow_id))

        return dict(self._do(archive))

    def switch_schedules(self, workflow: str, schedule: str | None, *, is_enabled: bool) -> dict[str, Any]:
        async def switch(engine: Engine, caller: Caller) -> dict[str, Any]:
            row = await find_workflow(engine.store, caller, workflow)
            services, schedule_id = engine.services.schedules, None if schedule is None else ids.parse(schedule)
            await services.switch(caller, row.workflow_id, is_enabled=is_enabled, schedule_id=schedule_id)
            views = await services.views(caller, row.workflow_id)
            found = [schedule_json(each) for each in views if schedule_id in (None, each.row.schedule_id)]
            return {"items": [{"id": each["id"], "status": each["status"]} for each in found]}

        return dict(self._do(switch))

    def run_schedule(self, workflow: str, schedule: str | None) -> dict[str, Any]:
        async def start(engine: Engine, caller: Caller) -> dict[str, Any]:
            row = await find_workflow(engine.store, caller, workflow)
            rows = await engine.services.schedules.rows(caller, row.workflow_id)
            name = schedule or only_schedule([ids.text(each.schedule_id) for each in rows])
            return (await engine.services.schedules.run_now(caller, row.workflow_id, ids.parse(name)))._asdict()

        return dict(self._do(start))

    def trigger(
        self, workflow: str, run_input: dict[str, Any], process_id: str | None, version: int | None
    ) -> dict[str, Any]:
        order = RunOrder(workflow, run_input, process_id_of(process_id, run_input), version)
        return dict(self._do(order.start))

    def resume(
        self, process_id: str, payload: Any, *, wait_id: str | None, state: str | None, hold_s: int
    ) -> dict[str, Any]:
        del hold_s  # nothing else goes on here, so no wait opens while the call is held

        async def resume(engine: Engine, caller: Caller) -> dict[str, Any]:
            await find_execution(engine.store, caller, process_id)
            answered = await engine.services.runs.resume(
                caller, process_id, payload, wait_id=wait_id, state=state, hold_ms=0
            )
            return {"message": answered.answer}

        return dict(self._do(resume))

    def terminate(self, process_id: str, payload: dict[str, Any]) -> dict[str, Any]:
        async def terminate(engine: Engine, caller: Caller) -> dict[str, Any]:
            await find_execution(engine.store, caller, process_id)
            asked: Termination = read(Terminate, {"payload": payload}).payload
            answered = await engine.services.runs.terminate(
                caller, process_id, asked.termination_reason, data=said_beside(payload)
            )
            return {"message": answered.answer}

        return dict(self._do(terminate))

    def redrive(self, process_id: str, reason: str | None) -> dict[str, Any]:
        async def redrive(engine: Engine, caller: Caller) -> dict[str, Any]:
            await find_execution(engine.store, caller, process_id)
            return {"message": (await engine.services.chances.redrive(caller, process_id, reason=reason)).answer}

        return dict(self._do(redrive))

    def rerun(self, process_id: str, body: dict[str, Any]) -> dict[str, Any]:
        async def rerun(engine: Engine, caller: Caller) -> dict[str, Any]:
            await find_execution(engine.store, caller, process_id)
            asked = read(RerunRequest, body)
            answered = await engine.services.chances.rerun(
                caller,
                process_id,
                run_input=asked.input,
                version=asked.version,
                new_process_id=asked.process_id,
                reason=asked.reason,
                trigger="MANUAL",
            )
            return {"execution_id": answered.answer, "process_id": asked.process_id or answered.answer}

        return dict(self._do(rerun))

    def fork(self, process_id: str, body: dict[str, Any]) -> dict[str, Any]:
        async def fork(engine: Engine, caller: Caller) -> dict[str, Any]:
            await find_execution(engine.store, caller, process_id)
            asked = read(ForkRequest, body)
            answered = await engine.services.chances.fork(
                caller,
                process_id,
                asked.seq,
                state_input=asked.input,
                new_process_id=asked.process_id,
                reason=asked.reason,
                trigger="MANUAL",
            )
            return {"execution_id": answered.answer, "process_id": asked.process_id or answered.answer}

        return dict(self._do(fork))

    def release(self, process_id: str) -> dict[str, Any]:
        async def release(engine: Engine, caller: Caller) -> dict[str, Any]:
            return {"message": (await engine.services.runs.release(caller, process_id)).answer}

        return dict(self._do(release))

    def pause(self, process_id: str, reason: str, *, clocks: Clocks) -> dict[str, Any]:
        async def pause(engine: Engine, caller: Caller) -> dict[str, Any]:
            await find_execution(engine.store, caller, process_id)
            asked = read(PauseRequest, {"reason": reason, "clocks": clocks})
            answered = await engine.services.runs.pause(caller, process_id, reason=asked.reason, clocks=asked.clocks)
            return {"message": answered.answer}

        return dict(self._do(pause))

    def unpause(self, process_id: str, reason: str | None) -> dict[str, Any]:
        async def unpause(engine: Engine, caller: Caller) -> dict[str, Any]:
            await find_execution(engine.store, caller, process_id)
            asked = read(UnpauseRequest, {} if reason is None else {"reason": reason})
            return {"message": (await engine.services.runs.unpause(caller, process_id, reason=asked.reason)).answer}

        return dict(self._do(unpause))

    def start_bulk(
        self,
        action: str,
        workflow: str | None,
        filters: Given,
        reason: str | None,
        arguments: dict[str, Any],
        *,
        is_dry_run: bool,
    ) -> dict[str, Any]:
        async def start(engine: Engine, caller: Caller) -> dict[str, Any]:
            wanted = dict(filters)
            if workflow is not None:
                wanted["workflow_id"] = ids.text((await find_workflow(engine.store, caller, workflow)).workflow_id)
            order, jobs = BulkOrder(action, wanted, reason, arguments), engine.services.bulk
            if is_dry_run:
                counted = await jobs.count(caller, order)
                return {"dry_run": True, "action": action, "matching": counted.total, "is_exact": counted.is_exact}
            row = await jobs.start(caller, order)
            asked = {"dry_run": False, "action": action, "matching": row.expected}
            return {"id": ids.text(row.bulk_id), "status": row.status, **asked, "is_exact": row.expected is not None}

        return dict(self._do(start))

    def stop_bulk(self, bulk_id: str, reason: str | None) -> dict[str, Any]:
        async def stop(engine: Engine, caller: Caller) -> dict[str, Any]:
            return bulk_json(await engine.services.bulk.stop(caller, ids.parse(bulk_id), reason))

        return dict(self._do(stop))

    def answer_task(self, token: str, what: Literal["success", "failure", "heartbeat"], body: Any) -> dict[str, Any]:
        async def answer(engine: Engine, caller: Caller) -> dict[str, Any]:
            tokens = engine.services.task_tokens
            if what == "failure":
                failure = read(TaskFailure, body)
                return failed_json((await tokens.fail(caller, token, failure.error, failure.cause)).answer)
            if what == "heartbeat":
                answered = await tokens.beat(caller, token)
            else:
                answered = await tokens.complete(caller, token, read(TaskSuccess, body).output)
            return {"message": answered.answer}

        return dict(self._do(answer))

    def organization(self, settings: dict[str, Any]) -> dict[str, Any]:
        async def change(engine: Engine, caller: Caller) -> dict[str, Any]:
            everything = Principal(caller, frozenset(SCOPES))
            return organization_json(await engine.services.access.change_organization(everything, settings))

        return dict(self._do(change))

    def create_key(self, name: str, scopes: list[str], expires_at: str | None, more: dict[str, Any]) -> dict[str, Any]:
        given = {"name": name, "scopes": scopes, "expires_at": expires_at, **more}

        async def create(engine: Engine, caller: Caller) -> dict[str, Any]:
            from perdure.api.app import DIALECTS  # noqa: PLC0415 all routes, which no other command here needs

            body = read(NewKey, given)
            expiry = None if body.expires_at is None else milliseconds("expires_at", body.expires_at)
            everything = Principal(caller, frozenset(SCOPES))  # whoever can write the file can do all that
            made = await engine.services.access.create_key(
                *(everything, body.name, DIALECTS.plain_scopes(body.scopes)),
                expires_at=expiry,
                mode=body.mode,
                person=person_of(body),
            )
            return _made(made)

        return dict(self._do(create, makes=True))

    def revoke_key(self, key: str) -> dict[str, Any]:
        async def revoke(engine: Engine, caller: Caller) -> dict[str, Any]:
            row = await find_key(engine.store, caller, key)
            everything = Principal(caller, frozenset(SCOPES))
            revoked = await engine.services.access.revoke_key(everything, row.key_id)
            return {"id": ids.text(row.key_id), "name": row.name, "revoked_at": instant(revoked.revoked_at)}

        return dict(self._do(revoke))


def _brief(row: WorkflowRow) -> dict[str, Any]:
    return {
        "id": ids.text(row.workflow_id),
        "name": row.name,
        "version": row.latest_version,
        "status": row.status,
    }


def _saved(saved: Saved) -> dict[str, Any]:
    warnings = [{"path": each.path, "message": each.message} for each in saved.warnings]
    return {**_brief(saved.workflow), "warnings": warnings}


async def recovered(database: str, name: str) -> dict[str, Any]:
    """A new key with all scopes, in a database that is there and that no server holds."""
    async with reader(database):
        pass
    async with recorder(database, Registry()) as engine:
        return _made(await engine.services.access.recover(name, terminal_actor()))


def _made(made: MadeKey) -> dict[str, Any]:
    shown_key = key_json(made.row)
    return {
        **{member: shown_key[member] for member in ("id", "name", "scopes", "expires_at", "mode")},
        "key": made.text,
    }


def process_id_of(given: str | None, run_input: dict[str, Any]) -> str | None:
    """The process id that an option or the input has."""
    try:
        return chosen_process_id(given, run_input)
    except ProcessIdNoText:
        raise click.UsageError("--input: its process_id must be a text") from None
    except ProcessIdsDiffer:
        raise click.UsageError("--process-id: the input has another one; give one of them") from None
