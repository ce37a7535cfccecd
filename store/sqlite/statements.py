"""The writer's statements: declared with SQLAlchemy, compiled once, run through the driver."""

from __future__ import annotations

from collections.abc import Container
from typing import Final

from sqlalchemy import ClauseElement, Table, bindparam, delete, func, literal_column, select, update
from sqlalchemy.dialects.sqlite import insert

from perdure.store.batch import FIXED_COLUMNS
from perdure.store.records import (
    CANCELLED,
    Claim,
    Deleted,
    IdempotencyRow,
    ProcessIdRow,
    QueueRow,
    Row,
    ScheduleRow,
    SlotRow,
    TimerRow,
)
from perdure.store.schema import (
    PROJECTIONS,
    TABLE_OF,
    UNUSED,
    endings,
    events,
    execution_counts,
    executions,
    key_uses,
    nodes,
    queue,
    schedules,
    slots,
    streams,
    timers,
)
from perdure.store.sql.log import LAST_POSITIONS
from perdure.store.sqlite.bulk import Bulk
from perdure.store.sqlite.compile import compile_statement


def _compile(statement: ClauseElement, *parameters: str) -> str:
    """The text of a statement of which the parameters come in this order."""
    compiled = compile_statement(statement)
    if compiled.names != parameters:
        raise AssertionError(f"{compiled}: its parameters are not {parameters}")
    return compiled.text


def _columns(table: Table) -> tuple[str, ...]:
    return tuple(table.columns.keys())


def _upsert(table: Table, fixed: Container[str] = ()) -> str:
    """Insert a row, or replace what the row with its key has, except in the `fixed` columns."""
    statement = insert(table)
    key = list(table.primary_key.columns)
    rest = {
        column.name: statement.excluded[column.name]
        for column in table.columns
        if column not in key and column.name not in fixed
    }
    statement = (
        statement.on_conflict_do_update(index_elements=key, set_=rest)
        if rest
        else statement.on_conflict_do_nothing(index_elements=key)
    )
    return _compile(statement, *_columns(table))


def _claim(table: Table) -> str:
    """Insert a row unless another has one of its unique keys."""
    return _compile(insert(table).on_conflict_do_nothing(), *_columns(table))


_IS_EXPECTED: Final = (
    streams.c.stream_id == bindparam("id"),
    streams.c.seq == bindparam("expected_seq"),
    streams.c.hash == bindparam("expected_hash"),
    streams.c.epoch == bindparam("expected_epoch"),
)
_EXPECTED: Final = ("id", "expected_seq", "expected_hash", "expected_epoch")

NEW_HEAD: Final = _compile(insert(streams).on_conflict_do_nothing(), *_columns(streams))
NEW_HEADS: Final = Bulk(NEW_HEAD, list(streams.columns))
MOVE_HEAD: Final = _compile(
    update(streams).where(*_IS_EXPECTED).values(seq=bindparam("new_seq"), hash=bindparam("new_hash")),
    *("new_seq", "new_hash"),
    *_EXPECTED,
)
# Columns of VALUES have no names of their own. The same as MOVE_HEAD, with the parameters of its WHERE first.
MOVE_HEADS: Final = Bulk(
    "UPDATE streams SET seq = new.column5, hash = new.column6 FROM (VALUES (?, ?, ?, ?, ?, ?)) AS new "
    "WHERE streams.stream_id = new.column1 AND streams.seq = new.column2 AND streams.hash = new.column3 "
    "AND streams.epoch = new.column4",
    [streams.c.stream_id, streams.c.seq, streams.c.hash, streams.c.epoch, streams.c.seq, streams.c.hash],
)
SEE_HEAD: Final = _compile(select(streams.c.stream_id).where(*_IS_EXPECTED), *_EXPECTED)
SEE_STREAM: Final = _compile(select(streams.c.stream_id).where(streams.c.stream_id == bindparam("id")), "id")

# No ON CONFLICT here: it would let a part of a batch survive.
ADD_EVENTS: Final = Bulk(_compile(insert(events), *_columns(events)), list(events.columns))

_ADD_COUNT: Final = insert(execution_counts)
CLAIM: Final[dict[type[Row | Claim], str]] = {
    kind: _claim(TABLE_OF[kind]) for kind in (SlotRow, ProcessIdRow, IdempotencyRow)
}
PUTS: Final[dict[type[Row | Claim], Bulk]] = {
    kind: Bulk(_upsert(table, FIXED_COLUMNS.get(kind, ())), list(table.columns))
    for kind, table in TABLE_OF.items()
    if kind not in CLAIM and kind is not QueueRow
}
ADD_COUNTS: Final = Bulk(
    _compile(
        _ADD_COUNT.on_conflict_do_update(
            index_elements=list(execution_counts.primary_key.columns),
            set_={"total": execution_counts.c.total + _ADD_COUNT.excluded.total},
        ),
        *_columns(execution_counts),
    ),
    list(execution_counts.columns),
)
# What comes in line is placed by the position of its event, which is there by now.
_IN_LINE: Final = ", ".join(QueueRow._fields)
_AS_GIVEN: Final = ", ".join(f"column{number}" for number in range(1, len(QueueRow._fields) + 1))
PUTS[QueueRow] = Bulk(
    f"INSERT INTO queue ({_IN_LINE}, position) SELECT {_AS_GIVEN}, "  # noqa: S608 constants
    f"(SELECT position FROM events WHERE stream_id = column1 AND seq = column{len(QueueRow._fields)}) "
    f"FROM (VALUES ({', '.join('?' * len(QueueRow._fields))})) WHERE column1 IS NOT NULL "
    "ON CONFLICT (execution_id) DO UPDATE SET "
    + ", ".join(f"{name} = excluded.{name}" for name in (*QueueRow._fields[1:], "position")),
    [queue.c[name] for name in QueueRow._fields],
)


def _delete(table: Table, *columns: str) -> str:
    """Delete the row that has these values in these columns."""
    old = [f"old_{name}" for name in columns]
    is_it = (table.c[name] == bindparam(parameter) for name, parameter in zip(columns, old, strict=True))
    return _compile(delete(table).where(*is_it), *old)


DELETES: Final[dict[type[Deleted], tuple[str, tuple[int, ...]]]] = {
    TimerRow: (_delete(timers, "due_at", "execution_id", "timer"), (0, 1, 2)),
    QueueRow: (_delete(queue, "execution_id"), (0,)),
    ScheduleRow: (_delete(schedules, "schedule_id"), (0,)),
    SlotRow: (_delete(slots, "limit_key", "place", "stream_id"), (0, 1, 3)),  # nobody's but its own
}
"""By row type, the statement that takes a row away, and which columns of the row it is given."""

PUT_ENDING: Final = _upsert(endings)
FIRST_ENDING: Final = _compile(select(endings).order_by(endings.c.execution_id, endings.c.seq))
# Of an execution ?1, up to a seq ?2, so many ?3.
CANCEL_WAITS: Final = (
    f"UPDATE waits SET outcome = '{CANCELLED}', ended_seq = ?2, ended_at = ?4 WHERE wait_id IN "  # noqa: S608 a constant
    "(SELECT wait_id FROM waits INDEXED BY waits_open_in_execution "
    "WHERE execution_id = ?1 AND outcome IS NULL AND opened_seq <= ?2 LIMIT ?3)"
)
OVER_TIMERS: Final = (
    "SELECT due_at, execution_id, timer FROM timers WHERE execution_id = ?1 AND timer BETWEEN 2 AND ?2 LIMIT ?3"
)
DELETE_ENDING: Final = _compile(
    delete(endings).where(endings.c.execution_id == bindparam("id"), endings.c.seq == bindparam("seq")), "id", "seq"
)

_COUNTED: Final = (executions.c.workspace_id, executions.c.workflow_id, executions.c.status)
CLEAR: Final = [_compile(delete(table)) for table in PROJECTIONS if table not in UNUSED]
"""The statements that a rebuild begins with."""
COUNT_ALL: Final = _compile(
    insert(execution_counts).from_select(
        list(execution_counts.columns),
        select(*_COUNTED, literal_column("0"), func.count()).select_from(executions).group_by(*_COUNTED),
    )
)
"""The statement that a rebuild ends with: as many as there are."""

LAST_POSITION: Final = _compile(LAST_POSITIONS)

UNCLEAN_NODES: Final = _compile(
    select(nodes).where(nodes.c.stopped_at.is_(None)).order_by(nodes.c.started_at, nodes.c.node_id)
)
STOP_UNCLEAN_NODES: Final = _compile(
    update(nodes).where(nodes.c.stopped_at.is_(None)).values(stopped_at=bindparam("at")), "at"
)
PUT_NODE: Final = _upsert(nodes)
KEY_USED: Final = _upsert(key_uses)
STOP_NODE: Final = _compile(
    update(nodes).where(nodes.c.node_id == bindparam("id")).values(stopped_at=bindparam("at")), "at", "id"
)
