"""Slots of schedules: which have come, which comes next, and what a run is told of its own.

What the days of a calendar come to is kept: schedules with the same expression in the same zone, as many are, share it.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from itertools import islice
from typing import Any, Final

import msgspec

from perdure.engine.calendar import LAST, MINUTE_MS, Calendar, Interval, parse_cron, parse_zone
from perdure.engine.core import ids
from perdure.engine.core.schedules import CAUGHT_UP_MAX, Due, Timing
from perdure.store.records import ExecutionRow, ScheduleRow

AHEAD: Final = 64
"""So many slots are worked out at once; a cron expression costs a day's slots, however few are asked for."""

FEW: Final = 3
"""So many of the latest slots say all that a policy needs which makes up for one at the most."""

CALENDARS_MAX: Final = 4096

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class _Slots:
    """The slots of one calendar, some of them worked out ahead."""

    def __init__(self, calendar: Calendar) -> None:
        self.calendar = calendar
        self._after = 0
        self._ahead: list[int] = []

    def next(self, instant: int) -> int | None:
        """The first slot after an instant; null if there is none."""
        ahead = self._ahead
        if not ahead or not self._after <= instant < ahead[-1]:
            self._after = instant
            self._ahead = ahead = list(islice(self.calendar.after(instant), AHEAD))
            return ahead[0] if ahead else None
        return ahead[bisect_right(ahead, instant)]


@lru_cache(maxsize=CALENDARS_MAX)
def _cron(text: str, zone: str) -> _Slots:
    return _Slots(parse_cron(text, zone, now=None))


@lru_cache(maxsize=CALENDARS_MAX)
def _interval(value: int, unit: str, anchor: int) -> _Slots:
    return _Slots(Interval(value, unit, anchor))


def _slots(timing: Timing) -> _Slots:
    if timing.cron is not None:
        return _cron(timing.cron, timing.timezone)
    return _interval(timing.every or 1, timing.unit or "", timing.anchor)


@lru_cache(maxsize=CALENDARS_MAX)
def timing_of(text: str) -> Timing:
    """The calendar of a schedule's row."""
    return msgspec.json.decode(text, type=Timing)


def next_slot(timing: Timing, after: int) -> int | None:
    """The first slot of a schedule after an instant; null if it has none."""
    if timing.start_at is not None:
        after = max(after, timing.start_at - 1)
    found = _slots(timing).next(after)
    return None if found is None or found > (LAST if timing.end_at is None else min(LAST, timing.end_at)) else found


def next_slots(timing: Timing, after: int, count: int) -> list[int]:
    """The next slots, so many at most."""
    found: list[int] = []
    slot = next_slot(timing, after)
    while slot is not None and len(found) < count:
        found.append(slot)
        slot = next_slot(timing, slot)
    return found


def due(row: ScheduleRow, now: int, last_run: ExecutionRow | None) -> Due | None:
    """The slots of a schedule that have come and are not decided; null if none has.

    `last_run` is the run that it has started last, as it is now.
    """
    first = row.next_at
    if first is None or first > now:
        return None
    timing = timing_of(row.timing)
    until = now if timing.end_at is None else min(now, timing.end_at)
    most = CAUGHT_UP_MAX if row.catch_up == "all" else FEW
    following = next_slot(timing, first)
    if following is None or following > until:  # one, as nearly always
        slots, count = [first], 1
    else:
        slots = _latest(_slots(timing).calendar, first, until, most)
        count = 1 + _slots(timing).calendar.count(first, until)
        slots = ([first, *slots] if len(slots) < most else slots)[-most:]
        following = next_slot(timing, until)
    return Due(
        ids.text(row.schedule_id),
        row.revision,
        first,
        count,
        tuple(slots),
        following,
        older=None if count == len(slots) else _before(timing, first, slots[0]),
        run=None if row.last_run_id is None else ids.text(row.last_run_id),
        is_over=last_run is not None and last_run.ended_at is not None,
    )


def _latest(calendar: Calendar, after: int, until: int, most: int) -> list[int]:
    """The latest slots after an instant and not after another, so many at most."""
    width = most * MINUTE_MS
    while True:
        begin = max(after, until - width)
        found = list(_between(calendar, begin, until))
        if len(found) >= most or begin == after:
            return found[-most:]
        width *= 4


def _between(calendar: Calendar, after: int, until: int) -> Iterator[int]:
    for slot in calendar.after(after):
        if slot > until:
            return
        yield slot


def _before(timing: Timing, first: int, slot: int) -> int:
    """The last slot before one, of those from `first` on."""
    found = _latest(_slots(timing).calendar, first, slot - 1, 1)
    return found[-1] if found else first


# --- as texts ----------------------------------------------------------------------------------------------------


def local(slot: int, zone: str) -> str:
    """A slot as its zone's clocks show it, with their distance from UTC."""
    return (_EPOCH + timedelta(milliseconds=slot)).astimezone(parse_zone(zone)).isoformat(timespec="seconds")


def utc(slot: int) -> str:
    """A slot in UTC: `2026-03-29T01:00:00Z`; with milliseconds, if it has any."""
    at = _EPOCH + timedelta(milliseconds=slot)
    return at.replace(tzinfo=None).isoformat(timespec="milliseconds" if slot % 1000 else "seconds") + "Z"


def facts_of(schedule: str, slot: int, zone: str) -> dict[str, Any]:
    """The data of a slot that its run is told: its input, or what the paths of its input's template read."""
    return {"schedule_id": schedule, "slot": utc(slot), "slot_local": local(slot, zone), "timezone": zone}


def process_id(schedule: str, slot: int) -> str:
    """The process id of a slot's run: one run has it, however often the slot is asked for."""
    return f"schedule:{schedule}@{utc(slot)}"


def asked_process_id(schedule: str, run: str) -> str:
    """The process id of a run that somebody asked a schedule for."""
    return f"schedule:{schedule}@{run}"
