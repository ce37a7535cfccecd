"""Targets of reads: a server over HTTP, or its database beside it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import click

from perdure.api.cli.options import Where


class RunReader(Protocol):
    """Reads runs and gives JSON values, the same for each target. Raises `CommandFailed`, `CommandNotRun`."""

    def shown(self, run_id: str) -> dict[str, Any]:
        """A run with its values, its steps and its open waits, by process id or execution id."""
        ...

    def drawn(self, run_id: str) -> str:
        """The drawing of its definition, with the way that it took."""
        ...

    def history(self, workflow: str | None, limit: int, after: str | None) -> dict[str, Any]:
        """A page of runs, newest first: `items`, and `after`, which asks for the next one."""
        ...

    def events(self, run_id: str, tell: Callable[[dict[str, Any]], None], *, follow: bool) -> None:
        """Tell a run's events, in order; to follow it goes on with those that are added until the run has ended."""
        ...


def runs_of(where: Where) -> RunReader:
    """The runs of the server if one is named, else of the database."""
    if where.server is None:
        from perdure.api.cli.targets.stored_runs import StoredRuns  # noqa: PLC0415 the store, which a client has no use for

        return StoredRuns(where.scope)
    from perdure.api.cli.targets.served_runs import ServedRuns  # noqa: PLC0415 the client, which who reads the file has no use for

    if where.scope.organization or where.scope.workspace:
        raise click.UsageError("--organization, --workspace: a key sees its own; they go with --database")
    if not where.key:
        raise click.UsageError("a server wants a key: set PERDURE_KEY, or give --key")
    runs = ServedRuns(where.server, where.key, where.scope)
    click.get_current_context().call_on_close(runs.client.close)
    return runs
