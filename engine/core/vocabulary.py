"""All event types of an execution, whatever module they stand in.

`events` has those of its states, and its ends; `chance_events` those of second chances; `limit_events` those of places
and time limits; `pause_events` those of a pause; `sandbox_events` those of runs in a sandbox. Whatever must have an
answer to each event is checked for all of them when it is imported (`dispatch.py`).
"""

from __future__ import annotations

from types import ModuleType
from typing import Final

from perdure.engine.core import chance_events, events, limit_events, pause_events, sandbox_events
from perdure.engine.core.events import Event


def _of(module: ModuleType) -> tuple[type[Event], ...]:
    """The event types that a module defines, in the order in which they stand there."""
    found = (each for each in vars(module).values() if isinstance(each, type) and issubclass(each, Event))
    return tuple(each for each in found if each.__module__ == module.__name__ and each is not Event)


EXECUTION_EVENTS: Final[tuple[type[Event], ...]] = (
    *_of(events),
    *_of(chance_events),
    *_of(limit_events),
    *_of(pause_events),
    *_of(sandbox_events),
)
