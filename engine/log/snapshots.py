"""Snapshots: the state of an execution or a workflow at a seq, so that nobody folds a long stream from its first event.

They may be deleted at any time, and are believed only as far as they can be checked: each names its stream, its seq,
the chain's hash there and the form of its text, and carries a digest of all that. What does not hold means a full
fold. They hold references and no business data, as the state does.
"""

from __future__ import annotations

import hashlib
import struct
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

from perdure.engine.core.snapshots import (
    FORMAT,
    decode_state,
    decode_workflow,
    encode_state,
    format_of,
    workflow_format,
)
from perdure.engine.core.state import State
from perdure.store.records import Head, SnapshotRow

if TYPE_CHECKING:
    from perdure.engine.core.workflow import WorkflowState

EVERY: Final = 100
"""A stream gets a snapshot after so many events, and again after so many more.

Measured on SQLite: folding an event takes 10 to 13 µs and reading it as long again, making and writing the snapshot of
a small state 40. So to read a run back costs 2 ms at the most, and an event pays 0.4 µs of some 50 for it.
"""

BYTES_AN_EVENT: Final = 64
"""A large snapshot is followed by the next only after an event for each of so many bytes of it.

Whatever a state grows to, snapshots then cost an event one microsecond, and a tenth of its own room on disk.
"""

_FIELDS: Final = struct.Struct(">QQ")

Flaw: TypeAlias = Literal["format", "digest", "chain", "content"]
FLAWS: Final[tuple[Flaw, ...]] = ("format", "digest", "chain", "content")


class Unusable(Exception):
    """A snapshot that must not be built on. `flaw` is `format` if another version of Perdure wrote it."""

    def __init__(self, flaw: Flaw, reason: str) -> None:
        super().__init__(reason)
        self.flaw: Flaw = flaw


def take(stream_id: bytes, head: Head, state: State | WorkflowState) -> SnapshotRow:
    """The snapshot of a state, of which the last event is the stream's head."""
    data = encode_state(state).decode()
    snapshot = SnapshotRow(stream_id, head.seq, head.hash, format_of(state), data, b"")
    return snapshot._replace(digest=digest_of(snapshot))


def digest_of(snapshot: SnapshotRow) -> bytes:
    """SHA-256 over all else that a snapshot says: one that was put together from two is found too."""
    fields = _FIELDS.pack(snapshot.seq, snapshot.format)
    head = b"perdure-snapshot-1\n" + snapshot.stream_id + snapshot.hash + fields
    return hashlib.sha256(head + snapshot.data.encode()).digest()


def due_after(snapshot: SnapshotRow) -> int:
    """The seq from which on the next snapshot of the stream is due."""
    return snapshot.seq + max(EVERY, len(snapshot.data) // BYTES_AN_EVENT)


def check(snapshot: SnapshotRow) -> None:
    """See that a snapshot is of our form, and as it was written: its columns mean something then. Raises `Unusable`."""
    if snapshot.format not in (FORMAT, workflow_format()):
        said = f"its form is {snapshot.format!r}, and {FORMAT} and {workflow_format()} are read here"
        raise Unusable("format", said)
    try:
        digest = digest_of(snapshot)
    except (AttributeError, TypeError, ValueError, struct.error) as error:
        raise Unusable("digest", f"a column holds what no snapshot is written with: {error}") from error
    if digest != snapshot.digest:
        raise Unusable("digest", "it does not match its digest")


def _decode(snapshot: SnapshotRow) -> State | WorkflowState:
    """The state in a snapshot, by the form that it says it has."""
    if snapshot.format == FORMAT:
        return decode_state(snapshot.data.encode())
    return decode_workflow(snapshot.data.encode())


def restore(snapshot: SnapshotRow, chained: bytes | None) -> State | WorkflowState:
    """The state of a checked snapshot, if it is at the right place. Raises `Unusable`.

    `chained` is the hash of the event that the stream has at its seq, null if it has none.
    """
    if chained != snapshot.hash:
        raise Unusable("chain", "the stream has another event at its seq, or none")
    try:
        state = _decode(snapshot)
    except Exception as error:  # whoever wrote it knew the digest, not the form
        raise Unusable("content", f"it does not read as a state: {error}") from error
    if state.seq != snapshot.seq:
        raise Unusable("content", f"its state is at seq {state.seq}")
    return state
