"""A batch: the changes of one transaction, and the requests that wait for its commit."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, TypeAlias, TypeVar

import msgspec

from perdure.engine.core import ids
from perdure.engine.core.decision import Decision, Rejection
from perdure.engine.core.organization import KeyRevoked
from perdure.engine.errors import Unauthorized
from perdure.engine.log.codec import decode_json, encode_json
from perdure.engine.runtime.callers import ENDED
from perdure.engine.runtime.processing.requests import CommandRequest
from perdure.engine.runtime.streams.stream import NO_ROWS, HotStream, Rows
from perdure.engine.runtime.telemetry.metrics import RunCounts
from perdure.store.records import (
    Claim,
    Deleted,
    Ending,
    Head,
    IdempotencyRow,
    NewEvent,
    QueueRow,
    Row,
    StreamAppend,
    TimerRow,
)

EVENTS_MAX: Final = 5_000
"""A batch of so many events is full: a larger one would keep everybody waiting for its commit."""

SIZE_MAX: Final = 16 * 1024 * 1024
"""Likewise of so many characters of payloads."""


T = TypeVar("T")
_Some: TypeAlias = list[T] | tuple[()]


class Part(msgspec.Struct, eq=False):
    """The part of a batch that concerns one stream, from one or several decisions. `state` is the one after it.

    Most have few rows: what is empty is no list of its own, which the collector of cycles would look at.
    """

    hot: HotStream
    state: Any = None
    events: list[NewEvent] = []
    claims: _Some[Claim] = ()
    puts: _Some[Row] = ()
    deletes: _Some[Deleted] = ()
    endings: _Some[Ending] = ()

    def append(self) -> StreamAppend:
        """The part as the store takes it, behind what is on disk; the rows that show the whole state are made here."""
        hot = self.hot
        self.state = hot.state
        if hot.head.seq + len(self.events) != hot.state.seq:
            message = f"{hot.text}: {len(self.events)} events behind seq {hot.head.seq} do not lead to {hot.state.seq}"
            raise AssertionError(message)
        if self.events:
            self._show(hot)
        return StreamAppend(
            hot.stream_id,
            hot.kind.name,
            hot.organization_id,
            hot.workspace_id,
            hot.head,
            self.events,
            self.claims,
            self.puts,
            self.deletes,
            self.endings,
            hot.kind.counts(hot.stored, hot.state) if self.events else (),
        )

    def _show(self, hot: HotStream) -> None:
        row = hot.kind.row(hot.state, hot.stream_id, hot.organization_id)
        if row is not None:
            self.puts = _with(self.puts, (row,))
        snapshot = hot.due_snapshot()
        if snapshot is not None:
            self.puts = _with(self.puts, (snapshot,))


class PendingReply(msgspec.Struct, eq=False):
    """A request whose outcome depends on a batch: it is answered, and its effects are run, when that is on disk.

    The outcome is null if it claims what a request of the batch has claimed, and the error if that has revoked its key.
    """

    request: CommandRequest
    hot: HotStream
    outcome: Decision | Rejection | Unauthorized | None


class Batch:
    """The parts of a batch by stream, in the order of their decisions, and the requests that wait for it."""

    def __init__(self) -> None:
        self.parts: dict[bytes, Part] = {}
        self.waiting: list[PendingReply] = []
        self._claimed: dict[tuple[str, bytes, str], HotStream] = {}
        self._revoked: dict[bytes, HotStream] = {}
        self.event_count = 0
        self.has_gone_on = False
        """Whether a run that goes on by itself has had a turn in it."""
        self._size = 0

    def __bool__(self) -> bool:
        return bool(self.waiting)

    @property
    def is_full(self) -> bool:
        """Whether further decisions go into the next batch."""
        return self.event_count >= EVENTS_MAX or self._size >= SIZE_MAX

    def add(self, hot: HotStream, events: Sequence[NewEvent], rows: Rows, claims: Sequence[Claim]) -> None:
        """Add a decision about a stream."""
        part = self.parts.get(hot.stream_id)
        if part is None:
            part = self.parts[hot.stream_id] = Part(hot)
        part.events += events
        self.event_count += len(events)
        self._size += _size_of(events)
        if rows is not NO_ROWS:
            if part.deletes:  # the store does these last; what a decision took away a later one may bring back
                part.deletes = _still_gone(part.deletes, rows.puts)
            part.puts = _with(part.puts, rows.puts)
            part.deletes = _with(part.deletes, rows.deletes)
            part.endings = _with(part.endings, rows.endings)
            part.claims = _with(part.claims, rows.claims)
            if hot.kind.name == "organization":
                self._note_revoked(hot, events)
        if claims:
            part.claims = _with(part.claims, claims)  # after those of places: all take them in one order
        hot.join(self)

    def _note_revoked(self, hot: HotStream, events: Sequence[NewEvent]) -> None:
        """Note the keys that are revoked. It goes last: what was decided under them stands before that in the log."""
        revoked = [decode_json(event.data)["key"] for event in events if event.type == KeyRevoked.__name__]
        if revoked:
            self._revoked.update(dict.fromkeys(map(ids.parse, revoked), hot))
            self.parts[hot.stream_id] = self.parts.pop(hot.stream_id)

    def claim(self, request: CommandRequest, hot: HotStream, answer: object, now: int) -> list[Claim]:
        """Record the claims of a request about a stream, for the requests after it; returns their rows.

        A stored answer is JSON.
        """
        claims: list[Claim] = []
        if request.process_id is not None:
            claims.append(request.process_id)
        for claim in request.remembered:
            whose = claim.organization_id or request.organization_id
            kept = encode_json(answer).decode()
            claims.append(
                IdempotencyRow(
                    *(whose, claim.workspace_id, claim.key, request.stream_id),
                    *(claim.salt, claim.request_digest, kept, now),
                )
            )
        self._claimed.update(dict.fromkeys(request.claim_keys(), hot))
        return claims

    def defer(self, request: CommandRequest) -> bool:
        """Defer a request if one in this batch has the same claim, or revokes its key; returns whether there is one."""
        if self._revoked and request.grant is not None and (hot := self._revoked.get(request.grant.key_id)) is not None:
            self.waiting.append(PendingReply(request, hot, Unauthorized(ENDED)))
            return True
        if not request.claims:
            return False
        hot = next((self._claimed[key] for key in request.claim_keys() if key in self._claimed), None)
        if hot is None:
            return False
        self.waiting.append(PendingReply(request, hot, None))
        return True

    def hand_over(self) -> list[StreamAppend]:
        """The batch as the store takes it. Called once, when no more decisions are added."""
        return [part.append() for part in self.parts.values()]

    def settle(self, heads: Mapping[bytes, Head], runs: RunCounts) -> None:
        """Mark the batch as committed: its streams' heads move, and streams without a later batch are in none."""
        for stream_id, part in self.parts.items():
            hot = part.hot
            if part.events:
                if hot.kind.name == "execution":
                    runs.moved(hot.stored, part.state)
                hot.commit(heads[stream_id], part.state)
            hot.leave(self)

    def remove(self, stream_ids: Iterable[bytes]) -> list[CommandRequest]:
        """Remove streams; returns the requests that must be decided again."""
        gone = frozenset(stream_ids)
        for stream_id in gone:
            part = self.parts.pop(stream_id, None)
            if part is not None:
                self.event_count -= len(part.events)
                self._size -= _size_of(part.events)
        again = [item.request for item in self.waiting if item.hot.stream_id in gone]
        self.waiting = [item for item in self.waiting if item.hot.stream_id not in gone]
        self._claimed = {key: hot for key, hot in self._claimed.items() if hot.stream_id not in gone}
        self._revoked = {key: hot for key, hot in self._revoked.items() if hot.stream_id not in gone}
        return again


def _with(rows: _Some[T], more: Sequence[T]) -> _Some[T]:
    """The rows and these, in one list; what was a list grows, so that many decisions of one stream take linear time."""
    if not more:
        return rows
    if not rows:
        return list(more)
    rows += more
    return rows


def _still_gone(deletes: Sequence[Deleted], puts: Sequence[Row]) -> list[Deleted]:
    """The rows of one stream that stay away: an unpause may bring a timer back, a redrive a place in line.

    A run stands in one line at a time, and its row there is one row, whatever it says.
    """
    timers = {row for row in puts if type(row) is TimerRow}
    is_in_line = any(type(row) is QueueRow for row in puts)
    return [row for row in deletes if row not in timers and not (is_in_line and type(row) is QueueRow)]


def _size_of(events: Iterable[NewEvent]) -> int:
    size = 0
    for event in events:
        if event.payload is not None:
            size += len(event.payload)
    return size
