"""The options that say the settings of a workflow: `--resume`, and `--set NAME=VALUE` for any of them."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from typing import Any, Final, TypeVar, cast

import click

F = TypeVar("F", bound=Callable[..., Any])

_RESUME: Final = click.option(
    "--resume", type=click.Choice(["any", "named"]), help="Whether a resume may name no wait, or must name one."
)
_SET: Final = click.option(
    "--set",
    "assigned",
    metavar="NAME=VALUE",
    multiple=True,
    help="A setting of its runs, such as concurrencyLimit=1 or quotas.events=5000; null takes it back. Repeatable.",
)


def run_settings(function: F) -> F:
    """Give a command `settings`, those that are said, as the API names them."""

    def command(*args: Any, resume: str | None, assigned: tuple[str, ...], **more: Any) -> Any:
        settings: dict[str, Any] = {} if resume is None else {"resume": resume}
        settings |= assigned_settings(assigned, "--set")
        return function(*args, settings=settings, **more)

    wrapped = cast("F", functools.update_wrapper(command, function))
    return _RESUME(_SET(wrapped))


def assigned_settings(assigned: tuple[str, ...], what: str) -> dict[str, Any]:
    """Settings from texts `NAME=VALUE`, or `NAME.MEMBER=VALUE`; `what` is what the command calls them."""
    settings: dict[str, Any] = {}
    for each in assigned:
        name, equals, text = each.partition("=")
        if not (name and equals):
            raise click.UsageError(f"{what}: {each!r} is not NAME=VALUE, such as concurrencyLimit=1")
        outer, dot, member = name.partition(".")
        if not dot:
            settings[name] = _value(text)
            continue
        members = settings.setdefault(outer, {})
        if not isinstance(members, dict):
            raise click.UsageError(f"{what}: {outer} is set as a whole and by {name!r}: say one of them")
        members[member] = _value(text)
    return settings


def _value(text: str) -> Any:
    """A number or null as JSON has it; anything else is the text itself."""
    try:
        value = json.loads(text)
    except ValueError:
        return text
    return value if value is None or isinstance(value, int | float) else text
