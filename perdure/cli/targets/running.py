"""A run in a database that no server holds, carried out here: steps are called and timers fire until it is over.

While it lasts this process is the server of the database, without its HTTP API: what else is due in it goes on too, as
it would if a server were started. What is left goes on with the next one.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from perdure.api import logging
from perdure.api.actor import terminal_actor
from perdure.cli.options import DatabaseScope
from perdure.cli.runner import CommandNotRun, run
from perdure.cli.targets.database import RunOrder
from perdure.cli.targets.reader import View, find_for, open_database, reader
from perdure.cli.targets.stored_runs import pages, tell_all
from perdure.engine.core import ids
from perdure.engine.core.evolve import evolve
from perdure.engine.core.state import State, initial_state
from perdure.engine.embedded import Engine
from perdure.engine.steps import Registry, load_registry

Tell = Callable[[dict[str, Any]], None]


def carried_out(
    scope: DatabaseScope, steps: str | None, order: RunOrder, tell: Tell, started: Callable[[str], None]
) -> None:
    """Start a run and carry it out until it has ended, or only somebody outside can go on with it.

    `started` is told its id, `tell` its events. Raises `CommandFailed`, `CommandNotRun`.
    """
    try:
        registry = Registry() if not steps else load_registry(steps)
    except ValueError as error:
        raise CommandNotRun(f"steps: {error}") from None
    logging.configure("console", sys.stderr)
    run(_carried_out(scope, registry, order, tell, started))


async def _carried_out(
    scope: DatabaseScope, registry: Registry, order: RunOrder, tell: Tell, started: Callable[[str], None]
) -> None:
    async with reader(scope.database):  # what is not there is not made in passing
        pass
    async with Engine.open(await open_database(scope.database, read_only=False), steps=registry) as engine:
        caller = await find_for(engine, scope, terminal_actor(), is_made=False)
        execution_id = str((await order.start(engine, caller))["execution_id"])
        started(execution_id)
        await _followed(View(engine.store, caller), ids.parse(execution_id), tell)


async def _followed(seen: View, execution_id: bytes, tell: Tell) -> None:
    """Tell the events of a run until it has ended, or stands still."""
    state = initial_state()
    async for some in pages(seen, execution_id, follow=True):
        await tell_all(seen, some, tell)
        for recorded in await seen.reading.events(execution_id, after=state.seq):
            if recorded.seq <= some[-1].row.seq:
                state = evolve(state, recorded)
        if stands_still(state):
            return


def stands_still(state: State) -> bool:
    """Whether only somebody outside can go on with a run: who resumes or unpauses it. Nobody can while we hold it."""
    return state.pause is not None or (bool(state.waits) and not state.active and not state.delayed)
