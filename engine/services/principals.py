"""Principals: whom keys stand for, and what of them is kept at hand."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from perdure.engine.core import organization
from perdure.engine.core.settings import PlanName
from perdure.engine.errors import Refused
from perdure.engine.log.codec import decode_json
from perdure.engine.runtime.callers import Caller
from perdure.engine.runtime.clock import Clock
from perdure.engine.runtime.streams.stream import HotStream
from perdure.engine.services.cache import Cache
from perdure.engine.services.known_keys import KnownKeys
from perdure.store.records import ApiKeyRow, NewEvent

PLANS_KNOWN_MAX: Final = 20_000
"""Of so many organizations the plan is known without a read of the store."""


class Forbidden(Refused):
    """The key lacks a scope."""

    code = "FORBIDDEN"


class Principal(NamedTuple):
    """The identity that a key stands for, and its scopes."""

    caller: Caller
    scopes: frozenset[str]

    def has_ended(self, clock: Clock) -> bool:
        """Whether the key was revoked or has expired since it was looked up."""
        return self.caller.grant is not None and self.caller.grant.is_over(clock)

    def require(self, scope: str) -> None:
        """Raise `Forbidden`, naming the scope, unless the key has it."""
        if scope not in self.scopes:
            raise Forbidden(f"this key lacks the scope {scope}", {"scope": scope})


class Person(NamedTuple):
    """The person that a key is of."""

    user_id: str | None = None
    role_ids: Sequence[str] = ()


class OwnKey(NamedTuple):
    """A key as it is shown to whoever has it, and the workspace's plan."""

    row: ApiKeyRow
    plan: str


NO_PERSON: Final = Person()


class MadeKey(NamedTuple):
    """A key that was just made; `text` is shown once and kept nowhere."""

    row: ApiKeyRow
    text: str


class Principals(Cache[bytes, Principal]):
    """Whom keys speak for, by the digests of the keys; `known` are those that are in use."""

    def __init__(self, known: KnownKeys) -> None:
        super().__init__()
        self.known = known

    def on_changed(self, hot: HotStream, events: Sequence[NewEvent]) -> None:
        """A commit has changed an organization: whoever acts by a key that it revoked stops here."""
        for event in events:
            if event.type == organization.KeyCreated.__name__:
                self.known.made(bytes.fromhex(decode_json(event.data)["sha256"]))
            elif event.type == organization.KeyRevoked.__name__:
                state: organization.OrganizationState = hot.state
                revoked = state.keys[decode_json(event.data)["key"]].created
                self._end(bytes.fromhex(revoked.sha256))

    def _end(self, digest: bytes) -> None:
        self.known.ended(digest)
        for principal in self.forget(lambda key: key == digest):
            if principal.caller.grant is not None:
                principal.caller.grant.revoke()


class Plans(Cache[bytes, PlanName]):
    """The plans of organizations, by their ids."""

    def __init__(self) -> None:
        super().__init__(PLANS_KNOWN_MAX)

    def on_changed(self, hot: HotStream, events: Sequence[NewEvent]) -> None:
        """A commit has changed an organization: it may have another plan."""
        if any(event.type == organization.OrganizationSettingsChanged.__name__ for event in events):
            self.forget(lambda key: key == hot.stream_id)
