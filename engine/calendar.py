"""Calendars: when a schedule is due, from a cron expression in a time zone, or from an interval.

croniter expands the fields of an expression; which instants they mean is decided here, since clocks are set twice a
year:

- A cron expression is *fixed* if the text of its hour field holds no `*`. Where an hour comes twice, a fixed one is
  due at the first; one with `*` is due in every real hour, so in both.
- Local times that a clock leaves out (a *gap*) do not exist. For one with `*` they are left out. A fixed one is due
  once at the gap's end for all that it has in the gap, which stands for a slot at that very instant too.
- If both day of month and day of week are restricted (their text is not `*`), a day that is either will do, as in
  POSIX's crontab.

An instant is in milliseconds since 1970, UTC. Nothing here asks what time it is. The rules of zones are those that the
machine has, else those of the package `tzdata`.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from itertools import islice
from typing import Final, NamedTuple, Protocol
from zoneinfo import ZoneInfo, available_timezones

import msgspec
from cron_descriptor import Options, get_description
from croniter import croniter

from perdure.engine.suggestions import did_you_mean

SECOND_MS: Final = 1000
MINUTE_MS: Final = 60 * SECOND_MS
DAY_MS: Final = 24 * 60 * MINUTE_MS
HORIZON: Final = timedelta(days=8 * 366)
"""An expression without a slot in eight years never has one: the 29th of February comes after eight at the latest."""

LAST_DAY: Final = date(9990, 1, 1)
"""Nothing is due from here on: what follows can hardly be written as a date."""

LAST: Final = (LAST_DAY - date(1970, 1, 1)).days * DAY_MS
"""The same as an instant."""

INTERVAL_MAX: Final = 525_600

UNITS: Final = {"minutes": MINUTE_MS, "hours": 60 * MINUTE_MS, "days": DAY_MS, "weeks": 7 * DAY_MS}

_MONTHS: Final = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_WEEKDAYS: Final = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")


class _Field(NamedTuple):
    """One of the five fields of an expression: its range, and the names that its numbers have."""

    name: str
    low: int
    high: int
    names: tuple[str, ...] = ()


_FIELDS: Final = (
    _Field("minute", 0, 59),
    _Field("hour", 0, 23),
    _Field("day of month", 1, 31),
    _Field("month", 1, 12, _MONTHS),
    _Field("day of week", 0, 7, _WEEKDAYS),
)
_PART: Final = re.compile(r"(?:\*|([0-9a-z]+)(?:-([0-9a-z]+))?)(?:/([0-9]+))?", re.IGNORECASE)


class BadCalendar(ValueError):
    """An expression, zone or interval that means no instants; the message says what is accepted."""


class Calendar(Protocol):
    """The instants at which a schedule is due: its *slots*."""

    def after(self, instant: int) -> Iterator[int]:
        """The slots after an instant (ms), without it, in their order."""
        ...

    def count(self, after: int, until: int) -> int:
        """The number of slots after an instant (ms) and not after another; as quick for a year as for a day."""
        ...


class Interval(msgspec.Struct, frozen=True):
    """So many units apart, counted from `anchor` (ms), in time that passes: a day is 24 hours, whatever clocks do."""

    value: int
    unit: str
    anchor: int = 0

    @property
    def length(self) -> int:
        """Milliseconds from slot to slot."""
        return self.value * UNITS[self.unit]

    def after(self, instant: int) -> Iterator[int]:
        """The slots after an instant; the first of all is one length after the anchor."""
        slot = self.anchor + max(1, (instant - self.anchor) // self.length + 1) * self.length
        while True:
            yield slot
            slot += self.length

    def count(self, after: int, until: int) -> int:
        """The number of slots after an instant and not after another."""
        return max(0, (until - self.anchor) // self.length) - max(0, (after - self.anchor) // self.length)


def parse_interval(value: int, unit: str, anchor: int) -> Interval:
    """An interval of 1 to 525,600 minutes, hours, days or weeks. Raises `BadCalendar`."""
    if unit not in UNITS:
        raise BadCalendar(f"unit: it must be one of {', '.join(UNITS)}, but it is {unit!r}.{did_you_mean(unit, UNITS)}")
    if not 1 <= value <= INTERVAL_MAX:
        raise BadCalendar(f"value: it must be an integer from 1 to {INTERVAL_MAX:,}, but it is {value}")
    return Interval(value, unit, anchor)


class Cron:
    """A cron expression in a time zone; made by `parse_cron`."""

    def __init__(self, text: str, zone: ZoneInfo, fields: list[frozenset[int]]) -> None:
        minutes, hours, self._month_days, self._months, self._weekdays = fields
        texts = text.split()
        self.text, self.zone = " ".join(texts), zone
        self.is_fixed = "*" not in texts[1]
        self._is_either = texts[2] != "*" and texts[4] != "*"
        self._minutes = [hour * 60 + minute for hour in sorted(hours) for minute in sorted(minutes)]

    def after(self, instant: int) -> Iterator[int]:
        """The slots after an instant, without it, in their order."""
        if instant >= LAST:
            return
        day = self._local_day(instant) - timedelta(days=1)  # the end of a gap may stand for a slot of the day before
        last, ahead = instant, list[int]()
        end = min(day + HORIZON, LAST_DAY)
        while day < end:
            ahead += self._slots(day)
            # If an hour that comes twice has midnight in it, some of tomorrow is earlier than some of today.
            day += timedelta(days=1)
            ahead += self._slots(day)
            day += timedelta(days=1)
            safe = self._midnight(day) - 2 * 60 * MINUTE_MS
            for slot in sorted({each for each in ahead if last < each < safe}):
                yield slot
                last, end = slot, min(day + HORIZON, LAST_DAY)
            ahead = [each for each in ahead if each >= safe]
        yield from sorted({each for each in ahead if each > last})

    def count(self, after: int, until: int) -> int:
        """The number of slots after an instant and not after another."""
        first, last = self._local_day(after) + timedelta(days=3), self._local_day(until) - timedelta(days=3)
        if first >= last:
            return sum(1 for _ in self._between(after, until))
        at, end = self._midnight(first), self._midnight(last)
        found = sum(1 for _ in self._between(after, at - 1))
        day = first
        while day < last:
            following = day + timedelta(days=1)
            if self._is_plain(day):
                found += len(self._minutes) if self._has(day) else 0
            else:
                found += sum(1 for _ in self._between(self._midnight(day) - 1, self._midnight(following) - 1))
            day = following
        return found + sum(1 for _ in self._between(end - 1, until))

    def _between(self, after: int, until: int) -> Iterator[int]:
        for slot in self.after(after):
            if slot > until:
                return
            yield slot

    def _slots(self, day: date) -> list[int]:
        """The slots whose local date is this day, or would be if the clock did not leave them out."""
        if not self._has(day):
            return []
        if self._is_plain(day):
            midnight = self._midnight(day)
            return [midnight + minute * MINUTE_MS for minute in self._minutes]
        found: list[int] = []
        for minute in self._minutes:
            found += self._instants(datetime(day.year, day.month, day.day, minute // 60, minute % 60))  # noqa: DTZ001
        return found

    def _has(self, day: date) -> bool:
        if day.month not in self._months:
            return False
        in_month, in_week = day.day in self._month_days, day.isoweekday() % 7 in self._weekdays
        return in_month or in_week if self._is_either else in_month and in_week

    def _instants(self, local: datetime) -> list[int]:
        """The instants that a local time means: one, two if it comes twice, or what stands for it if it never comes."""
        first, second = (local.replace(tzinfo=self.zone, fold=fold).utcoffset() for fold in (0, 1))
        assert first is not None  # noqa: S101 a ZoneInfo knows
        assert second is not None  # noqa: S101
        if first >= second:
            found = [_ms(local - first)]
            return found if self.is_fixed or first == second else [*found, _ms(local - second)]
        return [self._gap_end(_ms(local - second), _ms(local - first))] if self.is_fixed else []

    def _gap_end(self, before: int, behind: int) -> int:
        """The instant at which the clock is put forward, which lies after one and not after the other."""
        offset = self._offset(behind)
        while behind - before > SECOND_MS:  # rules are in whole seconds
            middle = (before + behind) // (2 * SECOND_MS) * SECOND_MS
            before, behind = (before, middle) if self._offset(middle) == offset else (middle, behind)
        return behind

    def _is_plain(self, day: date) -> bool:
        """Whether the clock is not set on this day or near it."""
        start = self._midnight(day)
        return self._offset(start - DAY_MS) == self._offset(start + DAY_MS // 2) == self._offset(start + 2 * DAY_MS)

    @functools.lru_cache(maxsize=8)  # noqa: B019 a calendar is small, and there are few
    def _midnight(self, day: date) -> int:
        """The first instant of a local day, or the one at which the clock says so at the latest."""
        local = datetime(day.year, day.month, day.day)  # noqa: DTZ001
        offset = local.replace(tzinfo=self.zone).utcoffset()
        assert offset is not None  # noqa: S101
        return _ms(local - offset)

    def _offset(self, instant: int) -> timedelta | None:
        return self._local(instant).utcoffset()

    def _local(self, instant: int) -> datetime:
        return (_EPOCH + timedelta(milliseconds=instant)).astimezone(self.zone)

    def _local_day(self, instant: int) -> date:
        return self._local(instant).date()


_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_NAIVE_EPOCH: Final = datetime(1970, 1, 1)  # noqa: DTZ001


def _ms(utc: datetime) -> int:
    """A naive time of UTC as an instant."""
    return (utc - _NAIVE_EPOCH) // timedelta(milliseconds=1)


def parse_cron(text: str, zone: str, *, now: int | None) -> Cron:
    """A calendar from five cron fields and the name of an IANA zone.

    Fields hold numbers, `*`, `,`, `-`, `/`, and the usual names of months and days; Sunday is 0 or 7.

    Raises `BadCalendar` for anything else, for an unknown zone, and for an expression that has no slot within eight
    years after `now` (ms); of one that was accepted before (null) that is not asked again.
    """
    texts = text.split()
    if len(texts) != len(_FIELDS):
        names = ", ".join(field.name for field in _FIELDS)
        raise BadCalendar(f"it must have five fields ({names}), but it has {len(texts)}")
    for field, each in zip(_FIELDS, texts, strict=True):
        _check(field, each)
    found = Cron(text, parse_zone(zone), _expanded(texts))
    if now is not None and next(found.after(now), None) is None:
        raise BadCalendar(f"{found.text!r} is never due: no date within eight years fits it")
    return found


_NO_ZONES: Final = {"localtime", "posixrules", "Factory"}
"""Files beside those of zones, which are this machine's own, or nobody's."""


@functools.lru_cache(maxsize=1)
def zone_names() -> frozenset[str]:
    """The names of all IANA zones that this machine knows."""
    return frozenset(available_timezones() - _NO_ZONES)


def parse_zone(name: str) -> ZoneInfo:
    """The IANA zone of a name, which must be spelt exactly. Raises `BadCalendar`."""
    if name not in zone_names():
        raise BadCalendar(
            f"there is no time zone {name!r}: it must be a name such as Europe/Berlin or UTC."
            f"{did_you_mean(name, zone_names())}"
        )
    return ZoneInfo(name)


def _check(field: _Field, text: str) -> None:
    """Refuse what croniter reads beyond the five fields of a crontab (`L`, `#`, `?`, `R`, ranges that wrap)."""
    for part in text.split(","):
        match = _PART.fullmatch(part)
        if match is None:
            raise BadCalendar(
                f"{field.name}: {part!r} is none of a number{' or name' if field.names else ''}, a range (1-5), "
                f"* and one of these with a step (*/15)"
            )
        low = None if match[1] is None else _number(field, match[1])
        high = None if match[2] is None else _number(field, match[2])
        if low is not None and high is not None and low > (7 if high == 0 and field.high == 7 else high):  # noqa: PLR2004
            raise BadCalendar(f"{field.name}: the range {part!r} ends before it begins; write it as two, with a comma")
        if match[3] is not None and not 1 <= int(match[3]) <= field.high:
            raise BadCalendar(f"{field.name}: the step of {part!r} must be from 1 to {field.high}")


def _number(field: _Field, text: str) -> int:
    if text.lower() in field.names:
        return field.names.index(text.lower()) + (field.low if field.names is _MONTHS else 0)
    if not text.isdecimal():
        names = f", or {field.names[0]} to {field.names[-1]}" if field.names else ""
        accepted = f"it must be from {field.low} to {field.high}{names}"
        raise BadCalendar(f"{field.name}: there is no {text!r}: {accepted}.{did_you_mean(text, field.names)}")
    if not field.low <= int(text) <= field.high:
        raise BadCalendar(f"{field.name}: {text} is not from {field.low} to {field.high}")
    return int(text)


def _expanded(texts: list[str]) -> list[frozenset[int]]:
    """The numbers of each field, as croniter expands them; Sunday is 0."""
    ranges = [
        ",".join(_as_range(field, part) for part in text.split(",")) for field, text in zip(_FIELDS, texts, strict=True)
    ]
    expanded, _ = croniter.expand(" ".join(ranges))
    return [
        frozenset(range(field.low, _last(field) + 1)) if "*" in numbers else frozenset(map(int, numbers))
        for field, numbers in zip(_FIELDS, expanded, strict=True)
    ]


def _as_range(field: _Field, part: str) -> str:
    """A number with a step means the range from there on: croniter takes `6/1` for 6 alone."""
    start, slash, step = part.partition("/")
    is_number = slash and start != "*" and "-" not in start
    return f"{start}-{max(_number(field, start), _last(field))}/{step}" if is_number else part


def _last(field: _Field) -> int:
    """The greatest number of a field that means something of its own: 7 is Sunday again."""
    return 6 if field.names is _WEEKDAYS else field.high


def in_words(text: str) -> str:
    """A cron expression in English: `At 02:30, Monday through Friday`."""
    options = Options()
    options.use_24hour_time_format = True
    return str(get_description(text, options))


def preview(calendar: Calendar, after: int, count: int) -> list[int]:
    """The next slots after an instant, at most so many."""
    return list(islice(calendar.after(after), count))
