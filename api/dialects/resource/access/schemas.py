"""Requests and answers about keys and the clock, as types."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import UNSET, UnsetType

from perdure.api.dialects.resource.fields import Moment, Name, PersonId, ScopeName, StepMs
from perdure.api.dialects.schemas import (
    Instant,
    Scope,
    Shape,
)
from perdure.api.http.paging import LIMIT_DEFAULT, WideLimit
from perdure.api.validation import Request, Uuid
from perdure.engine.core.organization import KeyMode


class NewKey(Request, frozen=True):
    """A key. Organization and workspace are given by name, and only an operator may name others than its own.

    `mode`: a test key acts in the workspace's sandbox, where the workflows are the same, runs are its own, and nothing
    outside is changed. `user_id` and `role_ids`: the person that it is of, who sees what only they may see.
    """

    name: Name
    scopes: Annotated[list[ScopeName], msgspec.Meta(min_length=1, max_length=64)]
    organization: Name | None = None
    workspace: Name | None = None
    expires_at: Moment | None = None
    mode: KeyMode | None = None
    user_id: PersonId | None = None
    role_ids: Annotated[tuple[PersonId, ...], msgspec.Meta(max_length=64)] = ()


class KeysQuery(Request, frozen=True):
    """A page of keys; `after` is the last key's id before it."""

    limit: WideLimit = LIMIT_DEFAULT
    after: Uuid | None = None


class RevokeQuery(Request, frozen=True):
    """`with_children`: the keys that it made, too; without it: unless it has the scope operator."""

    with_children: bool | None = None


class KeyShown(Shape, frozen=True):
    """A key, without its text. `last_used_at` is noted once a minute, some seconds late."""

    id: Uuid
    name: str
    scopes: list[Scope]
    organization_id: Uuid
    workspace_id: Uuid
    created_at: Instant
    expires_at: Instant | None
    revoked_at: Instant | None
    last_used_at: Instant | None
    mode: KeyMode
    user_id: str | None
    role_ids: list[str]


class KeyMade(KeyShown, frozen=True):
    """A key with its text, which is shown only now."""

    key: str


class Me(Shape, frozen=True):
    """The key that asks, and what it may do. `user_id`: the person that it is of, if it is anybody's."""

    key_id: Uuid
    name: str
    scopes: list[Scope]
    mode: KeyMode
    organization_id: Uuid
    workspace_id: Uuid
    plan: str
    user_id: str | UnsetType = UNSET


class ClockStep(Request, frozen=True):
    """The step that is accepted, as it was shown; of another one that has come since nothing is accepted.

    Without it the step is accepted that there is.
    """

    step_ms: StepMs | None = None


class ClockShown(Shape, frozen=True):
    """The server's clock (`now`), the computer's (`wall`), and why nothing is fired, if that is so.

    `step_ms`: so far the computer's clock was set forward, or back if it is less than 0; 0 while the server's is
    trusted.
    """

    now: Instant
    wall: Instant
    is_trusted: bool
    step_ms: int
    problem: str | None


class ClockAnswer(Shape, frozen=True):
    """The answer to an acceptance, and by how much the server's clock was moved."""

    message: Literal["accepted", "nothing to accept"]
    step_ms: int
