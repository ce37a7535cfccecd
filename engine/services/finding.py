"""Runs found by filter, and counted: read from the store and never through the writer."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from perdure.engine.core import ids
from perdure.engine.errors import Invalid, NotFound
from perdure.engine.runtime.callers import Caller
from perdure.engine.services.run_filters import STATUSES, Given, Sort, cursor, position_of, run_filter
from perdure.engine.services.unseen import Unseen
from perdure.store.protocols import Store
from perdure.store.records import CountRow, ExecutionRow
from perdure.store.run_filter import TIME_BYTES, RunFilter

COUNT_AT_ONCE: Final = 1000
COUNT_LOOKS_MAX: Final = 200
"""So many pages a count looks at: beyond that it says how many there are at least."""


OFFSET_MAX: Final = 10_000
"""So many runs may come before a page that is asked for by its number; a cursor goes further, and costs less."""


class FoundRun(NamedTuple):
    """A run of a page: its row, the caller's name for it, and its workflow's name."""

    row: ExecutionRow
    process_id: str
    workflow_name: str | None


class PageOfRuns(NamedTuple):
    """A page of runs; `after` asks for the next, null if there is none. It may be short, though there are more."""

    items: list[FoundRun]
    after: str | None


class NumberedRuns(NamedTuple):
    """A page of runs that was asked for by its number; `after` asks for the next."""

    items: list[FoundRun]
    after: str | None
    total: Counted


class Counted(NamedTuple):
    """The number of runs that a filter lets through; if it `is_exact`, else at least so many."""

    total: int
    is_exact: bool


class Finding:
    """Reads of many runs, limited to the caller's workspace."""

    def __init__(self, store: Store, unseen: Unseen | None = None) -> None:
        self._store = store
        self._unseen = unseen or Unseen(store)

    async def page(
        self,
        caller: Caller,
        given: Given,
        *,
        sort: Sort = "newest",
        after: str | None = None,
        limit: int = 20,
        field: str = "after",
    ) -> PageOfRuns:
        """A page of the runs that the filters let through. Raises `Invalid`, `NotFound` (the workflow).

        `field` is what the caller sent `after` as.
        """
        wanted = await self.wanted(caller, given)
        beyond = None if after is None else position_of(after, given, sort, field)
        found = await self._store.find_executions(wanted, newest_first=sort == "newest", beyond=beyond, limit=limit + 1)
        rows, position, is_end = found.rows[:limit], found.position, found.is_end
        if len(found.rows) > limit:
            position, is_end = rows[-1].execution_id, False
        if unseen := await self._unseen.by(caller):
            rows = [row for row in rows if row.workflow_id not in unseen]
        if not is_end:
            position = own_position(position, rows, beyond, is_newest_first=sort == "newest")
        return PageOfRuns(await self._shown(rows), None if is_end else cursor(given, sort, position))

    async def numbered(
        self, caller: Caller, given: Given, *, sort: Sort = "newest", offset: int, limit: int = 20
    ) -> NumberedRuns:
        """The runs beyond so many of them, and how many there are in all.

        Raises `Invalid` (at most `OFFSET_MAX` come before a page), `NotFound` (the workflow).
        """
        if offset > OFFSET_MAX:
            message = f"page: at most {OFFSET_MAX:,} runs may come before a page; a cursor goes on further"
            raise Invalid(message, {"field": "page", "limit": OFFSET_MAX})
        total = await self._total(caller, await self.wanted(caller, given), given)
        page = await self.page_at(caller, given, sort=sort, offset=offset, limit=limit)
        return NumberedRuns(page.items, page.after, total)

    async def page_at(
        self, caller: Caller, given: Given, *, sort: Sort = "newest", offset: int, limit: int = 20
    ) -> PageOfRuns:
        """A page of runs beyond so many of them; each costs more than the one before.

        It is full unless there are no more, or it takes more looks than a count. Raises what `page` does.
        """
        wanted, unseen = await self.wanted(caller, given), await self._unseen.by(caller)
        rows, left, beyond, is_end, looks = list[ExecutionRow](), offset, None, False, 0
        while len(rows) <= limit and not is_end and looks < COUNT_LOOKS_MAX:
            most = min(COUNT_AT_ONCE, left + limit + 1 - len(rows))
            found = await self._store.find_executions(wanted, newest_first=sort == "newest", beyond=beyond, limit=most)
            seen = [row for row in found.rows if row.workflow_id not in unseen]
            rows += seen[left:]
            left -= min(left, len(seen))
            beyond, is_end, looks = found.position, found.is_end, looks + 1
        page = rows[:limit]
        if len(rows) > limit:
            return PageOfRuns(await self._shown(page), cursor(given, sort, page[-1].execution_id))
        if is_end or beyond is None:
            return PageOfRuns(await self._shown(page), None)
        position = own_position(beyond, page, None, is_newest_first=sort == "newest")
        return PageOfRuns(await self._shown(page), cursor(given, sort, position))

    async def wanted(self, caller: Caller, given: Given) -> RunFilter:
        """What the filters mean in the caller's workspace. Raises `Invalid`, `NotFound` (the workflow)."""
        wanted = run_filter(caller, given)
        for workflow_id in wanted.values.get("workflow_id", ()):
            await self._check(caller, workflow_id)
        return wanted

    async def _total(self, caller: Caller, wanted: RunFilter, given: Given) -> Counted:
        """How many runs a filter lets through: read where they are counted, if no more than that is asked for."""
        if given.keys() - {"workflow_id", "status"}:
            return await self.count(caller, wanted)
        (workflow_id,) = wanted.values.get("workflow_id", (None,))
        statuses = wanted.values.get("status", STATUSES)
        rows = await self.counts(caller, workflow_id=workflow_id)
        return Counted(sum(row.total for row in rows if row.status in statuses), is_exact=True)

    async def counts(self, caller: Caller, *, workflow_id: bytes | None = None) -> list[CountRow]:
        """How many runs there are by workflow and status. Raises `NotFound` (the workflow)."""
        if workflow_id is not None:
            await self._check(caller, workflow_id)
        rows = await self._store.execution_counts(caller.workspace_id, workflow_id=workflow_id)
        unseen = await self._unseen.by(caller)
        return [row for row in rows if row.workflow_id not in unseen] if unseen else rows

    async def count(self, caller: Caller, wanted: RunFilter, *, looks_max: int = COUNT_LOOKS_MAX) -> Counted:
        """Count what a filter lets through, a bounded piece at a time, and so many pieces at the most."""
        total, beyond = 0, None
        unseen = await self._unseen.by(caller)
        for _ in range(looks_max):
            found = await self._store.find_executions(wanted, beyond=beyond, limit=COUNT_AT_ONCE)
            total += sum(row.workflow_id not in unseen for row in found.rows)
            if found.is_end:
                return Counted(total, is_exact=True)
            beyond = found.position
        return Counted(total, is_exact=False)

    async def names(self, workflow_ids: list[bytes]) -> dict[bytes, str]:
        """The names of workflows."""
        return {key: row.name for key, row in (await self._store.workflows_of(workflow_ids)).items()}

    async def _check(self, caller: Caller, workflow_id: bytes) -> None:
        row = await self._store.workflow(workflow_id)
        if row is None or not caller.sees(row):
            raise NotFound(f"there is no workflow {ids.text(workflow_id)}")

    async def _shown(self, rows: list[ExecutionRow]) -> list[FoundRun]:
        chosen = await self._store.process_ids_of([row.execution_id for row in rows])
        names = await self.names(list({row.workflow_id for row in rows})) if rows else {}
        return [
            FoundRun(row, chosen.get(row.execution_id, ids.text(row.execution_id)), names.get(row.workflow_id))
            for row in rows
        ]


def own_position(
    position: bytes, rows: Sequence[ExecutionRow], beyond: bytes | None, *, is_newest_first: bool
) -> bytes:
    """A position that is as good, and tells of no run but the caller's: a cursor has it in it.

    A walk may have ended at a run of another workspace. It is as right to go on from the edge of the millisecond in
    which that began, or from a run of the page that is nearer, unless the page began there: it would not move on.
    """
    if rows and rows[-1].execution_id == position:
        return position
    start = int.from_bytes(position[:TIME_BYTES], "big") + is_newest_first
    edge = start.to_bytes(TIME_BYTES + 1, "big")[1:] + bytes(len(position) - TIME_BYTES)
    nearest = [edge, *(row.execution_id for row in rows[-1:])]
    found = min(nearest) if is_newest_first else max(nearest)
    is_further = beyond is None or (found < beyond if is_newest_first else found > beyond)
    return found if is_further else position


def counts_json(rows: Sequence[CountRow], names: Mapping[bytes, str]) -> dict[str, Any]:
    """Counts as they are shown, everywhere alike."""
    by_workflow: dict[bytes, list[CountRow]] = {}
    for row in rows:
        by_workflow.setdefault(row.workflow_id, []).append(row)
    return {
        **_summed(rows),
        "by_workflow": [
            {"workflow_id": ids.text(workflow), "workflow_name": names.get(workflow), **_summed(some)}
            for workflow, some in by_workflow.items()
        ],
    }


def _summed(rows: Iterable[CountRow]) -> dict[str, Any]:
    totals = Counter[str]()
    for row in rows:
        totals[row.status] += row.total
    return {"total": totals.total(), "by_status": {each: totals[each] for each in STATUSES if totals[each]}}
