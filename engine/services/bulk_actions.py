"""Actions of bulk jobs: each is a command that a caller may give for one run, with the same scope."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, NamedTuple

from perdure.engine.errors import Invalid
from perdure.engine.runtime.callers import Caller, IdempotencyKey
from perdure.engine.services.chances import Chances
from perdure.engine.services.idempotency import Answered
from perdure.engine.services.run_filters import Given
from perdure.engine.services.runs import TERMINATION_REASON, Runs
from perdure.engine.shown import shown

PAUSE_REASON: Final = "Paused with others by a bulk job."


class Commanded(NamedTuple):
    """The services that have the commands of which a job gives one to each run."""

    runs: Runs
    chances: Chances


class BulkItem(NamedTuple):
    """One run's turn: who asked, for which run, why, and with what. `key` makes a repetition harmless."""

    caller: Caller
    process_id: str
    reason: str | None
    arguments: Mapping[str, Any]
    filters: Given
    key: IdempotencyKey


class BulkAction(NamedTuple):
    """An action. `statuses` are those of runs that it can do something with: they are meant if no status is asked for.

    `changed` is the answer that says that it did something; any other one, that there was nothing to do.
    """

    name: str
    scope: str
    statuses: tuple[str, ...]
    changed: str
    perform: Callable[[Commanded, BulkItem], Awaitable[Answered]]
    arguments: frozenset[str] = frozenset()


async def _terminate(to: Commanded, item: BulkItem) -> Answered:
    """End the run, with the reason of the job."""
    reason = TERMINATION_REASON if item.reason is None else item.reason
    return await to.runs.terminate(item.caller, item.process_id, reason, idempotency=item.key)


async def _resume(to: Commanded, item: BulkItem) -> Answered:
    """End the run's wait, at the state that the filter names if it does; it is not held for one that opens later."""
    return await to.runs.resume(
        item.caller,
        item.process_id,
        item.arguments.get("payload", {}),
        state=item.filters.get("state"),
        hold_ms=0,
        idempotency=item.key,
    )


async def _pause(to: Commanded, item: BulkItem) -> Answered:
    """Pause the run, with the reason of the job; its clocks go on."""
    reason = PAUSE_REASON if item.reason is None else item.reason
    return await to.runs.pause(item.caller, item.process_id, reason=reason, idempotency=item.key)


async def _unpause(to: Commanded, item: BulkItem) -> Answered:
    """Let the run go on, whoever paused it."""
    return await to.runs.unpause(item.caller, item.process_id, reason=item.reason, idempotency=item.key)


async def _redrive(to: Commanded, item: BulkItem) -> Answered:
    """Let the run go on where it failed, with the reason of the job."""
    return await to.chances.redrive(item.caller, item.process_id, reason=item.reason, idempotency=item.key)


ACTIONS: Final[Mapping[str, BulkAction]] = {
    each.name: each
    for each in (
        BulkAction("terminate", "runs.terminate", ("pending", "running", "waiting"), "terminated", _terminate),
        BulkAction("resume", "runs.resume", ("waiting",), "restarted", _resume, frozenset({"payload"})),
        BulkAction("pause", "runs.terminate", ("pending", "running", "waiting"), "paused", _pause),
        BulkAction("unpause", "runs.terminate", ("pending", "running", "waiting"), "unpaused", _unpause),
        BulkAction("redrive", "workflows.run", ("failed", "timed_out", "terminated"), "redriven", _redrive),
    )
}
"""All actions by name. One that is a command about one run is a row more."""


def action_of(name: str) -> BulkAction:
    """The action of that name. Raises `Invalid`."""
    found = ACTIONS.get(name)
    if found is None:
        message = f"action: {shown(name)} is not accepted; it must be {' or '.join(map(repr, ACTIONS))}"
        raise Invalid(message, {"field": "action"})
    return found
