"""What a batch does inside its transaction, in the order of `log.md`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import chain
from sqlite3 import Cursor
from typing import Any, Final

from store.batch import net_puts
from store.records import NEW_STREAM, Appended, Refusal, Row, StreamAppend
from store.sqlite import statements as sql

_STALE: Final = Refusal("stale")
_NULL: Final = float("nan")


def bound(values: Iterable[Any]) -> list[Any]:
    """Values in the forms that the driver binds quickest.

    For each None and each bytes it looks for an adapter first, which takes longer than all else about the row
    (a third of a batch's time). It does not for a bytearray, which is stored as the same bytes, nor for a
    float; and SQLite, which has no NaN, stores NULL for it.
    """
    return [_NULL if value is None else bytearray(value) if type(value) is bytes else value for value in values]


def apply_batch(cursor: Cursor, batch: Sequence[StreamAppend], position: int) -> Appended:
    """Write a batch behind the last `position`; what is refused leaves no trace.

    Raises whatever the driver raises; the caller rolls back then.
    """
    moved = _move_heads(cursor, batch)
    refused: dict[bytes, Refusal] = {}
    accepted: list[StreamAppend] = []
    for part in batch:
        refusal = None if part.stream_id in moved else _admit(cursor, part)
        if refusal is None:
            accepted.append(part)
        else:
            refused[part.stream_id] = refusal
    position = _add_events(cursor, accepted, position)
    _write_rows(cursor, accepted)
    return Appended(position, refused)


def _move_heads(cursor: Cursor, batch: Sequence[StreamAppend]) -> set[bytes]:
    """Move the heads of streams that claim nothing, many at once; gives the streams that were as expected."""
    plain = [part for part in batch if part.events and not part.claims]
    new = [
        (part.stream_id, part.kind, part.organization_id, part.workspace_id, part.events[-1].seq, part.events[-1].hash)
        for part in plain
        if part.expected == NEW_STREAM
    ]
    old = [
        (part.stream_id, *part.expected, part.events[-1].seq, part.events[-1].hash)
        for part in plain
        if part.expected != NEW_STREAM
    ]
    count = _write(cursor, sql.NEW_HEADS, [bound((*row, None, 0)) for row in new])
    count += _write(cursor, sql.MOVE_HEADS, [bound(row) for row in old])
    if count < len(plain):  # rare, so it is counted first: each row that a statement returns costs a turn of its own
        plain = [part for part in plain if _has_moved(cursor, part)]
    return {part.stream_id for part in plain}


def _has_moved(cursor: Cursor, part: StreamAppend) -> bool:
    """Whether the head of a stream stands where this part has moved it to."""
    last = part.events[-1]
    where = bound((part.stream_id, last.seq, last.hash, part.expected.epoch))
    return cursor.execute(sql.SEE_HEAD, where).fetchone() is not None


def _write(cursor: Cursor, statements: dict[int, str], rows: Sequence[Sequence[Any]]) -> int:
    """Run a statement over all rows, as many at once as it has sizes for; gives how many it wrote."""
    count = start = 0
    for size in sql.SIZES:
        text = statements[size]
        while len(rows) - start >= size:
            values = list(chain.from_iterable(rows[start : start + size]))
            count += cursor.execute(text, values).rowcount
            start += size
    return count


def _admit(cursor: Cursor, part: StreamAppend) -> Refusal | None:
    """Move the stream's head and take what it claims; of two streams that claim one key, the first has it."""
    if not part.claims:
        return None if _move_head(cursor, part) else _STALE
    cursor.execute("SAVEPOINT part")
    refusal = _claim(cursor, part) if _move_head(cursor, part) else _STALE
    if refusal is not None:
        cursor.execute("ROLLBACK TO part")
    cursor.execute("RELEASE part")
    return refusal


def _move_head(cursor: Cursor, part: StreamAppend) -> bool:
    """Compare the head with what was expected, and move it behind the new events, if there are any."""
    stream_id, kind, organization_id, workspace_id, expected, events = part[:6]
    if not events:
        if expected == NEW_STREAM:
            return cursor.execute(sql.SEE_STREAM, (stream_id,)).fetchone() is None
        return cursor.execute(sql.SEE_HEAD, (stream_id, *expected)).fetchone() is not None
    last = events[-1]
    if expected == NEW_STREAM:
        row = (stream_id, kind, organization_id, workspace_id, last.seq, last.hash, None, 0)
        return cursor.execute(sql.NEW_HEAD, bound(row)).rowcount == 1
    return cursor.execute(sql.MOVE_HEAD, bound((last.seq, last.hash, stream_id, *expected))).rowcount == 1


def _claim(cursor: Cursor, part: StreamAppend) -> Refusal | None:
    for claim in part.claims:
        if cursor.execute(sql.CLAIM[type(claim)], bound(claim)).rowcount != 1:
            return Refusal("claimed", claim)
    return None


def _add_events(cursor: Cursor, parts: Iterable[StreamAppend], position: int) -> int:
    """Number the events in the order given, and write them; answers with the last position."""
    rows: list[tuple[Any, ...]] = []
    for part in parts:
        # As `bound`, spelled out: it is a tenth of a batch's time.
        stream_id, organization_id = bytearray(part.stream_id), bytearray(part.organization_id)
        for event in part.events:
            position += 1
            _, seq, _, kind, version, at, actor, cause, data, payload, salt, digest, hash_ = event
            rows.append(
                (
                    *(position, stream_id, seq, organization_id, kind, version, at, actor),
                    *(_NULL if cause is None else cause, data),
                    *(_NULL if payload is None else payload, _NULL if salt is None else bytearray(salt)),
                    *(_NULL if digest is None else bytearray(digest), bytearray(hash_)),
                )
            )
    _write(cursor, sql.ADD_EVENTS, rows)
    return position


def put_rows(cursor: Cursor, kind: type[Row], rows: Iterable[Row]) -> None:
    """Insert or replace rows of one kind, each of an own key."""
    _write(cursor, sql.PUTS[kind], [bound(row) for row in rows])


def _write_rows(cursor: Cursor, parts: Sequence[StreamAppend]) -> None:
    for kind, rows in net_puts(parts).items():
        put_rows(cursor, kind, rows)
    # Deletes last: what one decision of a batch set, a later one may have taken back.
    deletes = [timer for part in parts for timer in part.deletes]
    if deletes:
        cursor.executemany(sql.DELETE_TIMER, map(bound, deletes))
