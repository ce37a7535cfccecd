"""Hot streams: states in memory, limited in number. Executions that only wait are not kept."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol

from perdure.engine.core import ids
from perdure.engine.core.draft import DraftedEvent
from perdure.engine.core.events import Recorded
from perdure.engine.log import snapshots
from perdure.engine.log.codec import Vocabulary
from perdure.engine.runtime.streams.letting_go import let_go
from perdure.store.records import (
    NEW_STREAM,
    CountChange,
    Deleted,
    Ending,
    Head,
    NewEvent,
    Row,
    SlotRow,
    SnapshotRow,
    StreamKind,
)

if TYPE_CHECKING:  # the language, which commands that read have no use for, comes with them
    from perdure.engine.core.decision import Facts, Outcome
    from perdure.engine.language import Machine

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


class Rows(NamedTuple):
    """Rows that go with a stream's events."""

    puts: Sequence[Row]
    deletes: Sequence[Deleted] = ()
    endings: Sequence[Ending] = ()
    claims: Sequence[SlotRow] = ()


NO_ROWS = Rows(())


class StreamType(Protocol):
    """A stream type: its fold, its rules and its rows. From seq `snapshot_due` on a first snapshot is worth while.

    From seq `snapshot_due` on a stream is worth its first snapshot.
    """

    name: StreamKind
    vocabulary: Vocabulary
    snapshot_due: int

    def initial(self) -> Any:
        """The state before the first event."""
        ...

    def evolve(self, state: Any, recorded: Recorded) -> Any: ...

    def decide(self, hot: HotStream, command: Any, facts: Facts) -> Outcome: ...

    def creates(self, command: Any) -> bool:
        """Whether the command is the first of a new stream."""
        ...

    def weigh(self, state: Any, before: Any, written: int) -> None:
        """Note in a new state that nobody else has yet, of what size the events are that came after one before."""
        ...

    def rows(self, hot: HotStream, steps: Sequence[DraftedEvent], command: Any) -> Rows:
        """The rows that one decision's events ask for; `hot` is still as before. The state's own row is `row`'s."""
        ...

    def row(self, state: Any, stream_id: bytes, organization_id: bytes) -> Row | None:
        """The row that shows the whole state, put once a batch."""
        ...

    def counts(self, stored: Any, state: Any) -> Sequence[CountChange]:
        """The changes to what is counted when the stream goes from one state on disk to another."""
        ...

    def live_seqs(self, state: Any) -> frozenset[int] | None:
        """Seqs of the payloads that a later decision may look at; `None`: all."""
        ...

    def width(self, state: Any) -> int:
        """The number of places that `live_seqs` looks at."""
        ...

    def is_idle(self, state: Any) -> bool:
        """Whether the stream only waits, so that nothing of it needs to stay in memory."""
        ...


class InFlight(Protocol):
    """A batch on its way to the disk, and whoever waits for it: a `Batch`."""

    waiting: list[Any]


class HotStream:
    """A stream in memory: its state as decided, which may be ahead of the disk by the batches in flight.

    `head` is where the stream ends on disk, and `stored` the state there. `batch` is the last batch, not yet committed,
    that an event of it is in; `pins` keep it in memory. Once the head has come to seq `snapshot_due`, the next commit
    brings a snapshot of what is stored. `payload_sizes` has the bytes of JSON text of the payloads that are live, also
    of those that are not loaded, and maybe of some others; `payload_bytes` is their sum. All of it is read by others,
    and set by its own methods alone.
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

    def __init__(
        self,
        kind: StreamType,
        stream_id: bytes,
        organization_id: bytes,
        workspace_id: bytes | None,
        machine: Machine | None = None,
    ) -> None:
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
        self.machine: Any = machine  # of an execution
        self.batch: InFlight | None = None
        self.pins = 0
        self.prune_above = PAYLOADS_AT_EASE
        self.prune_above_bytes = BYTES_AT_EASE
        self.shown: dict[str, str] | None = None
        self.snapshot_due = kind.snapshot_due

    # --- from the disk, and to it --------------------------------------------------------------------------------

    def restore(
        self, state: Any, head: Head, payloads: dict[int, Any], sizes: dict[int, int], snapshot_due: int
    ) -> None:
        """Be as the store has it."""
        self.payload_sizes, self.payload_bytes = sizes, sum(sizes.values())
        self.state = self.stored = state
        self.head, self.snapshot_due = head, snapshot_due
        self.payloads = payloads

    def use(self, machine: Machine) -> None:
        """Run this definition: it is the one that the execution was started with."""
        self.machine = machine

    def commit(self, head: Head, state: Any) -> None:
        """The stream ends there on disk now, with this state, which may be behind the one that was decided."""
        let_go(self.stored)
        self.head, self.stored = head, state

    def due_snapshot(self) -> SnapshotRow | None:
        """The snapshot that the next commit brings, if one is due. It is of what is on disk, which has a hash.

        To read a very wide state back from a snapshot is no better than from its events: it is made and read in one
        go, while a fold gives way to others.
        """
        if self.head.seq < self.snapshot_due or self.kind.width(self.stored) > SNAPSHOT_WIDTH_MAX:
            return None
        snapshot = snapshots.take(self.stream_id, self.head, self.stored)
        self.snapshot_due = snapshots.due_after(snapshot)
        return snapshot

    # --- in flight -----------------------------------------------------------------------------------------------

    def join(self, batch: InFlight) -> None:
        """Something of it is in this batch, which is not on disk."""
        self.batch = batch

    def leave(self, batch: InFlight) -> None:
        """That batch is on disk; a later one may have something of it."""
        if self.batch is batch:
            self.batch = None

    def pin(self) -> None:
        """Stay in memory until `unpin`."""
        self.pins += 1

    def unpin(self) -> None:
        self.pins -= 1

    # --- decided -------------------------------------------------------------------------------------------------

    def move(self, steps: Sequence[DraftedEvent], events: Sequence[NewEvent]) -> None:
        """Move on by the events of a decision, which the store is about to have. After an error it has not moved."""
        state = steps[-1].state
        written = 0
        for step, event in zip(steps, events, strict=True):
            written += bytes_of(event.data)
            if event.payload is not None:
                seq = step.recorded.seq
                self.payloads[seq] = step.recorded.payload
                self.payload_sizes[seq] = size = bytes_of(event.payload)
                self.payload_bytes += size
                written += size
        self.kind.weigh(state, self.state, written)
        if len(self.payloads) > self.prune_above or self.payload_bytes > self.prune_above_bytes:
            self.prune(state)
        self.state = state

    def add_payloads(self, payloads: Mapping[int, Any]) -> None:
        """Have payloads at hand that a decision asked for."""
        self.payloads.update(payloads)

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

    # --- told ----------------------------------------------------------------------------------------------------

    def described(self) -> dict[str, str]:
        """It for a line of the log: `execution_id` and `process_id`, or `workflow_id`, or `organization_id`."""
        shown = self.shown
        if shown is None:
            shown = {f"{self.kind.name}_id": self.text}
            if self.kind.name == "execution" and 1 in self.payloads:
                # The first event's payload has the process id that the caller chose; without one it is the execution's.
                shown["process_id"] = (self.payloads[1] or {}).get("process_id") or self.text
                self.shown = shown
        return shown


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
        would cost a thousand times as much as the answer. What is over stays away, however much remains of it.
        """
        if not self._is_free(hot) or self._streams.get(hot.stream_id) is not hot:
            return
        if hot.kind.width(hot.state) > WIDE and not getattr(hot.state, "is_over", False):
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
        """The number of rejected commands about the stream since the last recorded rejection."""
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
