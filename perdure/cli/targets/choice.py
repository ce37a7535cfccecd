"""The target of a change: over HTTP to a server, or straight into a database that no server holds."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from perdure.cli.options import Where
from perdure.cli.targets.target import Target

if TYPE_CHECKING:
    from perdure.cli.targets.server import Remote


def target(where: Where, steps: str | None = None) -> Target:
    """The server if one is named, else the database. `steps`: a registry of steps, which a server has its own of."""
    if where.server is None:
        from perdure.cli.targets.database import Direct  # noqa: PLC0415 the engine, which a client has no use for

        return Direct(where.scope, steps)
    return server_of(where)


def server_of(where: Where) -> Remote:
    """The server that is named. Raises `click.UsageError` without a key for it."""
    from perdure.cli.targets.server import Remote  # noqa: PLC0415 the client, which who writes directly has no use for

    if where.server is None or not where.key:
        raise click.UsageError("a server wants a key: set PERDURE_KEY, or give --key")
    remote = Remote(where.server, where.key, where.scope)
    click.get_current_context().call_on_close(remote.client.close)
    return remote


def no_elsewhere(where: Where) -> None:
    """A key acts in its own workspace: refuse another one to be named with it. Raises `click.UsageError`."""
    if where.server is not None and (where.scope.organization or where.scope.workspace):
        raise click.UsageError("--organization, --workspace: a key acts in its own; they go with --database")
