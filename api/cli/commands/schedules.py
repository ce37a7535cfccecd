"""Schedules: `preview`."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import click

from perdure.api.cli import output
from perdure.api.cli.options import Command, Group
from perdure.api.cli.runner import CommandFailed

PREVIEW_MAX = 1000


@click.group(
    cls=Group,
    examples=['perdure schedules preview --cron "30 2 * * *" --timezone Europe/Berlin --from 2026-03-28T00:00:00Z'],
)
def schedules() -> None:
    """See when a schedule is due."""


@schedules.command(
    cls=Command,
    examples=[
        'perdure schedules preview --cron "0 9 * * mon-fri" --timezone America/New_York',
        'perdure schedules preview --cron "30 2 * * *" --timezone Europe/Berlin --from 2026-03-28T00:00:00Z --json',
    ],
)
@click.option("--cron", metavar="FIELDS", required=True, help="Minute, hour, day of month, month, day of week.")
@click.option("--timezone", metavar="ZONE", default="UTC", show_default=True, help="An IANA zone: Europe/Berlin.")
@click.option("--from", "start", metavar="INSTANT", help="Slots after this instant, RFC 3339.  [default: now]")
@click.option("--count", type=click.IntRange(1, PREVIEW_MAX), default=5, show_default=True, help="So many slots.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")
def preview(cron: str, timezone: str, start: str | None, count: int, *, as_json: bool) -> None:
    """List the next slots of a cron expression, in UTC and in local time."""
    from perdure.engine import calendar  # noqa: PLC0415 whoever lists commands needs no time zones

    after = _now() if start is None else _instant(start)
    try:
        found = calendar.parse_cron(cron, timezone, now=after)
    except calendar.BadCalendar as error:
        raise CommandFailed(str(error)) from None
    slots = [_shown(slot, found) for slot in calendar.preview(found, after, count)]
    if as_json:
        output.document(slots)
        return
    output.say(f"{calendar.in_words(cron)} ({timezone})")
    output.table(("UTC", "LOCAL"), [(slot["utc"], slot["local"]) for slot in slots])


def _now() -> int:
    return round(datetime.now(UTC).timestamp() * 1000)


def _instant(text: str) -> int:
    from perdure.engine.language.instants import parse_instant  # noqa: PLC0415 likewise

    found = parse_instant(text)
    if found is None:
        raise CommandFailed(f"--from: {text!r} is no instant such as 2026-03-28T00:00:00Z")
    return found


def _shown(slot: int, calendar: Any) -> dict[str, str]:
    at = datetime.fromtimestamp(slot / 1000, UTC)
    return {"utc": f"{at:%Y-%m-%dT%H:%M:%S}Z", "local": at.astimezone(calendar.zone).isoformat(timespec="seconds")}
