"""Runs (part of the runs API): started, read by their steps, cancelled, retried, and their approvals answered."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from msgspec import UNSET

from perdure.api.dialects import schemas as common
from perdure.api.dialects.envelopes import data
from perdure.api.dialects.runs import schemas
from perdure.api.dialects.runs.dialect import RUNS, cursor_meta, route
from perdure.api.dialects.runs.run_json import approval_json, line_json, run_json, step_json
from perdure.api.dialects.status_words import RUNS_WORDS
from perdure.api.http.event_json import event_json
from perdure.api.http.routing import Reply, Route, RouteCall
from perdure.api.validation import id_of
from perdure.engine.core import ids
from perdure.engine.log.codec import decode_json
from perdure.engine.services.runs import TERMINATION_REASON
from perdure.store.records import StoredEvent


async def run_workflow(call: RouteCall[schemas.RunStartQuery, schemas.RunStart | None]) -> Reply:
    """Start a run of a workflow's active version; the answer is sent when it is on disk."""
    body, services = call.body or schemas.RunStart(), call.engine.services
    workflow_id, is_test = call.path_id("id"), call.query.test
    run_input: Any = body.input
    if run_input is UNSET:
        run_input = await services.workflows.input_unsaid(call.caller, workflow_id, None, is_test=is_test)
    answered = await services.runs.trigger(
        call.caller,
        workflow_id,
        run_input=run_input,
        is_test=is_test,
        idempotency=call.idempotency(_without_key(call.given or {}), body.idempotency_key),
    )
    version = answered.workflow_version
    if version is None:  # it was started before, by the same request
        version = (await services.queries.row(call.caller, answered.execution_id)).workflow_version
    started = {
        "runId": answered.answer,
        "status": "pending",
        "workflowId": ids.text(workflow_id),
        "workflowVersion": version,
    }
    return data(started, status=201, position=answered.position)


async def list_runs(call: RouteCall[schemas.StepRunsQuery, None]) -> Reply:
    """The runs of the key's workspace that the filters let through, newest first."""
    query = call.query
    given = {
        "workflow_id": None if query.workflow_id is None else ids.text(id_of("workflowId", query.workflow_id)),
        "status": None if query.status is None else RUNS_WORDS.meant(query.status),
        "from": query.from_,
        "to": query.to,
    }
    page = await call.engine.services.finding.page(
        call.caller,
        {name: value for name, value in given.items() if value is not None},
        after=query.cursor,
        limit=query.limit,
    )
    runs = await call.engine.services.records.many([found.row for found in page.items])
    return data([run_json(run) for run in runs], meta=cursor_meta(page.after))


async def get_run(call: RouteCall[Any, None]) -> Reply:
    """A run with its steps, attempts and approvals."""
    return data(run_json(await call.engine.services.records.of(call.caller, call.path_id("id"))))


async def list_run_steps(call: RouteCall[schemas.PlaceQuery, None]) -> Reply:
    """The steps of a run at the top level, in the order of the document, each with those in it."""
    query = call.query
    page = await call.engine.services.records.steps(
        call.caller, call.path_id("id"), after=query.cursor or 0, limit=query.limit
    )
    return data([step_json(step) for step in page.steps], meta=cursor_meta(_text(page.after)))


async def list_run_logs(call: RouteCall[schemas.PlaceQuery, None]) -> Reply:
    """What happened in a run, line by line."""
    query = call.query
    page = await call.engine.services.records.logs(
        call.caller, call.path_id("id"), after=query.cursor or 0, limit=query.limit
    )
    return data([line_json(line) for line in page.lines], meta=cursor_meta(_text(page.after)))


async def list_run_events(call: RouteCall[schemas.PlaceQuery, None]) -> Reply:
    """The events of a run, as they stand in the log."""
    query = call.query
    found = await call.engine.services.event_log.of_execution(
        call.caller, call.path_id("id"), after=query.cursor, limit=query.limit
    )
    after = _text(found.page.after) if found.page.has_more else None
    return data([_event(stored) for stored in found.page.events], meta=cursor_meta(after))


async def cancel_run(call: RouteCall[Any, schemas.CancelRun | None]) -> Reply:
    """End a run; one that was cancelled before stays so, and one that ended otherwise is a conflict."""
    run_id = ids.text(call.path_id("id"))
    reason = call.body.reason if call.body else None
    answered = await call.engine.services.runs.terminate(
        call.caller, run_id, reason or TERMINATION_REASON, idempotency=call.idempotency(call.given or {})
    )
    return data({"id": run_id, "status": "cancelled"}, position=answered.position)


async def retry_run(call: RouteCall[Any, schemas.RetryRun | None]) -> Reply:
    """Let a run go on where it failed; with a step or an input another run begins there, and this one stays."""
    body, run_id = call.body or schemas.RetryRun(), call.path_id("id")
    found = await call.engine.services.retries.retry(
        call.caller,
        run_id,
        from_step=None if body.from_step is UNSET else body.from_step,
        run_input=body.input,
        reason=body.reason,
        idempotency=call.idempotency(call.given or {}),
    )
    retried = {"runId": ids.text(found.execution_id), "kind": found.kind, "retryOf": ids.text(run_id)}
    return data(retried, position=found.position)


async def decide_approval(call: RouteCall[Any, schemas.ApprovalDecided]) -> Reply:
    """Answer an approval of a run: who answers is the key's user, or else the key."""
    decided = await call.engine.services.approvals.decide(
        call.caller,
        call.path_id("id"),
        ids.text(call.path_id("approvalId")),
        call.body.decision,
        comment=call.body.comment,
        idempotency=call.idempotency(call.given),
    )
    return data(approval_json(decided.approval), position=decided.position)


def _without_key(given: Mapping[str, Any]) -> dict[str, Any]:
    return {name: member for name, member in given.items() if name != "idempotencyKey"}


def _text(after: int | None) -> str | None:
    return None if after is None else str(after)


def _event(stored: StoredEvent) -> dict[str, Any]:
    event = event_json(stored, {}, decode_json)
    names = ("seq", "position", "type", "version", "at", "actor", "data", "payload", "hash")
    return {name: event[name] for name in names}


FOUND: Final = frozenset({"NOT_FOUND"})
CHANGED: Final = frozenset({"NOT_FOUND", "CONFLICT"})

ROUTES: Final[Sequence[Route]] = (
    route(
        *(RUNS, "POST", "workflows/{id}/run", "workflows.run", run_workflow),
        query=schemas.RunStartQuery,
        body=schemas.RunStart,
        is_body_optional=True,
        status=201,
        answer=common.Data[schemas.RunStarted],
        refusals=CHANGED,
        headers=("Idempotency-Key",),
    ),
    route(
        *(RUNS, "GET", "runs/{id}", "runs.view", get_run),
        is_of_one=True,
        answer=common.Data[schemas.RunShown],
        refusals=FOUND,
    ),
    route(
        *(RUNS, "GET", "runs", "runs.view", list_runs),
        query=schemas.StepRunsQuery,
        answer=schemas.CursorPage[schemas.RunShown],
        refusals=FOUND,
    ),
    route(
        *(RUNS, "GET", "runs/{id}/steps", "runs.view", list_run_steps),
        query=schemas.PlaceQuery,
        answer=schemas.CursorPage[schemas.StepShown],
        refusals=FOUND,
    ),
    route(
        *(RUNS, "GET", "runs/{id}/logs", "runs.view", list_run_logs),
        query=schemas.PlaceQuery,
        answer=schemas.CursorPage[schemas.RunLogLine],
        refusals=FOUND,
    ),
    route(
        *(RUNS, "GET", "runs/{id}/events", "runs.view", list_run_events),
        query=schemas.PlaceQuery,
        answer=schemas.CursorPage[schemas.RunEvent],
        refusals=FOUND,
    ),
    route(
        *(RUNS, "POST", "runs/{id}/cancel", "runs.terminate", cancel_run),
        body=schemas.CancelRun,
        is_body_optional=True,
        answer=common.Data[schemas.RunCancelled],
        refusals=CHANGED,
        headers=("Idempotency-Key",),
    ),
    route(
        *(RUNS, "POST", "runs/{id}/retry", "workflows.run", retry_run),
        body=schemas.RetryRun,
        is_body_optional=True,
        answer=common.Data[schemas.RunRetried],
        refusals=CHANGED,
        headers=("Idempotency-Key",),
    ),
    route(
        *(RUNS, "POST", "runs/{id}/approvals/{approvalId}", "runs.resume", decide_approval),
        body=schemas.ApprovalDecided,
        answer=common.Data[schemas.RunApproval],
        refusals=frozenset({"NOT_FOUND", "CONFLICT", "WAIT_EXPIRED"}),
        headers=("Idempotency-Key",),
    ),
)
