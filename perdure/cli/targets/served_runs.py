"""Runs, workflows and keys as a server shows them: all that is said of a run is folded from its events."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import nullcontext
from hashlib import sha256
from typing import Any, Final

from msgspec import json, to_builtins

from perdure.api.client.results import EventStored, WorkflowShown
from perdure.cli.filter_options import cursor_of
from perdure.cli.runner import CommandFailed
from perdure.cli.targets.run_reader import ListedStatus
from perdure.cli.targets.server import Remote, as_sent
from perdure.engine.services.run_filters import Given, Sort

ITEMS_AT_ONCE: Final = 100

_RUN: Final = (
    *("execution_id", "process_id", "workflow_id", "workflow_name", "workflow_version", "status", "state", "trigger"),
    *("created_at", "modified_at", "modified_by", "pause", "ended_at"),
)
_WAIT: Final = (
    *("wait_id", "process_id", "execution_id", "workflow_id", "workflow_name", "state", "opened_at", "due_at"),
)
_WORKFLOW: Final = (
    *("id", "name", "description", "status", "version", "created_at", "created_by", "updated_at", "updated_by"),
)
_KEY: Final = (
    *("id", "name", "scopes", "mode", "user_id", "role_ids"),
    *("created_at", "expires_at", "revoked_at", "last_used_at"),
)


class ServedRuns(Remote):
    """The runs that a key may see. Implements `perdure.cli.targets.run_reader.RunReader`."""

    def shown(self, run_id: str) -> dict[str, Any]:
        from perdure.cli.targets.folded_runs import shown  # noqa: PLC0415 the core, which who lists and follows has no use for

        return shown(self.client, list(self._events(run_id)))

    def drawn(self, run_id: str) -> str:
        from perdure.cli.targets.folded_runs import drawn  # noqa: PLC0415 likewise

        return drawn(self.client, list(self._events(run_id)))

    def schedules(self, workflow: str) -> dict[str, Any]:
        return {"items": [to_builtins(each) for each in self.client.schedules(self.workflow_id(workflow))]}

    def history(
        self, workflow: str | None, filters: Given, sort: Sort, limit: int, after: str | None
    ) -> dict[str, Any]:
        given = {**filters, **({} if workflow is None else {"workflow_id": self.workflow_id(workflow)})}
        after = cursor_of(after, given, sort)
        items: list[dict[str, Any]] = []
        has_more = True
        while has_more and len(items) < limit:
            at_once = min(ITEMS_AT_ONCE, limit - len(items))
            page = self.client.find_executions(as_sent(given), sort=sort, after=after, limit=at_once)
            items += [{**to_builtins(item), "status": item.status_detail} for item in page.data]
            after, has_more = page.meta.after, page.meta.has_more
        return {"items": [{name: item[name] for name in _RUN} for item in items], "after": after}

    def counts(self, workflow: str | None) -> dict[str, Any]:
        workflow_id = None if workflow is None else self.workflow_id(workflow)
        counted: dict[str, Any] = to_builtins(self.client.execution_counts(workflow_id=workflow_id))
        return counted

    def events(self, run_id: str, tell: Callable[[dict[str, Any]], None], *, follow: bool) -> None:
        for event in self._events(run_id, follow=follow):
            tell(to_builtins(event))

    def waits(self, workflow: str | None, process_id: str | None, limit: int, after: str | None) -> dict[str, Any]:
        workflow_id = None if workflow is None else self.workflow_id(workflow)
        items: list[dict[str, Any]] = []
        has_more = True
        while has_more and len(items) < limit:
            at_once = min(ITEMS_AT_ONCE, limit - len(items))
            with nullcontext() if process_id is None else self.of_run(process_id):
                page = self.client.waits(process_id=process_id, workflow_id=workflow_id, after=after, limit=at_once)
            items += map(to_builtins, page.data)
            after, has_more = page.meta.after, page.meta.has_more
        names = {each: self._name(each) for each in {item["workflow_id"] for item in items}}
        items = [{**item, "workflow_name": names[item["workflow_id"]]} for item in items]
        return {"items": [{name: item[name] for name in _WAIT} for item in items], "after": after if has_more else None}

    def _name(self, workflow_id: str) -> str | None:
        """The name of a workflow; null if the key may not see workflows."""
        try:
            return self.client.workflow(workflow_id).name
        except CommandFailed:
            return None

    def workflows(self, search: str | None, status: ListedStatus | None, limit: int, page: int) -> dict[str, Any]:
        start = (page - 1) * limit  # a server's pages may be shorter
        number, items = start // ITEMS_AT_ONCE, list[WorkflowShown]()
        total = start + limit
        while number * ITEMS_AT_ONCE < min(start + limit, total):
            number += 1
            found = self.client.workflows(page=number, limit=ITEMS_AT_ONCE, status=status, search=search)
            items += found.data
            total = found.meta.total or 0
        cut = items[start % ITEMS_AT_ONCE :][:limit]
        return {"items": [_workflow(each) for each in cut], "total": total, "page": page}

    def workflow(self, wanted: str, version: int | None) -> dict[str, Any]:
        shown = self.client.workflow(self.workflow_id(wanted), version=version)
        return {
            **_workflow(shown),
            "shown_version": shown.shown_version,
            "published_at": shown.published_at,
            "definition_sha256": sha256(json.encode(shown.definition)).hexdigest(),
            "definition": shown.definition,
        }

    def document(self, wanted: str, version: int | None, form: str) -> Any:
        from perdure.engine.language.formats.projections import PROJECTIONS  # noqa: PLC0415 no other command needs it

        shown = self.client.workflow(self.workflow_id(wanted), version=version, expand="document")
        if shown.format == form:
            return shown.document
        return PROJECTIONS[form](self.workflow(wanted, version)["definition"])

    def bulk_jobs(self, limit: int, after: str | None) -> dict[str, Any]:
        items: list[dict[str, Any]] = []
        has_more = True
        while has_more and len(items) < limit:
            page = self.client.bulk_jobs(after=after, limit=min(ITEMS_AT_ONCE, limit - len(items)))
            items += map(to_builtins, page.data)
            after, has_more = page.meta.after, page.meta.has_more
        return {"items": items, "after": after}

    def bulk_job(self, bulk_id: str) -> dict[str, Any]:
        found: dict[str, Any] = to_builtins(self.client.bulk_job(bulk_id))
        return found

    def keys(self) -> dict[str, Any]:
        rows = map(to_builtins, self.client.iter_keys())
        return {"items": [{name: row[name] for name in _KEY} for row in rows]}

    def _events(self, run_id: str, *, follow: bool = False) -> Iterator[EventStored]:
        """The events of a run; to follow it goes on until the run has ended."""
        with self.of_run(run_id):
            yield from self.client.iter_execution_events(run_id, follow=follow)


def _workflow(shown: WorkflowShown) -> dict[str, Any]:
    """A workflow without its definition, as the command line shows it."""
    members = to_builtins(shown)
    return {name: members[name] for name in _WORKFLOW}
