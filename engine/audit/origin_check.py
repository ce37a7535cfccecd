"""Checks that a run was made from what its first event says (`perdure verify`).

The origin is compared if it is there: the event that is named has that hash, so the log that was meant is this one.
Of a fork the events that it took over are compared one by one: each is that of the origin, but for ids of waits and
children, which are the fork's own, and tokens, of which it has none.
"""

from __future__ import annotations

from typing import Any, Final

from msgspec.structs import replace

from perdure.engine.core import ids
from perdure.engine.core.chance_events import ExecutionForked
from perdure.engine.core.events import Event, ExecutionStarted, Origin, Recorded, WaitOpened
from perdure.engine.log.codec import EXECUTION
from perdure.engine.log.verification import Break
from perdure.store.protocols import Store
from perdure.store.records import StreamRow

EVENTS_AT_ONCE: Final = 128


async def origin_break(store: Store, stream: StreamRow) -> Break | None:
    """The first difference between an execution and the one that it says it was made from; null if there is none."""
    first = (await store.events_at(stream.stream_id, [1]))[0].row
    started = EXECUTION.read(first).event
    if not isinstance(started, ExecutionStarted) or started.origin is None:
        return None
    origin = started.origin
    origin_id = ids.parse(origin.execution)
    theirs = await store.stream(origin_id)
    if theirs is None:  # it may have been taken away since
        return None
    found = await store.events_at(origin_id, [origin.seq])
    if theirs.organization_id != stream.organization_id or not found:
        return Break(stream.stream_id, 1, f"its origin {origin.execution} has no event {origin.seq}")
    if found[0].row.hash.hex() != origin.hash:
        return Break(stream.stream_id, 1, f"event {origin.seq} of its origin {origin.execution} is another one")
    return await _fork_break(store, stream, origin) if origin.kind == "fork" else None


async def _fork_break(store: Store, stream: StreamRow, origin: Origin) -> Break | None:
    """The first event of a fork that is not the origin's."""
    origin_id, names = ids.parse(origin.execution), dict[str, str]()
    for after in range(0, origin.seq, EVENTS_AT_ONCE):
        seqs = range(after + 1, min(after + EVENTS_AT_ONCE, origin.seq) + 1)
        theirs = EXECUTION.read_all(await store.events_at(origin_id, seqs))
        ours = EXECUTION.read_all(await store.events_at(stream.stream_id, seqs))
        if [each.seq for each in ours] != list(seqs):
            return Break(stream.stream_id, len(ours) + after, f"it has not all {origin.seq} events of its origin")
        for one, other in zip(ours, theirs, strict=True):
            if not _is_copy(one, other, names):
                return Break(stream.stream_id, one.seq, f"it is not event {one.seq} of its origin {origin.execution}")
    own = EXECUTION.read_all(await store.events_at(stream.stream_id, [origin.seq + 1]))
    if not own or not isinstance(own[0].event, ExecutionForked):
        return Break(stream.stream_id, origin.seq + 1, "no event says that the fork goes its own way from here")
    return None


def _is_copy(one: Recorded, other: Recorded, names: dict[str, str]) -> bool:
    """Whether an event is the copy of another one; `names` are ids of the origin, with those of the fork for them."""
    if one.event != _renamed(one.event, other.event, names) or one.caused_by != other.caused_by:
        return False
    if one.payload is None or other.payload is None:  # erased on one side, or there is none: the event says which
        return True
    if one.seq == 1:
        return bool(one.payload["input"] == other.payload["input"])
    return bool(one.payload == other.payload)


def _renamed(one: Event, other: Event, names: dict[str, str]) -> Event:
    """The copy that the other event has, given the ids that the fork has used so far."""
    changed: dict[str, Any] = {}
    if isinstance(other, ExecutionStarted) and isinstance(one, ExecutionStarted):
        own = ("trigger", "parent", "origin")
        return replace(other, **{name: getattr(one, name) for name in own})
    for name in ("wait", "child"):
        known, made = getattr(other, name, None), getattr(one, name, None)
        if known is not None and made is not None and made != known:
            changed[name] = names.setdefault(known, made)
    if isinstance(other, WaitOpened):
        changed["token_sha256"] = None
    return replace(other, **changed) if changed else other
