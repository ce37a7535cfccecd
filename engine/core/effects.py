"""Work to do after the append: never before the events that it rests on are on disk."""

from __future__ import annotations

from typing import Any, TypeAlias

import msgspec


class RunTask(msgspec.Struct, frozen=True):
    """Call a step. `seq` is the `TaskScheduled` that says so.

    Repeated after a crash it carries the same `idempotency_key`, and the same parameters under it.
    """

    scope: str
    state: str
    seq: int
    attempt: int
    visit: int
    resource: str
    parameters: Any
    idempotency_key: str
    wait: str | None = None


class SetTimer(msgspec.Struct, frozen=True):
    """Something of this execution comes due at this instant (ms)."""

    due_at: int


class Continue(msgspec.Struct, frozen=True):
    """The decision stopped at the limit of transitions: send `Advance`."""


class HoldSuspect(msgspec.Struct, frozen=True):
    """A task that may be what takes processes down waits in this scope: send `Redispatch` when it is its turn."""

    scope: str
    state: str


Effect: TypeAlias = RunTask | SetTimer | Continue | HoldSuspect
