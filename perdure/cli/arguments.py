"""Arguments of commands: JSON in an argument or a file, read as strictly as the HTTP API reads it."""

from __future__ import annotations

import codecs
import sys
from pathlib import Path
from typing import Any

import click

from perdure.engine.core import ids
from perdure.engine.errors import Invalid


def id_option(_: click.Context, parameter: click.Parameter, value: str | None) -> str | None:
    """The callback of an option that is an id: its text as ids are shown."""
    try:
        return None if value is None else ids.text(ids.parse(value))
    except ValueError as error:
        raise click.BadParameter(str(error), param=parameter) from None


def read_file(path: str, name: str) -> bytes:
    """The bytes of a file, or of stdin if it is `-`. Raises `click.UsageError`."""
    try:
        raw = sys.stdin.buffer.read() if path == "-" else Path(path).read_bytes()
    except OSError as error:
        raise click.UsageError(f"{name}: {path} cannot be read: {error.strerror}") from None
    return raw.removeprefix(codecs.BOM_UTF8)  # which editors write, and JSON has not


def read_json(given: str, name: str) -> Any:
    """The value of `JSON`, `@FILE`, or `@-` for stdin. Raises `click.UsageError`."""
    raw = read_file(given[1:], name) if given.startswith("@") else given.encode("utf-8", "surrogateescape")
    return parse_json(raw, name)


def parse_json(raw: bytes, name: str) -> Any:
    """The value of JSON text. Raises `click.UsageError`."""
    from perdure.api.http.json_body import parse  # noqa: PLC0415 with it comes all of the HTTP side

    try:
        return parse(raw)
    except Invalid as error:
        raise click.UsageError(f"{name}: {error.message.replace('the body', 'it')}") from None


def read_object(given: str | None, name: str) -> dict[str, Any]:
    """A JSON object; without one an empty one. Raises `click.UsageError`."""
    value = {} if given is None else read_json(given, name)
    if not isinstance(value, dict):
        raise click.UsageError(f"{name}: it must be a JSON object, such as '{{\"amount\": 120}}'")
    return value
