"""Schedules on the command line: when one is due, before there is one."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

Perdure = Callable[..., Any]


def test_a_preview_tells_utc_and_local_time(perdure: Perdure) -> None:
    """The slots strictly after an instant, over a gap, in both times."""
    cron = ("--cron", "30 2 * * *", "--timezone", "Europe/Berlin", "--from", "2026-03-28T01:30:00Z", "--count", "2")
    assert json.loads(perdure("schedules", "preview", *cron, "--json").stdout) == [
        {"utc": "2026-03-29T01:00:00Z", "local": "2026-03-29T03:00:00+02:00"},
        {"utc": "2026-03-30T00:30:00Z", "local": "2026-03-30T02:30:00+02:00"},
    ]
    said = perdure("schedules", "preview", *cron)
    assert "At 02:30 (Europe/Berlin)" in said.stderr
    assert "2026-03-29T03:00:00+02:00" in said.stdout


def test_what_is_refused(perdure: Perdure) -> None:
    """A line says what is wrong, and with what."""
    said = perdure("schedules", "preview", "--cron", "0 25 * * *", exits=1).stderr
    assert "hour: 25 is not from 0 to 23" in said
    said = perdure("schedules", "preview", "--cron", "0 2 * * *", "--timezone", "Europe/Berln", exits=1).stderr
    assert "Did you mean 'Europe/Berlin'" in said
    said = perdure("schedules", "preview", "--cron", "0 2 * * *", "--from", "tomorrow", exits=1).stderr
    assert "--from: 'tomorrow' is no instant" in said
