"""Schedules: `list`, `pause`, `play`, `run-now` and `preview`."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Final

import click

from perdure.cli import output
from perdure.cli.arguments import id_option
from perdure.cli.options import ExampledCommand, Group, Where, anywhere
from perdure.cli.output import readable
from perdure.cli.runner import CommandFailed
from perdure.cli.targets.choice import no_elsewhere, target
from perdure.cli.targets.reading import runs_of

PREVIEW_MAX = 1000


@click.group(
    cls=Group,
    examples=[
        'perdure schedules list "invoice approval"',
        'perdure schedules preview --cron "30 2 * * *" --timezone Europe/Berlin --from 2026-03-28T00:00:00Z',
    ],
)
def schedules() -> None:
    """List schedules of workflows, pause them, and have them start a run."""


_SCHEDULE: Final = click.argument("schedule", required=False, callback=id_option)


@schedules.command(
    "list", examples=['perdure schedules list "invoice approval"', 'perdure schedules list "invoice approval" --json']
)
@click.argument("workflow")
@anywhere
def list_(workflow: str, where: Where, *, as_json: bool) -> None:
    """List the schedules of a workflow, by its name or id: when each is due next, and what it did last."""
    found = runs_of(where).schedules(workflow)
    if as_json:
        output.document(found)
        return
    output.table(
        ["schedule", "status", "due", "timezone", "next", "last"],
        [
            [each["id"], each["status"], each["in_words"], each["timezone"], _next(each), _last(each)]
            for each in found["items"]
        ],
    )


def _next(schedule: dict[str, Any]) -> str:
    """The slot that comes next, unless nothing comes of it."""
    slots = schedule["next_slots"]
    return slots[0]["local"] if slots and schedule["status"] == "active" else ""


def _last(schedule: dict[str, Any]) -> str:
    """What became of the last slot, or slots."""
    for each in schedule["last_decisions"]:
        at = readable(each["last"] or each["at"])
        return f"{each['outcome']} {at}" if each["count"] == 1 else f"{each['outcome']} ({each['count']}) {at}"
    return ""


@schedules.command(examples=['perdure schedules pause "invoice approval" || true'])
@click.argument("workflow")
@_SCHEDULE
@anywhere
def pause(workflow: str, schedule: str | None, where: Where, *, as_json: bool) -> None:
    """Pause a schedule of a workflow, or all of them; what runs goes on.

    Slots that come meanwhile are recorded as skipped, and are not made up for.
    """
    _switch(workflow, schedule, where, is_enabled=False, as_json=as_json)


@schedules.command(examples=['perdure schedules play "invoice approval" || true'])
@click.argument("workflow")
@_SCHEDULE
@anywhere
def play(workflow: str, schedule: str | None, where: Where, *, as_json: bool) -> None:
    """Let a schedule of a workflow go on, or all of them, from the next slot on."""
    _switch(workflow, schedule, where, is_enabled=True, as_json=as_json)


def _switch(workflow: str, schedule: str | None, where: Where, *, is_enabled: bool, as_json: bool) -> None:
    no_elsewhere(where)
    answer = target(where).switch_schedules(workflow, schedule, is_enabled=is_enabled)
    if as_json:
        output.document(answer)
        return
    for each in answer["items"]:
        output.line(f"{each['id']}  {each['status']}")


@schedules.command("run-now", examples=['perdure schedules run-now "invoice approval" || true'])
@click.argument("workflow")
@_SCHEDULE
@anywhere
def run_now(workflow: str, schedule: str | None, where: Where, *, as_json: bool) -> None:
    """Start a run of a workflow's schedule now, beside its slots, and print the run's id.

    The schedule may be left out if there is only one. It may be paused; the workflow may not.
    """
    no_elsewhere(where)
    answer = target(where).run_schedule(workflow, schedule)
    output.answer(answer, answer["execution_id"], as_json=as_json)


@schedules.command(
    cls=ExampledCommand,
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
    option = "--timezone"
    try:
        calendar.parse_zone(timezone)
        option = "--cron"
        found = calendar.parse_cron(cron, timezone, now=after)
    except calendar.BadCalendar as error:
        raise CommandFailed(f"{option}: {error}") from None
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
