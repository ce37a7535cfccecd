"""Instants: what is read as RFC 3339, and how an instant is written."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perdure.engine.language import format_instant, parse_instant
from perdure.engine.language.instants import instant_ns
from tests.present import present

NOON_MS = 1_704_110_400_000  # 2024-01-01T12:00:00Z


@pytest.mark.parametrize(
    ("text", "ms"),
    [
        ("2024-01-01T12:00:00Z", NOON_MS),
        ("2024-01-01T12:00:00.120Z", NOON_MS + 120),
        ("2024-01-01T12:00:00.1Z", NOON_MS + 100),
        ("2024-01-01T13:00:00+01:00", NOON_MS),
        ("2024-01-01T06:30:00-05:30", NOON_MS),
        ("2024-01-01T12:00:00.000000001Z", NOON_MS + 1),
        ("1969-12-31T23:59:59.999Z", -1),
        ("0001-01-01T00:00:00+23:59", -62_135_596_800_000 - (23 * 60 + 59) * 60_000),
        ("2024-02-29T00:00:00Z", 1_709_164_800_000),
    ],
)
def test_an_rfc_3339_instant_is_read_to_the_millisecond_and_never_early(text, ms):
    """An instant is read in any offset, and what is below a millisecond is rounded up."""
    assert parse_instant(text) == ms


@pytest.mark.parametrize(
    "text",
    [
        "",
        "2012-10-09",
        "2012-10-09T19:00:55",
        "2012-10-09 19:00:55Z",
        "2012-10-09t19:00:55z",
        "2012-10-09T19:00Z",
        "2012-10-09T19:00:55.Z",
        "2012-10-09T19:00:55+0100",
        "2012-10-09T19:00:55+01:60",
        "2012-10-09T19:00:55+24:00",
        "2012-10-09T24:00:00Z",
        "2012-10-09T19:60:00Z",
        "2012-10-09T19:00:60Z",
        "2023-02-29T00:00:00Z",
        "0000-01-01T00:00:00Z",
        "2012-13-01T00:00:00Z",
        " 2012-10-09T19:00:55Z",
        "2012-10-09T19:00:55Z\n",
        "٢٠١٢-10-09T19:00:55Z",
    ],
)
def test_what_is_no_rfc_3339_instant_is_refused(text):
    """A date, a local time, a missing T or Z and a day that does not exist are no instants."""
    assert parse_instant(text) is None


@given(st.datetimes(min_value=datetime(1, 1, 1), max_value=datetime(9999, 12, 31), timezones=st.just(UTC)))  # noqa: DTZ001
def test_every_instant_reads_back_as_it_was_written(moment):
    """Writing and reading are inverse to the millisecond, from the year 1 to 9999."""
    ms = (moment - datetime(1970, 1, 1, tzinfo=UTC)) // (moment.resolution * 1000)
    text = format_instant(ms)
    assert parse_instant(text) == ms
    assert text == moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def test_instants_compare_below_a_millisecond():
    """Two timestamps that differ by a microsecond differ."""
    earlier, later = (present(instant_ns(f"2024-01-01T12:00:00.00000{digit}Z")) for digit in (1, 2))
    assert earlier < later
