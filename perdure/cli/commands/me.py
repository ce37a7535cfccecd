"""`perdure me`: the key that a server is asked with."""

from __future__ import annotations

import click

from perdure.cli import output
from perdure.cli.options import ExampledCommand, Where, as_json, database, server
from perdure.cli.targets.choice import server_of


@click.command(cls=ExampledCommand, examples=["perdure me", "perdure me --json"])
@database
@server
@as_json
def me(database: str, where: Where, *, as_json: bool) -> None:  # noqa: ARG001 `server` is an alternative to it
    """Show the key that a server is asked with: its scopes, its mode, and where it acts."""
    if where.server is None:
        raise click.UsageError("me: a key is of a server: set PERDURE_SERVER, or give --server")
    shown = server_of(where).me()
    if as_json:
        output.document(shown)
    else:
        output.facts({**shown, "scopes": " ".join(shown["scopes"])})
