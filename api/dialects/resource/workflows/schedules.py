"""Schedules of workflows, and the pause of a whole workflow (part of the resource API)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from perdure.api.dialects import schemas as common
from perdure.api.dialects.envelopes import data
from perdure.api.dialects.resource.dialect import SCHEDULES, WORKFLOWS, route
from perdure.api.dialects.resource.workflows import schedule_schemas, schemas
from perdure.api.dialects.resource.workflows.schedule_json import schedule_json
from perdure.api.dialects.resource.workflows.workflows import workflow_json
from perdure.api.http.routing import Reply, Route, RouteCall
from perdure.engine.core import ids
from perdure.engine.services.idempotency import Answered

ONE: Final = "workflows/{id}/schedules/{schedule_id}"


async def list_schedules(call: RouteCall[Any, None]) -> Reply:
    """The schedules of a workflow, each with its last decisions and its next slots."""
    views = await call.engine.services.schedules.views(call.caller, call.path_id("id"))
    return data([schedule_json(view) for view in views])


async def create_schedule(call: RouteCall[Any, schedule_schemas.NewSchedule]) -> Reply:
    """Add a schedule to a workflow; its first slot is the next that its calendar has."""
    given = schedule_schemas.given(call.body)
    view = await call.engine.services.schedules.add(call.caller, call.path_id("id"), given)
    return data(schedule_json(view), status=201)


async def created_before(call: RouteCall[Any, schedule_schemas.NewSchedule], answered: Answered) -> Reply:
    """The schedule that the same request made before, as it is now."""
    schedule_id = ids.parse(answered.answer[0])
    view = await call.engine.services.schedules.view(call.caller, answered.execution_id, schedule_id)
    return data(schedule_json(view), status=201, position=answered.position)


async def get_schedule(call: RouteCall[Any, None]) -> Reply:
    """A schedule, with its last decisions and its next slots."""
    where = (call.path_id("id"), call.path_id("schedule_id"))
    return data(schedule_json(await call.engine.services.schedules.view(call.caller, *where)))


async def change_schedule(call: RouteCall[Any, schedule_schemas.NewSchedule]) -> Reply:
    """Change what is given of a schedule; `enabled` pauses it, or lets it go on without what it skipped."""
    given = schedule_schemas.given(call.body)
    where = (call.path_id("id"), call.path_id("schedule_id"))
    return data(schedule_json(await call.engine.services.schedules.change(call.caller, *where, given)))


async def remove_schedule(call: RouteCall[Any, None]) -> Reply:
    """Remove a schedule; the runs that it has decided on start all the same."""
    schedule_id = call.path_id("schedule_id")
    await call.engine.services.schedules.remove(call.caller, call.path_id("id"), schedule_id)
    return data({"id": ids.text(schedule_id), "removed": True})


async def run_schedule(call: RouteCall[Any, common.Nothing | None]) -> Reply:
    """Start a run of a schedule now, beside its slots, also while it is paused."""
    workflow_id, schedule_id = call.path_id("id"), call.path_id("schedule_id")
    started = await call.engine.services.schedules.run_now(
        call.caller, workflow_id, schedule_id, idempotency=call.idempotency({})
    )
    return data(started._asdict(), status=201)


async def pause_workflow(call: RouteCall[Any, common.Nothing | None]) -> Reply:
    """Let no run of a workflow start, whatever triggers it; what runs goes on. Slots are skipped."""
    return await _switched(call, is_paused=True)


async def unpause_workflow(call: RouteCall[Any, common.Nothing | None]) -> Reply:
    """Let runs of a workflow start again; slots that were skipped are not made up for."""
    return await _switched(call, is_paused=False)


async def _switched(call: RouteCall[Any, common.Nothing | None], *, is_paused: bool) -> Reply:
    workflow_id, schedules = call.path_id("id"), call.engine.services.schedules
    await (schedules.pause if is_paused else schedules.resume)(call.caller, workflow_id)
    row = await call.engine.services.workflows.workflow(call.caller, workflow_id)
    return data(workflow_json(row, await schedules.rows_of([workflow_id])))


_CHANGES: Final = frozenset({"NOT_FOUND", "CONFLICT"})

ROUTES: Final[Sequence[Route]] = (
    route(
        *(SCHEDULES, "GET", "workflows/{id}/schedules", "workflows.view", list_schedules),
        answer=schedule_schemas.SchedulesListed,
        refusals=frozenset({"NOT_FOUND"}),
    ),
    route(
        *(SCHEDULES, "POST", "workflows/{id}/schedules", "workflows.manage", create_schedule),
        body=schedule_schemas.NewSchedule,
        status=201,
        repeated=created_before,
        headers=("Idempotency-Key",),
        answer=common.Data[schedule_schemas.ScheduleShown],
        refusals=_CHANGES,
    ),
    route(
        *(SCHEDULES, "GET", ONE, "workflows.view", get_schedule),
        is_of_one=True,
        answer=common.Data[schedule_schemas.ScheduleShown],
        refusals=frozenset({"NOT_FOUND"}),
    ),
    route(
        *(SCHEDULES, "PATCH", ONE, "workflows.manage", change_schedule),
        changes=lambda call: call.path_id("id"),
        body=schedule_schemas.NewSchedule,
        answer=common.Data[schedule_schemas.ScheduleShown],
        refusals=_CHANGES,
    ),
    route(
        *(SCHEDULES, "DELETE", ONE, "workflows.manage", remove_schedule),
        changes=lambda call: call.path_id("id"),
        answer=common.Data[schedule_schemas.RemovedSchedule],
        refusals=_CHANGES,
    ),
    route(
        *(SCHEDULES, "POST", f"{ONE}/run-now", "workflows.run", run_schedule),
        body=common.Nothing,
        is_body_optional=True,
        status=201,
        headers=("Idempotency-Key",),
        answer=common.Data[schedule_schemas.RunStarted],
        refusals=_CHANGES,
    ),
    *(
        route(
            *(WORKFLOWS, "POST", f"workflows/{{id}}/{name}", "workflows.manage", handler),
            body=common.Nothing,
            is_body_optional=True,
            answer=common.Data[schemas.WorkflowShown],
            refusals=_CHANGES,
        )
        for name, handler in (("pause", pause_workflow), ("resume", unpause_workflow))
    ),
)
