"""Formatting of instants.

Many of a page are in the same few seconds: the text of a second is made once.
"""

from __future__ import annotations

from datetime import UTC, datetime
from functools import lru_cache
from typing import Final

SECONDS_MAX: Final = 4096
"""The texts of so many seconds are kept."""


def iso(ms: int | None) -> str | None:
    """Milliseconds since the epoch as ISO 8601 in UTC, with `Z`."""
    if ms is None:
        return None
    second, rest = divmod(ms, 1000)
    return f"{_second(second)}.{rest:03d}Z"


def iso_seconds(ms: int | None) -> str | None:
    """The same to the second."""
    return None if ms is None else f"{_second(ms // 1000)}Z"


@lru_cache(maxsize=SECONDS_MAX)
def _second(instant: int) -> str:
    return f"{datetime.fromtimestamp(instant, UTC):%Y-%m-%dT%H:%M:%S}"
