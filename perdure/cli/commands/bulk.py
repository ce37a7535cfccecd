"""Bulk jobs: `start`, `list`, `show` and `stop`."""

from __future__ import annotations

from typing import Any, Final

import click

from perdure.cli import output
from perdure.cli.arguments import id_option, read_json
from perdure.cli.filter_options import run_filters
from perdure.cli.options import Group, Where, anywhere, limit
from perdure.cli.output import compact, readable
from perdure.cli.runner import CommandFailed
from perdure.cli.targets.choice import no_elsewhere, target
from perdure.cli.targets.reading import runs_of

_COUNTS: Final = ("expected", "done", "unchanged", "failed")


@click.group(
    cls=Group,
    examples=[
        'perdure bulk start terminate "invoice approval" --process-id-prefix OLD- --dry-run',
        "perdure bulk list",
        "perdure bulk show",
        "perdure bulk stop",
    ],
)
def bulk() -> None:
    """Give one command to all runs that match a filter, as a job that goes on after a crash."""


@bulk.command(
    examples=[
        "perdure bulk start terminate --status waiting --to 2001-12-31 --dry-run",
        'perdure bulk start terminate "invoice approval" --process-id-prefix OLD- --reason "entered twice"',
        """perdure bulk start resume --state Nowhere --payload '{"approved": false}' --json""",
    ],
)
@click.argument("action", metavar="ACTION")
@click.argument("workflow", required=False)
@run_filters
@click.option("--reason", metavar="TEXT", help="Why; it stands in the log of each run.")
@click.option("--payload", metavar="JSON|@FILE", help="A JSON value: what each resume gives.  [default: {}]")
@click.option("--dry-run", "is_dry_run", is_flag=True, help="Only count the runs that match.")
@anywhere
def start(
    action: str,
    workflow: str | None,
    filters: dict[str, str],
    reason: str | None,
    payload: str | None,
    where: Where,
    *,
    is_dry_run: bool,
    as_json: bool,
) -> None:
    """Start a job that gives ACTION to all runs that match. It prints the job's id.

    ACTION is terminate, resume, pause, unpause or redrive. Without --status those runs are meant that the action can do
    something with. What starts after the job is left alone. Straight to a database the job is recorded, and the next
    server on it does it.
    """
    no_elsewhere(where)
    arguments = {} if payload is None else {"payload": read_json(payload, "--payload")}
    asked = target(where).start_bulk(action, workflow, filters, reason, arguments, is_dry_run=is_dry_run)
    if is_dry_run:
        at_least = "" if asked["is_exact"] else "at least "
        output.answer(asked, f"{at_least}{asked['matching']} runs match", as_json=as_json)
        return
    output.answer(asked, asked["id"], as_json=as_json)
    if where.server is None:
        output.say("recorded; a server on this database takes it on")


@bulk.command("list", examples=["perdure bulk list", "perdure bulk list --limit 5 --json"])
@limit(1000)
@click.option("--after", metavar="ID", callback=id_option, help="Go on after this one.")
@anywhere
def list_(where: Where, *, limit: int, after: str | None, as_json: bool) -> None:
    """List bulk jobs, newest first."""
    page = runs_of(where).bulk_jobs(limit, after)
    if as_json:
        output.document(page)
        return
    output.table(
        ["job", "action", "status", *_COUNTS, "created", "ended"],
        [
            [
                *(each["id"], each["action"], each["status"], *(_count(each[name]) for name in _COUNTS)),
                *(readable(each["created_at"]), readable(each["ended_at"])),
            ]
            for each in page["items"]
        ],
    )
    if page["after"] is not None:
        output.say(f"there are more: --after {page['after']}")


@bulk.command(examples=["perdure bulk show", "perdure bulk show --json"])
@click.argument("job", required=False, callback=id_option)
@anywhere
def show(job: str | None, where: Where, *, as_json: bool) -> None:
    """Show a bulk job, the latest if none is named: how far it is, and the first runs that refused."""
    shown = runs_of(where).bulk_job(_named(job, where))
    if as_json:
        output.document(shown)
        return
    output.facts(
        {
            "job": shown["id"],
            "action": shown["action"],
            "runs with": compact(shown["filter"], 400),
            "reason": shown["reason"],
            "status": shown["status"] if shown["why"] is None else f"{shown['status']} ({shown['why']})",
            **{name: _count(shown[name]) for name in _COUNTS},
            "refused with": compact(shown["failed_by_code"]) if shown["failed_by_code"] else None,
            "created": f"{readable(shown['created_at'])} by {shown['created_by']}",
            "ended": readable(shown["ended_at"]),
        }
    )
    if shown["failures"]:
        click.echo()
        rows = [[each["execution_id"], each["code"], each["message"]] for each in shown["failures"]]
        output.table(["run", "code", "message"], rows)


@bulk.command(examples=["perdure bulk stop", 'perdure bulk stop --reason "the wrong ones"'])
@click.argument("job", required=False, callback=id_option)
@click.option("--reason", metavar="TEXT", help="Why; it stands in the log.")
@anywhere
def stop(job: str | None, reason: str | None, where: Where, *, as_json: bool) -> None:
    """Stop a bulk job, the latest if none is named: the runs whose turn it is are done, and no others."""
    no_elsewhere(where)
    stopped = target(where).stop_bulk(_named(job, where), reason)
    output.answer(stopped, stopped["status"], as_json=as_json)


def _named(job: str | None, where: Where) -> str:
    """The job that is meant. Raises `CommandFailed` if there is none."""
    if job is not None:
        return job
    items: list[dict[str, Any]] = runs_of(where).bulk_jobs(1, None)["items"]
    if not items:
        raise CommandFailed("there is no bulk job")
    return str(items[0]["id"])


def _count(count: int | None) -> str:
    return "" if count is None else str(count)
