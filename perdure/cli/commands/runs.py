"""Reading runs: `show`, `history`, `events` and `waits`."""

from __future__ import annotations

from typing import Any, Final

import click

from perdure.cli import output
from perdure.cli.arguments import id_option
from perdure.cli.event_lines import EventLines
from perdure.cli.filter_options import SORT, run_filters
from perdure.cli.options import ExampledCommand, Where, anywhere, limit
from perdure.cli.output import compact, readable
from perdure.cli.targets.reading import runs_of
from perdure.engine.services.run_filters import Sort

AFTER: Final = click.option("--after", metavar="ID", callback=id_option, help="Go on after this one.")


# --- show --------------------------------------------------------------------------------------------------------


@click.command(
    cls=ExampledCommand,
    examples=[
        "perdure show INV-7",
        "perdure show INV-7 --json",
        "perdure show INV-7 --diagram",
    ],
)
@click.argument("run_id", metavar="PROCESS_ID_OR_EXECUTION")
@click.option("--diagram", is_flag=True, help="Draw the run instead, as Mermaid.")
@anywhere
def show(run_id: str, where: Where, *, diagram: bool, as_json: bool) -> None:
    """Show a run: its status, input, output and steps."""
    if diagram:
        output.drawing(runs_of(where).drawn(run_id), as_json=as_json)
        return
    shown = runs_of(where).shown(run_id)
    if as_json:
        output.document(shown)
        return
    from perdure.cli.step_lines import steps_table  # noqa: PLC0415 with it comes the language

    names = ("input", "output", "error", "cause")
    values = {name: compact(shown[name], 400) for name in names if shown[name] is not None}
    output.facts(
        {
            "run": shown["execution_id"],
            "process id": shown["process_id"],
            "parent": shown["parent_execution_id"],
            "origin": shown["origin_execution_id"],
            "made from it": ", ".join(shown["made_execution_ids"]) or None,
            "workflow": f"{shown['workflow_name']}, version {shown['workflow_version']} ({shown['workflow_id']})",
            "status": shown["status"],
            **_pause_facts(shown["pause"], shown["paused_by_name"]),
            "state": shown["state"],
            "queue": None if shown["queue"] is None else _queue(shown["queue"]),
            "created": readable(shown["created_at"]),
            "modified": f"{readable(shown['modified_at'])} by {shown['modified_by_name'] or shown['modified_by']}",
            "ended": readable(shown["ended_at"]),
            **values,
        }
    )
    click.echo()
    steps_table(shown["steps"])


def _pause_facts(pause: dict[str, Any] | None, by: str | None) -> dict[str, str]:
    """A line about the pause of a run, if it is paused."""
    if pause is None:
        return {}
    under_way = "nothing is in flight" if pause["quiescent"] else f"{pause['in_flight']} in flight still"
    clocks = "clocks stand still" if pause["clocks"] == "freeze" else "clocks run on"
    who = by or pause["by"] if pause["quota"] is None else f"the quota of {pause['quota']}"
    return {"paused": f"{readable(pause['since'])} by {who}: {pause['reason']} ({under_way}; {clocks})"}


def _queue(queue: dict[str, Any]) -> str:
    """Where a run stands in line, in words."""
    limits = " and ".join(
        f"the {each['kind']}'s limit" + ("" if each["limit"] is None else f" of {each['limit']}")
        for each in queue["limits"]
    )
    return f"number {queue['position']} for a place in {limits}"


# --- history -----------------------------------------------------------------------------------------------------


@click.command(
    cls=ExampledCommand,
    examples=[
        "perdure history",
        'perdure history "invoice approval" --limit 5',
        "perdure history --status failed --status timed_out --from 2026-01-31",
        "perdure history --process-id-prefix INV- --sort oldest --json",
        "perdure history --counts",
    ],
)
@click.argument("workflow", required=False)
@run_filters
@SORT
@limit(1000)
@click.option("--after", metavar="CURSOR|ID", help="Go on where the page before ended, or beyond this run.")
@click.option("--counts", is_flag=True, help="Only count the runs, by status and by workflow.")
@anywhere
def history(
    workflow: str | None,
    where: Where,
    filters: dict[str, str],
    *,
    sort: Sort,
    limit: int,
    after: str | None,
    counts: bool,
    as_json: bool,
) -> None:
    """List runs, newest first; of one workflow, if its name or id is given, and those that match all filters."""
    if counts:
        if filters or after is not None:
            raise click.UsageError("--counts: of all runs, or those of a WORKFLOW, by status; it takes no filter")
        _tell_counts(runs_of(where).counts(workflow), as_json=as_json)
        return
    page = runs_of(where).history(workflow, filters, sort, limit, after)
    if as_json:
        output.document(page)
        return
    output.table(
        ["run", "process id", "workflow", "status", "state", "created"],
        [
            [
                each["execution_id"],
                "" if each["process_id"] == each["execution_id"] else each["process_id"],
                f"{each['workflow_name']} v{each['workflow_version']}",
                each["status"] if each["pause"] is None else f"{each['status']}, paused",
                each["state"],
                readable(each["created_at"]),
            ]
            for each in page["items"]
        ],
    )
    _say_more(page)


def _tell_counts(counts: dict[str, Any], *, as_json: bool) -> None:
    """Print how many runs there are: a row for each workflow, and one for all of them."""
    if as_json:
        output.document(counts)
        return
    statuses = list(counts["by_status"])
    rows = [(each["workflow_name"], each) for each in counts["by_workflow"]]
    output.table(
        ["workflow", "runs", *statuses],
        [[name, str(each["total"]), *_by(each, statuses)] for name, each in [*rows, ("all", counts)]],
    )


def _by(counted: dict[str, Any], statuses: list[str]) -> list[str]:
    return [str(counted["by_status"].get(status, 0)) for status in statuses]


def _say_more(page: dict[str, Any]) -> None:
    if not page["items"]:
        output.say("there are none")
    elif page["after"] is not None:
        output.say(f"there are more: --after {page['after']}")


# --- events ------------------------------------------------------------------------------------------------------


@click.command(
    cls=ExampledCommand,
    examples=[
        "perdure events INV-7",
        "perdure events INV-7 --json",
        "perdure events INV-6 --follow",
    ],
)
@click.argument("run_id", metavar="EXECUTION")
@click.option("--follow", is_flag=True, help="Go on with what is added, until the run has ended.")
@anywhere
def events(run_id: str, where: Where, *, follow: bool, as_json: bool) -> None:
    """Print the events of a run as they stand in the log, a line each; EXECUTION may be its process id."""
    try:
        lines = EventLines()
        tell = output.json_line if as_json else lambda event: output.line(lines.line(event))
        runs_of(where).events(run_id, tell, follow=follow)
    except KeyboardInterrupt:  # how one stops to follow
        if not follow:
            raise


# --- waits -------------------------------------------------------------------------------------------------------


@click.command(
    cls=ExampledCommand,
    examples=[
        "perdure waits",
        'perdure waits --workflow "invoice approval" --json',
        "perdure waits --process-id INV-7",
    ],
)
@click.option("--workflow", metavar="WORKFLOW", help="Only those of this workflow, by name or id.")
@click.option("--process-id", metavar="PROCESS_ID", help="Only those of this run.")
@limit(1000, default=100)
@AFTER
@anywhere
def waits(
    workflow: str | None, process_id: str | None, where: Where, *, limit: int, after: str | None, as_json: bool
) -> None:
    """List the waits that are open, oldest first: who may resume what."""
    page = runs_of(where).waits(workflow, process_id, limit, after)
    if as_json:
        output.document(page)
        return
    output.table(
        ["process id", "state", "open since", "until", "workflow", "wait"],
        [
            [
                each["process_id"],
                each["state"],
                readable(each["opened_at"]),
                readable(each["due_at"]),
                each["workflow_name"],
                each["wait_id"],
            ]
            for each in page["items"]
        ],
    )
    _say_more(page)
