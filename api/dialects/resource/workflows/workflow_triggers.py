"""The members of a workflow's requests that say when it starts: `trigger_type`, `cron_expression`, `schedules`.

A workflow is of trigger type `schedule` as long as it has a schedule. `cron_expression` and `timezone` speak of one of
them, its main one; `schedules` of all others.
"""

from __future__ import annotations

from typing import Any

from msgspec import UnsetType

from perdure.api.dialects.resource.workflows import schedule_schemas, schemas
from perdure.api.validation import id_of
from perdure.engine.core.schedules import EditSchedules, ScheduleEdit, ScheduleSpec
from perdure.engine.errors import Invalid
from perdure.engine.runtime.callers import Caller
from perdure.engine.services.schedules import GivenSchedule, Schedules
from perdure.store.records import ScheduleRow


def check_trigger(body: schemas.NewWorkflow) -> None:
    """Raise `Invalid` unless what a new workflow says of its schedules goes together."""
    cron = body.cron_expression
    if body.trigger_type == "schedule" and cron is None and not body.schedules:
        raise _invalid("cron_expression", "it is needed where trigger_type is 'schedule', or schedules are")
    if body.trigger_type == "manual" and (cron is not None or body.schedules):
        field = "schedules" if cron is None else "cron_expression"
        raise _invalid(field, "a workflow of trigger_type 'manual' has none; say trigger_type 'schedule'")
    if cron is None and not isinstance(body.timezone, UnsetType):
        raise _invalid("timezone", "it goes with cron_expression, which is not given")


def made(services: Schedules, body: schemas.NewWorkflow) -> list[ScheduleSpec]:
    """The schedules of a new workflow. Raises `Invalid`."""
    found = []
    if body.cron_expression is not None:
        main = GivenSchedule(cron=body.cron_expression, timezone=body.timezone)
        found.append(services.spec(main, is_main=True))
    for index, each in enumerate(body.schedules or ()):
        found.append(services.spec(schedule_schemas.given(each), field=f"schedules[{index}]."))
    return found


async def changed(
    services: Schedules, caller: Caller, workflow_id: bytes, body: schemas.WorkflowChange
) -> EditSchedules | None:
    """The changes of a workflow's schedules that a request asks for; null if it does not. Raises `Invalid`."""
    given = (body.trigger_type, body.cron_expression, body.timezone, body.schedules)
    if all(isinstance(each, UnsetType) for each in given):
        return None
    rows = await services.rows(caller, workflow_id)
    if body.trigger_type == "manual":
        if any(each for each in given[1:] if not isinstance(each, UnsetType)):
            raise _invalid("trigger_type", "'manual' removes all schedules, and the request gives some")
        return EditSchedules(edited=tuple([await services.edit_of(row, None) for row in rows]))
    added, edited = await _main(services, rows, body)
    if not isinstance(body.schedules, UnsetType):
        more, others = await _others(services, [row for row in rows if not row.is_main], body.schedules)
        added, edited = [*added, *more], [*edited, *others]
    left = len(rows) + len(added) - sum(1 for each in edited if each.spec is None)
    if body.trigger_type == "schedule" and not left:
        raise _invalid("cron_expression", "it is needed where trigger_type is 'schedule', or schedules are")
    return EditSchedules(tuple(added), tuple(edited))


async def _main(
    services: Schedules, rows: list[ScheduleRow], body: schemas.WorkflowChange
) -> tuple[list[ScheduleSpec], list[ScheduleEdit]]:
    """The change of the schedule that `cron_expression` speaks of."""
    main = next((row for row in rows if row.is_main), None)
    cron, zone = body.cron_expression, body.timezone
    if isinstance(cron, UnsetType) and isinstance(zone, UnsetType):
        return [], []
    if cron is None:
        if not isinstance(zone, UnsetType):
            raise _invalid("timezone", "it goes with cron_expression, which is to be removed")
        return [], [] if main is None else [await services.edit_of(main, None)]
    wanted = GivenSchedule(cron=cron, timezone=zone)
    if main is not None:
        return [], [await services.edit_of(main, wanted)]
    if isinstance(cron, UnsetType):
        raise _invalid("timezone", "it goes with cron_expression, which the workflow does not have")
    return [services.spec(wanted, is_main=True)], []


async def _others(
    services: Schedules, rows: list[ScheduleRow], listed: list[schedule_schemas.ListedSchedule]
) -> tuple[list[ScheduleSpec], list[ScheduleEdit]]:
    """All schedules beside the main one, as they are to be: those that are not listed are removed."""
    there = {row.schedule_id: row for row in rows}
    added, edited = list[ScheduleSpec](), list[ScheduleEdit]()
    for index, each in enumerate(listed):
        given, field = schedule_schemas.given(each), f"schedules[{index}]."
        if isinstance(each.id, UnsetType):
            added.append(services.spec(given, field=field))
            continue
        row = there.pop(id_of(f"{field}id", each.id), None)
        if row is None:
            raise _invalid(f"{field}id", f"the workflow has no such schedule, or it is named twice: {each.id}")
        edited.append(await services.edit_of(row, given, field=field))
    edited += [await services.edit_of(row, None) for row in there.values()]
    return added, edited


def _invalid(field: str, problem: Any) -> Invalid:
    return Invalid(f"{field}: {problem}", {"field": field})
