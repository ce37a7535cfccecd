"""Formatting of instants."""

from __future__ import annotations

from datetime import UTC, datetime


def iso(ms: int | None) -> str | None:
    """Milliseconds since the epoch as ISO 8601 in UTC, with `Z`."""
    if ms is None:
        return None
    return f"{datetime.fromtimestamp(ms // 1000, UTC):%Y-%m-%dT%H:%M:%S}.{ms % 1000:03d}Z"


def iso_seconds(ms: int | None) -> str | None:
    """The same to the second."""
    return None if ms is None else f"{datetime.fromtimestamp(ms // 1000, UTC):%Y-%m-%dT%H:%M:%SZ}"
