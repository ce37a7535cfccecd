"""The events of limits: places that a run is given and gives back, and the time limit of its workflow's settings."""

from __future__ import annotations

from perdure.engine.core.events import Event


class ExecutionAdmitted(Event, frozen=True):
    """The run has a place in each of its limits, in the order in which `ExecutionStarted` names them, and goes on.

    Its time limits run from here: `due_at` is that of the machine, `limit_at` that of the workflow's settings.
    """

    places: tuple[int, ...]
    due_at: int | None = None
    limit_at: int | None = None


class PlacesReturned(Event, frozen=True):
    """The run only waits for somebody outside, and lets others have its places until then."""


class ExecutionQueued(Event, frozen=True):
    """The run could go on, but has no places any more: it queues for them again.

    Its time limits stand still; `left_ms` and `limit_left_ms` are what is left of them.
    """

    left_ms: int | None = None
    limit_left_ms: int | None = None


class RetryDue(Event, frozen=True):
    """The delay before another attempt is over, but the run may not go on yet: the state is tried again when it may."""

    state: str
    scope: str = ""


class TimeoutDeferred(Event, frozen=True):
    """The time limit of the workflow's settings has passed while a step that has its own limit is under way.

    The run times out when that step is over.
    """
