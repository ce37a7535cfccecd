"""Callers: the identity, key and idempotency key that a request acts with."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final, NamedTuple

import msgspec

from perdure.engine.errors import Unauthorized
from perdure.engine.runtime.clock import Clock
from perdure.engine.runtime.watch import Watch
from perdure.store.records import WorkflowRow
from perdure.store.viewer import TENANT, Viewer, sees

KEY_ACTOR: Final = "key:"
"""What the actor begins with whose key this is the id of."""

DEFAULT: Final = "default"
"""The organization, and the workspace, of who names none."""

ENDED: Final = "this key was revoked or has expired while the request was under way"


class Grant(msgspec.Struct, eq=False):
    """The authority of a caller: a key, which may be revoked or expire while a request of its own is in progress.

    There is one for each key, so that a revocation reaches all who act by it. `watches` are of calls that are held, and
    `used_at` is when its last use was noted.
    """

    key_id: bytes
    expires_at: int | None = None
    used_at: int | None = None
    is_revoked: bool = False
    watches: set[Watch] = msgspec.field(default_factory=set)

    def is_over(self, clock: Clock) -> bool:
        """Whether the key was revoked, or has expired."""
        return self.is_revoked or (self.expires_at is not None and self.expires_at <= clock.now())

    def until(self, clock: Clock, deadline: int) -> int:
        """The earlier of a deadline and the key's expiry, in ticks."""
        return deadline if self.expires_at is None else min(deadline, clock.ticks() + self.expires_at - clock.now())

    def check(self, clock: Clock) -> None:
        """Raise `Unauthorized` if the key was revoked or has expired."""
        if self.is_over(clock):
            raise Unauthorized(ENDED)

    def revoke(self) -> None:
        """End the grant, and wake the held calls that act by it."""
        self.is_revoked = True
        for watch in self.watches:
            watch.change(None)

    @contextmanager
    def held(self, watch: Watch) -> Iterator[None]:
        """Wake the watch of a held call also when the grant ends."""
        self.watches.add(watch)
        try:
            yield
        finally:
            self.watches.discard(watch)


class IdempotencyClaim(NamedTuple):
    """The idempotency key that a request came with, and the digest of the request.

    `organization_id` is whose it is, if not of the organization that the command is about. `beside` is another claim of
    the same request: it has both, or neither.
    """

    workspace_id: bytes
    key: str
    salt: bytes
    request_digest: bytes
    organization_id: bytes | None = None
    beside: IdempotencyClaim | None = None


class Terms(NamedTuple):
    """The terms of a request, which go with the first command that it comes to.

    `claim` is kept with the command's answer. `unmoved` is a stream and its seq: a command about it is only decided if
    nothing has happened there since. Both are told to whoever gave them by an exception (`engine.services.sending`).
    """

    claim: IdempotencyClaim | None = None
    unmoved: tuple[bytes, int] | None = None


NO_TERMS: Final = Terms()


class Caller(NamedTuple):
    """The identity of a caller, derived from its key and never claimed. `actor` is as the log records it, `KIND:ID`.

    `grant` is looked at again when a command is decided; without one nothing can end. `user_id` and `role_ids` are of
    the person that the key is of, if it is anybody's. `live_workspace_id` is set for a caller in a sandbox: the
    workspace that it is paired with, whose workflows it sees. `terms` are those of the request that is under way.
    A run acts by no key, and looks at workflows as its `author` does.
    """

    organization_id: bytes
    workspace_id: bytes
    actor: str
    grant: Grant | None = None
    user_id: str | None = None
    role_ids: frozenset[str] = frozenset()
    live_workspace_id: bytes | None = None
    author: Viewer | None = None
    terms: Terms = NO_TERMS

    @property
    def home_workspace_id(self) -> bytes:
        """The workspace whose workflows the caller sees: its own, or the one that its sandbox is paired with."""
        return self.workspace_id if self.live_workspace_id is None else self.live_workspace_id

    @property
    def viewer(self) -> Viewer | None:
        """The caller as somebody who looks at workflows; null: who acts by no key sees all of them."""
        return self.author if self.grant is None else Viewer(self.user_id, tuple(sorted(self.role_ids)), self.actor)

    def sees(self, row: WorkflowRow) -> bool:
        """Whether the caller may know of a workflow."""
        if row.workspace_id != self.home_workspace_id:
            return False
        viewer = None if row.visibility == TENANT else self.viewer
        return viewer is None or sees(viewer, row)


class IdempotencyKey(NamedTuple):
    """The key of a request, and the request itself as a JSON value (method, path, query, body)."""

    key: str
    request: Any
