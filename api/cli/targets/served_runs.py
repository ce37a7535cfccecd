"""Runs, workflows and keys as a server shows them: all that is said of a run is folded from its events."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import nullcontext
from hashlib import sha256
from typing import Any, Final

from msgspec import UNSET, json, to_builtins

from perdure.api.cli.output import instant
from perdure.api.cli.runner import CommandFailed
from perdure.api.cli.targets.run_reader import ListedStatus
from perdure.api.cli.targets.server import Remote
from perdure.api.client.results import EventStored, PauseListed, RunListed, WorkflowShown
from perdure.api.client.runs import ENDED
from perdure.api.dialects.pauses import brief_json
from perdure.engine.services.pauses import PauseBrief

RUNS_AT_ONCE: Final = 30
ITEMS_AT_ONCE: Final = 100

ENDS: Final = ("ExecutionSucceeded", "ExecutionFailed", "ExecutionTimedOut", "ExecutionTerminated")

_WAIT: Final = (
    *("wait_id", "process_id", "execution_id", "workflow_id", "workflow_name", "state", "opened_at", "due_at"),
)
_WORKFLOW: Final = (
    *("id", "name", "description", "status", "version", "created_at", "created_by", "updated_at", "updated_by"),
)
_KEY: Final = ("id", "name", "scopes", "created_at", "expires_at", "revoked_at", "last_used_at")


class ServedRuns(Remote):
    """The runs that a key may see. Implements `api.cli.targets.run_reader.RunReader`."""

    def shown(self, run_id: str) -> dict[str, Any]:
        from perdure.api.cli.targets.folded_runs import shown  # noqa: PLC0415 the core, which who lists and follows has no use for

        return shown(self.client, list(self._events(run_id)))

    def drawn(self, run_id: str) -> str:
        from perdure.api.cli.targets.folded_runs import drawn  # noqa: PLC0415 likewise

        return drawn(self.client, list(self._events(run_id)))

    def history(self, workflow: str | None, limit: int, after: str | None) -> dict[str, Any]:
        workflow_id = None if workflow is None else self.workflow_id(workflow)
        items: list[dict[str, Any]] = []
        has_more = True
        while has_more and len(items) < limit:
            at_once = min(RUNS_AT_ONCE, limit - len(items))
            if workflow_id is None:
                page = self.client.executions(after=after, limit=at_once)
            else:
                page = self.client.history(workflow_id, after=after, limit=at_once)
            items += [{**_listed(item), "ended_at": self._ended_at(item)} for item in page.items]
            has_more = bool(page.last_key)
            after = items[-1]["execution_id"] if items else None
        return {"items": items, "after": after if has_more else None}

    def _ended_at(self, item: RunListed) -> str | None:
        """When a run of a page has ended: the last of its events are there, and that is nearly always among them."""
        if item.status not in ENDED:
            return None
        shown = item.workflow_event_log.events
        ended = next((instant(each["at"]) for each in shown if each["type"] in ENDS), None)
        if ended is None:
            last = self.client.execution_events(
                item.workflow_execution_id, order="desc", types=ENDS, limit=1, payloads="digest"
            )
            ended = last.data[0].at
        return ended

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
            total = found.meta.total
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

    def keys(self) -> dict[str, Any]:
        rows = map(to_builtins, self.client.iter_keys())
        return {"items": [{name: row[name] for name in _KEY} for row in rows]}

    def _events(self, run_id: str, *, follow: bool = False) -> Iterator[EventStored]:
        """The events of a run; to follow it goes on until the run has ended."""
        with self.of_run(run_id):
            yield from self.client.iter_execution_events(run_id, follow=follow)


def _listed(item: RunListed) -> dict[str, Any]:
    """A run on a page of the process API, as the command line shows it."""
    return {
        "execution_id": item.workflow_execution_id,
        "process_id": item.process_id,
        "workflow_id": item.workflow_id,
        "workflow_name": item.workflow_details.workflow_name,
        "workflow_version": item.workflow_version,
        "status": item.status,
        "state": item.workflow_current_state,
        "trigger": item.workflow_trigger_type,
        "created_at": instant(item.created_on),
        "modified_at": instant(item.modified_on),
        "modified_by": item.modified_by,
        "pause": None if item.pause is UNSET else _paused(item.pause),
    }


def _paused(pause: PauseListed) -> dict[str, Any]:
    return brief_json(PauseBrief(pause.since, pause.quota, pause.in_flight), instant)


def _workflow(shown: WorkflowShown) -> dict[str, Any]:
    """A workflow without its definition, as the command line shows it."""
    members = to_builtins(shown)
    return {name: members[name] for name in _WORKFLOW}
