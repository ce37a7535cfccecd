"""Workflows: `create`, `list` and `show`; `convert` and `validate` are in `formats`."""

from __future__ import annotations

import json
from difflib import unified_diff
from pathlib import PurePath
from typing import Any

import click

from perdure.cli import output
from perdure.cli.commands.formats import convert, validate
from perdure.cli.document_text import FORMATS, GivenFile, a_file, read_document
from perdure.cli.options import Group, Where, anywhere, limit, steps
from perdure.cli.output import readable
from perdure.cli.setting_options import run_settings
from perdure.cli.targets.choice import no_elsewhere, target
from perdure.cli.targets.reading import runs_of
from perdure.cli.targets.run_reader import ListedStatus


@click.group(
    cls=Group,
    examples=[
        'perdure workflows create invoice.asl.json --name "invoice payment"',
        "perdure workflows list",
        "perdure workflows apply invoice.asl.yaml",
        "perdure workflows validate invoice.steps.json --format steps",
        'perdure workflows show "invoice approval"',
    ],
)
def workflows() -> None:
    """Create, change, list and show workflows."""


workflows.add_command(convert)
workflows.add_command(validate)


@workflows.command(
    examples=[
        "perdure workflows create invoice.asl.json",
        'perdure workflows create invoice.asl.json --name "invoice payment" --draft --json',
    ],
)
@a_file
@click.option("--name", help="Its name.  [default: the file's]")
@click.option("--description", metavar="TEXT", help="What it is for.")
@click.option("--draft", is_flag=True, help="Do not publish it yet.")
@run_settings
@steps
@anywhere
def create(
    file: GivenFile,
    where: Where,
    *,
    name: str | None,
    description: str | None,
    draft: bool,
    settings: dict[str, Any],
    steps: str | None,
    as_json: bool,
) -> None:
    """Create a workflow from FILE, a document of any format in JSON or YAML (`-`: stdin); print its id.

    What is not valid is refused with every problem in it, each with its place and line. Steps of your own must be
    registered: with a server it knows them, straight to a database --steps names them.
    """
    no_elsewhere(where)
    wanted = _name(file.path, name)
    document, written_as = file.read()
    with document.telling_lines():
        answer = target(where, steps).create_workflow(
            wanted, document.value, description, is_draft=draft, settings=settings, written_as=written_as
        )
    _tell(answer, as_json=as_json)


def _name(file: str, name: str | None) -> str:
    """The name that is given, or else the file's, up to its first dot."""
    if name is None and file == "-":
        raise click.UsageError("--name: what comes from stdin has no name; give one")
    return name if name is not None else PurePath(file).name.split(".")[0]


def _tell(answer: dict[str, Any], *, as_json: bool) -> None:
    for warning in answer.get("warnings", ()):
        output.say(f"warning: {warning['path'] or '/'}: {warning['message']}")
    output.answer(answer, answer["id"], as_json=as_json)


@workflows.command(
    examples=[
        "perdure workflows apply invoice.asl.yaml",
        'perdure workflows apply invoice.asl.json --name "invoice payment" --draft --json',
        "perdure workflows apply invoice.steps.json --format steps",
    ],
)
@a_file
@click.option("--name", help="Of the workflow.  [default: the file's]")
@click.option("--description", metavar="TEXT", help="What it is for.")
@click.option("--draft", is_flag=True, help="Do not publish what is new.")
@run_settings
@steps
@anywhere
def apply(
    file: GivenFile,
    where: Where,
    *,
    name: str | None,
    description: str | None,
    draft: bool,
    settings: dict[str, Any],
    steps: str | None,
    as_json: bool,
) -> None:
    """Make FILE, a document of any format, the definition of the workflow of that name; print its id.

    The workflow is created, or gets its next version if anything differs; applied again it stays as it is. Runs in
    flight go on with the version that they began with.
    """
    no_elsewhere(where)
    wanted = _name(file.path, name)
    document, written_as = file.read()
    with document.telling_lines():
        answer = target(where, steps).apply_workflow(
            wanted, document.value, description, is_draft=draft, settings=settings, written_as=written_as
        )
    output.say(f"{answer['outcome']}: {answer['name']}, version {answer['version']}, {answer['status']}")
    _tell(answer, as_json=as_json)


@workflows.command(examples=['perdure workflows publish "invoice approval"'])
@click.argument("workflow")
@steps
@anywhere
def publish(workflow: str, where: Where, *, steps: str | None, as_json: bool) -> None:
    """Publish the latest version of a workflow, if that is a draft; print the workflow's id."""
    no_elsewhere(where)
    _tell(target(where, steps).publish_workflow(workflow), as_json=as_json)


@workflows.command(examples=['perdure workflows archive "invoice approval"'])
@click.argument("workflow")
@anywhere
def archive(workflow: str, where: Where, *, as_json: bool) -> None:
    """Archive a workflow: no run of it starts any more, and its history stays; print its id."""
    no_elsewhere(where)
    _tell(target(where).archive_workflow(workflow), as_json=as_json)


@workflows.command(
    examples=[
        'perdure workflows diff invoice.asl.json --name "invoice approval" || true',
    ],
)
@click.argument("file")
@click.option("--name", help="Of the workflow.  [default: the file's]")
@anywhere
def diff(file: str, where: Where, *, name: str | None, as_json: bool) -> None:
    """Show how the latest version of a workflow differs from FILE: what `apply` would change.

    Exit status 0 if it does not, 1 if it does.
    """
    no_elsewhere(where)
    wanted = _name(file, name)
    definition = read_document(file, "FILE").value
    shown = runs_of(where).workflow(wanted, None)
    old, new = (
        json.dumps(each, indent=2, ensure_ascii=False).splitlines() for each in (shown["definition"], definition)
    )
    lines = list(unified_diff(old, new, f"{shown['name']}, version {shown['version']}", file, lineterm=""))
    if as_json:
        output.document({"id": shown["id"], "name": shown["name"], "version": shown["version"], "diff": lines})
    for line in () if as_json else lines:
        output.line(line)
    if lines:
        raise click.exceptions.Exit(1)


@workflows.command("list", examples=["perdure workflows list", "perdure workflows list --search invoice --json"])
@click.option("--search", metavar="TEXT", help="Only those whose name has this in it.")
@click.option("--status", type=click.Choice(["draft", "published", "paused", "archived"]), help="Only these.")
@limit(1000, default=100)
@click.option("--page", type=click.IntRange(1), default=1, show_default=True, help="Which page.")
@anywhere
def list_(
    where: Where, *, search: str | None, status: ListedStatus | None, limit: int, page: int, as_json: bool
) -> None:
    """List workflows, newest first."""
    found = runs_of(where).workflows(search, status, limit, page)
    if as_json:
        output.document(found)
        return
    output.table(
        ["workflow", "name", "version", "status", "changed"],
        [
            [each["id"], each["name"], each["version"], each["status"], readable(each["updated_at"])]
            for each in found["items"]
        ],
    )
    if page * limit < found["total"]:
        output.say(f"there are {found['total']}: --page {page + 1}")


@workflows.command(
    examples=[
        'perdure workflows show "invoice approval"',
        'perdure workflows show "invoice approval" --version 1 --json',
        'perdure workflows show "invoice approval" --format steps',
        'perdure workflows show "invoice approval" --diagram',
    ],
)
@click.argument("workflow")
@click.option("--version", type=click.IntRange(1, 2**31 - 1), help="Which.  [default: the latest]")
@click.option("--diagram", is_flag=True, help="Draw the definition instead, as Mermaid.")
@click.option(
    "--format", "form", type=click.Choice(FORMATS), help="Only the document, as it was written or as this shows it."
)
@anywhere
def show(workflow: str, version: int | None, where: Where, *, diagram: bool, form: str | None, as_json: bool) -> None:
    """Show a workflow and its definition, by its name or id."""
    if form is not None:
        if diagram:
            raise click.UsageError("--diagram, --format: it is drawn or printed; give one of them")
        output.document(runs_of(where).document(workflow, version, form))
        return
    shown = runs_of(where).workflow(workflow, version)
    if diagram:
        from perdure.engine.language.analysis.drawing import mermaid  # noqa: PLC0415 what lists workflows need not know the language

        output.drawing(mermaid(shown["definition"]), as_json=as_json)
    elif as_json:
        output.document(shown)
    else:
        output.facts(
            {
                "workflow": shown["id"],
                "name": shown["name"],
                "description": shown["description"],
                "status": shown["status"],
                "version": f"{shown['shown_version']} of {shown['version']}",
                "published": readable(shown["published_at"]) or "no",
                "created": f"{readable(shown['created_at'])} by {shown['created_by']}",
                "changed": readable(shown["updated_at"]),
            }
        )
        click.echo()
        output.document(shown["definition"])
