"""Second chances of runs: `redrive`, `rerun` and `fork`."""

from __future__ import annotations

from typing import Any

import click

from perdure.cli import output
from perdure.cli.arguments import read_json, read_object
from perdure.cli.options import ExampledCommand, Where, anywhere
from perdure.cli.targets.choice import no_elsewhere, target

LATER = "recorded; a server on this database takes it on"


@click.command(
    cls=ExampledCommand,
    examples=["perdure redrive INV-8", 'perdure redrive INV-8 --reason "the supplier is back"'],
)
@click.argument("process_id")
@click.option("--reason", metavar="TEXT", help="Why; it stands in the log.")
@anywhere
def redrive(process_id: str, reason: str | None, where: Where, *, as_json: bool) -> None:
    """Let a run go on that failed, timed out or was terminated, at the states that failed, with their inputs.

    What has succeeded is not done again: of a Parallel or Map state only branches and iterations go on that failed, or
    were cut short. Attempts and time limits are counted anew, and a wait that had expired opens anew.
    """
    no_elsewhere(where)
    answer = target(where).redrive(process_id, reason)
    output.answer(answer, answer["message"], as_json=as_json)
    if where.server is None:
        output.say(LATER)


def _version(_: click.Context, parameter: click.Parameter, value: str | None) -> int | str | None:
    """The callback of `--version`: a number from 1 on, or `latest`."""
    if value is None or value == "latest":
        return value
    if value.isascii() and value.isdigit() and 1 <= int(value) < 2**31:
        return int(value)
    raise click.BadParameter(f"{value!r}: it must be a number from 1 on, or 'latest'", param=parameter)


@click.command(
    cls=ExampledCommand,
    examples=["perdure rerun INV-7", """perdure rerun INV-7 --input '{"amount": 90}' --version latest"""],
)
@click.argument("process_id")
@click.option("--input", "given", metavar="JSON|@FILE", help="Another input, a JSON object.  [default: the run's own]")
@click.option("--version", metavar="N|latest", callback=_version, help="Of the workflow.  [default: the run's own]")
@click.option("--new-process-id", metavar="ID", help="Your own name for the new run.")
@click.option("--reason", metavar="TEXT", help="Why; it stands in the log.")
@anywhere
def rerun(
    process_id: str,
    given: str | None,
    version: int | str | None,
    new_process_id: str | None,
    reason: str | None,
    where: Where,
    *,
    as_json: bool,
) -> None:
    """Start another run of the same workflow, from its start, and print the new run's id."""
    no_elsewhere(where)
    said: dict[str, Any] = {"version": version, "process_id": new_process_id, "reason": reason}
    if given is not None:
        said["input"] = read_object(given, "--input")
    answer = target(where).rerun(process_id, {name: value for name, value in said.items() if value is not None})
    output.answer(answer, answer["execution_id"], as_json=as_json)
    if where.server is None:
        output.say(LATER)


@click.command(
    cls=ExampledCommand,
    examples=[
        "perdure fork INV-7 --at 2",
        """perdure fork INV-7 --at 1 --input '{"amount": 90}' --reason "what if\"""",
    ],
)
@click.argument("process_id")
@click.option(
    "--at",
    "seq",
    type=click.IntRange(1, 2**63 - 1),
    required=True,
    metavar="SEQ",
    help="The last event that the new run takes over (perdure events).",
)
@click.option("--input", "given", metavar="JSON|@FILE", help="Another input of the state in progress there.")
@click.option("--new-process-id", metavar="ID", help="Your own name for the new run.")
@click.option("--reason", metavar="TEXT", help="Why; it stands in the log.")
@anywhere
def fork(
    process_id: str,
    seq: int,
    given: str | None,
    new_process_id: str | None,
    reason: str | None,
    where: Where,
    *,
    as_json: bool,
) -> None:
    """Start another run with the history of a run up to an event, and print the new run's id.

    What was completed by then is not done again; what was in progress is begun anew. The first event of the new run
    says which run and event it comes from.
    """
    no_elsewhere(where)
    said: dict[str, Any] = {"seq": seq}
    if given is not None:
        said["input"] = read_json(given, "--input")
    more = {"process_id": new_process_id, "reason": reason}
    said |= {name: value for name, value in more.items() if value is not None}
    answer = target(where).fork(process_id, said)
    output.answer(answer, answer["execution_id"], as_json=as_json)
    if where.server is None:
        output.say(LATER)
