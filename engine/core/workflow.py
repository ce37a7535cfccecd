"""The stream of a workflow: its versions from draft to archive, and their publication.

The definition itself is kept beside the log (`workflow_versions`), content-addressed by the digest in the event.

A published version never changes. Another definition, or another setting, makes the next version, also of a draft; runs
go on with the version that they began with, and the latest published one is what starts where none is named. Archiving
is final: nothing starts, nothing changes, all can be read. Pausing is not: nothing starts until it is resumed.

Its schedules are a part of it with rules of their own: `schedules`, `scheduling`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any, Final, Literal, TypeAlias

import msgspec
from msgspec.structs import replace

from perdure.engine.core import schedules, scheduling
from perdure.engine.core.decision import Decision, Rejection
from perdure.engine.core.dispatch import Dispatch
from perdure.engine.core.draft import Draft
from perdure.engine.core.events import Event, Recorded
from perdure.engine.core.refs import Ref, ref
from perdure.engine.core.settings import VERSION_DEFAULTS, VersionSettings
from perdure.engine.core.versions import Called, VersionAdded, VersionSource, Visibility, VisibilityChanged

# --- events ------------------------------------------------------------------------------------------------------


class WorkflowCreated(Event, frozen=True):
    """The first event. Payload: `name`, and `description` if there is one."""

    kind: Literal["workflow"]
    workspace: str
    name: Ref
    description: Ref | None = None


class VersionPublished(Event, frozen=True):
    """A draft was published, and can be run."""

    version: int
    definition_sha256: str
    calls: dict[str, Called] = msgspec.field(default_factory=dict)


class WorkflowDescribed(Event, frozen=True):
    """Payload: the new `name` or `description`, or both."""

    name: Ref | None = None
    description: Ref | None = None


class WorkflowArchived(Event, frozen=True):
    """The workflow was archived: no run starts from here on; history stays."""


EVENTS = (
    *(WorkflowCreated, VersionAdded, VersionPublished, WorkflowDescribed, VisibilityChanged, WorkflowArchived),
    *schedules.EVENTS,
)

# --- commands ----------------------------------------------------------------------------------------------------


class SourceText(msgspec.Struct, frozen=True, gc=False):
    """The document that a definition was compiled from, as text, and what goes with the two of them (`outline`)."""

    format: str
    text: str
    outline: str

    def digested(self) -> VersionSource:
        """What the log has of it."""
        found = [hashlib.sha256(text.encode()).hexdigest() for text in (self.text, self.outline)]
        return VersionSource(self.format, *found)


class Sharing(msgspec.Struct, frozen=True, gc=False):
    """The rule of who is to see a workflow; `users` and `roles` count where it is `shared`."""

    visibility: Visibility
    users: tuple[str, ...] = ()
    roles: tuple[str, ...] = ()


class Definition(msgspec.Struct, frozen=True, gc=False):
    """The stored text of a definition, the SHA-256 of its bytes, and its settings.

    `mock_payload` is JSON text. `calls` has what the names in it mean now, by state, in case that it is published.
    `source` is what it was compiled from, if that is anything else; `summary` says what has changed, for people.
    """

    text: str
    sha256: str
    mock_payload: str | None = None
    settings: VersionSettings = VERSION_DEFAULTS
    calls: dict[str, Called] = {}
    source: SourceText | None = None
    summary: str | None = None


class CreateWorkflow(msgspec.Struct, frozen=True, gc=False):
    """Create a workflow with its first version; `owner` is the user who makes it, if that is anybody.

    If it `is_paused`, no run of it starts until it is resumed.
    """

    workspace: str
    name: str
    description: str | None
    definition: Definition
    is_published: bool = True
    schedules: tuple[schedules.ScheduleSpec, ...] = ()
    sharing: Sharing | None = None
    owner: str = ""
    is_paused: bool = False


class ChangeWorkflow(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Change what is given. Another definition or setting makes the next version; `is_published` publishes a draft.

    The same definition makes the next version, too, if a name in it means another workflow than when it was published.
    A name that means none goes on meaning what it did.

    `version` is the latest version as whoever asks has seen it, with its definition, `current`, and `was_published`. A
    version never changes but by being published, so that is all that the change can have been made from.
    """

    version: int
    current: Definition
    was_published: bool

    name: str | None = None
    description: str | None = None
    definition: Definition | None = None
    is_published: bool | None = None
    schedules: schedules.EditSchedules | None = None
    sharing: Sharing | None = None


class ArchiveWorkflow(msgspec.Struct, frozen=True, gc=False):
    """Archive the workflow."""


WorkflowCommand: TypeAlias = CreateWorkflow | ChangeWorkflow | ArchiveWorkflow | schedules.ScheduleCommand

# --- state -------------------------------------------------------------------------------------------------------


class Version(msgspec.Struct, frozen=True, gc=False):
    """A version; drafts have no `published_at`."""

    definition_sha256: str
    created_at: int
    created_by: str
    published_at: int | None = None
    settings: VersionSettings = VERSION_DEFAULTS
    calls: dict[str, Called] = {}
    source: VersionSource | None = None


class WorkflowState(msgspec.Struct, gc=False):
    """A workflow. `status` is `new` before the first event, and does not say whether it is paused.

    `modified_at` is the instant of the last event that is not about a run.
    """

    status: Literal["new", "draft", "published", "archived"] = "new"
    seq: int = 0
    recorded_at: int = 0
    created_at: int = 0
    created_by: str = ""
    modified_by: str | None = None
    workspace: str = ""
    name: Ref = ""
    description: Ref | None = None
    versions: dict[int, Version] = {}
    modified_at: int = 0
    is_paused: bool = False
    schedules: dict[str, schedules.Schedule] = {}
    sharing: Sharing = Sharing("tenant")
    owner: str = ""

    @property
    def is_archived(self) -> bool:
        """Whether nothing of it starts any more."""
        return self.status == "archived"

    @property
    def latest(self) -> int:
        """The number of the latest version, published or not; 0 before there is one."""
        return max(self.versions, default=0)


def evolve(state: WorkflowState, recorded: Recorded) -> WorkflowState:
    """The state after one more event."""
    after = replace(state, seq=recorded.seq, recorded_at=recorded.recorded_at)
    if not isinstance(recorded.event, schedules.RUN_EVENTS):
        after.modified_at, after.modified_by = recorded.recorded_at, recorded.actor
    _EVOLVE[type(recorded.event)](after, recorded.event, recorded)
    return after


def _created(state: WorkflowState, event: WorkflowCreated, recorded: Recorded) -> None:
    """A workflow is there, without a version yet: its first one follows in the same decision."""
    state.status, state.workspace = "draft", event.workspace
    state.created_at, state.created_by = recorded.recorded_at, recorded.actor
    state.name, state.description = event.name, event.description


def _version_added(state: WorkflowState, event: VersionAdded, recorded: Recorded) -> None:
    """A version is there, which never changes but for being published."""
    published_at = recorded.recorded_at if event.is_published else None
    settings = event.settings or VERSION_DEFAULTS
    version = Version(
        event.definition_sha256, recorded.recorded_at, recorded.actor, published_at, settings, event.calls, event.source
    )
    state.versions = {**state.versions, event.version: version}
    if event.is_published:
        state.status = "published"


def _version_published(state: WorkflowState, event: VersionPublished, recorded: Recorded) -> None:
    """A draft is published; what its names mean is settled with it."""
    version = replace(state.versions[event.version], published_at=recorded.recorded_at, calls=event.calls)
    state.versions = {**state.versions, event.version: version}
    state.status = "published"


def _described(state: WorkflowState, event: WorkflowDescribed, _: Recorded) -> None:
    """A workflow has another name or description; what the event does not say stays."""
    state.name = event.name or state.name
    state.description = event.description or state.description


def _visibility_changed(state: WorkflowState, event: VisibilityChanged, _: Recorded) -> None:
    """Others see it from here on; whose it is never changes."""
    state.sharing = Sharing(event.visibility, event.users, event.roles)
    state.owner = event.owner or state.owner


def _archived(state: WorkflowState, _event: WorkflowArchived, _: Recorded) -> None:
    """No run of it starts any more."""
    state.status = "archived"


def _paused(state: WorkflowState, _event: schedules.WorkflowPaused, _: Recorded) -> None:
    """No run of it starts for a while."""
    state.is_paused = True


def _resumed(state: WorkflowState, _event: schedules.WorkflowResumed, _: Recorded) -> None:
    """Runs of it start again."""
    state.is_paused = False


def _scheduled(state: WorkflowState, event: Any, recorded: Recorded) -> None:
    """One of its schedules has changed, or has come due."""
    state.schedules = schedules.evolve(state.schedules, event, recorded)


def _table() -> Dispatch[WorkflowState, [Recorded], None]:
    table = Dispatch[WorkflowState, [Recorded], None](__name__)
    for kind in schedules.EVENTS:
        if kind not in (schedules.WorkflowPaused, schedules.WorkflowResumed):
            table.on(kind, _scheduled)
    return table


_EVOLVE: Final = (
    _table()
    .on(WorkflowCreated, _created)
    .on(VersionAdded, _version_added)
    .on(VersionPublished, _version_published)
    .on(WorkflowDescribed, _described)
    .on(VisibilityChanged, _visibility_changed)
    .on(WorkflowArchived, _archived)
    .on(schedules.WorkflowPaused, _paused)
    .on(schedules.WorkflowResumed, _resumed)
    .over(EVENTS)
)


def _no_id() -> str:
    message = "a schedule, or a run of one, needs an id"
    raise LookupError(message)


def decide(
    state: WorkflowState, command: WorkflowCommand, *, now: int, actor: str, new_id: Callable[[], str] = _no_id
) -> Decision | Rejection:
    """Answer a command; the answer is the number of the version it is about, or what `scheduling` says.

    `new_id` draws ids of schedules and of their runs.
    """
    draft = Draft(state, evolve, now=now, actor=actor)
    turn = scheduling.Turn(draft, now, new_id)
    refused = None
    if state.status == "new" and not isinstance(command, CreateWorkflow):
        return Rejection("NOT_FOUND", "there is no such workflow")
    match command:
        case CreateWorkflow():
            if state.status != "new":
                return Rejection("CONFLICT", "the workflow exists already")
            _create(turn, command)
        case ChangeWorkflow():
            refused = _change(draft, command)
            if refused is None and command.schedules is not None:
                refused = scheduling.edit(turn, command.schedules)
                if refused is scheduling.STALE:
                    refused = _overtaken()
        case ArchiveWorkflow():
            if state.status != "archived":
                draft.emit(WorkflowArchived())
        case _:
            refused = scheduling.DECIDE[type(command)](turn, command)
            return refused or turn.decided()
    turn.answer = draft.state.latest
    return refused or turn.decided()


def _create(turn: scheduling.Turn[WorkflowState], command: CreateWorkflow) -> None:
    """Make a workflow and its first version, with its schedules."""
    draft = turn.draft
    payload: dict[str, Any] = {"name": command.name}
    if command.description is not None:
        payload["description"] = command.description
    places = {name: ref(draft.next_seq, name) for name in payload}
    draft.emit(WorkflowCreated("workflow", command.workspace, **places), payload)
    given = command.definition
    _add(draft, 1, given, is_published=command.is_published)
    sharing = command.sharing or Sharing("tenant")
    if command.owner or sharing != draft.state.sharing:
        draft.emit(VisibilityChanged(sharing.visibility, sharing.users, sharing.roles, command.owner))
    for spec in command.schedules:
        scheduling.add(turn, spec)
    if command.is_paused:
        scheduling.pause(turn, schedules.PauseWorkflow())


def _add(draft: Draft[WorkflowState], number: int, given: Definition, *, is_published: bool) -> None:
    """Add a version. Names are settled when it is published, so a draft has no calls.

    The mock payload and the summary are business data: `data` has not even the digest of the one.
    """
    payload: dict[str, str] = {}
    if given.mock_payload is not None:
        payload["mock_sha256"] = hashlib.sha256(given.mock_payload.encode()).hexdigest()
    if given.summary is not None:
        payload["summary"] = given.summary
    event = VersionAdded(
        number,
        given.sha256,
        is_published,
        settings=None if given.settings == VERSION_DEFAULTS else given.settings,
        calls=given.calls if is_published else {},
        source=_digested(given.source),
        summary=None if given.summary is None else ref(draft.next_seq, "summary"),
    )
    draft.emit(event, payload or None)


def _digested(source: SourceText | None) -> VersionSource | None:
    return None if source is None else source.digested()


def _change(draft: Draft[WorkflowState], command: ChangeWorkflow) -> Rejection | None:
    """Change a workflow, unless it is no longer what the change was made from."""
    if draft.state.status == "archived":
        return Rejection("CONFLICT", "the workflow is archived and can no longer be changed")
    # Whoever asks has read the latest version before: what they want to change must still be that, and not only its
    # definition, since the next version takes over what they do not name. (The row that goes with the events needs its
    # text, which no state holds.)
    latest = draft.state.versions[draft.state.latest]
    given = command.definition
    is_new = given is not None and _differs(latest, given, may_publish=command.is_published is not False)
    takes_status_over = is_new and command.is_published is None
    is_published_now = latest.published_at is not None
    if command.version != draft.state.latest or (takes_status_over and command.was_published != is_published_now):
        return _overtaken()
    if command.is_published is False and not is_new and is_published_now:
        message = "status: a published version never changes; a draft needs a new definition beside it"
        return Rejection("CONFLICT", message)
    payload = {
        name: value
        for name, value in (("name", command.name), ("description", command.description))
        if value is not None
    }
    if payload:
        places = {name: ref(draft.next_seq, name) for name in payload}
        draft.emit(WorkflowDescribed(**places), payload)
    if given is not None and is_new:
        if given.sha256 == latest.definition_sha256:
            given = replace(given, calls={**latest.calls, **given.calls})
        wants = command.is_published
        is_published = is_published_now if wants is None else wants
        _add(draft, draft.state.latest + 1, given, is_published=is_published)
    elif command.is_published and not is_published_now:  # of what is published already it is a no-op
        calls = command.current.calls if given is None else given.calls
        draft.emit(VersionPublished(draft.state.latest, latest.definition_sha256, calls))
    if command.sharing is not None and command.sharing != draft.state.sharing:
        draft.emit(VisibilityChanged(command.sharing.visibility, command.sharing.users, command.sharing.roles))
    return None


def _overtaken() -> Rejection:
    return Rejection("CONFLICT", "the workflow was changed by somebody else meanwhile; read it again")


def _differs(latest: Version, given: Definition, *, may_publish: bool) -> bool:
    """Whether this is another definition than that of the latest version, or means something else by its names."""
    source = _digested(given.source)
    if (given.sha256, given.settings, source) != (latest.definition_sha256, latest.settings, latest.source):
        return True
    if latest.published_at is None or not may_publish:
        return False
    return any(latest.calls.get(state) != called for state, called in given.calls.items())
