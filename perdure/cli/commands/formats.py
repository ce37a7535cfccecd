"""Documents in the four formats of definitions: `workflows convert` and `workflows validate`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from perdure.cli import output
from perdure.cli.document_text import FORMATS, DocumentText, GivenFile, a_file
from perdure.cli.options import ExampledCommand, as_json, steps
from perdure.cli.runner import CommandFailed, CommandNotRun


@click.command(
    cls=ExampledCommand,
    examples=[
        "perdure workflows convert invoice.steps.json --from steps --to asl",
        "perdure workflows convert invoice.asl.yaml --from asl --to graph",
    ],
)
@click.argument("file")
@click.option(
    "--from", "source", type=click.Choice(FORMATS), help="The format of FILE.  [default: what its members say, or asl]"
)
@click.option("--to", "target", type=click.Choice(FORMATS), required=True, help="What to make of it.")
@click.option("--output", "path", metavar="FILE", help="Where to write it.  [default: stdout]")
@steps
def convert(file: str, source: str | None, target: str, path: str | None, steps: str | None) -> None:
    """Convert FILE, a document in JSON or YAML (`-`: stdin), to Amazon States Language, or to a view of that.

    A graph comes back as the same definition. A list of steps, of either kind, shows its states for reading. What is
    not valid is refused with every problem in it. Steps of your own are known if --steps names them.
    """
    from perdure.engine.language.formats.projections import PROJECTIONS  # noqa: PLC0415 the help needs no language

    document, found = GivenFile(file, source).read()
    compiled = compiled_file(found, document, steps)
    made = document.value if found == target else PROJECTIONS[target](compiled.definition)
    if path is None:
        output.document(made)
        return
    try:
        Path(path).write_text(json.dumps(made, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    except OSError as error:
        raise click.UsageError(f"--output: {path} cannot be written: {error.strerror}") from None
    output.say(f"written: {path}")


@click.command(
    cls=ExampledCommand,
    examples=[
        "perdure workflows validate invoice.steps.json",
        "perdure workflows validate invoice.asl.yaml --format asl --json",
    ],
)
@a_file
@steps
@as_json
def validate(file: GivenFile, steps: str | None, *, as_json: bool) -> None:
    """Validate FILE, a document in JSON or YAML (`-`: stdin): exit status 1, with every problem, if it is not valid.

    Steps of your own are known if --steps names them.
    """
    document, name = file.read()
    try:
        warnings = compiled_file(name, document, steps).warnings
    except CommandFailed as refused:
        if as_json:
            output.document({"valid": False, "problems": _told(refused), "warnings": []})
        raise
    shown = [{"path": warning.path, "message": warning.message} for warning in warnings]
    if as_json:
        output.document({"valid": True, "problems": [], "warnings": shown})
        return
    for warning in shown:
        output.say(f"warning: {warning['path'] or '/'}: {warning['message']}")
    output.line(f"{file.path} is valid")


class NotValid(CommandFailed):
    """A document is not valid; `problems` are those that it has, each with its line if that is known."""

    def __init__(self, document: DocumentText, problems: list[dict[str, Any]]) -> None:
        told = [f"{each['path'] or '/'}: {each['message']}" for each in problems]
        super().__init__(f"{document.path} is not valid", map(document.located, told))
        self.problems = [{**each, "line": document.line(each["path"])} for each in problems]


def _told(refused: CommandFailed) -> list[dict[str, Any]]:
    return refused.problems if isinstance(refused, NotValid) else []


def compiled_file(name: str, document: DocumentText, steps: str | None) -> Any:
    """The document of a file, compiled. Raises `NotValid`."""
    from perdure.engine.errors import Invalid  # noqa: PLC0415 as above
    from perdure.engine.language.formats.documents import DocumentOptions  # noqa: PLC0415 as above
    from perdure.engine.services.documents import GivenDocument, compile_given  # noqa: PLC0415 as above

    try:
        return compile_given(GivenDocument(name, document.value), DocumentOptions(_actions(steps), is_standalone=True))
    except Invalid as error:
        raise NotValid(document, error.details["errors"]) from None


def _actions(steps: str | None) -> Mapping[str, Any]:
    """What steps can do: the catalog, and what a registry of one's own has. Raises `CommandNotRun`."""
    from perdure.engine.steps import load_registry  # noqa: PLC0415 as above
    from perdure.engine.steps.action_forms import action_forms  # noqa: PLC0415 as above

    try:
        return action_forms(load_registry(steps) if steps else None)
    except ValueError as error:
        raise CommandNotRun(f"steps: {error}") from None
