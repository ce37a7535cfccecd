"""The command `perdure`. What is heavy is imported by the command that needs it, so that `--help` is quick."""

from __future__ import annotations

import os
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

import click

if TYPE_CHECKING:
    from api.settings import Settings
    from engine.audit import AuditReport
    from engine.steps import Registry

T = TypeVar("T")

DATABASE = "Where the log is: sqlite:///PATH.  [default: sqlite:///perdure.db]"


class Refused(click.ClickException):
    """The command was not run; the message says why. Exit status 2."""

    exit_code = 2


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="perdure")
def main() -> None:
    """Perdure: a durable state-machine engine.

    Each option can be given in the environment too: --database as PERDURE_DATABASE.
    """


@main.command()
@click.option("--host", help="The address to listen on.  [default: 127.0.0.1]")
@click.option("--port", help="The port to listen on; 0 takes a free one.  [default: 8080]")
@click.option("--database", metavar="URL", help=DATABASE)
@click.option("--steps", metavar="MODULE:REGISTRY", help="The registry of your own steps.")
@click.option("--log-format", metavar="json|console", help="The form of the log on stdout.  [default: json]")
@click.option("--body-max-bytes", metavar="BYTES", help="The longest body of a request.  [default: 1048576]")
@click.option(
    "--allow-private-addresses/--no-allow-private-addresses",
    default=None,
    help="Let http_request call private and local addresses.",
)
def serve(**flags: Any) -> None:
    """Serve the engine and its HTTP API.

    An empty database gets its first key from PERDURE_BOOTSTRAP_KEY; without it one is made and shown once.
    """
    settings = _settings(flags)
    from api import logging, server

    logging.configure(settings.log_format)
    steps = _steps(settings)
    server.leave(_run(server.serve(settings, steps)))


@main.command()
@click.option("--database", metavar="URL", help=DATABASE)
def verify(database: str | None) -> None:
    """Verify every chain of the log; also beside a running server.

    Exit status 1 if one does not hold: each is named with the first event that does not fit.
    """
    settings = _settings({"database": database})
    report, named = _run(_verified(settings.database))
    for line in named:
        click.echo(line)
    if named:
        raise click.ClickException(f"{len(named)} of {report.streams} streams do not hold")
    click.echo(f"{report.events} events in {report.streams} streams: every chain holds")


async def _verified(database: str) -> tuple[AuditReport, list[str]]:
    from engine.audit import verify as audit
    from engine.core import ids
    from engine.opening import open_store

    store = await open_store(database, read_only=True)
    try:
        report = await audit(store)
        named = []
        for broken in report.breaks:
            stream = await store.stream(broken.stream_id)
            kind = "stream" if stream is None else stream.kind
            named.append(f"{kind} {ids.text(broken.stream_id)}, seq {broken.seq}: {broken.reason}")
    finally:
        await store.close()
    return report, named


def _settings(flags: dict[str, Any]) -> Settings:
    from api.settings import SettingError, load

    try:
        return load(flags, os.environ)
    except SettingError as error:
        raise Refused(str(error)) from None


def _steps(settings: Settings) -> Registry | None:
    from engine.steps import load_registry

    if settings.steps is None:
        return None
    try:
        return load_registry(settings.steps)
    except ValueError as error:
        raise Refused(f"steps: {error}") from None


def _run(work: Coroutine[Any, Any, T]) -> T:
    """Run to the end; what was refused is told in one line, without a traceback."""
    import asyncio

    from api.server import CannotListen
    from engine.errors import Invalid
    from store.errors import StoreError

    try:
        # Not `asyncio.run`: on its way out it waits for threads, and one of them may be stuck for ever.
        return asyncio.Runner().run(work)
    except (CannotListen, Invalid, StoreError) as error:
        _refuse(error)


def _refuse(error: Exception) -> NoReturn:
    raise Refused(str(error)) from None


if __name__ == "__main__":
    main()
