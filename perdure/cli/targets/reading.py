"""Targets of reads: a server over HTTP, or its database beside it."""

from __future__ import annotations

import click

from perdure.cli.options import Where
from perdure.cli.targets.run_reader import RunReader


def runs_of(where: Where) -> RunReader:
    """What the server has if one is named, else the database."""
    if where.server is None:
        from perdure.cli.targets.stored_runs import StoredRuns  # noqa: PLC0415 the store, which a client has no use for

        return StoredRuns(where.scope)
    from perdure.cli.targets.served_runs import ServedRuns  # noqa: PLC0415 the client, which who reads the file has no use for

    if where.scope.organization or where.scope.workspace:
        raise click.UsageError("--organization, --workspace: a key sees its own; they go with --database")
    if not where.key:
        raise click.UsageError("a server wants a key: set PERDURE_KEY, or give --key")
    runs = ServedRuns(where.server, where.key, where.scope)
    click.get_current_context().call_on_close(runs.client.close)
    return runs
