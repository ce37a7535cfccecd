"""`perdure actions`: what steps of workflows can do, with the schemas and examples of each."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import click

from perdure.cli import output
from perdure.cli.options import ExampledCommand, Where, anywhere, steps
from perdure.cli.runner import CommandFailed, CommandNotRun
from perdure.cli.targets.choice import no_elsewhere, server_of


@click.command(
    cls=ExampledCommand, examples=["perdure actions", "perdure actions http_request", "perdure actions log --json"]
)
@click.argument("name", required=False)
@steps
@anywhere
def actions(name: str | None, where: Where, *, steps: str | None, as_json: bool) -> None:
    """List what steps of workflows can do; or show one action by its NAME, with its members, output and examples.

    With a --server they are those that it has. Otherwise they are the built-in ones, the same for every database, and
    your own if --steps names them.
    """
    no_elsewhere(where)
    known = _known(where, steps)
    if name is None:
        if as_json:
            output.document(list(known.values()))
        else:
            output.table(["action", "category", "does"], [_row(action) for action in known.values()])
        return
    action = known.get(name)
    if action is None:
        raise CommandFailed(_absent(name, known))
    if as_json:
        output.document(action)
    else:
        _show(action)


def _known(where: Where, steps: str | None) -> Mapping[str, dict[str, Any]]:
    """All actions as JSON, by name. Raises `CommandFailed`, `CommandNotRun`."""
    if where.server is not None:
        found = server_of(where).actions()
    else:
        from perdure.engine.steps import load_registry  # noqa: PLC0415 the engine, which a client has no use for
        from perdure.engine.steps.catalog import actions_of  # noqa: PLC0415 likewise

        try:
            found = actions_of(load_registry(steps) if steps else None).documents()
        except ValueError as error:
            raise CommandNotRun(f"steps: {error}") from None
    return {action["name"]: action for action in found}


def _absent(name: str, known: Mapping[str, Any]) -> str:
    from perdure.engine.language.formats.later import not_yet  # noqa: PLC0415 only what is not there needs it
    from perdure.engine.language.formats.step_members import KINDS  # noqa: PLC0415 likewise
    from perdure.engine.suggestions import did_you_mean  # noqa: PLC0415 likewise

    if name in KINDS:
        return f"{name} is a type of step of the engine's own, which the README describes, and no action"
    return not_yet(name) or f"there is no action {name!r}.{did_you_mean(name, known)}"


def _row(action: Mapping[str, Any]) -> list[str]:
    return [action["name"], action["category"], action["description"] or action["title"]]


def _show(action: Mapping[str, Any]) -> None:
    said = {name: action[name] for name in ("title", "description", "category")}
    errors = ", ".join(action["errors"])
    effects = "it may change something outside" if action["has_effects"] else None
    output.facts({"action": action["name"], **said, "errors": errors, "effects": effects})
    config = action["config_schema"]
    if config.get("properties"):
        click.echo()
        output.table(["member", "", "default", "accepts"], _members(config))
    else:
        output.facts({"config": "any object"})
    for title, value in [
        *((f"Example: {each['title']}", each["config"]) for each in action["examples"]),
        ("Schema of the config", config),
        ("Schema of the output", action["output_schema"]),
    ]:
        output.line("")
        output.line(title)
        click.echo(json.dumps(value, indent=2))


def _members(config: Mapping[str, Any]) -> list[list[str]]:
    required = config.get("required", ())
    return [
        [name, "required" if name in required else "", _default(member), _accepts(member)]
        for name, member in config["properties"].items()
    ]


def _default(member: Any) -> str:
    return output.compact(member["default"]) if isinstance(member, dict) and "default" in member else ""


def _accepts(member: Any) -> str:
    if not isinstance(member, dict):
        return ""
    if "description" in member:
        return str(member["description"])
    return ", ".join(map(str, member["enum"])) if "enum" in member else str(member.get("type", "any JSON value"))
