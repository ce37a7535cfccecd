"""One run (part of the resource API): started, shown with its log, approved and retried."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from msgspec import UnsetType

from perdure.api.dialects import schemas as common
from perdure.api.dialects.envelopes import data
from perdure.api.dialects.resource.dialect import EXECUTIONS, WORKFLOWS, route
from perdure.api.dialects.resource.executions import execution_schemas as schemas
from perdure.api.dialects.resource.executions.execution_json import approval_json, whole_json
from perdure.api.dialects.resource.executions.finding import found_page
from perdure.api.dialects.resource.executions.run_schemas import (
    AfterCursor,
    RunFound,
    RunsOfWorkflowQuery,
    filters_of,
)
from perdure.api.dialects.status_words import RESOURCE_WORDS
from perdure.api.http.instants import iso
from perdure.api.http.routing import Reply, Route, RouteCall
from perdure.engine.core import ids

PREFIX: Final = "executions/{process_id}"


async def execute_workflow(call: RouteCall[schemas.ExecuteQuery, schemas.Execute | None]) -> Reply:
    """Start a run of a workflow. It is on disk when this is answered; the same process id or key starts no other."""
    body, services, workflow_id = call.body or schemas.Execute(), call.engine.services, call.path_id("id")
    run_input = body.input
    if isinstance(run_input, UnsetType):
        run_input = await services.workflows.input_unsaid(
            call.caller, workflow_id, body.version, is_test=call.query.test
        )
    answered = await services.runs.trigger(
        call.caller,
        workflow_id,
        run_input,
        version=body.version,
        process_id=body.process_id,
        is_test=call.query.test,
        idempotency=call.idempotency(call.given or {}),
    )
    row = await services.queries.row(call.caller, answered.execution_id)
    names = await services.queries.process_ids([row])
    started = {
        "execution_id": answered.answer,
        "process_id": names[row.execution_id],
        "status": "pending" if row.status == "pending" else "running",
        "started_at": iso(row.created_at),
    }
    return data(started, status=201, position=answered.position)


async def get_execution(call: RouteCall[Any, None]) -> Reply:
    """A run by its id or process id: status, input and output, what it waits for, and the last lines of its log."""
    services = call.engine.services
    execution_id = await services.runs.find(call.caller, call.path["process_id"])
    whole = await services.records.whole(call.caller, execution_id)
    names = await services.queries.workflow_names([whole.record.row])
    return data(whole_json(whole, names.get(whole.record.row.workflow_id)))


async def list_executions_of_workflow(call: RouteCall[Any, None]) -> Reply:
    """The runs of a workflow that the filters let through, newest first unless sorted otherwise."""
    workflow_id = ids.text(call.path_id("id"))
    return await found_page(call, {**filters_of(call.query), "workflow_id": workflow_id})


async def decide_approval(call: RouteCall[Any, schemas.DecisionWord]) -> Reply:
    """Answer a question to people: it is counted once, however often it is sent, and shown as it is then."""
    services = call.engine.services
    decided = await services.approvals.decide(
        call.caller,
        await services.runs.find(call.caller, call.path["process_id"]),
        ids.unprefixed(call.path["approval_id"]),
        call.body.decision,
        comment=call.body.comment,
        idempotency=call.idempotency(call.given),
    )
    return data(approval_json(decided.approval), position=decided.position)


async def retry_execution(call: RouteCall[Any, schemas.RetryRequest | None]) -> Reply:
    """Take a run up again where it failed; or make another one, from a step of it or with another input."""
    services, body = call.engine.services, call.body or schemas.RetryRequest()
    retried = await services.retries.retry(
        call.caller,
        await services.runs.find(call.caller, call.path["process_id"]),
        from_step=body.from_step,
        run_input=body.input,
        reason=body.reason,
        idempotency=call.idempotency(call.given or {}),
    )
    row = await services.queries.row(call.caller, retried.execution_id)
    made = {"kind": retried.kind, "execution_id": ids.text(retried.execution_id)}
    return data({**made, "status": RESOURCE_WORDS.word(row.status)}, position=retried.position)


ROUTES: Final[Sequence[Route]] = (
    route(
        *(WORKFLOWS, "POST", "workflows/{id}/execute", "workflows.run", execute_workflow),
        query=schemas.ExecuteQuery,
        body=schemas.Execute,
        is_body_optional=True,
        status=201,
        headers=("Idempotency-Key",),
        answer=common.Data[schemas.Executed],
        refusals=frozenset({"NOT_FOUND", "CONFLICT"}),
        tells_position=True,
    ),
    route(
        *(WORKFLOWS, "GET", "workflows/{id}/executions", "runs.view", list_executions_of_workflow),
        query=RunsOfWorkflowQuery,
        answer=common.Page[RunFound, AfterCursor],
        refusals=frozenset({"NOT_FOUND"}),
    ),
    route(
        *(EXECUTIONS, "GET", PREFIX, "runs.view", get_execution),
        is_of_one=True,
        answer=common.Data[schemas.RunWhole],
        refusals=frozenset({"NOT_FOUND"}),
    ),
    route(
        *(EXECUTIONS, "POST", f"{PREFIX}/approvals/{{approval_id}}", "runs.resume", decide_approval),
        body=schemas.DecisionWord,
        headers=("Idempotency-Key",),
        answer=common.Data[schemas.ApprovalShown],
        refusals=frozenset({"NOT_FOUND", "CONFLICT", "WAIT_EXPIRED"}),
        tells_position=True,
    ),
    route(
        *(EXECUTIONS, "POST", f"{PREFIX}/retry", "workflows.run", retry_execution),
        body=schemas.RetryRequest,
        is_body_optional=True,
        headers=("Idempotency-Key",),
        answer=common.Data[schemas.RetriedRun],
        refusals=frozenset({"NOT_FOUND", "CONFLICT"}),
        tells_position=True,
    ),
)
