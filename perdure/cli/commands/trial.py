"""`perdure simulate --state`: one state by itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import click

from perdure.cli import output
from perdure.cli.output import compact
from perdure.cli.runner import CommandFailed
from perdure.engine.language import DefinitionError
from perdure.engine.testing.answers import Failed, Succeeded
from perdure.engine.testing.state import NoSuchState, test_state


class TrialOptions(NamedTuple):
    """The input, mocks and context for a state that is run by itself; `outcome` is its step's."""

    input: Any
    outcome: Succeeded | Failed | None
    context: Mapping[str, Any] | None
    variables: Mapping[str, Any] | None
    retry_count: int


def try_state(definition: Mapping[str, Any], name: str, trial: TrialOptions, *, as_json: bool) -> None:
    """Try out a state of a machine, or a definition that is one state, and print what became of it.

    Raises `CommandFailed` if the state fails, or the definition has no such state.
    """
    try:
        tested = test_state(
            definition,
            trial.input,
            state=name if "States" in definition else None,
            result=trial.outcome,
            context=trial.context,
            variables=trial.variables,
            retry_count=trial.retry_count,
        )
    except DefinitionError as wrong:
        raise CommandFailed(
            "the definition is not valid", [f"{p.path or '/'}: {p.message}" for p in wrong.problems]
        ) from None
    except NoSuchState as wrong:
        raise click.UsageError(f"--state: {wrong}") from None
    except ValueError as wrong:
        raise CommandFailed(str(wrong)) from None
    shown = tested.document()
    if as_json:
        output.document(shown)
    else:
        _print(shown)
    if tested.status == "NEEDS_RESULT":
        output.say(f"what its step gives is said in a file, --mock FILE: {compact({name: {'some': 'result'}})}")
    if tested.status == "FAILED":
        raise CommandFailed(f"the state failed with {tested.error}")


def _print(shown: Mapping[str, Any]) -> None:
    steps = [[name, compact(value, 400)] for name, value in shown["inspection"].items()]
    output.table(["step", "data"], steps)
    click.echo()
    facts = {name: shown[name] for name in ("status", "next_state", "retry_delay_ms", "wait_until")}
    values = {name: shown[name] for name in ("output", "error", "cause")}
    told = {name: compact(value, 400) for name, value in values.items() if value is not None}
    assigned = {"assigned": compact(shown["assigned"], 400)} if shown["assigned"] else {}
    output.facts({**facts, **told, **assigned})
