"""Hot streams: the states of what is under way, bounded in number. What only waits is rows on disk and nothing else."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from perdure.engine.core import ids
from perdure.engine.core.draft import DraftedEvent
from perdure.engine.runtime.streams.letting_go import let_go
from perdure.store.records import NEW_STREAM, Head, NewEvent

if TYPE_CHECKING:
    from perdure.engine.runtime.processing.batch import Batch
    from perdure.engine.runtime.streams.stream_types import StreamType


WIDE: Final = 64
"""A stream's state is wide that has more places of control."""

RESTING_MAX: Final = 16
"""So many wide streams that only wait stay in memory."""

SNAPSHOT_WIDTH_MAX: Final = 8192
"""The snapshot of a state so wide has some 3 MB of JSON, and holds up others for 30 ms."""

PAYLOADS_AT_EASE: Final = 8
"""With no more payloads than this a stream is not looked through for those that could go."""

BYTES_AT_EASE: Final = 4 * 1024 * 1024
"""Likewise with no more bytes of them than this."""


class HotStream:
    """A stream in memory: its state as decided, which may be ahead of the disk by the batches in flight.

    `head` is where the stream ends on disk, and `stored` the state there. `batch` is the last batch, not yet committed,
    that an event of it is in; `pins` keep it in memory. Once the head has come to seq `snapshot_due`, the next commit
    brings a snapshot of what is stored. `payload_sizes` has the bytes of JSON text of the payloads that are live, also
    of those that are not loaded, and maybe of some others; `payload_bytes` is their sum.
    """

    __slots__ = (
        "batch",
        "head",
        "kind",
        "machine",
        "organization_id",
        "payload_bytes",
        "payload_sizes",
        "payloads",
        "pins",
        "prune_above",
        "prune_above_bytes",
        "shown",
        "snapshot_due",
        "state",
        "stored",
        "stream_id",
        "text",
        "workspace_id",
    )

    def __init__(self, kind: StreamType, stream_id: bytes, organization_id: bytes, workspace_id: bytes | None) -> None:
        self.kind = kind
        self.stream_id = stream_id
        self.text = ids.text(stream_id)
        self.organization_id = organization_id
        self.workspace_id = workspace_id
        self.head: Head = NEW_STREAM
        self.state: Any = kind.initial()
        self.stored: Any = self.state
        self.payloads: dict[int, Any] = {}
        self.payload_sizes: dict[int, int] = {}
        self.payload_bytes = 0
        self.machine: Any = None  # a `Machine`, of an execution
        self.batch: Batch | None = None
        self.pins = 0
        self.prune_above = PAYLOADS_AT_EASE
        self.prune_above_bytes = BYTES_AT_EASE
        self.shown: dict[str, str] | None = None  # in the log (`bound.described`), once it is known
        self.snapshot_due = kind.snapshot_due

    @property
    def is_worth_a_snapshot(self) -> bool:
        """Whether to read the stream back from a snapshot of what is on disk is better than from its events.

        A very wide one is not: it is made and read in one go, while a fold gives way to others.
        """
        return self.kind.width(self.stored) <= SNAPSHOT_WIDTH_MAX

    def move(self, steps: Sequence[DraftedEvent], events: Sequence[NewEvent]) -> None:
        """Move on by the events of a decision, which the store is about to have. After an error it has not moved."""
        state = steps[-1].state
        for step, event in zip(steps, events, strict=True):
            if event.payload is not None:
                seq = step.recorded.seq
                self.payloads[seq] = step.recorded.payload
                self.payload_sizes[seq] = size = bytes_of(event.payload)
                self.payload_bytes += size
        if len(self.payloads) > self.prune_above or self.payload_bytes > self.prune_above_bytes:
            self.prune(state)
        self.state = state

    def prune(self, state: Any) -> None:
        """Let go of payloads that no later decision looks at.

        It is done when twice as many have come together as are needed, and more than there are places to look for what
        is needed: so it costs little for each payload, however wide a Map is. Likewise of their bytes.
        """
        live = self.kind.live_seqs(state)
        if live is not None:
            self.payloads = {seq: value for seq, value in self.payloads.items() if seq in live}
            self.payload_sizes = {seq: size for seq, size in self.payload_sizes.items() if seq in live}
            self.payload_bytes = sum(self.payload_sizes.values())
            self.prune_above = max(PAYLOADS_AT_EASE, 2 * len(self.payloads), self.kind.width(state))
            self.prune_above_bytes = max(BYTES_AT_EASE, 2 * self.payload_bytes)


def bytes_of(text: str) -> int:
    """How many bytes a text has in the log."""
    return len(text) if text.isascii() else len(text.encode())


class HotStreams:
    """The hot streams by id; the least recently used go first, but never one with something in flight."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._streams: OrderedDict[bytes, HotStream] = OrderedDict()
        self._resting: OrderedDict[bytes, None] = OrderedDict()
        self._refusals: OrderedDict[bytes, int] = OrderedDict()

    def __len__(self) -> int:
        return len(self._streams)

    def get(self, stream_id: bytes) -> HotStream | None:
        hot = self._streams.get(stream_id)
        if hot is not None:
            self._streams.move_to_end(stream_id)
        return hot

    def workflow_of(self, stream_id: bytes) -> str:
        """Which workflow an execution is of; an empty text if that is not known, or for another stream."""
        hot = self._streams.get(stream_id)
        return "" if hot is None else getattr(hot.state, "workflow", "")

    def will_tell_end(self, stream_id: bytes) -> bool:
        """Whether a commit is still to tell of an execution's end: it is in memory, and its end is not on disk.

        In memory alone says nothing: what asks about an execution that has ended brings it there too.
        """
        hot = self._streams.get(stream_id)
        return hot is not None and not hot.stored.is_over

    def add(self, hot: HotStream) -> None:
        self._streams[hot.stream_id] = hot
        if len(self._streams) > self._limit:
            self._evict()

    def drop(self, stream_id: bytes) -> None:
        hot = self._streams.pop(stream_id, None)
        if hot is not None:
            let_go(hot.state)
        self._resting.pop(stream_id, None)

    def forget(self, hot: HotStream) -> None:
        """Let go of a stream, unless something of it is in flight: it is read again when it is needed."""
        if hot.batch is None and not hot.pins:
            self.drop(hot.stream_id)

    def settle(self, hot: HotStream) -> None:
        """After a commit: a stream that only waits leaves memory.

        The last few whose states are wide stay a while: to read one of a thousand open waits anew for each answer
        would cost a thousand times as much as the answer.
        """
        if not self._is_free(hot) or self._streams.get(hot.stream_id) is not hot:
            return
        if hot.kind.width(hot.state) > WIDE:
            self._resting[hot.stream_id] = None
            self._resting.move_to_end(hot.stream_id)
            if len(self._resting) > RESTING_MAX:
                self._let_go(self._resting.popitem(last=False)[0])
        else:
            self.drop(hot.stream_id)

    def _let_go(self, stream_id: bytes) -> None:
        hot = self._streams.get(stream_id)
        if hot is not None and self._is_free(hot):  # if not, it is settled again
            self.drop(stream_id)

    def _is_free(self, hot: HotStream) -> bool:
        return hot.batch is None and not hot.pins and hot.kind.is_idle(hot.state)

    def refusals(self, stream_id: bytes) -> int:
        """How many commands about the stream were refused since the last refusal that was recorded."""
        return self._refusals.get(stream_id, 0)

    def count_refusal(self, stream_id: bytes, *, recorded: bool) -> None:
        """Count a refusal. A count that is forgotten (a restart, too many streams) only delays the next record."""
        if recorded:
            self._refusals.pop(stream_id, None)
            return
        self._refusals[stream_id] = self._refusals.get(stream_id, 0) + 1
        if len(self._refusals) > self._limit:
            self._refusals.popitem(last=False)

    def _evict(self) -> None:
        for stream_id, hot in self._streams.items():
            if hot.batch is None and not hot.pins:
                self.drop(stream_id)
                return
