"""`perdure simulate`: a definition in virtual time, its steps answered from a file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import click

from perdure.cli import output
from perdure.cli.arguments import parse_json, read_file, read_json, read_object
from perdure.cli.commands.formats import compiled_file
from perdure.cli.commands.trial import TrialOptions, try_state
from perdure.cli.document_text import GivenFile, a_file
from perdure.cli.options import ExampledCommand, as_json, steps
from perdure.cli.output import compact, instant
from perdure.cli.runner import CommandFailed
from perdure.cli.step_lines import steps_json, steps_table
from perdure.engine.language import problems, unsupported
from perdure.engine.testing.mocks import BadMock, Mock, NotMocked
from perdure.engine.testing.simulation import Simulation
from perdure.engine.testing.simulation import simulate as run_virtually

STUCK_MAX: Final = 20
"""So many states at which a run is stuck are named."""


@click.command(
    cls=ExampledCommand,
    examples=[
        """perdure simulate invoice.asl.json --input '{"amount": 50}'""",
        "perdure simulate charge.asl.json --input @invoice.json --mock mock.json",
        "perdure simulate charge.asl.json --input @invoice.json --mock mock.json --json",
        """perdure simulate charge.asl.json --state Charge --input @invoice.json --mock mock.json""",
        """perdure simulate invoice.steps.json --input '{"amount": 50}' --mock answers.json""",
    ],
)
@a_file
@click.option("--input", "given", metavar="JSON|@FILE", default="{}", help="The run's input.  [default: {}]")
@click.option("--mock", metavar="FILE", help="What Task states give: a JSON object, see above.")
@click.option("--state", metavar="NAME", help="Try out this one state by itself instead of the whole run.")
@click.option("--context", metavar="JSON|@FILE", help="With --state: the whole context object.")
@click.option("--variables", metavar="JSON|@FILE", help="With --state: the variables that it sees.")
@click.option("--retry-count", metavar="N", default=0, help="With --state: how often it was tried again.")
@steps
@as_json
def simulate(  # noqa: PLR0913 click gives each option as an argument
    file: GivenFile,
    given: str,
    mock: str | None,
    state: str | None,
    context: str | None,
    variables: str | None,
    retry_count: int,
    *,
    steps: str | None,
    as_json: bool,
) -> None:
    """Run a definition in FILE (`-`: stdin) to its end in virtual time: no database, and a year takes a millisecond.

    A document of steps or a graph is compiled first; its Task states are named as its steps. The mock is a JSON object
    from the name of a Task state to what that gives, a step, a wait, a task token, an approval and a child alike: its
    result, or {"result": …}, or {"error": …, "cause": …}, or a list of such outcomes, one an attempt, the
    last for all further ones. Exit status 1 if the run fails or gets stuck.
    """
    definition = file.path
    source = _definition(file, steps)
    if not isinstance(source, dict):
        raise CommandFailed(f"{definition} is not valid", ["/: a definition is a JSON object"])
    mocked = _given_mock(mock)
    if state is not None:
        trial = TrialOptions(
            read_json(given, "--input"),
            _mock(mocked, None).outcome(state, retry_count),
            None if context is None else read_object(context, "--context"),
            None if variables is None else read_object(variables, "--variables"),
            retry_count,
        )
        try_state(source, state, trial, as_json=as_json)
        return
    for option, value in (("--context", context), ("--variables", variables), ("--retry-count", retry_count or None)):
        if value is not None:
            raise click.UsageError(f"{option} goes with --state")
    found = problems(source) or unsupported(source)
    if found:
        raise CommandFailed(f"{definition} is not valid", [f"{each.path or '/'}: {each.message}" for each in found])
    simulation = _run(source, read_json(given, "--input"), _mock(mocked, source))
    shown = _shown(simulation)
    if as_json:
        output.document(shown)
    else:
        _print(shown)
    _judge(simulation)


def _definition(file: GivenFile, steps: str | None) -> Any:
    """The definition in a file; what is of another format is compiled to one. Raises `CommandFailed`."""
    document, form = file.read()
    return document.value if form == "asl" else compiled_file(form, document, steps).definition


def _given_mock(path: str | None) -> Any:
    return {} if path is None else parse_json(read_file(path, "--mock"), "--mock")


def _mock(given: Any, definition: Mapping[str, Any] | None) -> Mock:
    """What states give, by name. Raises `click.UsageError`."""
    try:
        return Mock(given, definition)
    except BadMock as wrong:
        raise click.UsageError(f"--mock: {wrong}") from None


def _run(definition: Mapping[str, Any], run_input: Any, mock: Mock) -> Simulation:
    try:
        return run_virtually(definition, run_input, tasks=mock)
    except BadMock as wrong:
        raise click.UsageError(f"--mock: {wrong}") from None
    except NotMocked as missing:
        hint = f"say it in a file, --mock FILE: {compact({missing.request.state: {'some': 'result'}})}"
        raise CommandFailed(str(missing), [hint]) from None


def _judge(simulation: Simulation) -> None:
    """End with status 1 unless the run has succeeded, saying why. Raises `CommandFailed`."""
    if simulation.status == "RUNNING":
        stuck = [f"state {each.state!r} waits for {each.waits_for}" for each in simulation.stuck_at]
        names = {each.state: {"some": "result"} for each in simulation.stuck_at[:3]}
        raise CommandFailed(
            "the run is stuck", [*stuck[:STUCK_MAX], f"say it in a file, --mock FILE: {compact(names)}"]
        )
    if simulation.status != "SUCCEEDED":
        error = "" if simulation.error is None else f" with {simulation.error}"
        raise CommandFailed(f"the run ended as {simulation.status}{error}")


def _shown(simulation: Simulation) -> dict[str, Any]:
    return {
        "status": simulation.status,
        "output": simulation.output,
        "error": simulation.error,
        "cause": simulation.cause,
        "stuck_at": [
            {"state": each.state, "waits_for": each.waits_for, "iteration": each.iteration}
            for each in simulation.stuck_at
        ],
        "steps": steps_json(simulation.events),
        "events": [
            {"seq": each.seq, "type": type(each.event).__name__, "at": instant(each.recorded_at)}
            for each in simulation.events
        ],
    }


def _print(shown: dict[str, Any]) -> None:
    steps_table(shown["steps"])
    click.echo()
    values = {name: compact(shown[name], 400) for name in ("output", "error", "cause") if shown[name] is not None}
    output.facts({"status": shown["status"], **values})
