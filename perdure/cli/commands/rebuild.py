"""`perdure rebuild`."""

from __future__ import annotations

import click

from perdure.cli import output
from perdure.cli.options import ExampledCommand, as_json, database
from perdure.cli.runner import CommandFailed, run
from perdure.cli.targets.reader import open_database, reader
from perdure.engine.audit.rebuild import CannotRebuild, Rebuilt
from perdure.engine.audit.rebuild import rebuild as make_again


@click.command(
    cls=ExampledCommand,
    examples=["perdure rebuild", "perdure rebuild --json"],
)
@database
@as_json
def rebuild(database: str, *, as_json: bool) -> None:
    """Drop the projections and make them again from the log: executions, waits, timers, schedules and so on.

    Snapshots are dropped, too. All of it is one transaction: a crash leaves the old ones. No server may hold the
    database meanwhile.
    """
    try:
        made = run(_rebuilt(database))
    except CannotRebuild as error:
        raise CommandFailed(str(error)) from None
    if as_json:
        output.document(made._asdict())
    else:
        counts = ", ".join(f"{table.replace('_', ' ')} {count}" for table, count in made._asdict().items())
        output.line(f"made from the log: {counts}")


async def _rebuilt(database: str) -> Rebuilt:
    async with reader(database):  # a database that is not there is not made
        pass
    store = await open_database(database, read_only=False)
    try:
        return await make_again(store)
    finally:
        await store.close()
