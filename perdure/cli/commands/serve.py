"""`perdure serve`."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Coroutine
from typing import Any

import click

from perdure.api import logging, server
from perdure.api.settings import SettingError, Settings, load, unknown
from perdure.cli.options import ExampledCommand
from perdure.cli.runner import CommandNotRun
from perdure.engine.errors import Invalid
from perdure.engine.steps import Registry, load_registry
from perdure.store.errors import StoreError


@click.command(
    cls=ExampledCommand,
    examples=[
        "perdure serve --database sqlite:///runs.db",
        "PERDURE_BOOTSTRAP_KEY=a-long-secret-of-yours perdure serve --log-format console",
    ],
)
@click.option("--host", help="The address to listen on.  [default: 127.0.0.1]")
@click.option("--port", help="The port to listen on; 0 takes a free one.  [default: 8080]")
@click.option("--database", metavar="URL", help="Where the log is: sqlite:///PATH.  [default: sqlite:///perdure.db]")
@click.option("--steps", metavar="MODULE:REGISTRY", help="The registry of your own steps.")
@click.option("--writer", metavar="process|thread", help="Where commits are made.  [default: process]")
@click.option("--log-format", metavar="json|console", help="The form of the log on stdout.  [default: json]")
@click.option("--metrics", metavar="key|open", help="Who may read /metrics.  [default: key, of an operator]")
@click.option("--body-max-bytes", metavar="BYTES", help="The longest body of a request.  [default: 1048576]")
@click.option("--payload-max-bytes", metavar="BYTES", help="The largest value of a run.  [default: 1048576]")
@click.option("--connections-max", metavar="N", help="How many connections are open at once.  [default: 1000]")
@click.option("--receive-timeout-s", metavar="S", help="How long a head or body may take.  [default: 20]")
@click.option("--run-events-max", metavar="N", help="A run with so many events is paused.  [default: 1000000]")
@click.option("--run-bytes-max", metavar="N", help="A run with events of so many bytes is paused.  [default: 1 GiB]")
@click.option("--run-transitions-per-s-max", metavar="N", help="A run that is faster is paused.  [default: 2000]")
@click.option("--workflow-open-runs-max", metavar="N", help="So many runs of one are open.  [default: 100000]")
@click.option("--run-payloads-max-bytes", metavar="N", help="Bytes of payloads that a run holds.  [default: 64 MiB]")
@click.option("--transitions-max", metavar="N", help="So many states a run passes in a row.  [default: 256]")
@click.option("--child-depth-max", metavar="N", help="How deep children are nested.  [default: 25]")
@click.option("--steps-max", metavar="N", help="How many async steps run at once.  [default: 1000]")
@click.option("--step-threads", metavar="N", help="How many plain steps, each in a thread.  [default: 32]")
@click.option("--resume-sources", metavar="NAMES", help="Who may be a resume's source.  [default: SAP,TEAMS]")
@click.option(
    "--commit-stall-ms", metavar="MS", help="How long a commit may take before readiness tells.  [default: 5000]"
)
@click.option(
    "--allow-private-addresses/--no-allow-private-addresses",
    default=None,
    help="Let http_request call private and local addresses.",
)
def serve(**flags: Any) -> None:
    """Serve the engine and its HTTP API.

    An empty database gets its first key from PERDURE_BOOTSTRAP_KEY; without it one is made and shown once. Each option
    can be given in the environment too: --log-format as PERDURE_LOG_FORMAT.
    """
    settings = _settings(flags)
    for strange in unknown(os.environ):
        server.say(f"perdure: {strange}")
    logging.configure(settings.log_format)
    server.leave(_run(server.serve(settings, _steps(settings))))


def _settings(flags: dict[str, Any]) -> Settings:
    try:
        return load(flags, os.environ)
    except SettingError as error:
        raise CommandNotRun(str(error)) from None


def _steps(settings: Settings) -> Registry | None:
    if settings.steps is None:
        return None
    try:
        return load_registry(settings.steps)
    except ValueError as error:
        raise CommandNotRun(f"steps: {error}") from None


def _run(work: Coroutine[Any, Any, int]) -> int:
    """Run to the end; what was refused is told in one line, without a traceback."""
    try:
        # Not `asyncio.run`: on its way out it waits for threads, and one of them may be stuck for ever.
        return asyncio.Runner().run(work)
    except (server.CannotListen, Invalid, StoreError) as error:
        raise CommandNotRun(str(error)) from None
