"""Executions found by filter, in SQL: `find_executions` along the walks of `store.run_filter`."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import cache
from typing import Any, Final, NamedTuple, Protocol

from sqlalchemy import ColumnElement, Integer, and_, bindparam, cast, func, or_, select

from perdure.store.records import ExecutionRow
from perdure.store.run_filter import (
    CLOSE_LOOK_MAX,
    LOOK_MAX,
    FoundRuns,
    IndexWalk,
    RunFilter,
    RunIndex,
    Walked,
    begins_with,
    ids_beginning_with,
    merged,
    walks,
)
from perdure.store.schema import BY_STATUS, ENDED_BADLY, LIVE, WITH_ERROR, events, executions, process_ids
from perdure.store.sql.session import LIST_MAX, SqlSession, Statement, in_parts

_run_id: Final = executions.c.execution_id
_BEYOND_TEXT: Final = "\U0010ffff"

_CHOSEN: Final = and_(
    process_ids.c.organization_id == bindparam("organization_id"),
    process_ids.c.workspace_id == bindparam("workspace_id"),
    process_ids.c.process_id >= bindparam("name_from"),
    process_ids.c.process_id < bindparam("name_below"),
)
_NAMED: Final = select(process_ids.c.stream_id).where(_CHOSEN).limit(bindparam("look"))
_HAS_NAME: Final = select(process_ids.c.stream_id).where(process_ids.c.stream_id == _run_id)
# By the index on the stream: that on the name would be gone through for each row.
_HAS_SUCH_NAME: Final = _HAS_NAME.where(
    func.coalesce(process_ids.c.process_id, process_ids.c.process_id) >= bindparam("name_from"),
    func.coalesce(process_ids.c.process_id, process_ids.c.process_id) < bindparam("name_below"),
).exists()
_IS_IMPLIED: Final = and_(_run_id >= bindparam("implied_from"), _run_id <= bindparam("implied_to"), ~_HAS_NAME.exists())
_ERROR_SEQ: Final = cast(func.substr(executions.c.error_ref, 1, func.instr(executions.c.error_ref, "/") - 1), Integer)
_IS_ERROR_IN_PAYLOAD: Final = and_(
    executions.c.error.is_(None),
    executions.c.error_ref.is_not(None),
    select(events.c.seq)
    .where(
        events.c.stream_id == _run_id,
        events.c.seq == _ERROR_SEQ,
        func.json_extract(events.c.payload, "$.error") == bindparam("error"),
    )
    .exists(),
)


def _plain(column: ColumnElement[Any]) -> ColumnElement[Any]:
    """A column that is looked at in each row: an index on it must not be chosen."""
    return func.coalesce(column, column)


_OF_WORKSPACE: Final = executions.c.workspace_id == bindparam("workspace_id")
_IN_WORKSPACE: Final = _plain(executions.c.workspace_id) == bindparam("workspace_id")
_OF_STATUS: Final = executions.c.status == bindparam("status")

_ENTRIES: Final[dict[RunIndex, tuple[ColumnElement[bool], ...]]] = {
    "workspace": (_OF_WORKSPACE,),
    "workflow": (executions.c.workflow_id == bindparam("workflow"),),
    "live": (LIVE,),  # type: ignore[dict-item]  # a text, since SQLite wants the words of the index
    "by_status": (BY_STATUS, _OF_WORKSPACE, _OF_STATUS),  # type: ignore[dict-item]
    "ended_badly": (ENDED_BADLY, executions.c.workflow_id == bindparam("workflow"), _OF_STATUS),  # type: ignore[dict-item]
    "with_error": (WITH_ERROR, _OF_WORKSPACE, executions.c.error == bindparam("error")),  # type: ignore[dict-item]
}
_TOLD: Final[dict[RunIndex, frozenset[str]]] = {
    "workspace": frozenset({"workspace_id"}),
    "workflow": frozenset({"workflow_id"}),
    "live": frozenset(),
    "by_status": frozenset({"workspace_id", "status"}),
    "ended_badly": frozenset({"workflow_id", "status"}),
    "with_error": frozenset({"workspace_id"}),
}
"""By index: the columns of which an entry tells that they are as is wanted."""


class _Shape(NamedTuple):
    """The form of the statements of a walk, which are made once for each."""

    along: RunIndex | None
    columns: frozenset[str]
    is_named: bool | None
    process_id: str
    has_time: bool
    newest_first: bool


class _Statements(NamedTuple):
    """`last` gives the last id that is looked at, if there are so many; it is null where every entry is wanted."""

    last: Statement | None
    rows: Statement


@cache
def _statements(shape: _Shape) -> _Statements:
    """The statements of a walk; without an index, of the executions whose ids are listed."""
    order = _run_id.desc() if shape.newest_first else _run_id.asc()
    told = frozenset({"execution_id"}) if shape.along is None else _TOLD[shape.along]
    rest = [] if "workspace_id" in told else [_IN_WORKSPACE]
    rest += [
        _plain(executions.c[name]).in_(bindparam(f"is_{name}", expanding=True)) for name in sorted(shape.columns - told)
    ]
    if shape.is_named is False:
        rest.append(_IS_ERROR_IN_PAYLOAD)
    elif shape.is_named and shape.along is None:
        rest.append(or_(executions.c.error == bindparam("error"), _IS_ERROR_IN_PAYLOAD))
    if shape.process_id:
        rest.append({"any": or_(_HAS_SUCH_NAME, _IS_IMPLIED), "implied": _IS_IMPLIED}[shape.process_id])
    if shape.has_time:
        rest.append(executions.c.created_at.between(bindparam("created_from"), bindparam("created_to")))
    if shape.along is None:
        listed = _run_id.in_(bindparam("ids", expanding=True))
        return _Statements(None, select(executions).where(listed, *rest).order_by(order).limit(bindparam("limit")))
    walk = (*_ENTRIES[shape.along], _run_id >= bindparam("low"), _run_id < bindparam("high"))
    last = select(_run_id).where(*walk).order_by(order).limit(1).offset(bindparam("look"))
    rows = select(executions).where(*walk, *rest).order_by(order).limit(bindparam("limit"))
    return _Statements(last if rest else None, rows)


class _Span(NamedTuple):
    """The ids that are still to be looked at: from `low`, below `high`."""

    low: bytes
    high: bytes

    def up_to(self, reached: bytes, *, newest_first: bool) -> _Span:
        return self._replace(low=reached) if newest_first else self._replace(high=_next(reached))


class _Read(Protocol):
    """All rows of a statement, as `SqlSession` gives them."""

    async def __call__(self, statement: Statement, **parameters: Any) -> Sequence[Sequence[Any]]: ...


class SqlFinding(SqlSession):
    """`find_executions` over SQL."""

    async def find_executions(
        self, wanted: RunFilter, *, newest_first: bool = True, beyond: bytes | None = None, limit: int = 20
    ) -> FoundRuns:
        page = _Page(wanted, newest_first, beyond, limit)
        if len(walks(wanted)) == 1:
            return await _found(self._all, page)
        # Else an execution that goes from one index to another between two walks is found twice, or not at all.
        # Shielded as every read is: a connection that is cut off within a transaction would not find back.
        return await asyncio.shield(self._found_at_one_moment(page))

    async def _found_at_one_moment(self, page: _Page) -> FoundRuns:
        with self._reading():
            async with self._engine().connect() as connection:

                async def read(statement: Statement, **parameters: Any) -> Sequence[Sequence[Any]]:
                    return await self._within(connection, statement, parameters)

                await connection.exec_driver_sql("BEGIN")
                try:
                    return await _found(read, page)
                finally:
                    await connection.exec_driver_sql("ROLLBACK")


class _Page(NamedTuple):
    """What is asked for."""

    wanted: RunFilter
    newest_first: bool
    beyond: bytes | None
    limit: int

    @property
    def span(self) -> _Span:
        lowest, highest = self.wanted.bounds
        if self.beyond is not None:
            if self.newest_first:
                highest = min(highest, self.beyond)
            else:
                lowest = max(lowest, self.beyond)
        return _Span(_next(lowest), highest)


async def _found(read: _Read, page: _Page) -> FoundRuns:
    """A page, read with `read`."""
    wanted, span = page.wanted, page.span
    search = _Search(read, wanted, page.newest_first, page.limit)
    named = None if wanted.process_id is None else await _named(read, search.values)
    found: list[Walked] = []
    if wanted.process_id is None or named is None:
        found += [await search.walk(walk, span, "any" if wanted.process_id else "") for walk in walks(wanted)]
    else:
        found.append(await search.listed(named, span))
        implied = ids_beginning_with(wanted.process_id)
        if implied is not None:
            narrow = _Span(max(span.low, implied[0]), min(span.high, _next(implied[1])))
            found += [await search.walk(walk, narrow, "implied") for walk in walks(wanted)]
    return merged(found, newest_first=page.newest_first, limit=page.limit)


async def _named(read: _Read, values: dict[str, Any]) -> list[bytes] | None:
    """The executions whose chosen process id begins so; null if they are too many to be listed."""
    wanted = {name: values[name] for name in ("organization_id", "workspace_id", "name_from", "name_below")}
    rows = await read(_NAMED, **wanted, look=CLOSE_LOOK_MAX + 1)
    return None if len(rows) > CLOSE_LOOK_MAX else [row[0] for row in rows]


class _Search:
    """One call: its walks share the values of the statements."""

    def __init__(self, read: _Read, wanted: RunFilter, newest_first: bool, limit: int) -> None:  # noqa: FBT001
        self._all = read
        self._newest_first = newest_first
        self._limit = limit
        self._has_time = not (wanted.created_from is None and wanted.created_to is None)
        self._columns = frozenset(wanted.values)
        self._is_named = None if wanted.error is None else True
        self.values = _values_of(wanted)

    async def walk(self, walk: IndexWalk, span: _Span, process_id: str) -> Walked:
        """The rows along an index, and how far it was walked."""
        shape = _Shape(walk.along, self._columns, walk.is_named, process_id, self._has_time, self._newest_first)
        if span.low >= span.high:
            return Walked([], None)
        made = _statements(shape)
        values = {**self.values, **_entered(walk)}
        reached = None
        if made.last is not None:
            look = CLOSE_LOOK_MAX if walk.is_named is False else LOOK_MAX
            last = await self._all(made.last, **values, low=span.low, high=span.high, look=look - 1)
            if last:
                reached = last[0][0]
                span = span.up_to(reached, newest_first=self._newest_first)
        rows = [
            ExecutionRow._make(row)
            for row in await self._all(made.rows, **values, low=span.low, high=span.high, limit=self._limit)
        ]
        return Walked(rows, rows[-1].execution_id if len(rows) == self._limit else reached)

    async def listed(self, ids: Sequence[bytes], span: _Span) -> Walked:
        """Those of these executions that are let through."""
        shape = _Shape(None, self._columns, self._is_named, "", self._has_time, self._newest_first)
        made = _statements(shape)
        ordered = sorted((each for each in ids if span.low <= each < span.high), reverse=self._newest_first)
        rows: list[ExecutionRow] = []
        for some in in_parts(ordered):
            found = await self._all(made.rows, **self.values, ids=some, limit=self._limit - len(rows))
            rows += map(ExecutionRow._make, found)
            if len(rows) == self._limit:
                return Walked(rows, rows[-1].execution_id)
        return Walked(rows, None)


def _entered(walk: IndexWalk) -> dict[str, Any]:
    """The values by which an index is entered."""
    if walk.along == "ended_badly":
        return {"workflow": walk.value[0], "status": walk.value[1]}
    return {"workflow": walk.value} if walk.along == "workflow" else {"status": walk.value}


def _values_of(wanted: RunFilter) -> dict[str, Any]:
    """The values of a filter, by the names that statements have for them."""
    values: dict[str, Any] = {
        "organization_id": wanted.organization_id,
        "workspace_id": wanted.workspace_id,
        **{f"is_{column}": _some(accepted) for column, accepted in wanted.values.items()},
    }
    if wanted.error is not None:
        values["error"] = wanted.error
    if wanted.process_id is not None:
        first, above = begins_with(wanted.process_id)
        implied = ids_beginning_with(wanted.process_id) or (b"\xff", b"")
        values |= {"name_from": first, "name_below": above or _BEYOND_TEXT * 33}
        values |= {"implied_from": implied[0], "implied_to": implied[1]}
    values["created_from"] = -(2**63) if wanted.created_from is None else wanted.created_from
    values["created_to"] = 2**63 - 1 if wanted.created_to is None else wanted.created_to
    return values


def _some(accepted: Sequence[Any]) -> list[Any]:
    if not 0 < len(accepted) <= LIST_MAX:
        raise ValueError(f"a filter takes 1 to {LIST_MAX} values of a column; this one has {len(accepted)}")
    return list(accepted)


def _next(id_: bytes) -> bytes:
    """The least text of bytes above this one."""
    return id_ + b"\0"
