"""The limits of a run that is about to start: which it needs a place in, by the settings that hold now.

The settings are those of the workflow's latest published version, whichever version runs: a limit is the workflow's.
Only of a draft that is tried out they are its own. A limit is named by an HMAC under the organization's secret, so that
the value of a key stands nowhere but in the input.
"""

from __future__ import annotations

import hmac
from collections.abc import Sequence
from typing import Any, Final

from perdure.engine.core.events import RunLimit
from perdure.engine.core.settings import OrganizationSettings, VersionSettings, organization_settings
from perdure.engine.errors import NotFound
from perdure.engine.log.digests import canonical
from perdure.engine.runtime.callers import Caller
from perdure.engine.runtime.streams.changes import changes_organization
from perdure.engine.runtime.streams.stream import HotStream
from perdure.engine.services.cache import Cache
from perdure.engine.services.key_expressions import key_of
from perdure.engine.services.starting import Start
from perdure.engine.services.workflows import Workflows
from perdure.store.protocols import Store
from perdure.store.records import NewEvent

KNOWN_MAX: Final = 10_000
"""So many organizations are known at a time."""


class _Organization:
    """What of an organization matters here."""

    def __init__(self, secret: bytes, settings: OrganizationSettings) -> None:
        self.secret = secret
        self.settings = settings


class RunLimits:
    """Finds the limits of runs."""

    def __init__(self, store: Store, workflows: Workflows) -> None:
        self._store = store
        self._workflows = workflows
        self._organizations = Cache[bytes, _Organization](KNOWN_MAX)

    def on_changed(self, hot: HotStream, events: Sequence[NewEvent]) -> None:
        """A commit has changed an organization, and maybe its settings."""
        if changes_organization(hot, events):
            self._organizations.forget(lambda key: key == hot.stream_id)

    async def limited(self, caller: Caller, start: Start) -> Start:
        """The start with its limits. Raises `Invalid` if its input has no key where one is needed."""
        organization = await self._organization(caller.organization_id)
        settings = await self._in_force(caller, start)
        limits: list[RunLimit] = []
        # A sandbox has places of its own: whoever tries things out there holds nobody up.
        own = b"" if caller.live_workspace_id is None else caller.workspace_id
        if settings.concurrency_limit is not None:
            key, workflow = settings.concurrency_key, start.found.version.workflow_id
            if key is None:
                limits.append(_limit(organization.secret, "workflow", own + workflow))
            else:
                value = canonical(key_of(key)(start.input))
                limits.append(_limit(organization.secret, "key", own + workflow, value))
        if organization.settings.concurrency_limit is not None:
            limits.append(_limit(organization.secret, "organization", own + caller.organization_id))
        return start._replace(limits=tuple(limits))

    async def _in_force(self, caller: Caller, start: Start) -> VersionSettings:
        version = start.found.version
        if version.published_at is None or version.version == start.found.workflow.latest_version:
            return start.found.settings
        return (await self._workflows.runnable(caller, version.workflow_id, None)).settings

    async def _organization(self, organization_id: bytes) -> _Organization:
        found = self._organizations.get(organization_id)
        if found is None:
            found = await self._organizations.read(organization_id, lambda: self._read(organization_id))
        return found

    async def _read(self, organization_id: bytes) -> _Organization:
        row = await self._store.organization(organization_id)
        if row is None:
            raise NotFound("there is no such organization")
        return _Organization(row.secret, organization_settings(row.settings))


def _limit(secret: bytes, kind: Any, owner: bytes, value: bytes = b"") -> RunLimit:
    """A limit by its HMAC: of its kind, whose it is (16 bytes), and the canonical JSON of the key's value.

    In a sandbox the 16 bytes of that stand before whose it is.
    """
    text = b"perdure-limit-1\n" + kind.encode() + b"\n" + owner + value
    return RunLimit(kind, hmac.digest(secret, text, "sha256").hex())
