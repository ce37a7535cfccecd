"""Runs (part of the service API): started by hand, and read with their steps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from perdure.api.dialects import schemas as common
from perdure.api.dialects.service import schemas
from perdure.api.dialects.service.dialect import RUNS, data, route
from perdure.api.dialects.service.pages import page_meta, start_of
from perdure.api.dialects.service.workflows import CHANGED, FOUND
from perdure.api.dialects.status_words import SERVICE_WORDS, TRIGGERS
from perdure.api.http.instants import iso_seconds
from perdure.api.http.routing import Reply, Route, RouteCall
from perdure.api.validation import id_of
from perdure.engine.core import ids
from perdure.engine.history.step_records import StepRecord
from perdure.engine.services.run_records import RunRecord

APART_MS: Final = 30_000
"""No run is started by hand so soon after another one of its workflow, whatever started that."""


async def run_service_workflow(call: RouteCall[Any, common.Nothing | None]) -> Reply:
    """Start a run, unless one started in the last 30 seconds; the answer is sent when it is on disk."""
    answered = await call.engine.services.runs.trigger(
        call.caller,
        call.path_id("id"),
        {},
        trigger="MANUAL",
        apart_ms=APART_MS,
        idempotency=call.idempotency(call.given or {}),
    )
    return data({"run_id": answered.answer, "status": "queued"}, status=201, position=answered.position)


async def list_service_runs(call: RouteCall[schemas.AllRunsQuery, None]) -> Reply:
    """Recent runs across the workflows that the key may see, newest first."""
    wanted = call.query.workflow_id
    return await _page(call, None if wanted is None else id_of("workflow_id", wanted))


async def list_runs_of_service_workflow(call: RouteCall[schemas.ServiceRunsQuery, None]) -> Reply:
    """The runs of one workflow, newest first."""
    return await _page(call, call.path_id("id"))


async def get_service_run(call: RouteCall[Any, None]) -> Reply:
    """A run, with what its steps gave."""
    run = await call.engine.services.records.of(call.caller, call.path_id("run_id"))
    names = await call.engine.services.finding.names([run.row.workflow_id])
    return data(_run_json(run, names, is_whole=True))


async def _page(call: RouteCall[Any, None], workflow_id: bytes | None) -> Reply:
    query, services = call.query, call.engine.services
    offset = start_of(query.offset, query.cursor)
    given = {
        **({} if workflow_id is None else {"workflow_id": ids.text(workflow_id)}),
        **({} if query.status is None else {"status": SERVICE_WORDS.meant(query.status)}),
    }
    if offset is None:
        page = await services.finding.page(call.caller, given, after=query.cursor, limit=query.limit, field="cursor")
    else:
        page = await services.finding.page_at(call.caller, given, offset=offset, limit=query.limit)
    runs = await services.records.many([found.row for found in page.items])
    names = {found.row.workflow_id: found.workflow_name for found in page.items}
    return data([_run_json(run, names) for run in runs], meta=page_meta(query.limit, offset, page.after))


def _run_json(run: RunRecord, names: Mapping[bytes, str | None], *, is_whole: bool = False) -> dict[str, Any]:
    row = run.row
    shown = {
        "run_id": ids.text(row.execution_id),
        "workflow_id": ids.text(row.workflow_id),
        "workflow_name": names.get(row.workflow_id),
        "status": SERVICE_WORDS.word(row.status),
        "status_detail": row.status,
        "trigger": TRIGGERS.get(run.trigger, "api"),
        "started_at": None if row.status == "pending" else iso_seconds(run.started_at),
        "finished_at": iso_seconds(run.ended_at),
        "error": run.error and {"code": run.error.code, "message": run.error.message, "step": run.error.step},
        "steps": [_step_json(step, is_whole=is_whole) for step in run.steps],
    }
    return {**shown, "truncated": True} if run.truncated else shown


def _step_json(step: StepRecord, *, is_whole: bool) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "id": step.id,
        "name": step.name,
        "step_type": step.type,
        "status": step.status,
        "started_at": iso_seconds(step.started_at),
        "finished_at": iso_seconds(step.completed_at),
        "attempts": len(step.attempts),
        "error": step.error and {"code": step.error.code, "message": step.error.message},
    }
    if is_whole:
        shown["output"] = step.output
    if step.parts:
        shown["parts"] = [
            {
                "kind": part.kind,
                "number": part.number,
                "steps": [_step_json(each, is_whole=is_whole) for each in part.steps],
            }
            for part in step.parts
        ]
    return shown


ROUTES: Final[Sequence[Route]] = (
    route(
        *(RUNS, "POST", "workflows/{id}/run", "workflows.run", run_service_workflow),
        body=common.Nothing,
        is_body_optional=True,
        status=201,
        headers=("Idempotency-Key",),
        answer=schemas.ServiceData[schemas.ServiceRunStarted],
        refusals=CHANGED,
    ),
    route(
        *(RUNS, "GET", "runs", "runs.view", list_service_runs),
        query=schemas.AllRunsQuery,
        answer=schemas.OffsetPage[schemas.ServiceRun],
        refusals=FOUND,
    ),
    route(
        *(RUNS, "GET", "workflows/{id}/runs", "runs.view", list_runs_of_service_workflow),
        query=schemas.ServiceRunsQuery,
        answer=schemas.OffsetPage[schemas.ServiceRun],
        refusals=FOUND,
    ),
    route(
        *(RUNS, "GET", "runs/{run_id}", "runs.view", get_service_run),
        is_of_one=True,
        answer=schemas.ServiceData[schemas.ServiceRun],
        refusals=FOUND,
    ),
)
