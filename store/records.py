"""The rows that the store takes and returns: plain tuples, in the order of the columns in `schema.py`.

The store knows nothing of the engine's types. Ids are 16 bytes, hashes 32, instants integer milliseconds
since the epoch (UTC), JSON is text exactly as written. A row that has no value for a column carries `None`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal, NamedTuple, TypeAlias

from perdure.store.schedule_records import ScheduleRow as ScheduleRow  # noqa: PLC0414 it is one of the rows

StreamKind: TypeAlias = Literal["execution", "workflow", "organization", "bulk"]

NO_HASH = bytes(32)
"""The previous hash of a stream's first event (`store/LOG_FORMAT.md`, "The hash")."""


class Head(NamedTuple):
    """The end of a stream, as the writer last saw it; an append is accepted only if all three still hold."""

    seq: int
    hash: bytes
    epoch: int


NEW_STREAM = Head(0, NO_HASH, 0)


class NewEvent(NamedTuple):
    """An event to be appended. The store adds its position, its digest and its hash (`store.chain`).

    `payload_salt` is 16 random bytes, null if there is no payload.
    """

    type: str
    version: int
    recorded_at: int
    actor: str
    caused_by: int | None
    data: str
    payload: str | None
    payload_salt: bytes | None


class EventRow(NamedTuple):
    """An event as it is stored, without its `position`."""

    stream_id: bytes
    seq: int
    organization_id: bytes
    type: str
    version: int
    recorded_at: int
    actor: str
    caused_by: int | None
    data: str
    payload: str | None
    payload_salt: bytes | None
    payload_digest: bytes | None
    hash: bytes


class StoredEvent(NamedTuple):
    """A stored event: its position in the whole log, and its row."""

    position: int
    row: EventRow


class HeadEvent(NamedTuple):
    """The last event of a stream, without its payload."""

    type: str
    data: str


class LogPage(NamedTuple):
    """Some events of the log, ascending by position.

    Up to `position` nothing is left out of what was asked for; `is_end`: the log went no further than that.
    """

    events: list[StoredEvent]
    position: int
    is_end: bool


class StreamRow(NamedTuple):
    """The head of a stream, and whose it is. Primary; written by every append."""

    stream_id: bytes
    kind: StreamKind
    organization_id: bytes
    workspace_id: bytes | None
    seq: int
    hash: bytes
    owner: bytes | None
    epoch: int

    @property
    def head(self) -> Head:
        return Head(self.seq, self.hash, self.epoch)


# --- claims: rows of which the first writer keeps the key ---------------------------------------------------


class ProcessIdRow(NamedTuple):
    """A process id of the caller's own choice, one execution's for ever. Unique over the first three."""

    organization_id: bytes
    workspace_id: bytes
    process_id: str
    stream_id: bytes
    workflow_id: bytes
    workflow_version: int
    salt: bytes
    request_digest: bytes


class IdempotencyRow(NamedTuple):
    """The answer that a request with this key got. Unique over the first three. `answer` is JSON text."""

    organization_id: bytes
    workspace_id: bytes
    key: str
    stream_id: bytes
    salt: bytes
    request_digest: bytes
    answer: str
    created_at: int


class SlotRow(NamedTuple):
    """A place in a limit, and the execution that has it. Unique over the first two; gone when it is given back."""

    limit_key: bytes
    place: int
    organization_id: bytes
    stream_id: bytes
    taken_at: int


Claim: TypeAlias = SlotRow | ProcessIdRow | IdempotencyRow

# --- other primary tables -----------------------------------------------------------------------------------


class OrganizationRow(NamedTuple):
    """`secret` keys the HMACs that outlive an erasure. `name` is unique. `settings` is JSON text; only it changes."""

    organization_id: bytes
    name: str
    secret: bytes
    created_at: int
    settings: str


class WorkspaceRow(NamedTuple):
    """A workspace of an organization; `name` is unique within it. A sandbox says which it is paired with."""

    workspace_id: bytes
    organization_id: bytes
    name: str
    created_at: int
    live_workspace_id: bytes | None


class ApiKeyRow(NamedTuple):
    """A key: of its text the SHA-256 alone is kept. `scopes` are names between spaces, `role_ids` is JSON text."""

    key_id: bytes
    organization_id: bytes
    workspace_id: bytes
    name: str
    key_digest: bytes
    scopes: str
    created_at: int
    created_by: str
    expires_at: int | None
    revoked_at: int | None
    mode: str
    user_id: str | None
    role_ids: str


class WorkflowRow(NamedTuple):
    """A workflow as it is now. `latest_version` counts drafts too. Who sees it: `store.viewer`, by the last columns."""

    workflow_id: bytes
    organization_id: bytes
    workspace_id: bytes
    name: str
    description: str | None
    status: str
    latest_version: int
    created_at: int
    created_by: str
    modified_at: int
    modified_by: str | None
    visibility: str = "tenant"
    owner: str = ""
    shared_users: str = ""
    shared_roles: str = ""


class WorkflowVersionRow(NamedTuple):
    """A version of a workflow. Only `published_at` changes. `definition_digest` is `definition`'s SHA-256.

    `settings` (JSON) has rules for its runs, `resume` among them. `source` is the document that it was compiled from,
    and `outline` goes with both (null: the document is the definition). `summary` says for people what has changed.
    """

    workflow_id: bytes
    version: int
    organization_id: bytes
    workspace_id: bytes
    definition: str
    definition_digest: bytes
    mock_payload: str | None
    created_at: int
    created_by: str
    published_at: int | None
    resume: Literal["any", "named"]
    settings: str
    format: str = "asl"
    source: str | None = None
    outline: str | None = None
    summary: str | None = None


class NodeRow(NamedTuple):
    """A process that served this database. `stopped_at` is null while it runs, and until a death is seen.

    `crashes` is how many nodes before it died in a row; `alone_with` has the ids of the streams, one after the other,
    that have their turn while nothing else has.
    """

    node_id: bytes
    name: str
    started_at: int
    heartbeat_at: int
    stopped_at: int | None
    crashes: int = 0
    alone_with: bytes = b""


# --- projections: dropped and rebuilt from the log ----------------------------------------------------------


class ExecutionRow(NamedTuple):
    """An execution as it is now. `input_ref` and `output_ref` are `SEQ/JSON-POINTER` into `events.payload`.

    `error` is a reserved name or one literal in the definition; any other error name stands behind
    `error_ref`. `parent_id` is the execution whose task started this one; `awaited_by` is the same one if its
    task goes on only when this one ends, else null. While it is paused, `paused_seq` is its `ExecutionPaused`,
    `paused_quota` the quota that did it, if one did, and `in_flight` the number of its tasks that somebody works on.
    `origin_id` is the execution that this one was made from, by a rerun or a fork.
    """

    execution_id: bytes
    organization_id: bytes
    workspace_id: bytes
    workflow_id: bytes
    workflow_version: int
    trigger_type: str
    status: str
    state: str | None
    seq: int
    created_at: int
    modified_at: int
    modified_by: str | None
    ended_at: int | None
    input_ref: str
    output_ref: str | None
    error: str | None
    error_ref: str | None
    cause_ref: str | None
    parent_id: bytes | None
    awaited_by: bytes | None
    paused_seq: int | None = None
    paused_at: int | None = None
    paused_quota: str | None = None
    in_flight: int | None = None
    origin_id: bytes | None = None


class WaitRow(NamedTuple):
    """A wait, open (`outcome` null) or ended: resumed, failed, expired or cancelled."""

    wait_id: bytes
    execution_id: bytes
    organization_id: bytes
    workspace_id: bytes
    workflow_id: bytes
    state: str
    opened_seq: int
    opened_at: int
    due_at: int | None
    outcome: str | None
    ended_seq: int | None
    ended_at: int | None


CANCELLED: Final = "cancelled"
"""The outcome of a wait that ended with what it belonged to."""


class TimerRow(NamedTuple):
    """One due instant of an execution. All columns are the key."""

    due_at: int
    execution_id: bytes
    timer: int


class QueueRow(NamedTuple):
    """An execution that stands in the line of a limit since its event `seq`; the order is that of the log.

    `kind` is that of the limit: workflow, key or organization. `also_key` is the other limit that it needs a place in.
    """

    execution_id: bytes
    organization_id: bytes
    workflow_id: bytes
    kind: str
    limit_key: bytes
    also_key: bytes | None
    seq: int


class QueuedRow(NamedTuple):
    """An execution that stands in line, and the position of the event since which it does."""

    position: int
    row: QueueRow


class InLine(NamedTuple):
    """An execution that stands in line, and the number of those before it."""

    row: QueueRow
    ahead: int


class BulkRow(NamedTuple):
    """A bulk job as it is now. `status`: running, stopping, stopped or completed.

    `expected` is how many runs matched at its start, null if they were not all counted; of so many the action changed
    something (`done`), had nothing to change (`unchanged`), or was refused (`failed`, with `codes`, JSON text).
    `listed` has the seqs of the events that list failures, as JSON text; `why` it was stopped, in a word.
    """

    bulk_id: bytes
    organization_id: bytes
    workspace_id: bytes
    action: str
    status: str
    seq: int
    created_at: int
    created_by: str
    modified_at: int
    modified_by: str
    ended_at: int | None
    expected: int | None
    done: int
    unchanged: int
    failed: int
    codes: str
    listed: str
    why: str | None


class SnapshotRow(NamedTuple):
    """The state of a stream at a seq, tied to the log by `hash`; `digest` covers all other columns. One a stream."""

    stream_id: bytes
    seq: int
    hash: bytes
    format: int
    data: str
    digest: bytes


Projected: TypeAlias = ExecutionRow | WaitRow | TimerRow | QueueRow | BulkRow | ScheduleRow
"""The row types that a rebuild makes. (Snapshots it drops; whoever folds makes them again.)"""

Row: TypeAlias = (
    OrganizationRow
    | WorkspaceRow
    | ApiKeyRow
    | WorkflowRow
    | WorkflowVersionRow
    | ExecutionRow
    | WaitRow
    | TimerRow
    | QueueRow
    | BulkRow
    | ScheduleRow
    | SnapshotRow
)

Owned: TypeAlias = (
    ExecutionRow
    | WaitRow
    | TimerRow
    | QueueRow
    | SlotRow
    | BulkRow
    | ProcessIdRow
    | WorkflowRow
    | WorkflowVersionRow
    | ScheduleRow
    | OrganizationRow
    | WorkspaceRow
    | ApiKeyRow
)
"""Rows of which a stream tells, each of them in full (but for what `engine.audit.rows` says)."""


Deleted: TypeAlias = TimerRow | QueueRow | SlotRow | ScheduleRow
"""Rows that are taken away: a timer that is over, a place in a line or a limit, a schedule."""


class Ending(NamedTuple):
    """Much of an execution is over at once, by its event `seq`.

    Its waits that were opened up to `seq` and have no outcome are cancelled by it. Its timers from number 2 to `seq`
    are gone (number 1 is the time limit of the run). None of them is put again. Readers see that as soon as it is
    appended, whenever the store does it.
    """

    seq: int
    ended_at: int


class CountChange(NamedTuple):
    """So many executions of a workflow more, or if negative fewer, have a status once a stream's part is written."""

    workspace_id: bytes
    workflow_id: bytes
    status: str
    change: int


class CountRow(NamedTuple):
    """The number of executions of a workflow that have a status."""

    workspace_id: bytes
    workflow_id: bytes
    status: str
    total: int


class StreamAppend(NamedTuple):
    """The part of a batch that concerns one stream: written whole or not at all.

    `expected` is compared with the stream's head, `NEW_STREAM` meaning that it must not exist. `events` follow it,
    numbered and chained by the store; with none the comparison is all that happens to the stream. `claims` must all
    be won. `puts` are inserted or replaced by primary key (of several with one key the last counts; what
    `store.batch.FIXED_COLUMNS` names stays as it is), `deletes` are rows of which the primary key counts, of a place
    also whose it is; both are rows that belong to this stream. What is both put and deleted is gone afterwards.
    `endings` come after both. `counts` are added to what is counted.
    """

    stream_id: bytes
    kind: StreamKind
    organization_id: bytes
    workspace_id: bytes | None
    expected: Head
    events: Sequence[NewEvent]
    claims: Sequence[Claim] = ()
    puts: Sequence[Row] = ()
    deletes: Sequence[Deleted] = ()
    endings: Sequence[Ending] = ()
    counts: Sequence[CountChange] = ()


class RefusedAppend(NamedTuple):
    """The reason why a stream's part of a batch was left out: its head had moved, or its claim was taken."""

    reason: Literal["stale", "claimed"]
    claim: Claim | None = None


class Appended(NamedTuple):
    """The answer to a batch: the log's last position after it, and the streams that were left out.

    `heads` are the new ones of those that gained events.
    """

    position: int
    refused: dict[bytes, RefusedAppend]
    heads: dict[bytes, Head]
