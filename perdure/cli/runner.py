"""Runs commands, and maps their outcomes to exit statuses: 0, 1 (bad arguments or failure), 2 (usage, or not run)."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterable
from typing import IO, Any, TypeVar

import click

from perdure.cli.output import escape
from perdure.engine.errors import PerdureError
from perdure.store.errors import CommitUnknown, DatabaseInUse, StoreError

T = TypeVar("T")


class CommandFailed(click.ClickException):
    """The arguments are bad, or the operation failed (exit status 1). `more` are lines with details."""

    exit_code = 1

    def __init__(self, message: str, more: Iterable[str] = ()) -> None:
        super().__init__(message)
        self.more = list(more)

    def show(self, file: IO[Any] | None = None) -> None:
        """Say it on stderr; nobody's text can move the cursor."""
        click.echo(f"Error: {escape(self.message)}", file=file, err=True)
        for line in self.more:
            click.echo(f"  {escape(line)}", file=file, err=True)


class NotThere(CommandFailed):
    """The thing that was named does not exist."""


class CommandNotRun(CommandFailed):
    """The command was not run."""

    exit_code = 2


def run(work: Coroutine[Any, Any, T]) -> T:
    """Run to the end; what goes wrong is told in a line or a few, without a traceback."""
    try:
        return asyncio.run(work)
    except PerdureError as error:
        raise CommandFailed(headline(error.message, error.details), problems(error.details)) from None
    except CommitUnknown as error:
        raise CommandFailed(str(error)) from None
    except DatabaseInUse as error:
        raise CommandNotRun(
            f"{error.path} is in use by {error.holder}",
            ["changes go to the server that serves it: --server URL --key KEY"],
        ) from None
    except StoreError as error:
        raise CommandNotRun(str(error)) from None


def headline(message: str, details: Any) -> str:
    """An error's message; where the lines below tell every problem, it does not tell the first of them too."""
    several = _objects(details.get("errors")) if isinstance(details, dict) else []
    return f"{message.partition(':')[0]}: it is not valid" if several else message


def problems(details: Any) -> list[str]:
    """The lines of an error's details that a person needs: problems of a definition, waits to choose from."""
    if not isinstance(details, dict):
        return []
    errors = [f"{each.get('path') or '/'}: {each.get('message')}" for each in _objects(details.get("errors"))]
    waits = [f"--wait-id {each.get('wait_id')} at state {each.get('state')}" for each in _objects(details.get("waits"))]
    return errors + waits


def _objects(value: Any) -> list[dict[str, Any]]:
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []
