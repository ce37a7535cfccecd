"""An organization's stream: its workspaces and keys. Written by rare administrative acts only, never per run."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any, Literal, TypeAlias

import msgspec
from msgspec.structs import replace

from engine.core.decision import Decision, Rejection
from engine.core.draft import Draft
from engine.core.events import Event, Recorded

# --- events ------------------------------------------------------------------------------------------------------


class OrganizationCreated(Event, frozen=True):
    """The first event; of the secret only the SHA-256 is told. Payload: `name`."""

    kind: Literal["organization"]
    secret_sha256: str | None = None


class WorkspaceCreated(Event, frozen=True):
    """Payload: `name`."""

    workspace: str


class KeyCreated(Event, frozen=True):
    """A key and what it may do. Of its text only the SHA-256 is kept. Payload: `name`."""

    key: str
    workspace: str
    sha256: str
    scopes: tuple[str, ...]
    expires_at: int | None = None


class KeyRevoked(Event, frozen=True):
    """The key is refused from here on."""

    key: str


class LogPinned(Event, frozen=True):
    """What stands at a position of the whole log: so this stream's hash says where all events before it stand.

    `sha256` is the hash of the event there.
    """

    position: int
    sha256: str


EVENTS = (OrganizationCreated, WorkspaceCreated, KeyCreated, KeyRevoked, LogPinned)

# --- commands ----------------------------------------------------------------------------------------------------


class CreateOrganization(msgspec.Struct, frozen=True):
    """Create an organization; `secret` keys the HMACs that outlive an erasure."""

    name: str
    secret: bytes


class CreateWorkspace(msgspec.Struct, frozen=True):
    """Create a workspace of that id and name."""

    workspace: str
    name: str


class CreateKey(msgspec.Struct, frozen=True):
    """Create a key; `sha256` is the digest of its text."""

    key: str
    workspace: str
    name: str
    sha256: str
    scopes: tuple[str, ...]
    expires_at: int | None = None


class RevokeKey(msgspec.Struct, frozen=True):
    """Revoke a key of that id."""

    key: str


class PinLog(msgspec.Struct, frozen=True):
    """Tell what stands at a position of the log, which is on disk."""

    position: int
    sha256: str


Command: TypeAlias = CreateOrganization | CreateWorkspace | CreateKey | RevokeKey | PinLog

# --- state -------------------------------------------------------------------------------------------------------


class Key(msgspec.Struct, frozen=True):
    """A key as its `KeyCreated` (of that seq) says, and whether it has been revoked since."""

    seq: int
    created: KeyCreated
    created_at: int
    created_by: str
    revoked_at: int | None = None


class OrganizationState(msgspec.Struct):
    """`workspaces` has the seq of the event that created each, by id."""

    seq: int = 0
    recorded_at: int = 0
    workspaces: dict[str, int] = {}
    keys: dict[str, Key] = {}


def evolve(state: OrganizationState, recorded: Recorded) -> OrganizationState:
    """The state after one more event."""
    after = replace(state, seq=recorded.seq, recorded_at=recorded.recorded_at)
    event = recorded.event
    match event:
        case OrganizationCreated() | LogPinned():
            pass
        case WorkspaceCreated():
            after.workspaces = {**state.workspaces, event.workspace: recorded.seq}
        case KeyCreated():
            key = Key(recorded.seq, event, recorded.recorded_at, recorded.actor)
            after.keys = {**state.keys, event.key: key}
        case KeyRevoked():
            key = replace(state.keys[event.key], revoked_at=recorded.recorded_at)
            after.keys = {**state.keys, event.key: key}
        case _:
            message = f"{type(event).__name__} is no event of an organization"
            raise TypeError(message)
    return after


def decide(
    state: OrganizationState, command: Command, *, now: int, actor: str, payloads: Mapping[int, Any]
) -> Decision | Rejection:
    """Answer a command. Creating a workspace under a name that is taken answers with the one that has it."""
    draft = Draft(state, evolve, now=now, actor=actor)
    if isinstance(command, CreateOrganization):
        if state.seq:
            return Rejection("CONFLICT", "the organization exists already")
        digest = hashlib.sha256(command.secret).hexdigest()
        draft.emit(OrganizationCreated("organization", digest), {"name": command.name})
        return Decision(tuple(draft.steps), ())
    if not state.seq:
        return Rejection("NOT_FOUND", "there is no such organization")
    if isinstance(command, PinLog):
        draft.emit(LogPinned(command.position, command.sha256))
        return Decision(tuple(draft.steps), ())
    if isinstance(command, CreateWorkspace):
        taken = {payloads[seq]["name"]: workspace for workspace, seq in state.workspaces.items()}
        if command.name not in taken:
            draft.emit(WorkspaceCreated(command.workspace), {"name": command.name})
        return Decision(tuple(draft.steps), (), taken.get(command.name, command.workspace))
    return _decide_key(draft, command)


def _decide_key(draft: Draft[OrganizationState], command: CreateKey | RevokeKey) -> Decision | Rejection:
    state = draft.state
    if isinstance(command, CreateKey):
        if command.workspace not in state.workspaces:
            return Rejection("NOT_FOUND", "there is no such workspace")
        event = KeyCreated(command.key, command.workspace, command.sha256, command.scopes, command.expires_at)
        draft.emit(event, {"name": command.name})
    elif command.key not in state.keys:
        return Rejection("NOT_FOUND", "there is no such key")
    elif state.keys[command.key].revoked_at is None:
        draft.emit(KeyRevoked(command.key))
    return Decision(tuple(draft.steps), ())
