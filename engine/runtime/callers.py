"""Who asks, and under which key."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

KEY_ACTOR: Final = "key:"
"""What the actor begins with whose key this is the id of."""


class Caller(NamedTuple):
    """Who acts, derived by us and never claimed: `actor` is what the log says, `KIND:ID`."""

    organization_id: bytes
    workspace_id: bytes
    actor: str


class IdempotencyKey(NamedTuple):
    """The key of a request, and the request itself as a JSON value (method, path, query, body)."""

    key: str
    request: Any
