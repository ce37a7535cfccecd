"""The process API's requests and answers, as types."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal, TypeAlias

import msgspec
from msgspec import UNSET, UnsetType

from perdure.api.dialects.schemas import (
    Code,
    Count,
    Details,
    JsonObject,
    Millis,
    Number,
    OpenShape,
    RunStatus,
    Shape,
    Success,
    TriggerType,
    Version,
)
from perdure.api.http.paging import LIMIT_DEFAULT, Limit
from perdure.api.settings import SOURCES
from perdure.api.validation import Request, Uuid, Uuid7
from perdure.engine.core.pause_events import Clocks, Quota

ProcessId: TypeAlias = Annotated[str, msgspec.Meta(extra_json_schema={"minLength": 1, "maxLength": 128})]
"""The caller's own name for a run; the engine says what it may be."""

SOURCED: Final = {"properties": {"source": {"enum": list(SOURCES)}}, "required": ["source"]}
"""The schema of a resume's payload; the document shows the sources of the server's own settings."""


# --- commands ----------------------------------------------------------------------------------------------------


class TriggerQuery(Request, frozen=True):
    """`process_id` is the caller's own name for the run; `test` runs drafts too."""

    process_id: ProcessId | None = None
    test: bool = False


class RunInput(msgspec.Struct):
    """The run's input: any JSON object. `process_id` in it is the caller's own name for the run."""

    process_id: ProcessId | msgspec.UnsetType = msgspec.UNSET


class Triggered(Shape, frozen=True):
    """The run is on disk, and starts."""

    message: Success
    looply_execution_id: Uuid


class Resume(Request, frozen=True):
    """The output of the state that waited. `source` in it is required, and protected."""

    payload: Annotated[dict[str, Any], msgspec.Meta(extra_json_schema=SOURCED)]


# --- runs --------------------------------------------------------------------------------------------------------


class RunQuery(Request, frozen=True):
    """One run of one workflow."""

    workflow_id: Uuid
    workflow_execution_id: Uuid


class HistoryQuery(Request, frozen=True):
    """A page of a workflow's runs; `workflow_execution_id` is the position from `lastKey`."""

    workflow_id: Uuid
    workflow_execution_id: Uuid7 | None = None
    limit: Limit = LIMIT_DEFAULT


class OrganizationQuery(Request, frozen=True):
    """A page of all runs. The ids are the position from `lastKey`; they filter nothing."""

    workflow_id: Uuid | None = None
    workflow_execution_id: Uuid7 | None = None
    limit: Limit = LIMIT_DEFAULT


class EventShown(OpenShape, frozen=True):
    """An event; its further members depend on its type. Values of more than 1,024 bytes are cut."""

    seq: Number
    type: str
    at: Millis
    actor: str
    state: str | UnsetType = UNSET


class EventLog(Shape, frozen=True):
    """The events of a run in order; of many the first and the last."""

    count: Count
    truncated: bool
    events: list[EventShown]


class RetryShown(Shape, frozen=True):
    """An attempt that failed, and when the next one was due."""

    failed_on: Millis
    retry_on: Millis
    error: Any
    cause: Any | UnsetType = UNSET


class WithinShown(Shape, frozen=True):
    """The branch of a Parallel state or the iteration of a Map state, by its index."""

    state: str
    index: Count


class StepShown(Shape, frozen=True):
    """One entry of a state. `error` is there if it failed, `within` if it is below other states, outermost first.

    One that did not end by itself, but with what is around it, is `cancelled`.
    """

    state: str
    entered_on: Millis | None
    exited_on: Millis | None
    input: Any
    output: Any
    attempts: Count
    error: Any | UnsetType = UNSET
    cause: Any | UnsetType = UNSET
    cancelled: bool | UnsetType = UNSET
    retries: list[RetryShown] | UnsetType = UNSET
    scope: str | UnsetType = UNSET
    within: list[WithinShown] | UnsetType = UNSET


class CondensedLog(Shape, frozen=True):
    """A step for each entry of a state, in order."""

    count: Count
    truncated: bool
    steps: list[StepShown]


class StateShown(OpenShape, frozen=True):
    """A state of the definition, with its own fields."""

    name: str
    type: str


class Connection(Shape, frozen=True):
    """A way from a state to another. `label`: the condition of a choice, or the errors that are caught."""

    origin: str = msgspec.field(name="from")
    to: str
    kind: Literal["next", "choice", "default", "catch"]
    label: str | UnsetType = UNSET


class Outline(Shape, frozen=True):
    """The workflow as it was when the run started."""

    workflow_name: str
    workflow_steps: list[StateShown]
    workflow_connections: list[Connection]


class WorkflowNamed(Shape, frozen=True):
    """The workflow's name."""

    workflow_name: str


class PauseListed(Shape, frozen=True, kw_only=True):
    """The pause of a run. `quota` is used up, null: an operator did it; `quiescent`: nothing is `in_flight` now."""

    since: Millis
    quota: Quota | None
    in_flight: Count
    quiescent: bool


class PauseDetails(PauseListed, frozen=True, kw_only=True):
    """The pause of a run, and who did it, why, and whether time goes on meanwhile."""

    by: str
    reason: str | None
    clocks: Clocks


class RunDescribed(Shape, frozen=True, kw_only=True):
    """The members that a run has wherever it is shown. `parent_execution_id`: the run whose task started it.

    `origin_execution_id`: the run that it was made from, by a rerun or a fork.
    """

    workflow_id: Uuid
    workflow_execution_id: Uuid
    workflow_version: Number
    workflow_current_state: str | None
    workflow_trigger_type: TriggerType
    status: RunStatus
    process_id: str
    organization_id: Uuid
    workspace_id: Uuid
    created_on: Millis
    modified_on: Millis
    modified_by: str | None
    parent_execution_id: Uuid | UnsetType = UNSET
    origin_execution_id: Uuid | UnsetType = UNSET
    workflow_event_log: EventLog


class RunListed(RunDescribed, frozen=True):
    """A run on a page: its last ten events. It has a `pause` while it is paused."""

    workflow_details: WorkflowNamed
    pause: PauseListed | UnsetType = UNSET


class QueuedForShown(Shape, frozen=True):
    """A limit that a run queues for, and how many runs it allows at once; null: any number by now."""

    kind: Literal["workflow", "key", "organization"]
    limit: Number | None


class QueueShown(Shape, frozen=True):
    """The place of a `pending` run in its line, from 1, and the limits that it needs a place in."""

    position: Number
    limits: list[QueuedForShown]


class RunItem(RunDescribed, frozen=True, kw_only=True):
    """A run with its values and logs. `modified_on`: when somebody outside changed it last, so it may end later.

    `queue`: of a run that is `pending`.
    """

    queue: QueueShown | UnsetType = UNSET
    workflow_input_payload: Any
    workflow_output_payload: Any
    condensed_logs: CondensedLog
    workflow_details: Outline
    pause: PauseDetails | UnsetType = UNSET


class RunShown(Shape, frozen=True):
    """One run."""

    message: Success
    item: RunItem


class RunKey(Shape, frozen=True):
    """A position: sent back as query parameters it gives the page after it."""

    workflow_id: Uuid
    workflow_execution_id: Uuid


class RunPage(Shape, frozen=True):
    """Runs, newest first; `lastKey` is there exactly when another page exists."""

    message: Success
    count: Count
    items: list[RunListed]
    last_key: RunKey | UnsetType = msgspec.field(name="lastKey", default=UNSET)


# --- workflows ---------------------------------------------------------------------------------------------------


class VersionQuery(Request, frozen=True):
    """One version of one workflow."""

    workflow_id: Uuid
    workflow_version: Version


class Toggle(Request, frozen=True):
    """The schedules of a workflow: `PAUSE` or `PLAY`. They are those of all versions."""

    workflow_id: Uuid
    workflow_version: Version
    action: Literal["PAUSE", "PLAY"]


class Toggled(Shape, frozen=True):
    """The schedules of a workflow as they are now."""

    message: Success
    workflow_id: Uuid
    workflow_version: Number
    status: Literal["PAUSED", "ACTIVE"]


class VersionsQuery(Request, frozen=True):
    """A page of versions; the last three are the position from `lastKey`."""

    limit: Limit = LIMIT_DEFAULT
    workflow_id: Uuid | None = None
    workflow_version: Version | None = None
    organization_id: Uuid | None = None


class Dated(Shape, frozen=True):
    """A version, and who made it when."""

    workflow_id: Uuid
    workflow_version: Number
    created_on: Millis
    created_by: str
    modified_on: Millis
    modified_by: str | None


class VersionListed(Dated, frozen=True):
    """A version on a page."""

    workflow_name: str
    workflow_status: Literal["DRAFT", "ACTIVE", "PAUSED", "ARCHIVED"]
    workflow_status_version: Annotated[str, msgspec.Meta(pattern=r"^(DRAFT|ACTIVE|PAUSED|ARCHIVED)_[1-9][0-9]*\Z")]
    latest: Literal["true", "false"]
    organization_id: Uuid
    workspace_id: Uuid


class VersionItem(VersionListed, frozen=True):
    """A version with its states and the connections between them."""

    workflow_integrations: JsonObject
    workflow_steps: list[StateShown]
    workflow_connections: list[Connection]
    workflow_schema: JsonObject


class SchemaItem(Dated, frozen=True):
    """An example of a version's input, and a JSON Schema for it."""

    workflow_mock_payload: Any
    workflow_schema: JsonObject


class VersionShown(Shape, frozen=True):
    """One version."""

    message: Success
    item: VersionItem


class SchemaShown(Shape, frozen=True):
    """The input of one version."""

    message: Success
    item: SchemaItem


class VersionKey(Shape, frozen=True):
    """A position: sent back as query parameters it gives the page after it."""

    organization_id: Uuid
    workflow_id: Uuid
    workflow_version: Number


class VersionPage(Shape, frozen=True):
    """Versions, newest first; `lastKey` is there exactly when another page exists."""

    message: Success
    count: Count
    items: list[VersionListed]
    last_key: VersionKey | UnsetType = msgspec.field(name="lastKey", default=UNSET)


# --- refusals ----------------------------------------------------------------------------------------------------


class ProcessProblem(Shape, frozen=True):
    """The code of a refusal, and its details."""

    code: Code
    details: Details | UnsetType = UNSET


class ProcessRefusal(Shape, frozen=True):
    """A refusal of the process API. `message` names the field, what is wrong with it, and what is accepted."""

    message: str
    error: ProcessProblem
