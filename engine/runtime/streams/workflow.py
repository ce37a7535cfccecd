"""Workflows as streams: their decider, and the rows that show them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from perdure.engine.core import events, ids
from perdure.engine.core import workflow as workflows
from perdure.engine.core.decision import Facts, Outcome
from perdure.engine.core.draft import DraftedEvent
from perdure.engine.core.refs import Payloads, resolve
from perdure.engine.core.settings import settings_text
from perdure.engine.log.codec import Vocabulary
from perdure.engine.runtime.streams.administrative import AdministrativeStreamType
from perdure.engine.runtime.streams.stream import HotStream, Rows
from perdure.store.records import StreamKind, WorkflowRow, WorkflowVersionRow


class WorkflowStreamType(AdministrativeStreamType):
    """The stream type of workflows."""

    name: StreamKind = "workflow"
    vocabulary = Vocabulary(workflows.EVENTS)

    def initial(self) -> workflows.WorkflowState:
        return workflows.WorkflowState()

    def evolve(self, state: workflows.WorkflowState, recorded: events.Recorded) -> workflows.WorkflowState:
        return workflows.evolve(state, recorded)

    def creates(self, command: Any) -> bool:
        return isinstance(command, workflows.CreateWorkflow)

    def decide(self, hot: HotStream, command: Any, facts: Facts) -> Outcome:
        return workflows.decide(hot.state, command, now=facts.now, actor=facts.actor)

    def rows(self, hot: HotStream, steps: Sequence[DraftedEvent], command: Any) -> Rows:
        before: workflows.WorkflowState = hot.state
        state: workflows.WorkflowState = steps[-1].state
        payloads = {**hot.payloads, **{s.recorded.seq: s.recorded.payload for s in steps}}
        whose = (hot.stream_id, hot.organization_id)
        changed = [n for n, version in state.versions.items() if before.versions.get(n) != version]
        return Rows(
            [
                workflow_row(state, payloads, *whose),
                *(version_row(n, state, _definition(command, state.versions[n]), *whose) for n in changed),
            ],
        )


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
        status=state.status,
        latest_version=state.latest,
        created_at=state.created_at,
        created_by=state.created_by,
        modified_at=state.recorded_at,
        modified_by=state.modified_by,
    )


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
    )


def _definition(command: Any, version: workflows.Version) -> workflows.Definition:
    """The definition that a command carries for a version: the new one, or that of the draft it publishes."""
    carried: list[workflows.Definition | None] = [command.definition, getattr(command, "current", None)]
    return next(d for d in carried if d is not None and d.sha256 == version.definition_sha256)
