"""Access: organizations, workspaces and the keys that act in them."""

from __future__ import annotations

import asyncio
import hashlib
from base64 import urlsafe_b64encode
from collections.abc import Iterable
from typing import Final, NamedTuple

from engine.core import ids, organization
from engine.errors import Invalid, NotFound, Refused
from engine.runtime.callers import KEY_ACTOR, Caller
from engine.runtime.node import Node
from engine.runtime.orders import Told
from engine.runtime.sending import send
from store.protocols import Catalog
from store.records import ApiKeyRow, OrganizationRow, WorkspaceRow

SCOPES: Final = (
    "workflows.view",
    "workflows.manage",
    "workflows.run",
    "runs.view",
    "runs.resume",
    "runs.terminate",
    "keys.manage",
    "audit.read",
    "credentials.manage",
    "organization.view",
    "operator",
)
DEFAULT: Final = "default"
KEY_BYTES: Final = 32
NAME_MAX: Final = 120


class Forbidden(Refused):
    """The key lacks a scope."""

    code = "FORBIDDEN"


class Principal(NamedTuple):
    """Who a key speaks for, and what it may do."""

    caller: Caller
    scopes: frozenset[str]

    def require(self, scope: str) -> None:
        """Raise `Forbidden`, naming the scope, unless the key has it."""
        if scope not in self.scopes:
            raise Forbidden(f"this key lacks the scope {scope}", {"scope": scope})


class MadeKey(NamedTuple):
    """A key that was just made; `text` is shown once and kept nowhere."""

    row: ApiKeyRow
    text: str


async def key_names(store: Catalog, organization_id: bytes, actors: Iterable[str]) -> dict[str, str]:
    """The names of the keys of an organization that are among these actors, by actor."""
    found = {}
    for actor in actors:
        key = actor.removeprefix(KEY_ACTOR)
        if key != actor and ids.is_id(key):
            row = await store.api_key(ids.parse(key))
            if row is not None and row.organization_id == organization_id:
                found[actor] = row.name
    return found


class Access:
    """The organizations, workspaces and keys of a node's store."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._store = node.store
        self._keys: dict[bytes, ApiKeyRow] = {}
        # Names of organizations are unique over streams, which no stream's state can say: one at a time.
        self._making = asyncio.Lock()

    # --- who asks ------------------------------------------------------------------------------------------------

    async def principal(self, key: str) -> Principal | None:
        """Who a key speaks for; null for a key that is unknown, revoked or expired."""
        digest = hashlib.sha256(key.encode("utf-8", "surrogateescape")).digest()
        row = self._keys.get(digest) or await self._store.api_key_by_digest(digest)
        if row is None or row.revoked_at is not None:
            return None
        self._keys[digest] = row
        if row.expires_at is not None and row.expires_at <= self._node.clock.now():
            return None
        caller = Caller(row.organization_id, row.workspace_id, f"{KEY_ACTOR}{ids.text(row.key_id)}")
        return Principal(caller, frozenset(row.scopes.split()))

    async def key_names(self, caller: Caller, actors: Iterable[str]) -> dict[str, str]:
        """The names of the keys among these actors, as far as they are of the caller's organization."""
        return await key_names(self._store, caller.organization_id, actors)

    async def default_caller(self, actor: str) -> Caller:
        """A caller in the organization and workspace `default`, which are made if they are not there."""
        found = await self.organization(DEFAULT, actor)
        workspace = await self.workspace(found.organization_id, DEFAULT, actor)
        return Caller(found.organization_id, workspace.workspace_id, actor)

    # --- organizations and workspaces ----------------------------------------------------------------------------

    async def organization(self, name: str, actor: str) -> OrganizationRow:
        """The organization of that name, made if it is not there."""
        async with self._making:
            row = await self._store.organization_named(name)
            if row is None:
                new_id = self._node.processor.new_id()
                command = organization.CreateOrganization(name, self._node.random(32))
                await send(self._node, Caller(new_id, b"", actor), "organization", new_id, command)
                row = await self._store.organization(new_id)
        if row is None:
            message = f"organization {name!r} was made and cannot be found"
            raise RuntimeError(message)
        return row

    async def workspace(self, organization_id: bytes, name: str, actor: str) -> WorkspaceRow:
        """The workspace of that name, made if it is not there."""
        row = await self._store.workspace_named(organization_id, name)
        if row is not None:
            return row
        new_id = ids.text(self._node.processor.new_id())
        reply = await send(
            self._node,
            Caller(organization_id, b"", actor),
            "organization",
            organization_id,
            organization.CreateWorkspace(new_id, name),
        )
        row = await self._store.workspace(ids.parse(reply.answer)) if isinstance(reply, Told) else None
        if row is None:
            message = f"workspace {name!r} was made and cannot be found"
            raise RuntimeError(message)
        return row

    # --- keys ----------------------------------------------------------------------------------------------------

    async def create_key(
        self,
        principal: Principal,
        name: str,
        scopes: tuple[str, ...],
        *,
        organization_name: str | None = None,
        workspace_name: str | None = None,
        expires_at: int | None = None,
    ) -> MadeKey:
        """Make a key.

        Nobody grants a scope that they lack; only an operator may name another organization or workspace, which is
        made if it is not there.
        """
        principal.require("keys.manage")
        _check_scopes(principal, scopes)
        caller = principal.caller
        if organization_name is not None or workspace_name is not None:
            caller = await self._elsewhere(principal, organization_name, workspace_name)
        return await self.make_key(caller, name, scopes, expires_at=expires_at)

    async def _elsewhere(
        self, principal: Principal, organization_name: str | None, workspace_name: str | None
    ) -> Caller:
        caller = principal.caller
        own = await self._store.organization(caller.organization_id)
        if own is not None and organization_name in (None, own.name):
            workspace = await self._store.workspace_named(caller.organization_id, workspace_name or DEFAULT)
            if workspace is not None and workspace.workspace_id == caller.workspace_id:
                return caller
        principal.require("operator")
        organization_id = caller.organization_id
        if organization_name is not None:
            organization_id = (await self.organization(organization_name, caller.actor)).organization_id
        workspace = await self.workspace(organization_id, workspace_name or DEFAULT, caller.actor)
        return Caller(organization_id, workspace.workspace_id, caller.actor)

    async def make_key(
        self,
        caller: Caller,
        name: str,
        scopes: tuple[str, ...],
        *,
        expires_at: int | None = None,
        text: str | None = None,
    ) -> MadeKey:
        """Make a key in the caller's workspace, without asking whether the caller may."""
        text = text or "pk_" + urlsafe_b64encode(self._node.random(KEY_BYTES)).decode().rstrip("=")
        digest = hashlib.sha256(text.encode()).digest()
        key_id = self._node.processor.new_id()
        command = organization.CreateKey(
            ids.text(key_id), ids.text(caller.workspace_id), name, digest.hex(), scopes, expires_at
        )
        await send(self._node, caller, "organization", caller.organization_id, command)
        row = await self._store.api_key(key_id)
        if row is None:
            message = "the key was made and cannot be found"
            raise RuntimeError(message)
        return MadeKey(row, text)

    async def keys(self, principal: Principal) -> list[ApiKeyRow]:
        """The keys of the principal's workspace; an operator's: of the organization."""
        principal.require("keys.manage")
        workspace = None if "operator" in principal.scopes else principal.caller.workspace_id
        return await self._store.api_keys(principal.caller.organization_id, workspace)

    async def revoke_key(self, principal: Principal, key_id: bytes) -> ApiKeyRow:
        """Revoke a key; again is the same. Raises `NotFound`."""
        row = next((row for row in await self.keys(principal) if row.key_id == key_id), None)
        if row is None:
            raise NotFound(f"there is no key {ids.text(key_id)}")
        caller = principal.caller
        command = organization.RevokeKey(ids.text(key_id))
        await send(self._node, caller, "organization", caller.organization_id, command)
        self._keys.pop(row.key_digest, None)
        return await self._store.api_key(key_id) or row

    async def bootstrap(self, text: str | None, actor: str) -> MadeKey | None:
        """In a database without keys make organization and workspace `default` and a key with all scopes.

        Gives that key, or null where there is one already. A database that was only used embedded has none.
        """
        for found in await self._store.organizations():
            if await self._store.api_keys(found.organization_id):
                return None
        caller = await self.default_caller(actor)
        return await self.make_key(caller, "bootstrap", SCOPES, text=text)


def _check_scopes(principal: Principal, scopes: tuple[str, ...]) -> None:
    unknown = [scope for scope in scopes if scope not in SCOPES]
    if unknown:
        raise Invalid(f"scopes: {unknown[0]!r} is no scope; there are: {', '.join(SCOPES)}", {"field": "scopes"})
    for scope in scopes:
        principal.require(scope)
