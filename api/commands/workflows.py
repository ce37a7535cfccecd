"""Workflows: `create`, `list` and `show`."""

from __future__ import annotations

from pathlib import PurePath
from typing import Any

import click

from api.commands import output
from api.commands.changing import no_elsewhere, target
from api.commands.output import readable
from api.commands.running import Failed, run
from api.commands.shape import Group, Scope, Where, changes, limit, reads, steps
from api.commands.values import parse_json, read_file
from api.commands.views import find_workflow, view, workflow_json
from engine.codec import decode_json


@click.group(
    cls=Group,
    examples=[
        'perdure workflows create invoice.asl.json --name "invoice payment"',
        "perdure workflows list",
        'perdure workflows show "invoice approval"',
    ],
)
def workflows() -> None:
    """Create, list and show workflows."""


@workflows.command(
    examples=[
        "perdure workflows create invoice.asl.json",
        'perdure workflows create invoice.asl.json --name "invoice payment" --draft --json',
    ],
)
@click.argument("file")
@click.option("--name", help="Its name.  [default: the file's]")
@click.option("--description", metavar="TEXT", help="What it is for.")
@click.option("--draft", is_flag=True, help="Do not publish it yet.")
@steps
@changes
def create(
    file: str,
    where: Where,
    *,
    name: str | None,
    description: str | None,
    draft: bool,
    steps: str | None,
    as_json: bool,
) -> None:
    """Create a workflow from FILE, a definition in Amazon States Language (`-`: from stdin); print its id.

    A definition that is not valid is refused with every problem in it. Steps of your own must be registered: with a
    server it knows them, straight to a database --steps names them.
    """
    no_elsewhere(where)
    if name is None:
        if file == "-":
            raise click.UsageError("--name: what comes from stdin has no name; give one")
        name = PurePath(file).name.split(".")[0]
    definition = parse_json(read_file(file, "FILE"), file)
    answer = target(where, steps).create_workflow(name, definition, description, is_draft=draft)
    for warning in answer["warnings"]:
        output.say(f"warning: {warning['path']}: {warning['message']}")
    output.answer(answer, answer["id"], as_json=as_json)


@workflows.command("list", examples=["perdure workflows list", "perdure workflows list --search invoice --json"])
@click.option("--search", metavar="TEXT", help="Only those whose name has this in it.")
@click.option("--status", type=click.Choice(["draft", "published", "archived"]), help="Only these.")
@limit(1000, default=100)
@click.option("--page", type=click.IntRange(1), default=1, show_default=True, help="Which page.")
@reads
def list_(scope: Scope, *, search: str | None, status: str | None, limit: int, page: int, as_json: bool) -> None:
    """List workflows, newest first."""
    found = run(_listed(scope, search, status, limit, page))
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


async def _listed(scope: Scope, search: str | None, status: str | None, limit: int, page: int) -> dict[str, Any]:
    async with view(scope) as seen:
        rows, total = await seen.reading.workflow_page(
            seen.caller, page=page, limit=limit, status=status, search=search
        )
        return {"items": [workflow_json(row) for row in rows], "total": total, "page": page}


@workflows.command(
    examples=[
        'perdure workflows show "invoice approval"',
        'perdure workflows show "invoice approval" --version 1 --json',
        'perdure workflows show "invoice approval" --diagram',
    ],
)
@click.argument("workflow")
@click.option("--version", type=click.IntRange(1, 2**31 - 1), help="Which.  [default: the latest]")
@click.option("--diagram", is_flag=True, help="Draw the definition instead, as Mermaid.")
@reads
def show(workflow: str, version: int | None, scope: Scope, *, diagram: bool, as_json: bool) -> None:
    """Show a workflow and its definition, by its name or id."""
    shown = run(_shown(scope, workflow, version))
    if diagram:
        from engine.language.drawing import mermaid  # noqa: PLC0415 what lists workflows need not know the language

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


async def _shown(scope: Scope, wanted: str, number: int | None) -> dict[str, Any]:
    async with view(scope) as seen:
        row = await find_workflow(seen.store, seen.caller, wanted)
        version = await seen.store.workflow_version(row.workflow_id, number or row.latest_version)
        if version is None:
            raise Failed(f"workflow {wanted!r} has no version {number}; its latest is {row.latest_version}")
        return {
            **workflow_json(row),
            "shown_version": version.version,
            "published_at": output.instant(version.published_at),
            "definition_sha256": version.definition_digest.hex(),
            "definition": decode_json(version.definition),
        }
