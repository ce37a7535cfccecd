"""Output of commands: JSON, tables and lines on stdout, messages on stderr.

Other people's text comes through here on its way to a terminal, which would obey the control characters in it: all that
is not printable is escaped, in JSON too.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import click

from perdure.api.http.instants import iso

CELL_MAX: Final = 80
"""So many characters of a value stand in a table."""

_STYLES: Final = {
    "completed": "green",
    "ok": "green",
    "published": "green",
    "waiting": "yellow",
    "warn": "yellow",
    "draft": "yellow",
    "failed": "red",
    "fail": "red",
    "terminated": "magenta",
    "running": "cyan",
}


def escape(text: str) -> str:
    """A text in which everything that is not printable is spelled out."""
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in text)


def say(text: str) -> None:
    """A line for the person at the terminal."""
    click.echo(escape(text), err=True)


def line(text: str) -> None:
    """A line of data."""
    click.echo(escape(text))


def document(value: Any) -> None:
    """One JSON document."""
    click.echo(json.dumps(value, indent=2))


def answer(value: Mapping[str, Any], said: str, *, as_json: bool) -> None:
    """Print the answer of a change: all of it as JSON, or the one value that the next command needs."""
    if as_json:
        document(value)
    else:
        line(said)


def drawing(mermaid: str, *, as_json: bool) -> None:
    """A drawing; whoever drew it has escaped what stands in it."""
    if as_json:
        document({"mermaid": mermaid})
    else:
        click.echo(mermaid.rstrip("\n"))


def json_line(value: Any) -> None:
    """One JSON document on a line of its own."""
    click.echo(json.dumps(value, separators=(",", ":")))


def compact(value: Any, at_most: int = CELL_MAX) -> str:
    """A JSON value as a table shows it; what is longer is cut."""
    text = escape(json.dumps(value, ensure_ascii=False, separators=(",", ":")))
    return text if len(text) <= at_most else f"{text[: at_most - 1]}…"


def instant(ms: int | None) -> str | None:
    """Milliseconds since the epoch as ISO 8601 in UTC."""
    return iso(ms)


def readable(at: str | int | None) -> str:
    """An instant as people read it; nothing for none."""
    text = at if isinstance(at, str) else instant(at)
    return "" if text is None else text.replace("T", " ").replace("Z", " UTC")


def table(headers: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """A table, its columns as wide as they must be: an id that is cut in two is of no use."""
    from rich.console import Console  # noqa: PLC0415 it takes as long as all else of a quick command
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    shown = Table(box=None, pad_edge=False, header_style="bold")
    for header in headers:
        shown.add_column(header, no_wrap=True)
    for row in rows:
        cells = [escape("" if value is None else str(value)) for value in row]
        shown.add_row(*(Text(cell, style=_STYLES.get(cell, "")) for cell in cells))
    Console(file=sys.stdout, width=10_000, highlight=False, markup=False, emoji=False).print(shown)


def facts(pairs: Mapping[str, Any]) -> None:
    """Names and values, a line each; those without a value are left out."""
    width = max(map(len, pairs), default=0)
    for name, value in pairs.items():
        if value is not None and value != "":
            line(f"{name:<{width}}  {value}")
