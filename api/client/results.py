"""Results of calls: structs with the members of the server's responses, under the same names.

Members that this client does not know are ignored, so a newer server does no harm; words of enumerations are plain
texts for the same reason. Instants are texts in ISO 8601 with `Z`, or in what `/v2/workflows` says whole milliseconds
since the epoch (`Millis`); ids are UUIDs as texts. A test holds all of this against the server's own description.
"""

from __future__ import annotations

from typing import Any, Generic, TypeAlias, TypeVar

import msgspec
from msgspec import UNSET, UnsetType

from perdure.api.client.key_results import KeyShown
from perdure.api.client.pause_results import PauseDetails, PauseListed

T = TypeVar("T")
M = TypeVar("M")

Millis: TypeAlias = int
JsonObject: TypeAlias = dict[str, Any]


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """An object with at least these members."""


class Data(Result, Generic[T], frozen=True):
    """The envelope of most responses."""

    data: T


class Item(Result, Generic[T], frozen=True):
    """The envelope of the process API's responses about one thing."""

    message: str
    item: T


class Page(Result, Generic[T, M], frozen=True):
    """A page, and where it stands."""

    data: list[T]
    meta: M


# --- runs --------------------------------------------------------------------------------------------------------


class Triggered(Result, frozen=True):
    """The run is on disk, and starts."""

    message: str
    execution_id: str = msgspec.field(name="looply_execution_id")


class Told(Result, frozen=True):
    """A command's outcome. A resume: `restarted` or `already restarted`; a termination: `terminated` or `already …`.

    A pause: `paused` or `already paused`; an unpause: `unpaused` or `not paused`.
    """

    message: str


class EventLog(Result, frozen=True):
    """Events in order, of many the first and the last; each has seq, type, at and actor, and more by its type."""

    count: int
    truncated: bool
    events: list[JsonObject]


class RetryShown(Result, frozen=True):
    """An attempt that failed, and when the next one was due."""

    failed_on: Millis
    retry_on: Millis
    error: Any
    cause: Any | UnsetType = UNSET


class WithinShown(Result, frozen=True):
    """The branch of a Parallel state or the iteration of a Map state, by its index."""

    state: str
    index: int


class StepShown(Result, frozen=True):
    """One entry of a state. `error` is there if it failed, `within` if it is below other states, outermost first."""

    state: str
    entered_on: Millis | None
    exited_on: Millis | None
    input: Any
    output: Any
    attempts: int
    error: Any | UnsetType = UNSET
    cause: Any | UnsetType = UNSET
    cancelled: bool | UnsetType = UNSET
    retries: list[RetryShown] | UnsetType = UNSET
    scope: str | UnsetType = UNSET
    within: list[WithinShown] | UnsetType = UNSET


class CondensedLog(Result, frozen=True):
    """A step for each entry of a state, in order."""

    count: int
    truncated: bool
    steps: list[StepShown]


class Connection(Result, frozen=True):
    """A way from a state to another: `next`, `choice`, `default` or `catch`."""

    origin: str = msgspec.field(name="from")
    to: str
    kind: str
    label: str | UnsetType = UNSET


class Outline(Result, frozen=True):
    """The workflow as it was when the run started; a step has name, type and the state's own fields."""

    workflow_name: str
    workflow_steps: list[JsonObject]
    workflow_connections: list[Connection]


class WorkflowNamed(Result, frozen=True):
    """The workflow's name."""

    workflow_name: str


class RunDescribed(Result, frozen=True, kw_only=True):
    """A run. `status`: pending, running, waiting, completed, failed, timed_out or terminated."""

    workflow_id: str
    workflow_execution_id: str
    workflow_version: int
    workflow_current_state: str | None
    workflow_trigger_type: str
    status: str
    process_id: str
    organization_id: str
    workspace_id: str
    created_on: Millis
    modified_on: Millis
    modified_by: str | None
    parent_execution_id: str | UnsetType = UNSET
    origin_execution_id: str | UnsetType = UNSET
    workflow_event_log: EventLog


class RunListed(RunDescribed, frozen=True, kw_only=True):
    """A run on a page: its last ten events. It has a `pause` while it is paused."""

    workflow_details: WorkflowNamed
    pause: PauseListed | UnsetType = UNSET


class QueuedForShown(Result, frozen=True):
    """A limit that a run queues for: of the workflow, a key or the organization; how many it allows, null if any."""

    kind: str
    limit: int | None


class QueueShown(Result, frozen=True):
    """The place of a run in its line, from 1, and the limits that it needs a place in."""

    position: int
    limits: list[QueuedForShown]


class RunItem(RunDescribed, frozen=True, kw_only=True):
    """A run with its input, its output and its logs; `queue` of one that is `pending`."""

    queue: QueueShown | UnsetType = UNSET
    workflow_input_payload: Any
    workflow_output_payload: Any
    condensed_logs: CondensedLog
    workflow_details: Outline
    pause: PauseDetails | UnsetType = UNSET


class RunKey(Result, frozen=True):
    """The key of the next page of runs; it is valid for ever."""

    workflow_id: str
    workflow_execution_id: str


class RunPage(Result, frozen=True):
    """Runs, newest first; `last_key` is there exactly when another page exists."""

    message: str
    count: int
    items: list[RunListed]
    last_key: RunKey | UnsetType = msgspec.field(name="lastKey", default=UNSET)


# --- workflows ---------------------------------------------------------------------------------------------------


class Dated(Result, frozen=True):
    """A version, and who made it when."""

    workflow_id: str
    workflow_version: int
    created_on: Millis
    created_by: str
    modified_on: Millis
    modified_by: str | None


class VersionListed(Dated, frozen=True):
    """A version on a page. `workflow_status`: DRAFT, ACTIVE, PAUSED or ARCHIVED; `latest`: "true" or "false"."""

    workflow_name: str
    workflow_status: str
    workflow_status_version: str
    latest: str
    organization_id: str
    workspace_id: str


class VersionItem(VersionListed, frozen=True):
    """A version with its states and the connections between them."""

    workflow_integrations: JsonObject
    workflow_steps: list[JsonObject]
    workflow_connections: list[Connection]
    workflow_schema: JsonObject


class SchemaItem(Dated, frozen=True):
    """An example of a version's input, and a JSON Schema for it."""

    workflow_mock_payload: Any
    workflow_schema: JsonObject


class VersionKey(Result, frozen=True):
    """The key of the next page of versions."""

    organization_id: str
    workflow_id: str
    workflow_version: int


class VersionPage(Result, frozen=True):
    """Versions, newest first; `last_key` is there exactly when another page exists."""

    message: str
    count: int
    items: list[VersionListed]
    last_key: VersionKey | UnsetType = msgspec.field(name="lastKey", default=UNSET)


class WorkflowShown(Result, frozen=True):
    """A workflow; its status is draft, published, paused or archived, its trigger type manual or schedule."""

    id: str
    name: str
    description: str | None
    status: str
    version: int
    trigger_type: str
    cron_expression: str | None
    timezone: str | None
    created_at: str
    created_by: str
    updated_at: str
    updated_by: str | None
    visibility: str
    shared_user_ids: list[str]
    shared_role_ids: list[str]
    owner_user_id: str | None


class QuotasShown(Result, frozen=True, rename="camel"):
    """Quotas of runs; where one is null, that of the organization holds, else the engine's own."""

    events: int | None
    bytes: int | None
    transitions_per_second: int | None
    open_runs: int | None
    child_depth: int | None


class SettingsShown(Result, frozen=True, rename="camel"):
    """Rules for the runs of a workflow; what is not set is null."""

    resume: str
    timeout_ms: int | None
    concurrency_limit: int | None
    concurrency_key: str | None
    concurrency_counts: str
    quotas: QuotasShown


class WorkflowWhole(WorkflowShown, frozen=True, kw_only=True):
    """A workflow with its latest version, or with the one that was asked for: `shown_version`.

    `nodes`, `edges`, `variables`: as written, or as what was is shown. `definition`, `document`: see `workflow`.
    """

    format: str
    nodes: list[Any]
    edges: list[Any]
    variables: JsonObject
    definition: JsonObject | UnsetType = UNSET
    document: JsonObject | UnsetType = UNSET
    change_summary: str | None
    mock_payload: JsonObject | None
    shown_version: int
    published_at: str | None
    settings: SettingsShown


class Warned(Result, frozen=True):
    """A warning: valid, but rarely meant; `path` is a JSON Pointer into the definition."""

    path: str
    message: str


class WorkflowSaved(WorkflowWhole, frozen=True, kw_only=True):
    """A workflow after a change."""

    warnings: list[Warned]


class WorkflowApplied(WorkflowSaved, frozen=True, kw_only=True):
    """A workflow after a definition was applied: created, changed or unchanged."""

    outcome: str


class NextCursor(Result, frozen=True):
    """`next_cursor`: what asks for the next page, if there is one."""

    limit: int
    has_more: bool
    next_cursor: str | None


class PagePlaced(NextCursor, frozen=True, kw_only=True):
    """A page that was asked for by its number has that, and the number of items on all pages."""

    page: int | UnsetType = UNSET
    total: int | UnsetType = UNSET


class StateTried(Result, frozen=True):
    """The result of trying out a state: SUCCEEDED, FAILED, RETRIABLE, CAUGHT_ERROR or NEEDS_RESULT."""

    status: str
    output: Any
    error: str | None
    cause: str | None
    next_state: str | None
    assigned: JsonObject
    retry_delay_ms: int | None
    wait_until: str | None
    inspection: JsonObject


# --- organizations -----------------------------------------------------------------------------------------------


class OrganizationSettingsShown(Result, frozen=True, rename="camel"):
    """Rules for all runs of an organization; what is not set is null."""

    concurrency_limit: int | None
    quotas: QuotasShown


class OrganizationShown(Result, frozen=True):
    """An organization with its plan, which bounds its requests, and its settings."""

    id: str
    name: str
    plan: str
    settings: OrganizationSettingsShown


# --- keys, waits, tasks, events, health --------------------------------------------------------------------------


class After(Result, frozen=True):
    """`after`: the position of the next page, if there is one."""

    limit: int
    has_more: bool
    after: str | None


class WaitShown(Result, frozen=True):
    """A wait that is open."""

    wait_id: str
    process_id: str
    execution_id: str
    workflow_id: str
    state: str
    opened_at: str
    due_at: str | None


class Following(Result, frozen=True):
    """The step after a failure: `retry`, `catch` or `end`."""

    kind: str
    retry_at: str | UnsetType = UNSET
    next: str | UnsetType = UNSET


class TaskFailed(Told, frozen=True):
    """The answer is on disk, and this is what follows."""

    then: Following


class EventStored(Result, frozen=True, kw_only=True):
    """An event as it stands in the log; `payload` is left out if digests were asked for."""

    position: int
    stream_id: str
    seq: int
    type: str
    version: int
    at: str
    actor: str
    actor_name: str | None
    caused_by: int | None
    data: JsonObject
    payload: JsonObject | UnsetType | None = UNSET
    payload_digest: str | None
    hash: str


class AfterSeq(Result, frozen=True):
    """`after`: the seq for the next page, if there is one; and the run as it was just before this page was read."""

    limit: int
    has_more: bool
    after: int
    execution_id: str
    workflow_id: str
    status: str


class AfterPosition(Result, frozen=True):
    """`after`: the position up to which nothing is left out."""

    limit: int
    has_more: bool
    after: int


class Health(Result, frozen=True):
    """The health of a server: live, or ready."""

    status: str


class ClockShown(Result, frozen=True):
    """The server's clock (`now`) and the computer's (`wall`); unless `is_trusted` nothing is fired until it is."""

    now: str
    wall: str
    is_trusted: bool
    step_ms: int
    problem: str | None


class ClockAnswer(Result, frozen=True):
    """`accepted`, or `nothing to accept`, and by how many milliseconds the server's clock was moved."""

    message: str
    step_ms: int


WorkflowPage: TypeAlias = Page[WorkflowShown, PagePlaced]
KeyPage: TypeAlias = Page[KeyShown, After]
WaitPage: TypeAlias = Page[WaitShown, After]
RunEvents: TypeAlias = Page[EventStored, AfterSeq]
LogEvents: TypeAlias = Page[EventStored, AfterPosition]
