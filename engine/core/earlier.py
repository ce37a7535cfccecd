"""Earlier versions of events, as they were released, and how each becomes the version that came after it.

An event's version is one more than the number of those before it, so it stands in no other place. What is read from a
log is brought up to the version of today before anything else sees it; the log itself stays as it was written, and is
verified so. A struct here is as frozen as the bytes that it reads: an unknown member is refused in it, too.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

from engine.core.events import Event


class Earlier(NamedTuple):
    """One version of an event: its form, and `upcast(event, recorded_at)`, which makes the next version of it."""

    form: type[Event]
    upcast: Callable[[Any, int], Event]


EARLIER: Final[Mapping[str, tuple[Earlier, ...]]] = {}
"""By the event's name, the versions before the one of today, from version 1 on."""
