"""Events as they stand in the log, without a store."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from perdure.engine.core.events import Recorded
from perdure.engine.log.codec import new_events
from perdure.store.chain import seal
from perdure.store.records import NO_HASH, EventRow, Head


def chained(
    organization_id: bytes,
    stream_id: bytes,
    events: Sequence[Recorded],
    random: Callable[[int], bytes],
    previous: bytes = NO_HASH,
) -> list[EventRow]:
    """Write events that follow one another behind the one with the hash `previous`."""
    if not events:
        return []
    rows = seal(organization_id, stream_id, Head(events[0].seq - 1, previous, 0), new_events(events, random))
    assert [row.seq for row in rows] == [recorded.seq for recorded in events]
    return rows
