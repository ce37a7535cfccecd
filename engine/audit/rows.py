"""Expected rows: folded from a stream's events, and compared with those that the store has.

Of some columns the log has a digest: the text of a definition (which `engine.audit.store_audit` compares), a mock
payload, an organization's secret, and a process id's request, whose salt is taken as it is.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, Protocol, TypeAlias

from perdure.engine.core import ids, organization, workflow
from perdure.engine.core.draft import DraftedEvent
from perdure.engine.core.state import State
from perdure.engine.core.versions import VersionAdded
from perdure.engine.log import projections
from perdure.engine.log.codec import decode_json
from perdure.engine.log.digests import request_digest
from perdure.engine.runtime.streams.bulk import bulk_row
from perdure.engine.runtime.streams.organization import key_row, organization_row, workspace_row
from perdure.engine.runtime.streams.stream_types import STREAM_TYPES
from perdure.engine.runtime.streams.workflow import schedule_row, version_row, workflow_row
from perdure.store.batch import KEY_COLUMNS
from perdure.store.records import (
    BulkRow,
    EventRow,
    ExecutionRow,
    OrganizationRow,
    Owned,
    ProcessIdRow,
    Projected,
    QueueRow,
    ScheduleRow,
    StreamKind,
    StreamRow,
    TimerRow,
    WaitRow,
    WorkflowVersionRow,
    WorkspaceRow,
)

Stored: TypeAlias = Mapping[tuple[Any, ...], Owned]
"""Rows by type and key (`keyed`)."""

ID_BYTES: Final = 16

_UNKNOWN: Final = bytes(32)
"""Stands for what only the row says, if there is none."""


class RowFold(Protocol):
    """The fold of a stream into its expected rows."""

    def feed(self, events: Sequence[EventRow]) -> None:
        """Fold the next events. Raises what decoding them raises."""
        ...

    def rows(self, stored: Stored) -> list[Owned]:
        """The expected rows. Raises what decoding the events raises."""
        ...

    @property
    def projected(self) -> list[Projected]:
        """Those of projections."""
        ...


class ExecutionFold:
    """An execution's row, its waits and timers, and the process id that was chosen for it."""

    def __init__(self, stream: StreamRow) -> None:
        self._stream = stream
        self._state: State = STREAM_TYPES["execution"].initial()
        self._started: EventRow | None = None
        self.waits: dict[bytes, WaitRow] = {}
        self.timers: set[TimerRow] = set()

    def feed(self, events: Sequence[EventRow]) -> None:
        kind, stream = STREAM_TYPES["execution"], self._stream
        before, state, steps = self._state, self._state, list[DraftedEvent]()
        for row in events:
            if row.seq == 1:
                self._started = row
            recorded = kind.vocabulary.read(row._replace(payload=None))  # a fold reads none
            state = kind.evolve(state, recorded)
            steps.append(DraftedEvent(recorded, state))
        self._state = state
        changes = projections.changes(stream.stream_id, stream.organization_id, before, steps)
        self.waits.update({row.wait_id: row for row in changes.waits})
        self.timers |= set(changes.timers)
        self.timers -= set(changes.timers_gone)

    @property
    def execution(self) -> ExecutionRow:
        """The execution's own row."""
        return projections.execution_row(self._stream.stream_id, self._stream.organization_id, self._state)

    @property
    def projected(self) -> list[Projected]:
        return [self.execution, *self.waits.values(), *sorted(self.timers), *self.line]

    def rows(self, stored: Stored) -> list[Owned]:
        rows: list[Owned] = [self.execution, *self.waits.values(), *self.timers, *self.line]
        return [*rows, *projections.slots_of(*self._whose, self._state), *self._process_id(stored)]

    @property
    def _whose(self) -> tuple[bytes, bytes]:
        return self._stream.stream_id, self._stream.organization_id

    @property
    def line(self) -> list[QueueRow]:
        """Where it stands in line, if it does."""
        row = projections.queue_row(*self._whose, self._state)
        return [] if row is None else [row]

    def _process_id(self, stored: Stored) -> list[Owned]:
        row = next((row for row in stored.values() if isinstance(row, ProcessIdRow)), None)
        if self._started is None or self._started.payload is None:  # erased
            return [] if row is None else [row]
        payload, execution = decode_json(self._started.payload), self.execution
        if "process_id" not in payload:
            return []
        salt = _UNKNOWN if row is None else row.salt
        return [
            ProcessIdRow(
                execution.organization_id,
                execution.workspace_id,
                payload["process_id"],
                execution.execution_id,
                execution.workflow_id,
                execution.workflow_version,
                salt,
                request_digest(salt, payload["input"]),
            )
        ]


class _AdministrativeFold:
    """The fold of workflows and organizations: their payloads are names, and all are loaded."""

    kind: StreamKind

    def __init__(self, stream: StreamRow) -> None:
        self._stream = stream
        self._state: Any = STREAM_TYPES[self.kind].initial()
        self._payloads: dict[int, Any] = {}
        self._recorded_at: dict[int, int] = {}
        self._digests: dict[int, str | None] = {}
        self._summaries: dict[int, str | None] = {}

    def feed(self, events: Sequence[EventRow]) -> None:
        kind = STREAM_TYPES[self.kind]
        for row in events:
            recorded = kind.vocabulary.read(row)
            self._payloads[row.seq], self._recorded_at[row.seq] = recorded.payload, row.recorded_at
            self._state = kind.evolve(self._state, recorded)
            event = recorded.event
            if isinstance(event, VersionAdded):
                self._digests[event.version] = (recorded.payload or {}).get("mock_sha256")
                self._summaries[event.version] = (recorded.payload or {}).get("summary")
            elif isinstance(event, organization.OrganizationCreated):
                self._digests[0] = event.secret_sha256


class WorkflowFold(_AdministrativeFold):
    """A workflow, its versions and its schedules."""

    kind: StreamKind = "workflow"

    def rows(self, stored: Stored) -> list[Owned]:
        state: workflow.WorkflowState = self._state
        whose = (self._stream.stream_id, self._stream.organization_id)
        rows: list[Owned] = [workflow_row(state, self._payloads, *whose)]
        for number, version in state.versions.items():
            there = stored.get((WorkflowVersionRow, self._stream.stream_id, number))
            text = mock = source = None
            if isinstance(there, WorkflowVersionRow):
                text, mock = there.definition, _known(there.mock_payload, self._digests[number])
                source = _known_source(there, version)
            summary = self._summaries[number]
            definition = workflow.Definition(
                text or "", version.definition_sha256, mock, source=source, summary=summary
            )
            rows.append(version_row(number, state, definition, *whose))
        return [*rows, *self.projected]

    @property
    def projected(self) -> list[Projected]:
        whose = (self._stream.stream_id, self._stream.organization_id)
        return [schedule_row(name, self._state, *whose) for name in self._state.schedules]


class OrganizationFold(_AdministrativeFold):
    """An organization, its workspaces and its keys."""

    kind: StreamKind = "organization"

    @property
    def projected(self) -> list[Projected]:
        return []

    def rows(self, stored: Stored) -> list[Owned]:
        state: organization.OrganizationState = self._state
        own, payloads = self._stream.stream_id, self._payloads
        there = stored.get((OrganizationRow, own))
        secret = there.secret if isinstance(there, OrganizationRow) else _UNKNOWN
        digest = self._digests[0]  # null in a log from before there was one
        if digest is not None and hashlib.sha256(secret).hexdigest() != digest:
            secret += b"?"
        return [
            organization_row(state, own, payloads[1]["name"], secret, self._recorded_at[1]),
            *(
                workspace_row(workspace, seq, state, own, payloads, self._recorded_at[seq])
                for workspace, seq in state.workspaces.items()
            ),
            *(key_row(key, state, own, payloads) for key in state.keys.values()),
        ]


class BulkFold(_AdministrativeFold):
    """A bulk job."""

    kind: StreamKind = "bulk"

    @property
    def job(self) -> BulkRow:
        """The job's own row."""
        return bulk_row(self._state, self._stream.stream_id, self._stream.organization_id)

    @property
    def projected(self) -> list[Projected]:
        return [self.job]

    def rows(self, stored: Stored) -> list[Owned]:  # noqa: ARG002
        return [self.job]


FOLDS: Final[Mapping[StreamKind, type[ExecutionFold | WorkflowFold | OrganizationFold | BulkFold]]] = {
    "execution": ExecutionFold,
    "workflow": WorkflowFold,
    "organization": OrganizationFold,
    "bulk": BulkFold,
}


_NOT_SHOWN: Final = frozenset({"secret", "mock_payload"})


def keyed(rows: Iterable[Owned]) -> dict[tuple[Any, ...], Owned]:
    """Rows by their type and primary key."""
    return {(type(row), *row[: KEY_COLUMNS[type(row)]]): row for row in rows}


def differences(fold: RowFold, stored: Iterable[Owned]) -> list[str]:
    """The rows, and their columns, in which the store differs from the fold."""
    there = keyed(stored)
    wanted = keyed(fold.rows(there))
    found: list[str] = []
    for key, row in wanted.items():
        found += _columns(_name(row), there.get(key), row)
    surplus = [row for key, row in there.items() if key not in wanted]
    found += [
        f"{_name(row)}{' should be gone' if isinstance(row, TimerRow) else ': a row too many'}" for row in surplus
    ]
    return found


def _columns(name: str, stored: Any, folded: Any) -> list[str]:
    if stored is None:
        return [f"{name}{' is missing' if isinstance(folded, TimerRow) else ': no row'}"]
    return [
        f"{name}: {column} is not the one that the log has the digest of"
        if column in _NOT_SHOWN
        else f"{name}: {column} is {_shown(is_now)}, the fold says {_shown(due)}"
        for column, is_now, due in zip(folded._fields, stored, folded, strict=True)
        if is_now != due or type(is_now) is not type(due)
    ]


_NAMED: Final[Mapping[type[Any], tuple[str, str]]] = {
    WaitRow: ("wait", "wait_id"),
    WorkflowVersionRow: ("version", "version"),
    ScheduleRow: ("schedule", "schedule_id"),
    WorkspaceRow: ("workspace", "workspace_id"),
}
"""What a row is within its stream, and the column that tells it from others."""


def _name(row: Owned) -> str:
    """The name of a row within its stream."""
    if isinstance(row, TimerRow):
        return f"timer {row.timer} at {row.due_at}"
    if isinstance(row, ProcessIdRow):
        return f"process id {row.process_id!r}"
    named = _NAMED.get(type(row))
    if named is not None:
        return f"{named[0]} {_shown(getattr(row, named[1]))}"
    is_key = not isinstance(row, ExecutionRow) and hasattr(row, "key_id")
    return f"key {_shown(row[0])}" if is_key else "its row"


def _shown(value: Any) -> str:
    if isinstance(value, bytes):
        return ids.text(value) if len(value) == ID_BYTES else value.hex()
    return repr(value)


def _known_source(there: WorkflowVersionRow, version: workflow.Version) -> workflow.SourceText | None:
    """What a definition was compiled from, as it is beside the log; else something that it is not."""
    told = version.source
    if told is None:
        return None
    text = _known(there.source, told.sha256)
    return workflow.SourceText(told.format, text or "", _known(there.outline, told.outline_sha256) or "")


def _known(stored: str | None, digest: str | None) -> str | None:
    """A text beside the log, if it is the one of which the log has the digest; else something that it is not."""
    told = None if stored is None else hashlib.sha256(stored.encode()).hexdigest()
    return stored if told == digest else f"{stored}?"
