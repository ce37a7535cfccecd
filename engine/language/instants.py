"""Instants: milliseconds since 1970 in UTC, and their text as RFC 3339.

The States Language spec asks for the ISO 8601 profile of RFC 3339 with an upper case T, and an upper case
Z where there is no numeric offset. Nothing here asks what time it is.
"""

from __future__ import annotations

import functools
import re
from datetime import UTC, date, datetime, timedelta
from typing import Final

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_EPOCH_DAY: Final = date(1970, 1, 1).toordinal()
_RFC_3339: Final = re.compile(
    r"([0-9]{4})-([0-9]{2})-([0-9]{2})T([0-9]{2}):([0-9]{2}):([0-9]{2})(?:\.([0-9]{1,9}))?"
    r"(?:Z|([+-])([0-9]{2}):([0-9]{2}))"
)


@functools.lru_cache(maxsize=256)  # the instants of one moment share their second
def _second(seconds: int) -> str:
    return (_EPOCH + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%S").rjust(19, "0")


def format_instant(ms: int) -> str:
    """Write an instant as AWS does: `2024-11-06T09:42:03.120Z`.

    `ms`: milliseconds since 1970 in UTC, from the year 1 to 9999.

    Raises OverflowError: the year is out of range.
    """
    seconds, rest = divmod(ms, 1000)
    return f"{_second(seconds)}.{rest:03d}Z"


def parse_instant(text: str) -> int | None:
    """Read an RFC 3339 instant.

    Returns milliseconds since 1970 in UTC, the part below a millisecond rounded up so that nothing that waits for it is
    early; None if the text is not such an instant.
    """
    ns = instant_ns(text)
    return None if ns is None else -(-ns // 1_000_000)


def instant_ns(text: str) -> int | None:
    """Read an RFC 3339 instant to the nanosecond, for exact comparison; None if it is none."""
    match = _RFC_3339.fullmatch(text)
    if match is None:
        return None
    year, month, day, hour, minute, second = map(int, match.groups()[:6])
    fraction, sign, offset_hour, offset_minute = match.groups()[6:]
    offset = int(offset_hour or 0) * 60 + int(offset_minute or 0)
    # A leap second (:60) is refused, as by Java, which AWS runs on; no Python instant can hold it either.
    in_range = hour < 24 and minute < 60 and second < 60 and offset < 24 * 60 and int(offset_minute or 0) < 60  # noqa: PLR2004
    if not in_range:
        return None
    try:
        days = date(year, month, day).toordinal() - _EPOCH_DAY
    except ValueError:  # the 30th of February, the year 0
        return None
    minutes = (days * 24 + hour) * 60 + minute - (-offset if sign == "-" else offset)
    return (minutes * 60 + second) * 1_000_000_000 + int((fraction or "").ljust(9, "0"))
