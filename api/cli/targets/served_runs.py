"""Runs as a server shows them: what is said of one is folded from its events, as in its database."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

from perdure.api.cli.output import instant
from perdure.api.cli.runner import CommandFailed
from perdure.api.cli.step_lines import steps_json
from perdure.api.cli.targets.reader import run_json
from perdure.api.cli.targets.server import Remote
from perdure.engine.core import ids
from perdure.engine.core.events import Recorded
from perdure.engine.core.evolve import evolve
from perdure.engine.core.refs import Ref, resolve, seq_of
from perdure.engine.core.state import State, initial_state
from perdure.engine.core.transitions import TERMINAL
from perdure.engine.history import mermaid_run
from perdure.engine.language.instants import parse_instant
from perdure.engine.log.codec import EXECUTION, UnknownEvent, encode_json
from perdure.engine.log.projections import execution_row
from perdure.store.records import EventRow

EVENTS_AT_ONCE: Final = 500
RUNS_AT_ONCE: Final = 30
HELD_S: Final = 20
"""So long a server holds a call of who follows."""

ENDS: Final = ("ExecutionSucceeded", "ExecutionFailed", "ExecutionTimedOut", "ExecutionTerminated")

PROCESS: Final = "/v2/workflows"


class ServedRuns(Remote):
    """The runs that a key sees. Implements `api.cli.targets.reading.Runs`."""

    def shown(self, run_id: str) -> dict[str, Any]:
        told = [event for page in self._pages(run_id, follow=False) for event in page]
        recorded = [_recorded(event) for event in told]
        state = initial_state()
        for each in recorded:
            state = evolve(state, each)
        execution_id = told[0]["stream_id"]
        row = execution_row(ids.parse(execution_id), b"", state)
        process_id = (told[0]["payload"] or {}).get("process_id", execution_id)
        query = {"workflow_id": state.workflow, "workflow_execution_id": execution_id}
        item = self.send("GET", f"{PROCESS}/getWorkflowExecutionById", query=query)["item"]
        return {
            **run_json(row, process_id, item["workflow_details"]["workflow_name"]),
            "modified_by_name": next((e["actor_name"] for e in told if e["actor"] == row.modified_by), None),
            "parent_execution_id": None if state.parent is None else state.parent.execution,
            **_values(recorded, state),
            "steps": steps_json(recorded),
            "waits": [
                {"wait_id": wait, "state": opened.state, "opened_at": instant(opened.opened_at)}
                for wait, opened in state.open_waits()
            ],
        }

    def drawn(self, run_id: str) -> str:
        recorded = [_recorded(event) for page in self._pages(run_id, follow=False) for event in page]
        started: Any = recorded[0].event
        query = {"version": started.workflow_version}
        definition = self.send("GET", f"/v1/workflows/{started.workflow}", query=query)["data"]["definition"]
        return mermaid_run(definition, recorded)

    def history(self, workflow: str | None, limit: int, after: str | None) -> dict[str, Any]:
        path, query = f"{PROCESS}/getOrganizationExecutions", {}
        if workflow is not None:
            path, query = f"{PROCESS}/getWorkflowExecutionHistory", {"workflow_id": self.workflow_id(workflow)}
        items: list[dict[str, Any]] = []
        has_more = True
        while has_more and len(items) < limit:
            place = {} if after is None else {"workflow_execution_id": after}
            asked = {**query, **place, "limit": min(RUNS_AT_ONCE, limit - len(items))}
            page = self.send("GET", path, query=asked)
            items += [{**_listed(item), "ended_at": self._ended_at(item)} for item in page["items"]]
            has_more = "lastKey" in page
            after = items[-1]["execution_id"] if items else None
        return {"items": items, "after": after if has_more else None}

    def _ended_at(self, item: dict[str, Any]) -> str | None:
        """When a run of a page has ended: the last of its events are there, and that is nearly always among them."""
        if item["status"] not in TERMINAL:
            return None
        shown = item["workflow_event_log"]["events"]
        ended = next((instant(each["at"]) for each in shown if each["type"] in ENDS), None)
        if ended is None:
            path = f"/v1/executions/{item['workflow_execution_id']}/events"
            query = {"order": "desc", "types": ",".join(ENDS), "limit": 1, "payloads": "digest"}
            ended = self.send("GET", path, query=query)["data"][0]["at"]
        return ended

    def events(self, run_id: str, tell: Callable[[dict[str, Any]], None], *, follow: bool) -> None:
        for page in self._pages(run_id, follow=follow):
            for event in page:
                tell(event)

    def _pages(self, run_id: str, *, follow: bool) -> Iterator[list[dict[str, Any]]]:
        """The events of a run, page by page; to follow it goes on until the run has ended."""
        after, wait = 0, 0
        while True:
            query = {"after": after, "limit": EVENTS_AT_ONCE, "wait": wait}
            answer = self.of_run("GET", run_id, "events", None, query)
            yield answer["data"]
            meta = answer["meta"]
            after, wait = meta["after"], HELD_S if follow and not meta["has_more"] else 0
            if not meta["has_more"] and (not follow or meta["status"] in TERMINAL):
                return


def _recorded(event: dict[str, Any]) -> Recorded:
    """An event as the log has it, read by this program."""
    payload = None if event["payload"] is None else encode_json(event["payload"]).decode()
    row = EventRow(
        stream_id=ids.parse(event["stream_id"]),
        seq=event["seq"],
        organization_id=b"",
        type=event["type"],
        version=event["version"],
        recorded_at=_ms(event["at"]),
        actor=event["actor"],
        caused_by=event["caused_by"],
        data=encode_json(event["data"]).decode(),
        payload=payload,
        payload_salt=None,
        payload_digest=None,
        hash=bytes.fromhex(event["hash"]),
    )
    try:
        return EXECUTION.read(row)
    except UnknownEvent as error:
        raise CommandFailed(f"the server is of a newer version: {error}") from None


def _ms(at: str) -> int:
    instant_ms = parse_instant(at)
    if instant_ms is None:
        raise CommandFailed(f"the server says {at!r} where an instant is wanted: is it of another version?")
    return instant_ms


def _values(recorded: Sequence[Recorded], state: State) -> dict[str, Any]:
    """The values of a run; null where there is none, or it is erased."""
    payloads = {each.seq: each.payload for each in recorded if each.payload is not None}

    def value(reference: Ref | None) -> Any:
        return None if reference is None or seq_of(reference) not in payloads else resolve(reference, payloads)

    error = state.error if state.error is not None else value(state.error_ref)
    output = value(state.output) if state.status == "completed" else None
    return {"input": value(state.input), "output": output, "error": error, "cause": value(state.cause)}


def _listed(item: dict[str, Any]) -> dict[str, Any]:
    """A run on a page of the process API, as the command line shows it."""
    return {
        "execution_id": item["workflow_execution_id"],
        "process_id": item["process_id"],
        "workflow_id": item["workflow_id"],
        "workflow_name": item["workflow_details"]["workflow_name"],
        "workflow_version": item["workflow_version"],
        "status": item["status"],
        "state": item["workflow_current_state"],
        "trigger": item["workflow_trigger_type"],
        "created_at": instant(item["created_on"]),
        "modified_at": instant(item["modified_on"]),
        "modified_by": item["modified_by"],
    }
