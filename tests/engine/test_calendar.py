"""Calendars: which instants a schedule means where clocks are set, against brute force; and what is refused."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from itertools import islice

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perdure.engine.calendar import (
    DAY_MS,
    LAST,
    BadCalendar,
    in_words,
    parse_cron,
    parse_interval,
    parse_zone,
    preview,
    zone_names,
)
from tests.engine.calendar_oracle import CORPUS, differences

ZONES = (
    *("Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Pacific/Apia", "Africa/Casablanca"),
    *("America/Sao_Paulo", "Asia/Kathmandu", "Asia/Tehran", "Antarctica/Troll", "America/St_Johns"),
)


def ms(text: str) -> int:
    return round(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1000)


def local(cron: str, zone: str, after: str, count: int = 4) -> list[str]:
    """The next slots, in local time without the year."""
    calendar = parse_cron(cron, zone, now=ms(after))
    found = preview(calendar, ms(after), count)
    return [datetime.fromtimestamp(each / 1000, calendar.zone).isoformat()[5:16] for each in found]


def test_a_missing_hour_is_made_up_for_at_its_end() -> None:
    """A fixed schedule is due once at the gap's end, for all in the gap and for a slot at that instant."""
    assert local("30 2 * * *", "America/New_York", "2026-03-07", 3) == ["03-07T02:30", "03-08T03:00", "03-09T02:30"]
    assert local("0,30 2,3 * * *", "America/New_York", "2026-03-08", 3) == ["03-08T03:00", "03-08T03:30", "03-09T02:00"]
    assert local("0 9 * * *", "Pacific/Apia", "2011-12-29", 3) == ["12-29T09:00", "12-31T00:00", "12-31T09:00"]


def test_an_hour_that_comes_twice() -> None:
    """A fixed schedule is due at the first; one with `*` in every real hour."""
    assert local("30 1 * * *", "America/New_York", "2026-11-01", 2) == ["11-01T01:30", "11-02T01:30"]
    assert local("30 * * * *", "America/New_York", "2026-11-01T05:00", 3) == ["11-01T01:30"] * 2 + ["11-01T02:30"]
    assert local("30 * * * *", "America/New_York", "2026-03-08T06:00", 2) == ["03-08T01:30", "03-08T03:30"]


def test_day_of_month_and_day_of_week() -> None:
    """Both restricted mean either; a step on all days is a restriction."""
    assert local("0 0 13 * fri", "UTC", "2026-11-12T12:00", 3) == ["11-13T00:00", "11-20T00:00", "11-27T00:00"]
    assert local("0 0 * * 7", "UTC", "2026-11-26", 2) == ["11-29T00:00", "12-06T00:00"]
    assert local("0 0 1 * */2", "UTC", "2026-11-30T12:00", 2) == ["12-01T00:00", "12-03T00:00"]


def test_slots_are_strictly_after() -> None:
    """An instant that is a slot itself is not given."""
    assert local("0 12 * * *", "UTC", "2026-11-29T12:00", 1) == ["11-30T12:00"]
    assert local("0 0 29 2 *", "UTC", "2096-03-01", 1) == ["02-29T00:00"], "eight years without one"


@pytest.mark.parametrize("zone", ["UTC", "Pacific/Kiritimati", "Pacific/Pago_Pago"])
def test_nothing_is_due_when_dates_end(zone: str) -> None:
    """Up to the last instant that can be written there is an answer: no slot."""
    calendar = parse_cron("* * * * *", zone, now=None)
    assert next(iter(calendar.after(LAST - 1)), LAST) >= LAST - DAY_MS
    for after in (LAST, ms("9999-01-01"), ms("9999-12-31T23:59:59")):
        assert list(calendar.after(after)) == []


@pytest.mark.parametrize("zone", ZONES)
def test_it_agrees_with_brute_force_around_changes(zone: str) -> None:
    """Every minute of four days around some changes of its clock; `dev.py calendar` takes all zones and changes."""
    assert differences(zone, changes_max=4) == []


FIELD = st.sampled_from(["*", "*/7", "0", "30", "15,45", "0-10/5", "5/20"])
HOUR = st.sampled_from(["*", "*/2", "0", "1", "2", "3", "1-3", "0,23", "2/5"])
DAY = st.sampled_from(["*", "1", "25-31", "*/3"])
WEEKDAY = st.sampled_from(["*", "0", "mon-fri", "6,7", "*/2"])


@settings(max_examples=25, deadline=None)
@given(st.tuples(FIELD, HOUR, DAY, WEEKDAY), st.sampled_from(ZONES))
def test_any_expression_agrees_with_brute_force(fields: tuple[str, str, str, str], zone: str) -> None:
    """Also expressions that nobody thought of."""
    minute, hour, day, weekday = fields
    for number, high in ((minute, 59), (hour, 23)):
        if "/" in number and number[0].isdecimal() and "-" not in number:  # the oracle reads ranges only
            start, step = number.split("/")
            fields = tuple(f"{start}-{high}/{step}" if each == number else each for each in fields)  # type: ignore[assignment]
    assert differences(zone, [f"{fields[0]} {fields[1]} {day} * {weekday}"], changes_max=1) == []


def test_a_year_is_counted_at_once() -> None:
    """Whatever was missed in a year is counted without being listed."""
    calendar = parse_cron("* * * * *", "Europe/Berlin", now=0)
    begin, end = ms("2025-01-01"), ms("2026-01-01")
    started = time.perf_counter()
    assert calendar.count(begin, end) == 365 * 24 * 60
    assert time.perf_counter() - started < 1
    assert calendar.count(begin, begin) == calendar.count(end, begin) == 0


def test_an_interval_counts_time_that_passes() -> None:
    """So many units after its anchor, and so on; what is counted is what is listed."""
    interval = parse_interval(90, "minutes", ms("2026-03-28T23:00"))
    found = [datetime.fromtimestamp(each / 1000, UTC).isoformat()[11:16] for each in islice(interval.after(0), 3)]
    assert found == ["00:30", "02:00", "03:30"]
    assert interval.count(ms("2026-03-29T00:30"), ms("2026-03-29T03:30")) == 2
    assert next(parse_interval(2, "weeks", 0).after(0)) == 14 * DAY_MS


@pytest.mark.parametrize(
    ("cron", "says"),
    [
        ("* * * *", "five fields .minute, hour, day of month, month, day of week., but it has 4"),
        ("* * * * * *", "but it has 6"),
        ("@daily", "but it has 1"),
        ("60 * * * *", "minute: 60 is not from 0 to 59"),
        ("* 24 * * *", "hour: 24 is not from 0 to 23"),
        ("* * 0 * *", "day of month: 0 is not from 1 to 31"),
        ("* * * juni *", "month: there is no 'juni': it must be from 1 to 12, or jan to dec. Did you mean 'jun'"),
        ("* * * * sun#1", "day of week: 'sun#1' is none of a number or name"),
        ("* * l * *", "day of month: there is no 'l'"),
        ("? * * * *", "minute: '.' is none of"),
        ("R * * * *", "minute: there is no 'R'"),
        ("5-1 * * * *", "minute: the range '5-1' ends before it begins"),
        ("*/0 * * * *", "minute: the step of '.*0' must be from 1 to 59"),
        ("* * 30 2 *", "is never due: no date within eight years fits it"),
        ("", "but it has 0"),
    ],
)
def test_what_is_no_expression(cron: str, says: str) -> None:
    """The message names the field, what is wrong with it, and what is accepted."""
    with pytest.raises(BadCalendar, match=says):
        parse_cron(cron, "UTC", now=ms("2026-11-29"))


def test_what_is_no_zone_and_no_interval() -> None:
    """Zones go by their exact names."""
    for name in ("Europe/Berln", "utc+1", "", "../etc/passwd", "localtime"):
        with pytest.raises(BadCalendar, match="there is no time zone"):
            parse_zone(name)
    with pytest.raises(BadCalendar, match="Did you mean 'Europe/Berlin'"):
        parse_zone("Europe/Berln")
    with pytest.raises(BadCalendar, match="value: it must be an integer from 1 to 525,600, but it is 0"):
        parse_interval(0, "minutes", 0)
    with pytest.raises(BadCalendar, match="unit: it must be one of minutes, hours, days, weeks, but it is 'hour'"):
        parse_interval(1, "hour", 0)
    assert {"UTC", "Europe/Berlin"} <= zone_names()


def test_words_for_people() -> None:
    """What the API shows of an expression."""
    assert in_words("30 2 * * 1-5") == "At 02:30, Monday through Friday"
    assert all(in_words(each) for each in CORPUS)
