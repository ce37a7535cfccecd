"""Workflows as streams: their decider, and the rows that show them."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from perdure.engine.core import events, ids, schedules
from perdure.engine.core import workflow as workflows
from perdure.engine.core.decision import Facts, Outcome
from perdure.engine.core.draft import DraftedEvent
from perdure.engine.core.refs import Payloads, resolve, seq_of
from perdure.engine.core.settings import settings_text
from perdure.engine.log.codec import Vocabulary, encode_json
from perdure.engine.log.snapshots import EVERY
from perdure.engine.runtime.streams.administrative import AdministrativeStreamType
from perdure.engine.runtime.streams.stream import HotStream, Rows
from perdure.store.records import Row, ScheduleRow, StreamKind, WorkflowRow, WorkflowVersionRow
from perdure.store.viewer import listed


class WorkflowStreamType(AdministrativeStreamType):
    """The stream type of workflows. One that has schedules may be long, so it has snapshots."""

    snapshot_due = EVERY
    name: StreamKind = "workflow"
    vocabulary = Vocabulary(workflows.EVENTS)

    def initial(self) -> workflows.WorkflowState:
        return workflows.WorkflowState()

    def evolve(self, state: workflows.WorkflowState, recorded: events.Recorded) -> workflows.WorkflowState:
        return workflows.evolve(state, recorded)

    def creates(self, command: Any) -> bool:
        return isinstance(command, workflows.CreateWorkflow)

    def decide(self, hot: HotStream, command: Any, facts: Facts) -> Outcome:
        return workflows.decide(hot.state, command, now=facts.now, actor=facts.actor, new_id=facts.new_id)

    def rows(self, hot: HotStream, steps: Sequence[DraftedEvent], command: Any) -> Rows:
        before: workflows.WorkflowState = hot.state
        state: workflows.WorkflowState = steps[-1].state
        payloads = {**hot.payloads, **{s.recorded.seq: s.recorded.payload for s in steps}}
        whose = (hot.stream_id, hot.organization_id)
        puts: list[Row] = []
        if any(not isinstance(step.recorded.event, schedules.RUN_EVENTS) for step in steps):
            changed = [n for n, version in state.versions.items() if before.versions.get(n) != version]
            puts.append(workflow_row(state, payloads, *whose))
            puts += [version_row(n, state, _definition(command, state.versions[n]), *whose) for n in changed]
        named = dict.fromkeys(getattr(step.recorded.event, "schedule", "") for step in steps)
        is_switched = (before.is_paused, before.status) != (state.is_paused, state.status)
        shown = state.schedules if is_switched else [name for name in named if name in state.schedules]
        puts += [schedule_row(name, state, *whose) for name in shown]
        gone = [name for name in named if name in before.schedules and name not in state.schedules]
        return Rows(puts, [schedule_row(name, before, *whose) for name in gone])

    def live_seqs(self, state: workflows.WorkflowState) -> frozenset[int] | None:
        return frozenset(seq_of(reference) for reference in (state.name, state.description) if reference)


def workflow_row(
    state: workflows.WorkflowState, payloads: Payloads, workflow_id: bytes, organization_id: bytes
) -> WorkflowRow:
    """A workflow as its state shows it."""
    return WorkflowRow(
        workflow_id=workflow_id,
        organization_id=organization_id,
        workspace_id=ids.parse(state.workspace),
        name=resolve(state.name, payloads),
        description=resolve(state.description, payloads) if state.description else None,
        status="paused" if state.is_paused and not state.is_archived else state.status,
        latest_version=state.latest,
        created_at=state.created_at,
        created_by=state.created_by,
        modified_at=state.modified_at,
        modified_by=state.modified_by,
        visibility=state.sharing.visibility,
        owner=state.owner,
        shared_users=listed(state.sharing.users),
        shared_roles=listed(state.sharing.roles),
    )


def schedule_row(name: str, state: workflows.WorkflowState, workflow_id: bytes, organization_id: bytes) -> ScheduleRow:
    """A schedule of a workflow as its state shows it."""
    each = state.schedules[name]
    return ScheduleRow(
        schedule_id=ids.parse(name),
        workflow_id=workflow_id,
        organization_id=organization_id,
        workspace_id=ids.parse(state.workspace),
        status="removed" if each.is_removed else "active" if each.is_enabled else "paused",
        timing=_timing(each.timing),
        overlap=each.overlap,
        catch_up=each.catch_up,
        is_main=int(each.is_main),
        input_ref=each.input,
        due_at=each.next_at if schedules.is_active(state, each) else None,
        next_at=None if state.is_archived else each.next_at,
        buffered_at=each.buffered,
        last_run_id=None if each.last_run is None else ids.parse(each.last_run),
        starting=len(each.starting),
        decisions=",".join(map(str, each.recent)),
        revision=each.revision,
        created_at=each.created_at,
        created_by=each.created_by,
        modified_at=each.modified_at,
        modified_by=each.modified_by,
    )


@lru_cache(maxsize=1024)
def _timing(timing: schedules.Timing) -> str:
    return encode_json(timing).decode()


def version_row(
    number: int,
    state: workflows.WorkflowState,
    definition: workflows.Definition,
    workflow_id: bytes,
    organization_id: bytes,
) -> WorkflowVersionRow:
    """A version of it, with its definition, which is kept beside the log."""
    version = state.versions[number]
    return WorkflowVersionRow(
        workflow_id=workflow_id,
        version=number,
        organization_id=organization_id,
        workspace_id=ids.parse(state.workspace),
        definition=definition.text,
        definition_digest=bytes.fromhex(definition.sha256),
        mock_payload=definition.mock_payload,
        created_at=version.created_at,
        created_by=version.created_by,
        published_at=version.published_at,
        resume=version.settings.resume,
        settings=settings_text(version.settings),
        format="asl" if version.source is None else version.source.format,
        source=None if definition.source is None else definition.source.text,
        outline=None if definition.source is None else definition.source.outline,
        summary=definition.summary,
    )


def _definition(command: Any, version: workflows.Version) -> workflows.Definition:
    """The definition that a command carries for a version: the new one, or that of the draft it publishes."""
    carried: list[workflows.Definition | None] = [command.definition, getattr(command, "current", None)]
    return next(each for each in carried if each is not None and _is_of(each, version))


def _is_of(definition: workflows.Definition, version: workflows.Version) -> bool:
    source = None if definition.source is None else definition.source.digested()
    return (definition.sha256, source) == (version.definition_sha256, version.source)
