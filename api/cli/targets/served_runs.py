"""Runs as a server shows them: what is said of one is folded from its events, as in its database."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final

from msgspec import to_builtins

from perdure.api.cli.output import instant
from perdure.api.cli.targets.server import Remote
from perdure.api.client.results import EventStored, RunListed
from perdure.api.client.runs import ENDED

RUNS_AT_ONCE: Final = 30

ENDS: Final = ("ExecutionSucceeded", "ExecutionFailed", "ExecutionTimedOut", "ExecutionTerminated")


class ServedRuns(Remote):
    """The runs that a key sees. Implements `api.cli.targets.reading.RunReader`."""

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
    }
