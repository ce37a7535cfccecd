"""Writes a batch inside its transaction, in the order of `store/LOG_FORMAT.md`, "Appending"."""

from __future__ import annotations

from collections.abc import Sequence
from sqlite3 import Cursor
from typing import Any, Final, NamedTuple

from perdure.store.batch import head_after, net_counts, net_puts
from perdure.store.chain import sealed
from perdure.store.records import NEW_STREAM, Appended, Deleted, EventRow, RefusedAppend, Row, StreamAppend
from perdure.store.sqlite import statements as sql
from perdure.store.sqlite.bulk import Prepared, bound

_STALE: Final = RefusedAppend("stale")


class Plan(NamedTuple):
    """A batch with the rows of its events, and what writes it: `heads` those of the `plain` parts, which claim nothing.

    It is made before the transaction begins: on the thread that appends, so that the writer's own needs the interpreter
    for little.
    """

    parts: list[tuple[StreamAppend, list[EventRow]]]
    plain: int
    heads: list[Prepared]
    events: list[Prepared]
    rows: list[Prepared]
    deletes: list[Deleted]
    endings: list[tuple[Any, ...]]


def plan(batch: Sequence[StreamAppend]) -> Plan:
    """Number and chain a batch's events, and prepare what writes it. Raises whatever values raise that nobody takes."""
    return _plan([(part, sealed(part)) for part in batch])


def _plan(parts: list[tuple[StreamAppend, list[EventRow]]]) -> Plan:
    plain = [(part, rows) for part, rows in parts if rows and not part.claims]
    puts = net_puts(part for part, _ in parts)
    return Plan(
        parts,
        len(plain),
        _heads(plain),
        # In the order given; the place of the position is filled in when it is known.
        sql.ADD_EVENTS.prepare([(0, *row) for _, rows in parts for row in rows]),
        [
            *(prepared for kind in puts for prepared in sql.PUTS[kind].prepare(puts[kind])),
            *sql.ADD_COUNTS.prepare([(*key, 0, change) for key, change in net_counts(part for part, _ in parts)]),
        ],
        [row for part, _ in parts for row in part.deletes],
        [(part.stream_id, *ending) for part, _ in parts for ending in part.endings],
    )


def _heads(parts: Sequence[tuple[StreamAppend, list[EventRow]]]) -> list[Prepared]:
    new: list[tuple[Any, ...]] = []
    old: list[tuple[Any, ...]] = []
    for part, rows in parts:
        last = rows[-1]
        if part.expected == NEW_STREAM:
            whose = (part.stream_id, part.kind, part.organization_id, part.workspace_id)
            new.append((*whose, last.seq, last.hash, None, 0))
        else:
            old.append((part.stream_id, *part.expected, last.seq, last.hash))
    return sql.NEW_HEADS.prepare(new) + sql.MOVE_HEADS.prepare(old)


def apply(cursor: Cursor, planned: Plan, position: int) -> Appended:
    """Write a batch behind the last `position`; what is refused leaves no trace.

    Raises whatever the driver raises; the caller rolls back then.
    """
    refused: dict[bytes, RefusedAppend] = {}
    is_moved = _move_heads(cursor, planned)
    if not is_moved or planned.plain < len(planned.parts):
        for part, rows in planned.parts:
            is_plain = bool(rows) and not part.claims
            refusal = None if is_moved and is_plain else _admit(cursor, part, rows)
            if refusal is not None:
                refused[part.stream_id] = refusal
    if refused:
        planned = _plan([(part, rows) for part, rows in planned.parts if part.stream_id not in refused])
    for prepared in planned.events:
        position = prepared.number(position + 1) - 1
        prepared.write(cursor)
    for prepared in planned.rows:
        prepared.write(cursor)
    if planned.deletes:  # last: what one decision of a batch set, a later one may have taken back
        _take_away(cursor, planned.deletes)
    if planned.endings:
        cursor.executemany(sql.PUT_ENDING, planned.endings)
    return Appended(position, refused, {part.stream_id: head_after(part, rows) for part, rows in planned.parts if rows})


def _take_away(cursor: Cursor, deletes: Sequence[Deleted]) -> None:
    for kind, (statement, columns) in sql.DELETES.items():
        rows = [bound(row[column] for column in columns) for row in deletes if type(row) is kind]
        if rows:
            cursor.executemany(statement, rows)


def _move_heads(cursor: Cursor, planned: Plan) -> bool:
    """Move the heads of streams that claim nothing, all at once: all of them, or none."""
    if sum(prepared.write(cursor) for prepared in planned.heads) == planned.plain:
        return True
    # Some were not as expected, as is rare: which ones is found out one by one. (To have the statements return what
    # they moved would cost the writer a turn at the interpreter for each row.) Nothing else has been written yet.
    cursor.execute("ROLLBACK")
    cursor.execute("BEGIN IMMEDIATE")
    return False


def _admit(cursor: Cursor, part: StreamAppend, rows: Sequence[EventRow]) -> RefusedAppend | None:
    """Move the stream's head and take what it claims; of two streams that claim one key, the first has it."""
    if not part.claims:
        return None if _move_head(cursor, part, rows) else _STALE
    cursor.execute("SAVEPOINT part")
    refusal = _claim(cursor, part) if _move_head(cursor, part, rows) else _STALE
    if refusal is not None:
        cursor.execute("ROLLBACK TO part")
    cursor.execute("RELEASE part")
    return refusal


def _move_head(cursor: Cursor, part: StreamAppend, rows: Sequence[EventRow]) -> bool:
    """Compare the head with what was expected, and move it behind the new events, if there are any."""
    stream_id, kind, organization_id, workspace_id, expected = part[:5]
    if not rows:
        if expected == NEW_STREAM:
            return cursor.execute(sql.SEE_STREAM, (stream_id,)).fetchone() is None
        return cursor.execute(sql.SEE_HEAD, (stream_id, *expected)).fetchone() is not None
    last = rows[-1]
    if expected == NEW_STREAM:
        row = (stream_id, kind, organization_id, workspace_id, last.seq, last.hash, None, 0)
        return cursor.execute(sql.NEW_HEAD, bound(row)).rowcount == 1
    return cursor.execute(sql.MOVE_HEAD, bound((last.seq, last.hash, stream_id, *expected))).rowcount == 1


def _claim(cursor: Cursor, part: StreamAppend) -> RefusedAppend | None:
    for claim in part.claims:
        if cursor.execute(sql.CLAIM[type(claim)], bound(claim)).rowcount != 1:
            return RefusedAppend("claimed", claim)
    return None


def put_rows(cursor: Cursor, kind: type[Row], rows: Sequence[Row]) -> None:
    """Insert or replace rows of one type, each with a key of its own."""
    for prepared in sql.PUTS[kind].prepare(rows):
        prepared.write(cursor)
