"""Triggers as the runs API shows them: what a workflow's document says, unless its main schedule was changed since."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

from perdure.engine.core.schedules import Timing
from perdure.engine.services.authoring import schedule_of
from perdure.engine.services.documents import GivenDocument
from perdure.engine.services.schedules import GivenSchedule
from perdure.engine.services.slots import timing_of
from perdure.store.records import ScheduleRow

_When: TypeAlias = tuple[str | None, tuple[int, str] | None, str]


def trigger_json(written: Mapping[str, Any], main: ScheduleRow | None) -> dict[str, Any]:
    """The trigger of a workflow with this main schedule, null if it has none: as it is written, if that is still so."""
    is_scheduled = written.get("type") == "schedule"
    given = schedule_of(GivenDocument("steps", {"trigger": dict(written)})) if is_scheduled else None
    if main is None:
        return {"type": "api"} if is_scheduled else dict(written)
    timing, is_enabled = timing_of(main.timing), main.status == "active"
    is_same = given is not None and _said(given) == _held(timing) and given.is_enabled is is_enabled
    if is_same:
        return dict(written)
    cron, interval, zone = _held(timing)
    when = {"cron": cron} if interval is None else {"interval": {"value": interval[0], "unit": interval[1]}}
    return {"type": "schedule", **when, "timezone": zone, "enabled": is_enabled}


def _said(given: GivenSchedule) -> _When:
    cron, interval, zone = given.cron, given.interval, given.timezone
    return (
        cron if isinstance(cron, str) else None,
        interval if isinstance(interval, tuple) else None,
        zone if isinstance(zone, str) else "UTC",
    )


def _held(timing: Timing) -> _When:
    interval = None if timing.every is None else (timing.every, str(timing.unit))
    return timing.cron, interval, timing.timezone
