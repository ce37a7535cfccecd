"""Access control: organizations, workspaces, and the keys that act in them."""

from __future__ import annotations

import asyncio
import hashlib
import re
from base64 import urlsafe_b64encode
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from perdure.engine.core import ids, organization
from perdure.engine.core.organization import KeyMode
from perdure.engine.core.settings import PlanName, organization_settings
from perdure.engine.errors import Invalid, NotFound
from perdure.engine.language import format_instant
from perdure.engine.log.codec import decode_json
from perdure.engine.runtime.callers import DEFAULT, KEY_ACTOR, NO_TERMS, Caller, Grant
from perdure.engine.runtime.node import NodeParts
from perdure.engine.runtime.processing.requests import Accepted
from perdure.engine.services.key_uses import KeyUses
from perdure.engine.services.principals import (
    NO_PERSON,
    Forbidden,
    MadeKey,
    OwnKey,
    Person,
    Plans,
    Principal,
    Principals,
)
from perdure.engine.services.queries import key_names
from perdure.engine.services.sending import send
from perdure.engine.services.settings import changed_organization
from perdure.store.records import ApiKeyRow, OrganizationRow, WorkspaceRow

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
    "connections.view",
    "connections.manage",
    "forms.view",
    "forms.manage",
    "forms.submit",
    "tables.view",
    "tables.manage",
    "agents.view",
    "agents.manage",
    "webhooks.view",
    "webhooks.manage",
    "notifications.view",
    "organization.view",
    "operator",
)
KEY_PREFIX: Final = "wfk_"
"""What the text of a key begins with that was made without a mode."""

MODE_PREFIX: Final[Mapping[KeyMode, str]] = {"live": "sk_live_", "test": "sk_test_"}
"""Of one that was made with a mode. It is for people: what a key may do its row says, never its text."""

_EVER: Final = "|".join(("pk_", KEY_PREFIX, *MODE_PREFIX.values()))
KEY_BYTES: Final = 32
_FORM: Final = re.compile(rf"({_EVER})[A-Za-z0-9_-]{{{-(-KEY_BYTES * 4 // 3)}}}")

BEYOND_SANDBOX: Final = ("operator", "organization.view")
"""Scopes that no test key has: they reach beyond its sandbox."""
NAME_MAX: Final = 120


NO_ORGANIZATION: Final = "there is no such organization"


class Access:
    """Organizations, workspaces and keys: authentication, creation and revocation."""

    def __init__(self, node: NodeParts, principals: Principals, plans: Plans) -> None:
        self._node = node
        self._store = node.store
        self._keys = principals
        self._plans = plans
        # Names of organizations are unique over streams, which no stream's state can say: one at a time.
        self._making = asyncio.Lock()
        self._revoking = asyncio.Lock()
        self._known = principals.known
        self._uses = KeyUses(node.store, node.clock)

    # --- who asks ------------------------------------------------------------------------------------------------

    async def is_known(self, key: str) -> bool:
        """Whether a key is in use, as far as that is known without reading the store each time."""
        digest = _digest(key)
        return self._keys.get(digest) is not None or await self._known.has(digest)

    async def principal(self, key: str) -> Principal | None:
        """The principal of a key; null for a key that is unknown, revoked or expired."""
        digest = _digest(key)
        found = self._keys.get(digest)
        if found is None:
            try:
                found = await self._keys.read(digest, lambda: self._read_principal(digest))
            except NotFound:
                self._known.ended(digest)
                return None
        if found.has_ended(self._node.clock):
            return None
        if found.caller.grant is not None:
            self._uses.note(found.caller.grant)
        return found

    async def _read_principal(self, digest: bytes) -> Principal:
        row = await self._store.api_key_by_digest(digest)
        if row is None or row.revoked_at is not None:
            raise NotFound("there is no such key")
        workspace = await self._store.workspace(row.workspace_id)
        caller = Caller(
            organization_id=row.organization_id,
            workspace_id=row.workspace_id,
            actor=f"{KEY_ACTOR}{ids.text(row.key_id)}",
            grant=Grant(row.key_id, row.expires_at),
            user_id=row.user_id,
            role_ids=frozenset(decode_json(row.role_ids)),
            live_workspace_id=None if workspace is None else workspace.live_workspace_id,
        )
        return Principal(caller, frozenset(row.scopes.split()))

    async def own_key(self, caller: Caller) -> OwnKey:
        """The key that somebody acts by. Raises `NotFound`."""
        row = None if caller.grant is None else await self._store.api_key(caller.grant.key_id)
        if row is None:
            raise NotFound("this caller acts by no key")
        return OwnKey(row, await self.plan(row.organization_id))

    async def key_names(self, caller: Caller, actors: Iterable[str]) -> dict[str, str]:
        """The names of the keys among these actors, as far as they are of the caller's organization."""
        return await key_names(self._store, caller.organization_id, actors)

    async def default_caller(self, actor: str) -> Caller:
        """A caller in the organization and workspace `default`, which are made if they are not there."""
        found = await self.organization(DEFAULT, actor)
        workspace = await self.workspace(found.organization_id, DEFAULT, actor)
        return Caller(found.organization_id, workspace.workspace_id, actor)

    # --- organizations and workspaces ----------------------------------------------------------------------------

    async def organization(self, name: str, actor: str, grant: Grant | None = None) -> OrganizationRow:
        """The organization of that name, made if it is not there."""
        async with self._making:
            row = await self._store.organization_named(name)
            if row is None:
                new_id = self._node.processor.new_id()
                command = organization.CreateOrganization(name, self._node.random(32))
                await send(self._node, Caller(new_id, b"", actor, grant), "organization", new_id, command)
                row = await self._store.organization(new_id)
        if row is None:
            message = f"organization {name!r} was made and cannot be found"
            raise RuntimeError(message)
        return row

    async def own_organization(self, caller: Caller) -> OrganizationRow:
        """The caller's organization. Raises `NotFound`."""
        return await self._organization(caller.organization_id)

    async def any_organization(self, principal: Principal, organization_id: bytes) -> OrganizationRow:
        """An organization, which only an operator sees if it is not the principal's own. Raises `NotFound`."""
        if organization_id != principal.caller.organization_id and organization.OPERATOR not in principal.scopes:
            raise NotFound(NO_ORGANIZATION)
        return await self._organization(organization_id)

    async def _organization(self, organization_id: bytes) -> OrganizationRow:
        row = await self._store.organization(organization_id)
        if row is None:
            raise NotFound(NO_ORGANIZATION)
        return row

    async def plan(self, organization_id: bytes) -> PlanName:
        """The plan of an organization, as its last change on disk says; read once, and again after each change."""

        async def reading() -> PlanName:
            return organization_settings((await self._organization(organization_id)).settings).plan

        return await self._plans.read(organization_id, reading)

    async def change_organization(
        self, principal: Principal, given: Mapping[str, Any], organization_id: bytes | None = None
    ) -> OrganizationRow:
        """Change settings of an organization (the caller's own), as `engine.services.settings` reads them.

        Raises `Invalid`, `Forbidden`, `NotFound`, and `Conflict` if somebody else has changed them meanwhile.
        """
        principal.require(organization.OPERATOR)
        whose = principal.caller.organization_id if organization_id is None else organization_id
        current = organization_settings((await self._organization(whose)).settings)
        wanted = changed_organization(current, given, self._node.limits)
        command = organization.ChangeOrganizationSettings(current, wanted)
        await send(self._node, principal.caller._replace(organization_id=whose), "organization", whose, command)
        return await self._organization(whose)

    async def workspace(
        self, organization_id: bytes, name: str, actor: str, grant: Grant | None = None
    ) -> WorkspaceRow:
        """The workspace of that name, made if it is not there."""
        row = await self._store.workspace_named(organization_id, name)
        if row is not None:
            return row
        new_id = ids.text(self._node.processor.new_id())
        reply = await send(
            self._node,
            Caller(organization_id, b"", actor, grant),
            "organization",
            organization_id,
            organization.CreateWorkspace(new_id, name),
        )
        row = await self._store.workspace(ids.parse(reply.answer)) if isinstance(reply, Accepted) else None
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
        mode: KeyMode | None = None,
        person: Person = NO_PERSON,
    ) -> MadeKey:
        """Make a key, of the mode `live` unless another is given or it is made in a sandbox.

        Nobody grants a scope that they lack, or for longer than they have it: without `expires_at` a key expires with
        the one that makes it. Only an operator may name another organization or workspace, which is made if it is not
        there. Who is somebody makes keys for themselves, unless they are an operator; a key that is somebody's makes
        keys that are theirs if nobody is named. Raises `Invalid` if it would have expired already, or if a test key
        were to reach beyond its sandbox.
        """
        if expires_at is not None and expires_at <= self._node.clock.now():
            raise Invalid("expires_at: it is in the past; it must be a time to come", {"field": "expires_at"})
        principal.require("keys.manage")
        _check_scopes(principal, scopes)
        expires_at = _expiry(principal, expires_at)
        person = _person(principal, person)
        caller = principal.caller
        if organization_name is not None or workspace_name is not None:
            caller = await self._elsewhere(principal, organization_name, workspace_name)
        if caller.live_workspace_id is not None:
            if mode == "live":
                message = "mode: the workspace is a sandbox, where test keys alone act; it must be test, or left out"
                raise Invalid(message, {"field": "mode", "allowed": ["test"]})
            mode = "test"
        beyond = [scope for scope in scopes if scope in BEYOND_SANDBOX]
        if mode == "test" and beyond:
            message = f"scopes: {beyond[0]} reaches beyond the sandbox of a test key; leave it out, or make a live key"
            raise Invalid(message, {"field": "scopes", "scope": beyond[0]})
        return await self.make_key(caller, name, scopes, expires_at=expires_at, mode=mode, person=person)

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
            organization_id = (await self.organization(organization_name, caller.actor, caller.grant)).organization_id
        workspace = await self.workspace(organization_id, workspace_name or DEFAULT, caller.actor, caller.grant)
        return caller._replace(
            organization_id=organization_id,
            workspace_id=workspace.workspace_id,
            live_workspace_id=workspace.live_workspace_id,
        )

    async def make_key(
        self,
        caller: Caller,
        name: str,
        scopes: tuple[str, ...],
        *,
        expires_at: int | None = None,
        text: str | None = None,
        mode: KeyMode | None = None,
        person: Person = NO_PERSON,
    ) -> MadeKey:
        """Make a key in the caller's workspace, or if it is a test key its sandbox, without asking whether one may."""
        prefix = KEY_PREFIX if mode is None else MODE_PREFIX[mode]
        text = text or prefix + urlsafe_b64encode(self._node.random(KEY_BYTES)).decode().rstrip("=")
        digest = _digest(text)
        key_id = self._node.processor.new_id()
        command = organization.CreateKey(
            *(ids.text(key_id), ids.text(caller.workspace_id), name, digest.hex(), scopes, expires_at),
            sandbox=ids.text(self._node.processor.new_id()) if mode == "test" else None,
            user_id=person.user_id,
            role_ids=tuple(person.role_ids),
        )
        await send(self._node, caller, "organization", caller.organization_id, command)
        row = await self._store.api_key(key_id)
        if row is None:
            message = "the key was made and cannot be found"
            raise RuntimeError(message)
        return MadeKey(row, text)

    async def key(self, principal: Principal, key_id: bytes) -> ApiKeyRow:
        """A key of the principal's workspace (an operator's: of the organization). Raises `NotFound`."""
        principal.require("keys.manage")
        row = await self._store.api_key(key_id)
        if row is None or not await self._sees(principal, row):
            raise NotFound(f"there is no key {ids.text(key_id)}")
        return row

    async def keys(
        self, principal: Principal, *, after: bytes = b"", limit: int | None = None
    ) -> tuple[list[ApiKeyRow], dict[bytes, int]]:
        """The keys of the principal's workspace and of its sandbox by ascending id above `after`.

        An operator's: of the organization.
        Beside them when they were last used, to the minute; those that never were are left out.
        """
        principal.require("keys.manage")
        own = [None] if "operator" in principal.scopes else await self._workspaces(principal.caller)
        organization_id = principal.caller.organization_id
        parts = [await self._store.api_keys(organization_id, each, after=after, limit=limit) for each in own]
        rows = sorted(row for part in parts for row in part)[:limit]
        return rows, await self.last_uses([row.key_id for row in rows])

    async def _workspaces(self, caller: Caller) -> list[bytes]:
        """The caller's workspace, and the sandbox that is paired with it, if there is one."""
        own = caller.workspace_id
        found = await self._store.sandboxes(caller.organization_id)
        return [own, *(row.workspace_id for row in found if row.live_workspace_id == own)]

    async def last_uses(self, key_ids: Sequence[bytes]) -> dict[bytes, int]:
        """The last use of each key; keys that were never used are left out."""
        return await self._store.key_uses(key_ids)

    async def revoke_key(self, principal: Principal, key_id: bytes, *, with_children: bool | None = None) -> ApiKeyRow:
        """Revoke a key; again is the same. Nobody revokes a key that may do what they may not.

        The keys of its organization that it made go with it, and those that they made: unless it is an operator's,
        which makes keys for others, or `with_children` says otherwise. Raises `NotFound`, `Forbidden`, and `Conflict`
        for the last operator's key of all.
        """
        row = await self.key(principal, key_id)
        scopes = row.scopes.split()
        for scope in scopes:
            principal.require(scope)
        if with_children is None:
            with_children = organization.OPERATOR not in scopes
        async with self._revoking:  # which operators there are elsewhere, no organization's stream can say
            await self._revoke(principal.caller, row, with_children=with_children)
        return await self._store.api_key(key_id) or row

    async def _revoke(self, caller: Caller, row: ApiKeyRow, *, with_children: bool) -> None:
        has_others = await self._store.has_operator(row.organization_id, self._node.clock.now())
        command = organization.RevokeKey(ids.text(row.key_id), with_children, has_others)
        is_more = True
        while is_more:
            reply = await send(self._node, caller, "organization", row.organization_id, command)
            is_more = isinstance(reply, Accepted) and bool(reply.answer)
            caller = caller._replace(terms=NO_TERMS)  # they went with the first

    async def _sees(self, principal: Principal, row: ApiKeyRow) -> bool:
        caller = principal.caller
        if row.organization_id != caller.organization_id:
            return False
        return organization.OPERATOR in principal.scopes or row.workspace_id in await self._workspaces(caller)

    async def bootstrap(self, text: str | None, actor: str) -> MadeKey | None:
        """In a database without keys make organization and workspace `default` and a key with all scopes.

        Gives that key, or null where there is one already. A database that was only used embedded has none.
        """
        for found in await self._store.organizations():
            if await self._store.api_keys(found.organization_id, limit=1):
                return None
        return await self.recover("bootstrap", actor, text=text)

    async def recover(self, name: str, actor: str, *, text: str | None = None) -> MadeKey:
        """Make a key with all scopes in organization and workspace `default`: for who owns the database itself."""
        return await self.make_key(await self.default_caller(actor), name, SCOPES, text=text)

    async def close(self) -> None:
        """Write the uses of keys that are not stored yet."""
        await self._uses.close()


def has_form(key: str) -> bool:
    """Whether a text may be a key that we have made; one that somebody has chosen may have any form."""
    return _FORM.fullmatch(key) is not None


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).digest()


def _check_scopes(principal: Principal, scopes: tuple[str, ...]) -> None:
    unknown = [scope for scope in scopes if scope not in SCOPES]
    if unknown:
        raise Invalid(f"scopes: {unknown[0]!r} is no scope; there are: {', '.join(SCOPES)}", {"field": "scopes"})
    for scope in scopes:
        principal.require(scope)


def _person(principal: Principal, wanted: Person) -> Person:
    """Who a key is of that the principal makes."""
    caller = principal.caller
    if caller.user_id is None and not caller.role_ids:
        return wanted
    own = Person(caller.user_id, sorted(caller.role_ids))
    if wanted == NO_PERSON:
        return own
    is_own = wanted.user_id == caller.user_id and caller.role_ids.issuperset(wanted.role_ids)
    if not is_own and organization.OPERATOR not in principal.scopes:
        message = (
            "user_id, role_ids: the key that you make it with is a person's, and makes keys for that person alone, "
            "with roles that it has itself; leave both out, or use a key that is nobody's"
        )
        raise Forbidden(message, {"field": "user_id"})
    return wanted


def _expiry(principal: Principal, wanted: int | None) -> int | None:
    """When a key expires that the principal makes: never after the principal's own."""
    grant = principal.caller.grant
    latest = None if grant is None else grant.expires_at
    if latest is None or wanted is None:
        return latest if wanted is None else wanted
    if wanted > latest:
        message = (
            f"expires_at: the key that you make it with expires at {format_instant(latest)}; it must expire by then"
        )
        raise Invalid(message, {"field": "expires_at"})
    return wanted
