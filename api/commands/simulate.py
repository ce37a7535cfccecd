"""`perdure simulate`: a definition in virtual time, its steps answered from a file."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

import click

from api.commands import output
from api.commands.names import did_you_mean
from api.commands.output import compact, instant
from api.commands.running import Failed
from api.commands.shape import Command, as_json
from api.commands.steps import steps_json, steps_table
from api.commands.trial import Trial, try_state
from api.commands.values import parse_json, read_file, read_json, read_object
from engine.language import problems
from engine.testing.simulation import Answer, Simulation, TaskRequest
from engine.testing.simulation import Failed as TaskFailed
from engine.testing.simulation import Succeeded as TaskSucceeded
from engine.testing.simulation import simulate as run_virtually

_OUTCOME: Final = ({"result"}, {"error"}, {"error", "cause"})


@click.command(
    cls=Command,
    examples=[
        """perdure simulate invoice.asl.json --input '{"amount": 120}'""",
        "perdure simulate charge.asl.json --input @invoice.json --mock mock.json",
        "perdure simulate charge.asl.json --input @invoice.json --mock mock.json --json",
        """perdure simulate charge.asl.json --state Charge --input @invoice.json --mock mock.json""",
    ],
)
@click.argument("definition", metavar="DEFINITION")
@click.option("--input", "given", metavar="JSON|@FILE", default="{}", help="The run's input.  [default: {}]")
@click.option("--mock", metavar="FILE", help="What Task states give: a JSON object, see above.")
@click.option("--state", metavar="NAME", help="Try out this one state by itself instead of the whole run.")
@click.option("--context", metavar="JSON|@FILE", help="With --state: the whole context object.")
@click.option("--variables", metavar="JSON|@FILE", help="With --state: the variables that it sees.")
@click.option("--retry-count", metavar="N", default=0, help="With --state: how often it was tried again.")
@as_json
def simulate(
    definition: str,
    given: str,
    mock: str | None,
    state: str | None,
    context: str | None,
    variables: str | None,
    retry_count: int,
    *,
    as_json: bool,
) -> None:
    """Run a definition (a file, or `-`) to its end in virtual time: no database, and a year takes a millisecond.

    The mock is a JSON object from the name of a Task state to its result, or to a list of outcomes, one an attempt, the
    last for all further ones: {"result": …} or {"error": …, "cause": …}. Exit status 1 if the run fails.
    """
    source = parse_json(read_file(definition, "DEFINITION"), definition)
    if state is not None:
        if not isinstance(source, dict):
            raise Failed(f"{definition} is not valid", ["/: a definition is a JSON object"])
        trial = Trial(
            read_json(given, "--input"),
            _outcome(_mock(mock), state, retry_count),
            None if context is None else read_object(context, "--context"),
            None if variables is None else read_object(variables, "--variables"),
            retry_count,
        )
        try_state(source, state, trial, as_json=as_json)
        return
    found = problems(source)
    if found:
        raise Failed(f"{definition} is not valid", [f"{each.path or '/'}: {each.message}" for each in found])
    for option, value in (("--context", context), ("--variables", variables), ("--retry-count", retry_count or None)):
        if value is not None:
            raise click.UsageError(f"{option} goes with --state")
    answers = _known(_mock(mock), source)
    simulation = run_virtually(source, read_json(given, "--input"), tasks=_tasks(answers))
    shown = _shown(simulation)
    if as_json:
        output.document(shown)
    else:
        _print(shown)
    if simulation.status not in {"SUCCEEDED", "RUNNING"}:
        error = "" if simulation.error is None else f" with {simulation.error}"
        raise Failed(f"the run ended as {simulation.status}{error}")


def _mock(path: str | None) -> dict[str, Any]:
    """What states give, by name. Raises `click.UsageError`."""
    mock = {} if path is None else parse_json(read_file(path, "--mock"), "--mock")
    if not isinstance(mock, dict):
        raise click.UsageError("--mock: it must be a JSON object from the names of Task states to what they give")
    return mock


def _known(mock: dict[str, Any], definition: Mapping[str, Any]) -> dict[str, Any]:
    """The same, if all of these are Task states. Raises `click.UsageError`."""
    tasks = list(_tasks_in(definition))
    for name in mock:
        if name not in tasks:
            raise click.UsageError(f"--mock: there is no Task state {name!r}.{did_you_mean(name, tasks)}")
    return mock


def _tasks_in(machine: Mapping[str, Any]) -> Iterator[str]:
    """The names of a valid machine's Task states, those below its Parallel and Map states too."""
    for name, state in machine["States"].items():
        if state["Type"] == "Task":
            yield name
        for part in (*state.get("Branches", ()), state.get("ItemProcessor"), state.get("Iterator")):
            if part is not None:
                yield from _tasks_in(part)


def _tasks(mock: Mapping[str, Any]) -> Callable[[TaskRequest], Answer]:
    def answer(request: TaskRequest) -> Answer:
        if request.state not in mock:
            raise Failed(
                f"state {request.state!r} calls {request.resource!r}, and nothing says what that gives",
                [f"say it in a file, --mock FILE: {compact({request.state: {'some': 'result'}})}"],
            )
        outcome = _outcome(mock, request.state, request.attempt)
        return TaskSucceeded() if outcome is None else outcome

    return answer


def _outcome(mock: Mapping[str, Any], state: str, attempt: int) -> TaskSucceeded | TaskFailed | None:
    """What a state is given at an attempt; null if nothing says so."""
    if state not in mock:
        return None
    given = mock[state]
    if not _is_outcomes(given):
        return TaskSucceeded(given)
    outcome = given[min(attempt, len(given) - 1)]
    if "result" in outcome:
        return TaskSucceeded(outcome["result"])
    return TaskFailed(outcome["error"], outcome.get("cause"))


def _is_outcomes(given: Any) -> bool:
    """Whether this is a list of outcomes; any other value, a list too, is a result."""
    return (
        isinstance(given, list)
        and bool(given)
        and all(isinstance(each, dict) and set(each) in _OUTCOME for each in given)
    )


def _shown(simulation: Simulation) -> dict[str, Any]:
    return {
        "status": simulation.status,
        "output": simulation.output,
        "error": simulation.error,
        "cause": simulation.cause,
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
    if shown["status"] == "RUNNING":
        output.say("it waits for somebody outside")
