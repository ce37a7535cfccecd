"""Runs, workflows and keys as they stand in a database: beside a server, after one that was killed, or at rest."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from typing import Any, Final

from perdure.api.dialects.pauses import pause_json
from perdure.api.http.bulk_json import bulk_json, bulk_whole_json
from perdure.api.http.event_json import event_json
from perdure.cli.filter_options import cursor_of
from perdure.cli.options import DatabaseScope
from perdure.cli.output import instant
from perdure.cli.runner import CommandFailed, run
from perdure.cli.targets.reader import (
    MADE_SHOWN_MAX,
    View,
    find_execution,
    find_workflow,
    key_json,
    queue_line,
    run_json,
    values_json,
    view,
    workflow_json,
)
from perdure.cli.targets.run_reader import ListedStatus
from perdure.engine.core import ids
from perdure.engine.core.transitions import TERMINAL
from perdure.engine.errors import NotFound
from perdure.engine.log.codec import decode_json
from perdure.engine.services.bulk_reads import BulkReads
from perdure.engine.services.finding import Finding, counts_json
from perdure.engine.services.queries import key_names
from perdure.engine.services.run_filters import Given, Sort
from perdure.store.records import StoredEvent, WorkflowRow, WorkflowVersionRow

AT_ONCE: Final = 500
"""So many events are held at a time."""

POLL_S: Final = 0.2
"""So often the log is looked at for what was added."""


class StoredRuns:
    """A workspace of a database. Implements `perdure.cli.targets.run_reader.RunReader`."""

    def __init__(self, scope: DatabaseScope) -> None:
        self._scope = scope

    def shown(self, run_id: str) -> dict[str, Any]:
        return run(_shown(self._scope, run_id))

    def drawn(self, run_id: str) -> str:
        return run(_drawn(self._scope, run_id))

    def history(
        self, workflow: str | None, filters: Given, sort: Sort, limit: int, after: str | None
    ) -> dict[str, Any]:
        return run(_history(self._scope, workflow, filters, sort, limit, after))

    def counts(self, workflow: str | None) -> dict[str, Any]:
        return run(_counts(self._scope, workflow))

    def events(self, run_id: str, tell: Callable[[dict[str, Any]], None], *, follow: bool) -> None:
        run(_events(self._scope, run_id, tell, follow=follow))

    def waits(self, workflow: str | None, process_id: str | None, limit: int, after: str | None) -> dict[str, Any]:
        return run(_waits(self._scope, workflow, process_id, limit, after))

    def workflows(self, search: str | None, status: ListedStatus | None, limit: int, page: int) -> dict[str, Any]:
        return run(_workflows(self._scope, search, status, limit, page))

    def workflow(self, wanted: str, version: int | None) -> dict[str, Any]:
        return run(_workflow(self._scope, wanted, version))

    def document(self, wanted: str, version: int | None, form: str) -> Any:
        return run(_document(self._scope, wanted, version, form))

    def schedules(self, workflow: str) -> dict[str, Any]:
        return run(_schedules(self._scope, workflow))

    def bulk_jobs(self, limit: int, after: str | None) -> dict[str, Any]:
        return run(_bulk_jobs(self._scope, limit, after))

    def bulk_job(self, bulk_id: str) -> dict[str, Any]:
        return run(_bulk_job(self._scope, bulk_id))

    def keys(self) -> dict[str, Any]:
        return run(_keys(self._scope))


async def _schedules(scope: DatabaseScope, workflow: str) -> dict[str, Any]:
    from perdure.api.dialects.resource.workflows.schedule_json import schedule_json  # noqa: PLC0415 time zones, likewise
    from perdure.engine.services.schedule_views import schedules_of, views_of  # noqa: PLC0415

    async with view(scope) as seen:
        row = await find_workflow(seen.store, seen.caller, workflow)
        now = time.time_ns() // 1_000_000
        views = await views_of(seen.store, await schedules_of(seen.store, [row.workflow_id]), now)
        return {"items": [schedule_json(each) for each in views]}


async def _shown(scope: DatabaseScope, run_id: str) -> dict[str, Any]:
    from perdure.cli.step_lines import steps_json  # noqa: PLC0415 the language, which no other command here needs

    async with view(scope) as seen:
        row = await find_execution(seen.store, seen.caller, run_id)
        shown = (await seen.reading.views([row]))[0]
        workflow = await seen.store.workflow(row.workflow_id)
        steps = steps_json(await seen.reading.events(row.execution_id))
        waits = await seen.store.waits_of(row.execution_id)
        actors = [row.modified_by or "", "" if shown.pause is None else shown.pause.by]
        names = await key_names(seen.store, seen.caller.organization_id, actors)
        made = await seen.store.executions_from(row.execution_id, limit=MADE_SHOWN_MAX)
        queue = await seen.reading.queue(row.execution_id)
        return {
            **run_json(row, shown.process_id, None if workflow is None else workflow.name),
            "modified_by_name": names.get(row.modified_by or ""),
            "parent_execution_id": None if row.parent_id is None else ids.text(row.parent_id),
            "origin_execution_id": None if row.origin_id is None else ids.text(row.origin_id),
            "made_execution_ids": [ids.text(each.execution_id) for each in made],
            "queue": None if queue is None else queue_line(queue.position, queue.limits),
            **values_json(shown),
            "pause": None if shown.pause is None else pause_json(shown.pause, instant),
            "paused_by_name": None if shown.pause is None else names.get(shown.pause.by),
            "steps": steps,
            "waits": [
                {"wait_id": ids.text(wait.wait_id), "state": wait.state, "opened_at": instant(wait.opened_at)}
                for wait in waits
                if wait.outcome is None
            ],
        }


async def _drawn(scope: DatabaseScope, run_id: str) -> str:
    from perdure.engine.history import mermaid_run  # noqa: PLC0415 likewise

    async with view(scope) as seen:
        row = await find_execution(seen.store, seen.caller, run_id)
        version = await seen.store.workflow_version(row.workflow_id, row.workflow_version)
        definition = {} if version is None else decode_json(version.definition)
        return mermaid_run(definition, await seen.reading.events(row.execution_id))


async def _history(
    scope: DatabaseScope, workflow: str | None, filters: Given, sort: Sort, limit: int, after: str | None
) -> dict[str, Any]:
    async with view(scope) as seen:
        given = dict(filters)
        if workflow is not None:
            given["workflow_id"] = ids.text((await find_workflow(seen.store, seen.caller, workflow)).workflow_id)
        after = cursor_of(after, given, sort)
        items: list[dict[str, Any]] = []
        has_more = True
        while has_more and len(items) < limit:
            page = await Finding(seen.store).page(seen.caller, given, sort=sort, after=after, limit=limit - len(items))
            items += [run_json(*found) for found in page.items]
            after, has_more = page.after, page.after is not None
        return {"items": items, "after": after}


async def _counts(scope: DatabaseScope, workflow: str | None) -> dict[str, Any]:
    async with view(scope) as seen:
        finding, workflow_id = Finding(seen.store), None
        if workflow is not None:
            workflow_id = (await find_workflow(seen.store, seen.caller, workflow)).workflow_id
        rows = await finding.counts(seen.caller, workflow_id=workflow_id)
        return counts_json(rows, await finding.names(list({row.workflow_id for row in rows})))


async def _events(scope: DatabaseScope, run_id: str, tell: Callable[[dict[str, Any]], None], *, follow: bool) -> None:
    async with view(scope) as seen:
        row = await find_execution(seen.store, seen.caller, run_id)
        async for some in pages(seen, row.execution_id, follow=follow):
            await tell_all(seen, some, tell)


async def tell_all(seen: View, some: list[StoredEvent], tell: Callable[[dict[str, Any]], None]) -> None:
    """Tell some events as JSON."""
    names = await key_names(seen.store, seen.caller.organization_id, {each.row.actor for each in some})
    for stored in some:
        tell(event_json(stored, names, decode_json))


async def pages(seen: View, execution_id: bytes, *, follow: bool) -> AsyncIterator[list[StoredEvent]]:
    """The events of a run, some at a time; to follow it goes on with those that are added until the run has ended."""
    after = 0
    while True:
        while some := await seen.store.events(execution_id, after=after, limit=AT_ONCE):
            yield some
            after = some[-1].row.seq
        row = await seen.store.execution(execution_id)
        if not follow or row is None or (row.status in TERMINAL and row.seq <= after):
            return
        await asyncio.sleep(POLL_S)


async def _waits(
    scope: DatabaseScope, workflow: str | None, process_id: str | None, limit: int, after: str | None
) -> dict[str, Any]:
    async with view(scope) as seen:
        workflow_id = execution_id = None
        if workflow is not None:
            workflow_id = (await find_workflow(seen.store, seen.caller, workflow)).workflow_id
        if process_id is not None:
            execution_id = (await find_execution(seen.store, seen.caller, process_id)).execution_id
        found = await seen.reading.open_waits(
            seen.caller,
            execution_id=execution_id,
            workflow_id=workflow_id,
            after=b"" if after is None else ids.parse(after),
            limit=limit + 1,
        )
        workflows = await seen.store.workflows_of(list({row.workflow_id for row, _ in found}))
        items = [
            {
                "wait_id": ids.text(row.wait_id),
                "process_id": name,
                "execution_id": ids.text(row.execution_id),
                "workflow_id": ids.text(row.workflow_id),
                "workflow_name": workflows[row.workflow_id].name if row.workflow_id in workflows else None,
                "state": row.state,
                "opened_at": instant(row.opened_at),
                "due_at": instant(row.due_at),
            }
            for row, name in found[:limit]
        ]
        return {"items": items, "after": items[-1]["wait_id"] if len(found) > limit else None}


async def _workflows(
    scope: DatabaseScope, search: str | None, status: ListedStatus | None, limit: int, page: int
) -> dict[str, Any]:
    async with view(scope) as seen:
        rows, total = await seen.reading.workflow_page(
            seen.caller, offset=(page - 1) * limit, limit=limit, status=status, search=search
        )
        return {"items": [workflow_json(row) for row in rows], "total": total, "page": page}


async def _workflow(scope: DatabaseScope, wanted: str, number: int | None) -> dict[str, Any]:
    async with view(scope) as seen:
        row, version = await _version(seen, wanted, number)
        return {
            **workflow_json(row),
            "shown_version": version.version,
            "published_at": instant(version.published_at),
            "definition_sha256": version.definition_digest.hex(),
            "definition": decode_json(version.definition),
        }


async def _document(scope: DatabaseScope, wanted: str, number: int | None, form: str) -> Any:
    from perdure.engine.services.documents import shown_as  # noqa: PLC0415 the language, likewise

    async with view(scope) as seen:
        _, version = await _version(seen, wanted, number)
        return shown_as(version, form)


async def _version(seen: View, wanted: str, number: int | None) -> tuple[WorkflowRow, WorkflowVersionRow]:
    """A workflow and that version of it, or its latest one. Raises `CommandFailed`."""
    row = await find_workflow(seen.store, seen.caller, wanted)
    version = await seen.store.workflow_version(row.workflow_id, number or row.latest_version)
    if version is None:
        raise CommandFailed(f"workflow {wanted!r} has no version {number}; its latest is {row.latest_version}")
    return row, version


async def _keys(scope: DatabaseScope) -> dict[str, Any]:
    async with view(scope) as seen:
        rows = await seen.store.api_keys(seen.caller.organization_id, seen.caller.workspace_id)
        uses = await seen.store.key_uses([row.key_id for row in rows])
        return {"items": [key_json(row, uses.get(row.key_id)) for row in rows]}


async def _bulk_jobs(scope: DatabaseScope, limit: int, after: str | None) -> dict[str, Any]:
    async with view(scope) as seen:
        before = None if after is None else ids.parse(after)
        rows, has_more = await BulkReads(seen.store).page(seen.caller, before=before, limit=limit)
        items = [bulk_json(row) for row in rows]
        return {"items": items, "after": items[-1]["id"] if has_more else None}


async def _bulk_job(scope: DatabaseScope, bulk_id: str) -> dict[str, Any]:
    async with view(scope) as seen:
        try:
            return bulk_whole_json(await BulkReads(seen.store).shown(seen.caller, ids.parse(bulk_id)))
        except NotFound as error:
            raise CommandFailed(error.message) from None
