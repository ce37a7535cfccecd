"""The store's contract: what the engine asks of it. `tests/store/contract` runs against every implementation.

Reads see only what is committed. They may run beside the writer and beside one another. Pages are keyset
pages: they cost the same however deep they are.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from typing import Final, Literal, Protocol, TypeAlias

from perdure.store.audited import Miscount, Seen, Stray
from perdure.store.errors import StoreError
from perdure.store.records import (
    ApiKeyRow,
    Appended,
    BulkRow,
    CountRow,
    EventRow,
    ExecutionRow,
    HeadEvent,
    IdempotencyRow,
    InLine,
    LogPage,
    NodeRow,
    OrganizationRow,
    ProcessIdRow,
    Projected,
    QueuedRow,
    ScheduleRow,
    SnapshotRow,
    StoredEvent,
    StreamAppend,
    StreamKind,
    StreamRow,
    TimerRow,
    WaitRow,
    WorkflowRow,
    WorkflowVersionRow,
    WorkspaceRow,
)
from perdure.store.run_filter import FoundRuns, RunFilter
from perdure.store.viewer import Viewer

WriterPlace: TypeAlias = Literal["thread", "process"]
"""The place of an embedded store's writer: in a thread of this process, or in a process of its own.

A process leaves the interpreter to decisions and steps; it takes half a second to start, and some 50 MB of memory.
"""

LOG_PAGE_MAX: Final = 10_000
"""So many positions a page of the log looks at."""

PLACES: Final[tuple[WriterPlace, ...]] = ("thread", "process")


class LogReader(Protocol):
    """Reads of the log, for auditors, replay and `verify`."""

    async def stream(self, stream_id: bytes) -> StreamRow | None: ...

    async def streams(
        self, *, kind: StreamKind | None = None, after: bytes = b"", limit: int = 1000
    ) -> list[StreamRow]:
        """Streams by ascending id above `after`."""

    async def streams_of(self, stream_ids: Sequence[bytes]) -> dict[bytes, StreamRow]:
        """These streams by id; those that do not exist are left out."""

    async def events(self, stream_id: bytes, *, after: int = 0, limit: int | None = None) -> list[StoredEvent]:
        """Events of a stream with a seq above `after`, ascending."""

    async def last_events(self, stream_id: bytes, limit: int) -> list[StoredEvent]:
        """The last events of a stream, ascending."""
        ...

    async def event_page(
        self,
        stream_id: bytes,
        *,
        after: int | None = None,
        types: Sequence[str] = (),
        newest_first: bool = False,
        limit: int = 100,
    ) -> list[StoredEvent]:
        """Events of a stream beyond a seq, in either direction; of these types only, if any is given."""
        ...

    async def log_page(
        self, organization_id: bytes, *, workspace_id: bytes | None = None, after: int = 0, limit: int = 100
    ) -> LogPage:
        """Events of an organization's streams, or of one of its workspaces, above a position.

        Bounded in what it looks at: at most `LOG_PAGE_MAX` positions, whosever they are.
        """
        ...

    async def last_events_of(self, stream_ids: Sequence[bytes], limit: int) -> dict[bytes, list[StoredEvent]]:
        """The last events of each of these streams, so many of each, ascending by seq; an empty list without any."""
        ...

    async def events_at(self, stream_id: bytes, seqs: Sequence[int]) -> list[StoredEvent]:
        """The events with these seqs, ascending; those that do not exist are left out."""
        ...

    async def payload_sizes(self, stream_id: bytes, seqs: Sequence[int]) -> dict[int, int]:
        """How many bytes the payloads of these events have, by seq; those that have none are left out."""
        ...

    async def events_of(self, stream_ids: Sequence[bytes]) -> dict[bytes, list[StoredEvent]]:
        """All events of each of these streams, ascending by seq; an empty list where there are none."""
        ...

    async def heads_of(self, stream_ids: Sequence[bytes]) -> dict[bytes, HeadEvent]:
        """The last event of each of these streams; no payload is read. Those that do not exist are left out."""
        ...

    async def hashes(self, after: int, through: int) -> list[bytes]:
        """The hashes of the events at the positions above `after` up to `through`, ascending: some thousand at once."""
        ...

    async def last_of_type(self, type_: str, *, after: int = 0) -> StoredEvent | None:
        """The last event of a type in the log above a position. It looks at all that come after it."""
        ...

    def log(self, *, after: int = 0) -> AsyncIterator[StoredEvent]:
        """The whole log above a position, ascending, in bounded memory."""
        ...

    async def snapshot(self, stream_id: bytes) -> SnapshotRow | None: ...

    async def snapshots(self, *, after: bytes = b"", limit: int = 16) -> list[SnapshotRow]:
        """Snapshots by ascending stream id above `after`. Each may be large."""
        ...

    async def position(self) -> int:
        """The last position that is committed; 0 for an empty log."""
        ...


class Catalog(Protocol):
    """Organizations, workspaces, keys and workflows."""

    async def organization(self, organization_id: bytes) -> OrganizationRow | None: ...
    async def organization_named(self, name: str) -> OrganizationRow | None: ...
    async def organizations(self) -> list[OrganizationRow]: ...
    async def workspace(self, workspace_id: bytes) -> WorkspaceRow | None: ...
    async def workspace_named(self, organization_id: bytes, name: str) -> WorkspaceRow | None: ...
    async def sandboxes(self, organization_id: bytes) -> list[WorkspaceRow]: ...
    async def api_key_by_digest(self, key_digest: bytes) -> ApiKeyRow | None: ...
    async def api_key(self, key_id: bytes) -> ApiKeyRow | None: ...
    async def api_keys(
        self, organization_id: bytes, workspace_id: bytes | None = None, *, after: bytes = b"", limit: int | None = None
    ) -> list[ApiKeyRow]:
        """Keys of an organization, or of one workspace of it, by ascending id above `after`."""
        ...

    async def latest_keys(self, limit: int) -> list[bytes]:
        """The digests of keys that were not revoked, those first that were used, or if never, made, last."""
        ...

    async def has_operator(self, besides: bytes, now: int) -> bool:
        """Whether another organization than `besides` has a key with the scope `operator` that is good at `now`."""
        ...

    async def key_uses(self, key_ids: Sequence[bytes]) -> dict[bytes, int]:
        """The last noted use of each of these keys; keys without one are left out."""
        ...

    async def keys_used(self, uses: Mapping[bytes, int]) -> None:
        """Note when keys were last used."""
        ...

    async def workflow(self, workflow_id: bytes) -> WorkflowRow | None: ...
    async def restricted_workflows(self, organization_id: bytes) -> list[WorkflowRow]:
        """The workflows of an organization that not everybody in it sees, in any order."""
        ...

    async def workflows_of(self, workflow_ids: Sequence[bytes]) -> dict[bytes, WorkflowRow]:
        """These workflows by id; those that do not exist are left out."""
        ...

    async def workflow_version(self, workflow_id: bytes, version: int) -> WorkflowVersionRow | None: ...
    async def latest_published(self, workflow_id: bytes) -> WorkflowVersionRow | None:
        """The highest version that has been published."""
        ...

    async def workflow_versions(self, workflow_id: bytes) -> list[WorkflowVersionRow]:
        """All versions of a workflow, ascending."""
        ...

    async def workflows(
        self,
        workspace_id: bytes,
        *,
        status: str | None = None,
        search: str | None = None,
        viewer: Viewer | None = None,
        before: bytes | None = None,
        limit: int = 20,
        offset: int = 0,
    ) -> tuple[list[WorkflowRow], int]:
        """Workflows of a workspace that a viewer sees, newest first and below `before`; and how many there are.

        `search` is a part of the name, compared without case; `%` and `_` in it mean themselves.
        """
        ...

    async def workflows_named(self, workspace_id: bytes, name: str, viewer: Viewer | None = None) -> list[WorkflowRow]:
        """The workflows of a workspace with exactly this name that a viewer sees, the newest two at most.

        Archived ones only if there are no others. Two are enough to see that the name says too little.
        """
        ...

    async def workflow_version_page(
        self,
        organization_id: bytes,
        *,
        workspace_id: bytes | None,
        viewer: Viewer | None = None,
        before: tuple[bytes, int] | None = None,
        limit: int = 20,
    ) -> list[tuple[WorkflowRow, WorkflowVersionRow]]:
        """A row a version by (workflow id, version) descending, below `before`; of one workspace, or all."""


class Executions(Protocol):
    """The projections of executions, and the names that callers gave them."""

    async def execution(self, execution_id: bytes) -> ExecutionRow | None: ...
    async def execution_page(
        self,
        *,
        organization_id: bytes | None = None,
        workspace_id: bytes | None = None,
        workflow_id: bytes | None = None,
        before: bytes | None = None,
        limit: int = 20,
    ) -> list[ExecutionRow]:
        """By id descending, below `before`: a workspace's, a workflow's in one, or an organization's but sandboxes'."""
        ...

    async def executions_from(self, origin_id: bytes, *, after: bytes = b"", limit: int = 100) -> list[ExecutionRow]:
        """The executions that were made from this one, by ascending id above `after`."""
        ...

    async def live_executions(self, *, after: bytes = b"", limit: int = 1000) -> list[ExecutionRow]:
        """Executions that something may have to be done for after a crash, ascending above `after`.

        Those are the pending and the running ones, and of those that only wait the ones that are awaited: they end with
        the task that awaits them, and the crash may have come between the two.
        """
        ...

    async def live_counts(self) -> dict[str, int]:
        """The number of executions that are live or have an open wait, by status; a status with none may be left out.

        Those are the pending, the running and the waiting ones. It looks at each of them (some 3 µs), and at nothing
        that has ended.
        """
        ...

    async def paused_counts(self) -> dict[str, int]:
        """The number of executions that are paused, by the quota that did it, or `operator`; by one that did not: none.

        It looks at each of them, and at nothing else.
        """
        ...

    async def execution_counts(self, workspace_id: bytes, *, workflow_id: bytes | None = None) -> list[CountRow]:
        """How many executions of a workspace there are, by (workflow, status) ascending; of one workflow, or all.

        It looks at a row for each of the two, however many executions there are. What there is none of is left out.
        """
        ...

    async def find_executions(
        self, wanted: RunFilter, *, newest_first: bool = True, beyond: bytes | None = None, limit: int = 20
    ) -> FoundRuns:
        """Executions that a filter lets through by id beyond this one, in either direction.

        Bounded in what it looks at, some `LOOK_MAX` for each index that is asked: a page may be short, or empty, though
        there are more; `FoundRuns.position` says where to go on.
        """
        ...

    async def latest_completed(self, workspace_id: bytes, workflow_id: bytes, version: int) -> ExecutionRow | None:
        """The newest completed execution of a version in a workspace, for its mock payload."""
        ...

    async def process_id(self, organization_id: bytes, workspace_id: bytes, process_id: str) -> ProcessIdRow | None: ...

    async def process_ids_named(
        self, organization_id: bytes, workspace_id: bytes, process_ids: Sequence[str]
    ) -> dict[str, ProcessIdRow]:
        """These process ids of a workspace, as far as they are taken."""
        ...

    async def process_ids_of(self, execution_ids: Sequence[bytes]) -> dict[bytes, str]:
        """The chosen process ids of executions; those that chose none are left out."""

    async def idempotency_of(
        self, organization_id: bytes, workspace_id: bytes, keys: Sequence[str]
    ) -> dict[str, IdempotencyRow]:
        """The rows of these idempotency keys of a workspace; unused keys are left out."""
        ...

    async def wait(self, wait_id: bytes) -> WaitRow | None: ...

    async def waits_of(self, execution_id: bytes) -> list[WaitRow]:
        """All waits of an execution, in the order in which they were opened."""
        ...

    async def open_waits(
        self,
        workspace_id: bytes,
        *,
        execution_id: bytes | None = None,
        workflow_id: bytes | None = None,
        after: bytes = b"",
        limit: int = 100,
    ) -> list[WaitRow]:
        """Open waits of a workspace by ascending id above `after`."""
        ...

    async def due_timers(self, now: int, *, limit: int = 1000, after: TimerRow | None = None) -> list[TimerRow]:
        """Timers due at or before `now`, by (due, execution, timer), and in that order above `after`."""
        ...

    async def next_due(self, *, after: int | None = None) -> int | None:
        """The instant of the earliest timer; null if there is none."""
        ...

    async def timers_of(self, execution_id: bytes) -> list[TimerRow]: ...


class ScheduleReads(Protocol):
    """The projection of schedules."""

    async def schedule(self, schedule_id: bytes) -> ScheduleRow | None: ...

    async def schedules_by_id(self, schedule_ids: Sequence[bytes]) -> dict[bytes, ScheduleRow]:
        """These schedules; those that do not exist are left out."""
        ...

    async def schedules_of(self, workflow_ids: Sequence[bytes]) -> list[ScheduleRow]:
        """The schedules of these workflows, by workflow and id."""
        ...

    async def schedules_due(
        self, now: int, *, limit: int = 1000, after: tuple[int, bytes] | None = None
    ) -> list[tuple[int, bytes]]:
        """The ids of schedules due at or before `now`, each behind its instant; in their order, above `after`."""
        ...

    async def next_schedule_due(self, *, after: int | None = None) -> int | None:
        """The earliest instant at which one is due; null if none is."""
        ...

    async def unsettled_schedules(self, *, after: bytes = b"", limit: int = 1000) -> list[ScheduleRow]:
        """Schedules of which a run is starting or a slot is buffered, by ascending id above `after`."""
        ...


class Places(Protocol):
    """Places in limits that are taken, and the lines of those who want one. Limits are named by their keys."""

    async def first_in_line(self, limit_key: bytes, *, after: int = 0) -> QueuedRow | None:
        """The execution that has stood in the line of a limit longest: since the lowest position `after` that one."""
        ...

    async def in_line(self, execution_id: bytes) -> InLine | None:
        """Where an execution stands; null if it stands in no line."""
        ...

    async def lines(self, *, after: bytes = b"", limit: int = 1000) -> list[bytes]:
        """The limits in whose lines anybody stands, by ascending key above `after`."""
        ...

    async def places_taken(self, limit_key: bytes) -> list[int]:
        """The places of a limit that are taken, in ascending order."""
        ...


class BulkJobs(Protocol):
    """The projection of bulk jobs."""

    async def bulk_job(self, bulk_id: bytes) -> BulkRow | None: ...

    async def bulk_jobs(self, workspace_id: bytes, *, before: bytes | None = None, limit: int = 20) -> list[BulkRow]:
        """Jobs of a workspace by id descending, below `before`."""
        ...

    async def bulk_jobs_under_way(self, *, after: bytes = b"", limit: int = 100) -> list[BulkRow]:
        """Jobs that have not ended, by ascending id above `after`."""
        ...


class Auditing(Protocol):
    """The reads of an audit: whole tables, and the rows of given streams."""

    async def seen(self, kind: StreamKind, stream_ids: Sequence[bytes]) -> dict[bytes, Seen]:
        """Streams of one type with their rows, all read at one moment; streams that do not exist are left out."""
        ...

    async def idempotency_rows(self, *, after: IdempotencyRow | None = None, limit: int = 1000) -> list[IdempotencyRow]:
        """Rows of idempotency keys by ascending key, above that of `after`."""
        ...

    async def strays(self) -> list[Stray]:
        """Rows whose stream does not exist, or is of another type, or that are `MISPLACED`: of each some, if any."""
        ...

    async def miscounted(self) -> list[Miscount]:
        """Counts of executions that are not as many as there are, all read at one moment."""
        ...

    async def shape_flaws(self) -> list[str]:
        """Objects defined in the database beside, or instead of, those of Perdure: a trigger, a view, an index."""
        ...


class Nodes(Protocol):
    """The processes that served this database, and whether they stopped cleanly."""

    async def node_started(self, node: NodeRow) -> list[NodeRow]:
        """Record a start; answers with those that died uncleanly before it, by start, as they were.

        They are marked as seen: their `stopped_at` becomes this start.
        """
        ...

    async def node_noted(self, node: NodeRow) -> None:
        """Store a node's current row; it is durable when this returns."""
        ...

    async def node_stopped(self, node_id: bytes, at: int) -> None: ...


class Store(LogReader, Catalog, Executions, ScheduleReads, Places, BulkJobs, Auditing, Nodes, Protocol):
    """All of it, and the one way to write."""

    def watch(self, on_failure: Callable[[StoreError], None]) -> None:
        """Have this called if the store finds that it will never write again, though nobody asked it to.

        The process must stop then, as after `CommitUnknown`.
        """
        ...

    def append(self, batch: Sequence[StreamAppend]) -> Awaitable[Appended]:
        """Append in one durable transaction. The batch is taken before this returns, and not changed afterwards.

        Events are numbered and chained behind the head that is expected (`store.chain`); the answer has the new heads.
        A stream whose head differs from `expected`, or that loses a claim, is left out whole and named in the
        answer; the others are written. Of two streams that claim one key the first in the batch has it,
        unless it is left out itself. Positions ascend in the order given. A caller that is cancelled does not
        learn the answer, but the batch is written all the same.

        Raises ValueError if a stream stands twice in the batch. Raises `CommitUnknown` if the commit failed in a
        way that leaves open whether it is durable (the process must stop), `StoreFull` or another `StoreError` if
        nothing was written.
        """
        ...

    async def rebuild(self, rows: AsyncIterator[Projected]) -> None:
        """Replace all executions, waits, timers, lines, schedules and bulk jobs by these rows, and drop all snapshots.

        It is one transaction. The executions are counted anew.

        Readers, and who comes after a crash, see all of the old rows or all of the new ones; whatever `rows` raises
        leaves the old ones. `rows` may read this store. An append or another write meanwhile raises StoreError.
        """
        ...

    async def close(self) -> None:
        """Close all connections. A store that was writing leaves one file behind (SQLite)."""
        ...

    async def abandon(self) -> None:
        """Give up a database that does not answer, instead of `close`: what is in progress may be durable or not.

        A writer in a process of its own is killed, so that the next server finds the lock free; one in a thread
        cannot be, and holds the lock until this process ends.
        """
        ...


__all__ = [
    "LOG_PAGE_MAX",
    "PLACES",
    "Catalog",
    "EventRow",
    "Executions",
    "LogReader",
    "Nodes",
    "ScheduleReads",
    "Store",
    "WriterPlace",
]
