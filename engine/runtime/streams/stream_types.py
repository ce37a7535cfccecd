"""The kinds of streams, each with its own fold, its own rules and its own rows; the processor treats all alike."""

from __future__ import annotations

import sys
from collections import ChainMap
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple, Protocol

from perdure.engine.core import events, ids
from perdure.engine.core import organization as organizations
from perdure.engine.core import workflow as workflows
from perdure.engine.core.commands import Trigger
from perdure.engine.core.decide import decide
from perdure.engine.core.decision import Facts, Outcome
from perdure.engine.core.draft import DraftedEvent
from perdure.engine.core.evolve import evolve
from perdure.engine.core.live import live_seqs
from perdure.engine.core.refs import Payloads, resolve
from perdure.engine.core.state import State, initial_state
from perdure.engine.log import projections
from perdure.engine.log.codec import EXECUTION, Vocabulary
from perdure.engine.log.snapshots import EVERY
from perdure.engine.runtime.streams.stream import HotStream
from perdure.store.records import (
    ApiKeyRow,
    Ending,
    OrganizationRow,
    Row,
    StreamKind,
    TimerRow,
    WorkflowRow,
    WorkflowVersionRow,
    WorkspaceRow,
)

ENDINGS_FROM: Final = 256
"""So many waits and timers that are over at once are told to the store in one row, and not in as many."""


class Rows(NamedTuple):
    """Rows that go with a stream's events."""

    puts: Sequence[Row]
    deletes: Sequence[TimerRow] = ()
    endings: Sequence[Ending] = ()


NO_ROWS = Rows(())


class StreamType(Protocol):
    """One kind of stream. From seq `snapshot_due` on a stream is worth its first snapshot."""

    name: StreamKind
    vocabulary: Vocabulary
    snapshot_due: int

    def initial(self) -> Any:
        """The state before the first event."""
        ...

    def evolve(self, state: Any, recorded: events.Recorded) -> Any: ...

    def decide(self, hot: HotStream, command: Any, facts: Facts) -> Outcome: ...

    def creates(self, command: Any) -> bool:
        """Whether the command is the first of a new stream."""
        ...

    def rows(self, hot: HotStream, steps: Sequence[DraftedEvent], command: Any) -> Rows:
        """The rows that one decision's events ask for; `hot` is still as before. The state's own row is `row`'s."""
        ...

    def row(self, state: Any, stream_id: bytes, organization_id: bytes) -> Row | None:
        """The row that shows the whole state, put once a batch."""
        ...

    def live_seqs(self, state: Any) -> frozenset[int] | None:
        """Seqs of the payloads that a later decision may look at; `None`: all."""
        ...

    def width(self, state: Any) -> int:
        """How many places `live_seqs` looks at."""
        ...

    def is_idle(self, state: Any) -> bool:
        """Whether the stream only waits, so that nothing of it needs to stay in memory."""
        ...


class ExecutionStreamType:
    """Executions."""

    name: StreamKind = "execution"
    vocabulary = EXECUTION
    snapshot_due = EVERY

    def initial(self) -> State:
        return initial_state()

    def evolve(self, state: State, recorded: events.Recorded) -> State:
        return evolve(state, recorded)

    def creates(self, command: Any) -> bool:
        return isinstance(command, Trigger)

    def decide(self, hot: HotStream, command: Any, facts: Facts) -> Outcome:
        return decide(hot.state, command, facts)

    def rows(self, hot: HotStream, steps: Sequence[DraftedEvent], command: Any) -> Rows:  # noqa: ARG002 one of a kind
        if not projections.has_changed(hot.state, steps):
            return NO_ROWS
        whose = (hot.stream_id, hot.organization_id)
        found = projections.changes(*whose, hot.state, steps, endings_from=ENDINGS_FROM)
        return Rows([*found.waits, *found.timers], found.timers_gone, found.endings)

    def row(self, state: State, stream_id: bytes, organization_id: bytes) -> Row | None:
        return projections.execution_row(stream_id, organization_id, state)

    def live_seqs(self, state: State) -> frozenset[int] | None:
        return live_seqs(state)

    def width(self, state: State) -> int:
        return len(state.frames)

    def is_idle(self, state: State) -> bool:
        return state.is_idle


class _AdministrativeStreamType:
    """What workflows and organizations share: they are rare, and keep all their payloads at hand."""

    snapshot_due = sys.maxsize

    def row(self, state: Any, stream_id: bytes, organization_id: bytes) -> Row | None:  # noqa: ARG002 one of a kind
        return None

    def live_seqs(self, state: Any) -> frozenset[int] | None:  # noqa: ARG002
        return None

    def width(self, state: Any) -> int:  # noqa: ARG002
        return 0

    def is_idle(self, state: Any) -> bool:  # noqa: ARG002
        return True


class WorkflowStreamType(_AdministrativeStreamType):
    """Workflows."""

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
        resume=version.resume,
    )


def _definition(command: Any, version: workflows.Version) -> workflows.Definition:
    """The definition that a command carries for a version: the new one, or that of the draft it publishes."""
    carried: list[workflows.Definition | None] = [command.definition, getattr(command, "current", None)]
    return next(d for d in carried if d is not None and d.sha256 == version.definition_sha256)


class OrganizationStreamType(_AdministrativeStreamType):
    """Organizations. They stay in memory: to fold all their keys anew for each further one would cost the more."""

    name: StreamKind = "organization"
    vocabulary = Vocabulary(organizations.EVENTS)

    def initial(self) -> organizations.OrganizationState:
        return organizations.OrganizationState()

    def evolve(
        self, state: organizations.OrganizationState, recorded: events.Recorded
    ) -> organizations.OrganizationState:
        return organizations.evolve(state, recorded)

    def creates(self, command: Any) -> bool:
        return isinstance(command, organizations.CreateOrganization)

    def decide(self, hot: HotStream, command: Any, facts: Facts) -> Outcome:
        return organizations.decide(hot.state, command, now=facts.now, actor=facts.actor, payloads=facts.payloads)

    def rows(self, hot: HotStream, steps: Sequence[DraftedEvent], command: Any) -> Rows:
        before: organizations.OrganizationState = hot.state
        state: organizations.OrganizationState = steps[-1].state
        payloads: Payloads = ChainMap({s.recorded.seq: s.recorded.payload for s in steps}, hot.payloads)
        organization, at = hot.organization_id, state.recorded_at
        puts: list[Row] = []
        if not before.seq:
            puts.append(OrganizationRow(organization, command.name, command.secret, at))
        for workspace, seq in state.workspaces.items():
            if workspace not in before.workspaces:
                puts.append(WorkspaceRow(ids.parse(workspace), organization, payloads[seq]["name"], at))
        keys = (change.after for change in state.keys.changes_from(before.keys))
        puts += [key_row(key, organization, payloads) for key in keys if key is not None]
        return Rows(puts)

    def is_idle(self, state: Any) -> bool:  # noqa: ARG002
        return False


def key_row(key: organizations.ApiKey, organization: bytes, payloads: Payloads) -> ApiKeyRow:
    """A key as its events show it."""
    return ApiKeyRow(
        key_id=ids.parse(key.created.key),
        organization_id=organization,
        workspace_id=ids.parse(key.created.workspace),
        name=payloads[key.seq]["name"],
        key_digest=bytes.fromhex(key.created.sha256),
        scopes=" ".join(key.created.scopes),
        created_at=key.created_at,
        created_by=key.created_by,
        expires_at=key.created.expires_at,
        revoked_at=key.revoked_at,
    )


STREAM_TYPES: Mapping[StreamKind, StreamType] = {
    "execution": ExecutionStreamType(),
    "workflow": WorkflowStreamType(),
    "organization": OrganizationStreamType(),
}
