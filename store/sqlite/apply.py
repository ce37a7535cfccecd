"""What a batch does inside its transaction, in the order of `log.md`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import chain
from sqlite3 import Cursor
from typing import Any, Final

from store.batch import net_puts
from store.records import NEW_STREAM, Appended, Refusal, Row, StreamAppend
from store.sqlite import statements as sql
from store.sqlite.bulk import NULL

_STALE: Final = Refusal("stale")


def bound(values: Iterable[Any]) -> list[Any]:
    """The values of one row in the forms that the driver binds quickest (`store.sqlite.bulk`)."""
    return [NULL if value is None else bytearray(value) if type(value) is bytes else value for value in values]


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
    """Move the heads of streams that claim nothing, all at once if all are as expected; gives those that it moved."""
    plain = [part for part in batch if part.events and not part.claims]
    new: list[tuple[Any, ...]] = []
    old: list[tuple[Any, ...]] = []
    for part in plain:
        last = part.events[-1]
        if part.expected == NEW_STREAM:
            whose = (part.stream_id, part.kind, part.organization_id, part.workspace_id)
            new.append((*whose, last.seq, last.hash, None, 0))
        else:
            old.append((part.stream_id, *part.expected, last.seq, last.hash))
    if sql.NEW_HEADS.write(cursor, new) + sql.MOVE_HEADS.write(cursor, old) == len(plain):
        return {part.stream_id for part in plain}
    # Some were not, as is rare: which ones is found out one by one. (To have the statements return what they moved
    # would cost the writer a turn at the interpreter for each row.) Nothing else has been written yet.
    cursor.execute("ROLLBACK")
    cursor.execute("BEGIN IMMEDIATE")
    return set()


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
    rows = [(next_, *event) for next_, event in enumerate(chain.from_iterable(p.events for p in parts), position + 1)]
    sql.ADD_EVENTS.write(cursor, rows)
    return position + len(rows)


def put_rows(cursor: Cursor, kind: type[Row], rows: Sequence[Row]) -> None:
    """Insert or replace rows of one kind, each of an own key."""
    sql.PUTS[kind].write(cursor, rows)


def _write_rows(cursor: Cursor, parts: Sequence[StreamAppend]) -> None:
    for kind, rows in net_puts(parts).items():
        put_rows(cursor, kind, rows)
    # Deletes last: what one decision of a batch set, a later one may have taken back.
    deletes = [timer for part in parts for timer in part.deletes]
    if deletes:
        cursor.executemany(sql.DELETE_TIMER, map(bound, deletes))
