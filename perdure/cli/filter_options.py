"""Options by which runs are filtered: one for each filter that there is."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, Final, TypeVar, cast

import click

from perdure.engine.core import ids
from perdure.engine.errors import Invalid
from perdure.engine.services.run_filters import FILTERS, Filter, Given, Sort, cursor, position_of

F = TypeVar("F", bound=Callable[..., Any])

_ELSEWHERE: Final = frozenset({"workflow_id"})
"""Filters that a command takes otherwise: a workflow by its name."""

_METAVARS: Final = {"from": "TIME", "to": "TIME", "process_id_prefix": "TEXT", "error": "NAME", "state": "NAME"}

SORT: Final = click.option(
    "--sort", type=click.Choice(["newest", "oldest"]), default="newest", show_default=True, help="Which come first."
)


def _option(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def run_filters(function: F) -> F:
    """Give a command `filters`, by name as the API has them, and the options that they come from."""

    def command(*args: Any, **more: Any) -> Any:
        given = {each.name: more.pop(f"filter_{each.name}") for each in _shown()}
        filters = {name: ",".join(value) if isinstance(value, tuple) else value for name, value in given.items()}
        return function(*args, filters={name: value for name, value in filters.items() if value}, **more)

    wrapped = cast("F", functools.update_wrapper(command, function))
    for each in reversed(_shown()):
        metavar = _METAVARS.get(each.name, each.name.upper())
        names = (_option(each.name), f"filter_{each.name}")
        click.option(*names, metavar=metavar, multiple=each.is_many, callback=_check, help=_help(each))(wrapped)
    return wrapped


def _shown() -> list[Filter]:
    return [each for each in FILTERS if each.name not in _ELSEWHERE]


def _help(each: Filter) -> str:
    if each.name in {"status", "trigger"}:
        return f"{each.words[:-1]}: {each.accepts}."
    return each.words


def _check(_: click.Context, parameter: click.Parameter, value: Any) -> Any:
    """Refuse what the filter does not accept before anything is asked."""
    each = next(each for each in FILTERS if f"filter_{each.name}" == parameter.name)
    texts = value if each.is_many else () if value is None else (value,)
    for text in ",".join(texts).split(",") if texts and each.is_many else texts:
        try:
            each.read(text)
        except (ValueError, OverflowError):
            raise click.BadParameter(f"{text!r} is not accepted; it must be {each.accepts}", param=parameter) from None
    return value


def cursor_of(after: str | None, filters: Given, sort: Sort) -> str | None:
    """The cursor of a page that `--after` asks for: what the page before said, or the id of its last run.

    Raises `click.UsageError` for what is neither, or of other filters.
    """
    if after is None:
        return None
    if ids.is_id(after):
        return cursor(filters, sort, ids.parse(after))
    try:
        position_of(after, filters, sort)
    except Invalid as error:
        problem = error.message.replace("what the `meta` of a page has", "what the page before said, or a run's id")
        raise click.UsageError(f"--{problem}") from None
    return after
