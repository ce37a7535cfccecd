"""`perdure run`: start a run, and follow it to its end."""

from __future__ import annotations

from typing import Any, Final

import click

from perdure.cli import output
from perdure.cli.arguments import read_object
from perdure.cli.commands.run_control import what_to_start
from perdure.cli.event_lines import EventLines
from perdure.cli.options import ExampledCommand, Where, anywhere, steps
from perdure.cli.output import compact
from perdure.cli.runner import CommandFailed
from perdure.cli.targets.choice import no_elsewhere, target
from perdure.cli.targets.reading import runs_of

NOT_OVER: Final = 3
"""The exit status if the run stands still until somebody resumes or unpauses it."""

ENDED: Final = frozenset({"completed", "failed", "timed_out", "terminated"})


@click.command(
    cls=ExampledCommand,
    examples=[
        """perdure run "invoice approval" --input '{"amount": 50}' --wait""",
        """perdure run "invoice approval" --input '{"amount": 50}' --wait --json""",
        'perdure run "invoice approval" --input @invoice.json --process-id INV-10',
    ],
)
@what_to_start
@click.option("--wait", is_flag=True, help="Follow it to its end; its steps go to stderr, its output to stdout.")
@steps
@anywhere
def run(
    workflow: str,
    given: str | None,
    process_id: str | None,
    version: int | None,
    where: Where,
    *,
    wait: bool,
    steps: str | None,
    as_json: bool,
) -> None:
    """Start a run of a workflow, by its name or id: print its id, or with --wait its steps as they go and its output.

    With --wait straight to a database the run is carried out here: steps are called (your own if --steps names them),
    and what else is due in the database goes on too. Exit status with --wait: 0 it completed; 1 it ended otherwise;
    3 it stands still until it is resumed or unpaused, for which --server, or a server on this database, is needed.
    """
    no_elsewhere(where)
    run_input = read_object(given, "--input")
    if not wait:
        answer = target(where, steps).trigger(workflow, run_input, process_id, version)
        output.answer(answer, answer["execution_id"], as_json=as_json)
        return
    watcher = Watcher()
    try:
        if where.server is None:
            _here(where, steps, (workflow, run_input, process_id, version), watcher)
        else:
            answer = target(where).trigger(workflow, run_input, process_id, version)
            watcher.start(answer["execution_id"])
            runs_of(where).events(answer["execution_id"], watcher.tell, follow=True)
    except KeyboardInterrupt:
        output.say(f"no longer followed: {watcher.execution_id or 'nothing was started'}")
        raise
    _tell(runs_of(where).shown(watcher.execution_id), as_json=as_json)


def _here(
    where: Where, steps: str | None, asked: tuple[str, dict[str, Any], str | None, int | None], to: Watcher
) -> None:
    from perdure.cli.targets.database import RunOrder, process_id_of  # noqa: PLC0415 the engine, which a client has no use for
    from perdure.cli.targets.running import carried_out  # noqa: PLC0415 likewise

    workflow, run_input, process_id, version = asked
    order = RunOrder(workflow, run_input, process_id_of(process_id, run_input), version)
    carried_out(where.scope, steps, order, to.tell, to.start)


class Watcher:
    """What is told of a run while it goes on: a line for each step."""

    def __init__(self) -> None:
        self.execution_id = ""
        self._lines = EventLines()

    def start(self, execution_id: str) -> None:
        self.execution_id = execution_id
        output.say(f"run {execution_id}")

    def tell(self, event: dict[str, Any]) -> None:
        line = self._lines.step_line(event)
        if line is not None:
            output.say(line)


def _tell(shown: dict[str, Any], *, as_json: bool) -> None:
    """Print how it ended. Raises `CommandFailed` unless it is completed."""
    status = shown["status"]
    if as_json:
        output.document(shown)
    elif status == "completed":
        output.document(shown["output"])
    if status in ENDED:
        output.say(status)
        if status != "completed":
            more = [f"{name}: {compact(shown[name], 400)}" for name in ("error", "cause") if shown[name] is not None]
            raise CommandFailed(f"the run did not complete: it {_WORDS[status]}", more)
        return
    at = ", ".join(each["state"] for each in shown["waits"]) or shown["state"]
    name = shown["process_id"]
    if shown["pause"] is not None:
        output.say(f"it is paused at {at}: perdure unpause {name}")
    else:
        output.say(f"it waits at {at}: perdure resume {name}; then a server on this database goes on with it")
    raise click.exceptions.Exit(NOT_OVER)


_WORDS: Final = {"failed": "failed", "timed_out": "timed out", "terminated": "was terminated"}
