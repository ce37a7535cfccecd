"""The organization and its settings: `show` and `set`."""

from __future__ import annotations

from typing import Any

import click

from perdure.cli import output
from perdure.cli.options import Group, Where, anywhere
from perdure.cli.setting_options import assigned_settings
from perdure.cli.targets.choice import no_elsewhere, target


@click.group(
    cls=Group,
    examples=["perdure organization show", "perdure organization set concurrencyLimit=100"],
)
def organization() -> None:
    """Show and change the settings of an organization."""


@organization.command(examples=["perdure organization show", "perdure organization show --json"])
@anywhere
def show(where: Where, *, as_json: bool) -> None:
    """Show the organization and its settings."""
    no_elsewhere(where)
    _tell(target(where).organization({}), as_json=as_json)


@organization.command(
    "set",
    examples=["perdure organization set concurrencyLimit=100", "perdure organization set quotas.events=50000 --json"],
)
@click.argument("assigned", metavar="NAME=VALUE...", nargs=-1, required=True)
@anywhere
def set_(assigned: tuple[str, ...], where: Where, *, as_json: bool) -> None:
    """Change settings, which hold at once; null takes one back. Over HTTP that takes a key with the scope operator."""
    no_elsewhere(where)
    _tell(target(where).organization(assigned_settings(assigned, "NAME=VALUE")), as_json=as_json)


def _tell(shown: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        output.document(shown)
        return
    settings = dict(shown["settings"])
    quotas = {f"quotas.{name}": value for name, value in settings.pop("quotas").items()}
    named = {"organization": f"{shown['name']} ({shown['id']})", "plan": shown["plan"]}
    output.facts({**named, **settings, **quotas})
