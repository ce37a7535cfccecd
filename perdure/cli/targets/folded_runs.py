"""A run as it is folded from events that a server tells: all that is said of it, as from its database."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from msgspec import UNSET

from perdure.api.client import Client
from perdure.api.client.results import EventStored
from perdure.api.dialects.pauses import pause_json
from perdure.cli.output import instant
from perdure.cli.runner import CommandFailed
from perdure.cli.step_lines import steps_json
from perdure.cli.targets.reader import MADE_SHOWN_MAX, queue_line, run_json
from perdure.engine.core import ids
from perdure.engine.core.events import Recorded
from perdure.engine.core.evolve import evolve
from perdure.engine.core.refs import Ref, resolve, seq_of
from perdure.engine.core.state import State, initial_state
from perdure.engine.history import mermaid_run
from perdure.engine.language.instants import parse_instant
from perdure.engine.log.codec import EXECUTION, UnknownEvent, encode_json
from perdure.engine.log.projections import execution_row
from perdure.engine.services.pauses import PauseView, view_of
from perdure.store.records import EventRow, ExecutionRow


def shown(client: Client, told: Sequence[EventStored]) -> dict[str, Any]:
    """A run with its values, its steps and its open waits. Raises `CommandFailed`."""
    recorded = [_recorded(event) for event in told]
    state = initial_state()
    for each in recorded:
        state = evolve(state, each)
    execution_id = told[0].stream_id
    row = execution_row(ids.parse(execution_id), b"", state)
    process_id = (told[0].payload or {}).get("process_id", execution_id)
    item = client.execution(ids.text(row.workflow_id), execution_id)
    lineage = client.lineage(process_id)
    made = sorted(each.execution_id for each in (*lineage.reruns, *lineage.forks))
    pause = _pause(row, recorded)
    return {
        **run_json(row, process_id, item.workflow_details.workflow_name),
        "modified_by_name": _name_of(told, row.modified_by),
        "parent_execution_id": None if state.parent is None else state.parent.execution,
        "origin_execution_id": None if state.origin is None else state.origin.execution,
        "made_execution_ids": made[:MADE_SHOWN_MAX],
        "queue": None if item.queue is UNSET else queue_line(item.queue.position, item.queue.limits),
        **_values(recorded, state),
        "pause": None if pause is None else pause_json(pause, instant),
        "paused_by_name": None if pause is None else _name_of(told, pause.by),
        "steps": steps_json(recorded),
        "waits": [
            {"wait_id": wait, "state": opened.state, "opened_at": instant(opened.opened_at)}
            for wait, opened in state.open_waits()
        ],
    }


def _name_of(told: Sequence[EventStored], actor: str | None) -> str | None:
    """The name of an actor, as the events tell it."""
    return next((each.actor_name for each in told if each.actor == actor), None)


def drawn(client: Client, told: Sequence[EventStored]) -> str:
    """The drawing of its definition, with the way that it took. Raises `CommandFailed`."""
    recorded = [_recorded(event) for event in told]
    started: Any = recorded[0].event
    version = client.workflow(started.workflow, version=started.workflow_version)
    return mermaid_run(version.definition or {}, recorded)


def _pause(row: ExecutionRow, recorded: Sequence[Recorded]) -> PauseView | None:
    """The pause that the run is in, with what its event says."""
    return next((view_of(row, each) for each in recorded if each.seq == row.paused_seq), None)


def _recorded(event: EventStored) -> Recorded:
    """An event as the log has it, read by this program."""
    row = EventRow(
        stream_id=ids.parse(event.stream_id),
        seq=event.seq,
        organization_id=b"",
        type=event.type,
        version=event.version,
        recorded_at=_ms(event.at),
        actor=event.actor,
        caused_by=event.caused_by,
        data=encode_json(event.data).decode(),
        payload=encode_json(event.payload).decode() if isinstance(event.payload, dict) else None,
        payload_salt=None,
        payload_digest=None,
        hash=bytes.fromhex(event.hash),
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
