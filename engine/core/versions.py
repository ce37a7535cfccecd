"""The event that says what a version of a workflow is: its definition, its settings, and what the names in it mean.

It stands apart from `engine.core.workflow`, whose decisions know the language, so that who reads a log need not.
"""

from __future__ import annotations

import msgspec

from perdure.engine.core.events import Event
from perdure.engine.core.settings import VersionSettings


class Called(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True, gc=False):
    """A workflow that a state calls by name, as the name resolved when the version was published.

    `version` is set if the state says one; else it is the one that is published when the state is entered.
    """

    workflow: str
    version: int | None = None


class VersionAdded(Event, frozen=True):
    """A version with this definition and these settings; a draft, unless it is published at once.

    `calls`, here and of `VersionPublished`, has by state what the names in the definition meant when it was published.
    A state that is not in it has its name looked up when it is entered, or gives an id. No settings: all at their
    defaults.

    Payload, if the version has a mock payload: `mock_sha256`, the digest of its text.
    """

    version: int
    definition_sha256: str
    is_published: bool = True
    settings: VersionSettings | None = None
    calls: dict[str, Called] = msgspec.field(default_factory=dict)
