"""Bulk jobs (part of the resource API): one command for many runs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import msgspec

from perdure.api.dialects import schemas as common
from perdure.api.dialects.envelopes import data
from perdure.api.dialects.resource.dialect import BULK, page_meta, route
from perdure.api.dialects.resource.executions import run_schemas as schemas
from perdure.api.dialects.resource.fields import After
from perdure.api.http.bulk_json import bulk_json, bulk_whole_json
from perdure.api.http.routing import Reply, Route, RouteCall
from perdure.api.validation import id_of
from perdure.engine.core import ids
from perdure.engine.services.bulk import BulkOrder
from perdure.engine.services.bulk_actions import action_of
from perdure.engine.services.idempotency import Answered
from perdure.store.records import BulkRow


async def start_bulk(call: RouteCall[Any, schemas.NewBulk]) -> Reply:
    """Start a job that gives a command to all runs that match; with `dry_run` they are only counted.

    It goes on by itself, also after a crash of the server, with few runs at once. Runs that start after it are not
    touched. The key needs the scope of the command, too.
    """
    body = call.body
    call.principal.require(action_of(body.action).scope)
    arguments = {} if body.payload is msgspec.UNSET else {"payload": body.payload}
    order = BulkOrder(body.action, schemas.filters_of(body.filter, "filter."), body.reason, arguments)
    if body.dry_run:
        counted = await call.engine.services.bulk.count(call.caller, order)
        shown = {"dry_run": True, "action": body.action, "matching": counted.total, "is_exact": counted.is_exact}
        return data(shown, status=202)
    row = await call.engine.services.bulk.start(call.caller, order)
    return _started(row)


async def started_before(call: RouteCall[Any, schemas.NewBulk], answered: Answered) -> Reply:
    """The job that the same request started before, with its status now."""
    return _started(await call.engine.services.bulk.reads.row(call.caller, answered.execution_id))


def _started(row: BulkRow) -> Reply:
    asked = {"dry_run": False, "action": row.action, "matching": row.expected, "is_exact": row.expected is not None}
    return data({"id": ids.text(row.bulk_id), "status": row.status, **asked}, status=202)


async def list_bulk(call: RouteCall[schemas.BulkQuery, None]) -> Reply:
    """The bulk jobs of the key's workspace, newest first."""
    query = call.query
    before = None if query.after is None else id_of("after", query.after)
    rows, has_more = await call.engine.services.bulk.reads.page(call.caller, before=before, limit=query.limit)
    jobs = [bulk_json(row) for row in rows]
    return data(jobs, meta=page_meta(query.limit, has_more=has_more, last=jobs and jobs[-1]["id"]))


async def get_bulk(call: RouteCall[Any, None]) -> Reply:
    """A bulk job: how far it is, and the first runs that refused."""
    return data(bulk_whole_json(await call.engine.services.bulk.reads.shown(call.caller, call.path_id("id"))))


async def stop_bulk(call: RouteCall[Any, schemas.StopReason | None]) -> Reply:
    """Stop a job: the runs whose turn it is are done, and no others; one that has ended stays as it is.

    The key needs the scope of the job's command, too.
    """
    bulk_id, jobs = call.path_id("id"), call.engine.services.bulk
    call.principal.require(action_of((await jobs.reads.row(call.caller, bulk_id)).action).scope)
    return data(bulk_json(await jobs.stop(call.caller, bulk_id, None if call.body is None else call.body.reason)))


ROUTES: Final[Sequence[Route]] = (
    route(
        *(BULK, "POST", "bulk", "runs.view", start_bulk),
        body=schemas.NewBulk,
        status=202,
        repeated=started_before,
        headers=("Idempotency-Key",),
        answer=common.Data[schemas.BulkAsked],
        refusals=frozenset({"NOT_FOUND", "CONFLICT"}),
    ),
    route(
        *(BULK, "GET", "bulk", "runs.view", list_bulk),
        query=schemas.BulkQuery,
        answer=common.Page[schemas.BulkListed, After],
    ),
    route(
        *(BULK, "GET", "bulk/{id}", "runs.view", get_bulk),
        is_of_one=True,
        answer=common.Data[schemas.BulkWhole],
        refusals=frozenset({"NOT_FOUND"}),
    ),
    route(
        *(BULK, "POST", "bulk/{id}/stop", "runs.view", stop_bulk),
        body=schemas.StopReason,
        is_body_optional=True,
        answer=common.Data[schemas.BulkListed],
        refusals=frozenset({"NOT_FOUND"}),
    ),
)
