"""The events of a pause: an operator, or a quota that is used up, stops an execution for a while.

A paused execution enters nothing and calls nothing. What comes in is recorded as ever, and what follows from that waits
for the unpause (`paused.py` has what each command means meanwhile).
"""

from __future__ import annotations

from typing import Literal, TypeAlias

from perdure.engine.core.events import Event
from perdure.engine.core.refs import Ref

Clocks: TypeAlias = Literal["run", "freeze"]
"""`run`: time limits and Wait states go on while it is paused. `freeze`: they keep what is left of them."""

Quota: TypeAlias = Literal["events", "bytes", "transitions"]
"""The quotas of a run: how many events it has, of how many bytes, and how many states it enters within a minute."""


class ExecutionPaused(Event, frozen=True):
    """Nothing is entered and no step is called from here on. Payload: `reason`.

    `frozen_at`: the instant at which the clocks stand still; null: they go on. `quota` is the one that is used up;
    null: an operator has paused it.
    """

    reason: Ref
    frozen_at: int | None = None
    quota: Quota | None = None


class ExecutionUnpaused(Event, frozen=True):
    """The execution goes on where it stands. Payload: `reason`, if one is given.

    All that stood still is due `shift_ms` later than it was. A quota that was used up is granted once more: the run may
    have events up to seq `events_until`, and `bytes_until` bytes in its log.
    """

    shift_ms: int = 0
    reason: Ref | None = None
    events_until: int = 0
    bytes_until: int = 0
