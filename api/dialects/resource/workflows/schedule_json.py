"""Schedules as the resource API and the command line show them."""

from __future__ import annotations

from typing import Any

from perdure.api.http.instants import iso
from perdure.engine.core import ids
from perdure.engine.core.events import Recorded
from perdure.engine.core.schedules import ScheduledRunRefused
from perdure.engine.services.schedule_views import ScheduleView
from perdure.engine.services.slots import local, utc
from perdure.store.records import ScheduleRow


def schedule_json(view: ScheduleView) -> dict[str, Any]:
    """A schedule with its last decisions, the latest first, and its next slots."""
    row, timing = view.row, view.timing
    return {
        "id": ids.text(row.schedule_id),
        "workflow_id": ids.text(row.workflow_id),
        "status": _status(row),
        "enabled": row.status == "active",
        "is_main": bool(row.is_main),
        "cron_expression": timing.cron,
        "interval": None if timing.every is None else {"value": timing.every, "unit": timing.unit},
        "in_words": view.in_words,
        "timezone": timing.timezone,
        "start_at": iso(timing.start_at),
        "end_at": iso(timing.end_at),
        "overlap": row.overlap,
        "catch_up": row.catch_up,
        "input": view.input,
        "next_slots": [{"utc": utc(slot), "local": local(slot, timing.timezone)} for slot in view.slots],
        "last_decisions": [_decision(each) for each in view.decisions],
        "buffered_slot": iso(row.buffered_at),
        "last_execution_id": None if row.last_run_id is None else ids.text(row.last_run_id),
        "runs_starting": row.starting,
        "created_at": iso(row.created_at),
        "created_by": row.created_by,
        "updated_at": iso(row.modified_at),
        "updated_by": row.modified_by,
    }


def _status(row: ScheduleRow) -> str:
    """A schedule is paused with its workflow, too: `enabled` tells of itself alone."""
    if row.next_at is None:
        return "ended"
    return "paused" if row.due_at is None else "active"


def _decision(recorded: Recorded) -> dict[str, Any]:
    event: Any = recorded.event
    at = iso(recorded.recorded_at)
    if isinstance(event, ScheduledRunRefused):
        reason = (recorded.payload or {}).get("reason")
        told = {"outcome": "refused", "first": None, "last": None, "count": 1, "execution_id": event.run}
        return {**told, "reason": reason, "at": at}
    return {
        "outcome": event.outcome,
        "first": iso(event.first),
        "last": iso(event.last),
        "count": event.count,
        "execution_id": event.run,
        "reason": None,
        "at": at,
    }
