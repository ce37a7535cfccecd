"""Keys (part of the resource API): made, listed and revoked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from perdure.api.dialects import schemas as common
from perdure.api.dialects.envelopes import data
from perdure.api.dialects.resource import fields
from perdure.api.dialects.resource.access import schemas
from perdure.api.dialects.resource.dialect import KEYS, page_meta, route
from perdure.api.http.instants import iso
from perdure.api.http.routing import ANY_KEY, Reply, Route, RouteCall
from perdure.api.validation import id_of, milliseconds
from perdure.engine.core import ids
from perdure.engine.errors import Conflict
from perdure.engine.log.codec import decode_json
from perdure.engine.services.idempotency import Answered
from perdure.engine.services.principals import Person
from perdure.store.records import ApiKeyRow


async def create_key(call: RouteCall[Any, schemas.NewKey]) -> Reply:
    """Make a key. Its text is in this answer and nowhere else."""
    body = call.body
    expires_at = None if body.expires_at is None else milliseconds("expires_at", body.expires_at)
    made = await call.engine.services.access.create_key(
        call.principal,
        body.name,
        call.dialects.plain_scopes(body.scopes),
        organization_name=body.organization,
        workspace_name=body.workspace,
        expires_at=expires_at,
        mode=body.mode,
        person=person_of(body),
    )
    return data({**_key(made.row), "key": made.text}, status=201)


def person_of(body: schemas.NewKey) -> Person:
    """The person whose key is made."""
    return Person(body.user_id, tuple(dict.fromkeys(body.role_ids)))


async def list_keys(call: RouteCall[schemas.KeysQuery, None]) -> Reply:
    """The keys of the workspace, without their texts, oldest first; an operator's key sees its organization's."""
    query = call.query
    after = b"" if query.after is None else id_of("after", query.after)
    rows, uses = await call.engine.services.access.keys(call.principal, after=after, limit=query.limit + 1)
    keys = [_key(row, uses.get(row.key_id)) for row in rows[: query.limit]]
    return data(keys, meta=page_meta(query.limit, has_more=len(rows) > query.limit, last=keys and keys[-1]["id"]))


async def key_made_before(_call: RouteCall[Any, schemas.NewKey], answered: Answered) -> Reply:
    """Say of a key that was made before that its text cannot be told again."""
    message = (
        f"Idempotency-Key: it made the key {answered.answer} before, whose text was told once and is kept nowhere; if "
        "it is lost revoke that key, and make another under a new Idempotency-Key"
    )
    raise Conflict(message, {"id": answered.answer}, position=answered.position)


async def get_key(call: RouteCall[Any, None]) -> Reply:
    """A key, without its text."""
    key_id, access = call.path_id("id"), call.engine.services.access
    row = await access.key(call.principal, key_id)
    return data(_key(row, (await access.last_uses([key_id])).get(key_id)))


async def revoke_key(call: RouteCall[schemas.RevokeQuery, None]) -> Reply:
    """Revoke a key, at once and for ever, and with it the keys that it made."""
    key_id, access = call.path_id("id"), call.engine.services.access
    row = await access.revoke_key(call.principal, key_id, with_children=call.query.with_children)
    uses = await access.last_uses([key_id])
    return data(_key(row, uses.get(key_id)))


async def who_am_i(call: RouteCall[Any, None]) -> Reply:
    """The key that asks: its scopes, its mode, and where it acts. It needs no scope."""
    row, plan = await call.engine.services.access.own_key(call.caller)
    person = {} if row.user_id is None else {"user_id": row.user_id}
    return data(
        {
            "key_id": ids.text(row.key_id),
            "name": row.name,
            "scopes": row.scopes.split(),
            "mode": row.mode,
            "organization_id": ids.text(row.organization_id),
            "workspace_id": ids.text(row.workspace_id),
            "plan": plan,
            **person,
        }
    )


def _key(row: ApiKeyRow, used_at: int | None = None) -> dict[str, Any]:
    # Not who made it: an operator's key may belong to another organization.
    return {
        "id": ids.text(row.key_id),
        "name": row.name,
        "scopes": row.scopes.split(),
        "organization_id": ids.text(row.organization_id),
        "workspace_id": ids.text(row.workspace_id),
        "created_at": iso(row.created_at),
        "expires_at": iso(row.expires_at),
        "revoked_at": iso(row.revoked_at),
        "last_used_at": iso(used_at),
        "mode": row.mode,
        "user_id": row.user_id,
        "role_ids": decode_json(row.role_ids),
    }


ROUTES: Final[Sequence[Route]] = (
    route(
        *(KEYS, "POST", "keys", "keys.manage", create_key),
        body=schemas.NewKey,
        status=201,
        repeated=key_made_before,
        headers=("Idempotency-Key",),
        answer=common.Data[schemas.KeyMade],
        refusals=frozenset({"CONFLICT"}),
    ),
    route(
        *(KEYS, "GET", "keys", "keys.manage", list_keys),
        query=schemas.KeysQuery,
        answer=common.Page[schemas.KeyShown, fields.After],
    ),
    route(
        *(KEYS, "GET", "me", ANY_KEY, who_am_i),
        answer=common.Data[schemas.Me],
    ),
    route(
        *(KEYS, "GET", "keys/{id}", "keys.manage", get_key),
        is_of_one=True,
        answer=common.Data[schemas.KeyShown],
        refusals=frozenset({"NOT_FOUND"}),
    ),
    route(
        *(KEYS, "DELETE", "keys/{id}", "keys.manage", revoke_key),
        changes=lambda call: call.caller.organization_id,
        query=schemas.RevokeQuery,
        answer=common.Data[schemas.KeyShown],
        refusals=frozenset({"NOT_FOUND", "CONFLICT"}),
    ),
)
