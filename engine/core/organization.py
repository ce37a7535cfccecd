"""The stream of an organization: its workspaces and API keys. Rare administrative events only, none per run.

Whether somebody may do something is asked before, by whoever knows the key that asks; here is what must hold of the
keys together. Somebody must be left who may do everything: the last operator's key that is live cannot be revoked,
unless another organization has one, which the driver says.

Names of workspaces are unique in an organization, and this stream sees to that; names of organizations are unique over
streams, which no stream can say: the driver makes them one at a time.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from itertools import count
from typing import Any, Final, Literal, TypeAlias, assert_never

import msgspec
from msgspec.structs import replace

from perdure.engine.core.decision import Decision, Rejection
from perdure.engine.core.dispatch import Dispatch
from perdure.engine.core.draft import Draft
from perdure.engine.core.events import Event, Recorded
from perdure.engine.core.persistent import PersistentMap
from perdure.engine.core.pinned import LogPinned
from perdure.engine.core.settings import ORGANIZATION_DEFAULTS, OrganizationSettings

# --- events ------------------------------------------------------------------------------------------------------


class OrganizationCreated(Event, frozen=True):
    """The first event; of the secret it has the SHA-256 only. Payload: `name`."""

    kind: Literal["organization"]
    secret_sha256: str | None = None


class WorkspaceCreated(Event, frozen=True):
    """Payload: `name`."""

    workspace: str


class SandboxCreated(Event, frozen=True):
    """A workspace in which test keys act, paired with `live`, whose workflows it sees. Payload: `name`."""

    workspace: str
    live: str


class KeyCreated(Event, frozen=True):
    """A key and its scopes; a test key if its workspace is a sandbox. Of its text it has the SHA-256 only.

    Payload: `name`, and if it is a person's `user_id`, `role_ids`.
    """

    key: str
    workspace: str
    sha256: str
    scopes: tuple[str, ...]
    expires_at: int | None = None


class KeyRevoked(Event, frozen=True):
    """The key was revoked, and is rejected from here on."""

    key: str


class OrganizationSettingsChanged(Event, frozen=True):
    """The settings that hold from here on, all of them."""

    settings: OrganizationSettings


class ClockAccepted(Event, frozen=True):
    """An operator accepted that the computer's clock was set by `step_ms` while that node ran; it fires timers again.

    The instants that the node recorded before differ by the step from those that it records from here on.
    """

    step_ms: int
    node: str


EVENTS = (
    OrganizationCreated,
    WorkspaceCreated,
    SandboxCreated,
    KeyCreated,
    KeyRevoked,
    OrganizationSettingsChanged,
    LogPinned,
    ClockAccepted,
)

# --- commands ----------------------------------------------------------------------------------------------------


class CreateOrganization(msgspec.Struct, frozen=True, gc=False):
    """Create an organization; `secret` keys the HMACs that outlive an erasure."""

    name: str
    secret: bytes


class CreateWorkspace(msgspec.Struct, frozen=True, gc=False):
    """Create a workspace of that id and name."""

    workspace: str
    name: str


KeyMode: TypeAlias = Literal["live", "test"]
"""What a key is for: the workspace itself, or the sandbox that is paired with it."""


class CreateKey(msgspec.Struct, frozen=True, gc=False):
    """Create a key; `sha256` is the digest of its text.

    `sandbox` is given for a test key: the id of the workspace's sandbox if it has none yet. `user_id` and `role_ids`
    say who the person is that the key is of.
    """

    key: str
    workspace: str
    name: str
    sha256: str
    scopes: tuple[str, ...]
    expires_at: int | None = None
    sandbox: str | None = None
    user_id: str | None = None
    role_ids: tuple[str, ...] = ()


class RevokeKey(msgspec.Struct, frozen=True, gc=False):
    """Revoke a key of that id, and with it the keys that it made, those that they made, and so on.

    `has_other_operators`: another organization has an operator's key. Of many keys a decision revokes some, and its
    answer says whether there are more: then it is asked again.
    """

    key: str
    with_children: bool = False
    has_other_operators: bool = False


class ChangeOrganizationSettings(msgspec.Struct, frozen=True, gc=False):
    """Change the settings from what whoever asks has seen, `current`, to these."""

    current: OrganizationSettings
    settings: OrganizationSettings


class PinLog(msgspec.Struct, frozen=True, gc=False):
    """Record the hash of an event of the log, which is on disk, and the digest of the log above `after` up to it."""

    position: int
    sha256: str
    after: int
    log_sha256: str


class AcceptClock(msgspec.Struct, frozen=True, gc=False):
    """Record that a step of the clock of that node is accepted; that there is one is for whoever asks to check."""

    step_ms: int
    node: str


OrganizationCommand: TypeAlias = (
    CreateOrganization | CreateWorkspace | CreateKey | RevokeKey | ChangeOrganizationSettings | PinLog | AcceptClock
)

OPERATOR: Final = "operator"
"""The scope of who may do everything: somebody must be left who has it."""

REVOKED_AT_ONCE: Final = 200
"""So many keys a decision revokes at the most before others have their turn."""

# --- state -------------------------------------------------------------------------------------------------------


class ApiKey(msgspec.Struct, frozen=True, gc=False):
    """A key as its `KeyCreated` (of that seq) says, and whether it has been revoked since."""

    seq: int
    created: KeyCreated
    created_at: int
    created_by: str
    revoked_at: int | None = None


class OrganizationState(msgspec.Struct, gc=False):
    """`workspaces` has the seq of the event that created each, by id; `sandboxes` the live one of each that is one.

    `children` has, by whoever made keys (an actor), what it made; `operators` are the keys with that scope that are
    not revoked. There may be many keys: making one costs the same however many there are.
    """

    seq: int = 0
    recorded_at: int = 0
    workspaces: dict[str, int] = {}
    sandboxes: dict[str, str] = {}
    keys: PersistentMap[str, ApiKey] = PersistentMap()
    children: PersistentMap[str, PersistentMap[str, None]] = PersistentMap()
    operators: frozenset[str] = frozenset()
    settings: OrganizationSettings = ORGANIZATION_DEFAULTS


def evolve(state: OrganizationState, recorded: Recorded) -> OrganizationState:
    """The state after one more event."""
    after = replace(state, seq=recorded.seq, recorded_at=recorded.recorded_at)
    _EVOLVE[type(recorded.event)](after, recorded.event, recorded)
    return after


def _workspace_created(state: OrganizationState, event: WorkspaceCreated, recorded: Recorded) -> None:
    """A workspace is there; its name is in the payload at this seq."""
    state.workspaces = {**state.workspaces, event.workspace: recorded.seq}


def _sandbox_created(state: OrganizationState, event: SandboxCreated, recorded: Recorded) -> None:
    """A workspace is there, paired with another one."""
    state.workspaces = {**state.workspaces, event.workspace: recorded.seq}
    state.sandboxes = {**state.sandboxes, event.workspace: event.live}


def _key_created(state: OrganizationState, event: KeyCreated, recorded: Recorded) -> None:
    """A key is there. Who made it is kept, since a key's children live no longer than it does."""
    state.keys = state.keys.set(event.key, ApiKey(recorded.seq, event, recorded.recorded_at, recorded.actor))
    others = state.children.get(recorded.actor, PersistentMap[str, None]())
    state.children = state.children.set(recorded.actor, others.set(event.key, None))
    if OPERATOR in event.scopes:
        state.operators |= {event.key}


def _key_revoked(state: OrganizationState, event: KeyRevoked, recorded: Recorded) -> None:
    """A key has ended: nothing is decided under it any more."""
    state.keys = state.keys.set(event.key, replace(state.keys[event.key], revoked_at=recorded.recorded_at))
    state.operators -= {event.key}


def _settings_changed(state: OrganizationState, event: OrganizationSettingsChanged, _: Recorded) -> None:
    """Other settings hold from here on."""
    state.settings = event.settings


def _nothing(_state: OrganizationState, _event: OrganizationCreated | LogPinned | ClockAccepted, _: Recorded) -> None:
    """What it says is read from the log."""


_EVOLVE: Final = (
    Dispatch[OrganizationState, [Recorded], None](__name__)
    .on(OrganizationCreated, _nothing)
    .on(WorkspaceCreated, _workspace_created)
    .on(SandboxCreated, _sandbox_created)
    .on(KeyCreated, _key_created)
    .on(KeyRevoked, _key_revoked)
    .on(OrganizationSettingsChanged, _settings_changed)
    .on(LogPinned, _nothing)
    .on(ClockAccepted, _nothing)
    .over(EVENTS)
)


def decide(
    state: OrganizationState, command: OrganizationCommand, *, now: int, actor: str, payloads: Mapping[int, Any]
) -> Decision | Rejection:
    """Answer a command. Creating a workspace under a name that is taken answers with the one that has it."""
    draft = Draft(state, evolve, now=now, actor=actor)
    if not (state.seq or isinstance(command, CreateOrganization)):
        return Rejection("NOT_FOUND", "there is no such organization")
    answer = None
    match command:
        case CreateOrganization():
            return _create(draft, command)
        case PinLog():
            draft.emit(LogPinned(command.position, command.sha256, command.after, command.log_sha256))
        case AcceptClock():
            draft.emit(ClockAccepted(command.step_ms, command.node))
        case CreateWorkspace():
            taken = {payloads[seq]["name"]: workspace for workspace, seq in state.workspaces.items()}
            if command.name not in taken:
                draft.emit(WorkspaceCreated(command.workspace), {"name": command.name})
            answer = taken.get(command.name, command.workspace)
        case ChangeOrganizationSettings():
            return _change_settings(draft, command)
        case CreateKey():
            return _create_key(draft, command, payloads)
        case RevokeKey():
            return _revoke(draft, command)
        case _:
            assert_never(command)
    return Decision(tuple(draft.steps), (), answer)


def _create(draft: Draft[OrganizationState], command: CreateOrganization) -> Decision | Rejection:
    """Make an organization of this name, which the driver has made sure that no other has."""
    if draft.state.seq:
        return Rejection("CONFLICT", "the organization exists already")
    digest = hashlib.sha256(command.secret).hexdigest()
    draft.emit(OrganizationCreated("organization", digest), {"name": command.name})
    return Decision(tuple(draft.steps), ())


def _create_key(
    draft: Draft[OrganizationState], command: CreateKey, payloads: Mapping[int, Any]
) -> Decision | Rejection:
    """Make a key in a workspace of this organization; that it may be made is for whoever asks to check."""
    if command.workspace not in draft.state.workspaces:
        return Rejection("NOT_FOUND", "there is no such workspace")
    is_sandbox = command.workspace in draft.state.sandboxes
    if is_sandbox and command.sandbox is None:
        return Rejection("CONFLICT", "the workspace is a sandbox, in which test keys alone act: make one of mode test")
    workspace = command.workspace
    if command.sandbox is not None and not is_sandbox:
        workspace = _sandbox(draft, workspace, command.sandbox, payloads)
    event = KeyCreated(command.key, workspace, command.sha256, command.scopes, command.expires_at)
    person = {} if command.user_id is None else {"user_id": command.user_id}
    roles = {"role_ids": list(command.role_ids)} if command.role_ids else {}
    draft.emit(event, {"name": command.name, **person, **roles})
    return Decision(tuple(draft.steps), (), command.key)


def _sandbox(draft: Draft[OrganizationState], live: str, new_id: str, payloads: Mapping[int, Any]) -> str:
    """The sandbox of a workspace, which is made with the first key that needs it."""
    state = draft.state
    for sandbox, paired in state.sandboxes.items():
        if paired == live:
            return sandbox
    taken = {payloads[seq]["name"] for seq in state.workspaces.values()}
    own = f"{payloads[state.workspaces[live]]['name']} (sandbox)"
    numbered = (own if number == 1 else f"{own} {number}" for number in count(1))
    draft.emit(SandboxCreated(new_id, live), {"name": next(name for name in numbered if name not in taken)})
    return new_id


def _change_settings(draft: Draft[OrganizationState], command: ChangeOrganizationSettings) -> Decision | Rejection:
    """Change the settings, unless they are no longer what the change was made from."""
    if command.current != draft.state.settings:
        return Rejection("CONFLICT", "the settings were changed by somebody else meanwhile; read them again")
    if command.settings != draft.state.settings:
        draft.emit(OrganizationSettingsChanged(command.settings))
    return Decision(tuple(draft.steps), ())


def _revoke(draft: Draft[OrganizationState], command: RevokeKey) -> Decision | Rejection:
    """Revoke a key, and its children if that is wished; the answer is whether more are left to be revoked."""
    state = draft.state
    if command.key not in state.keys:
        return Rejection("NOT_FOUND", "there is no such key")
    family = _family(state, command.key) if command.with_children else [command.key]
    wanted = [key for key in family if state.keys[key].revoked_at is None]
    operators = {key for key in state.operators if _is_live(state.keys[key], draft.at)}
    if operators and operators.issubset(wanted) and not command.has_other_operators:
        message = "this is the last key with the scope operator: make another before you revoke it"
        return Rejection("CONFLICT", message)
    # Parents before those that they made. Of very many some are left: the answer says so, and who asks, asks again.
    for key in wanted[:REVOKED_AT_ONCE]:
        draft.emit(KeyRevoked(key))
    return Decision(tuple(draft.steps), (), len(wanted) > REVOKED_AT_ONCE)


def _family(state: OrganizationState, first: str) -> list[str]:
    """A key, and after it those that it made, those that they made, and so on."""
    family = [first]
    for key in family:
        family += sorted(state.children.get(f"key:{key}", ()))
    return family


def _is_live(key: ApiKey, now: int) -> bool:
    """Whether a key has not expired."""
    return key.created.expires_at is None or key.created.expires_at > now
