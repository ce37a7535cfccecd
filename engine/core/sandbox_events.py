"""Events of runs in a sandbox: what was not done there."""

from __future__ import annotations

from perdure.engine.core.events import Event


class TaskSimulated(Event, frozen=True):
    """The step was not called, as the run is in a sandbox and the step may change something outside.

    What follows records as its result what the version's mock payload says, or an empty success; what it would have
    been called with stands in its `TaskScheduled`.
    """

    state: str
    attempt: int = 0
    scope: str = ""
