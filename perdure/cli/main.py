"""The command `perdure`: a list of what there is. Each is imported when it is called, so that `--help` is quick."""

from __future__ import annotations

import gc
from typing import Final

import click

from perdure.cli.options import Lazy, LazyGroup

COMMANDS: Final = {
    "serve": Lazy("perdure.cli.commands.serve:serve", "Serve the engine and its HTTP API."),
    "workflows": Lazy("perdure.cli.commands.workflows:workflows", "Create, change, list and show workflows."),
    "actions": Lazy("perdure.cli.commands.actions:actions", "List what steps of workflows can do, or show one action."),
    "run": Lazy("perdure.cli.commands.running:run", "Start a run of a workflow, and follow it to its end."),
    "trigger": Lazy("perdure.cli.commands.run_control:trigger", "Start a run of a workflow."),
    "resume": Lazy("perdure.cli.commands.run_control:resume", "End a wait of a run."),
    "terminate": Lazy("perdure.cli.commands.run_control:terminate", "End a run from outside."),
    "pause": Lazy("perdure.cli.commands.run_control:pause", "Stop a run for a while."),
    "unpause": Lazy("perdure.cli.commands.run_control:unpause", "Let a paused run go on."),
    "release": Lazy("perdure.cli.commands.run_control:release", "Try a run again that was set aside (quarantined)."),
    "redrive": Lazy("perdure.cli.commands.chances:redrive", "Let a run go on that did not end well."),
    "rerun": Lazy("perdure.cli.commands.chances:rerun", "Start another run with the input of a run."),
    "fork": Lazy("perdure.cli.commands.chances:fork", "Start another run from an event of a run."),
    "task": Lazy("perdure.cli.commands.tasks:task", "Answer for a task by the token that it handed out."),
    "show": Lazy("perdure.cli.commands.runs:show", "Show a run: its status, input, output and steps."),
    "history": Lazy("perdure.cli.commands.runs:history", "List runs, newest first."),
    "events": Lazy("perdure.cli.commands.runs:events", "Print the events of a run, a line each."),
    "waits": Lazy("perdure.cli.commands.runs:waits", "List the waits that are open."),
    "bulk": Lazy("perdure.cli.commands.bulk:bulk", "Give one command to all runs that match a filter."),
    "schedules": Lazy(
        "perdure.cli.commands.schedules:schedules", "List schedules, pause them, and have them start a run."
    ),
    "organization": Lazy(
        "perdure.cli.commands.organization:organization", "Show and change the settings of an organization."
    ),
    "keys": Lazy("perdure.cli.commands.keys:keys", "Create, list and revoke keys of the HTTP API."),
    "me": Lazy("perdure.cli.commands.me:me", "Show the key that a server is asked with."),
    "simulate": Lazy("perdure.cli.commands.simulate:simulate", "Run a definition in virtual time, with made-up steps."),
    "verify": Lazy("perdure.cli.commands.verify:verify", "Verify every chain of the log."),
    "doctor": Lazy("perdure.cli.commands.doctor:doctor", "Look for what is wrong with a database, and say what to do."),
    "rebuild": Lazy("perdure.cli.commands.rebuild:rebuild", "Drop the projections, and make them again from the log."),
    "completion": Lazy("perdure.cli.commands.completion:completion", "Print the completion script of a shell."),
}


@click.group(
    cls=LazyGroup,
    lazy=COMMANDS,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    examples=[
        "perdure workflows create invoice.asl.json",
        """perdure trigger "invoice approval" --input '{"amount": 120}' --process-id INV-9""",
        "perdure history --limit 5",
    ],
)
@click.version_option(package_name="perdure")
def main() -> None:
    """Perdure: a durable state-machine engine.

    Commands that read ask a --server, or open the --database for reading only, also beside a running server. Commands
    that change something go to a --server, or straight to a --database that no server holds. Data goes to stdout, words
    about it to stderr.

    Exit status: 0 done; 1 what was asked for is bad, not there, or failed; 2 not run: wrong usage, a database that
    cannot be used or is in use, a server that cannot be reached or refuses the key.
    """


def start() -> None:
    """Run the command that this process was started for."""
    gc.set_threshold(20_000, 50, 100)  # imports make no cycles worth the tenth of a quick command that a search takes
    main()
