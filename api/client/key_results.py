"""Results about keys: structs with at least these members, as those of `perdure.api.client.results`."""

from __future__ import annotations

import msgspec
from msgspec import UNSET, UnsetType


class KeyShown(msgspec.Struct, frozen=True, kw_only=True):
    """A key, without its text."""

    id: str
    name: str
    scopes: list[str]
    organization_id: str
    workspace_id: str
    created_at: str
    expires_at: str | None
    revoked_at: str | None
    last_used_at: str | None
    mode: str
    user_id: str | None
    role_ids: list[str]


class Me(msgspec.Struct, frozen=True, kw_only=True):
    """The key that asks. `user_id`: the person that it is of, if it is anybody's."""

    key_id: str
    name: str
    scopes: list[str]
    mode: str
    organization_id: str
    workspace_id: str
    plan: str
    user_id: str | UnsetType = UNSET


class KeyMade(KeyShown, frozen=True):
    """A key with its text, which is shown only now; `repr` leaves it out."""

    key: str

    def __repr__(self) -> str:
        return f"KeyMade(id={self.id!r}, name={self.name!r}, scopes={self.scopes!r}, key=…)"
