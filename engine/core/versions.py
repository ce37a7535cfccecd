"""Events that say what a version of a workflow is (its definition, settings, what its names mean), and who sees it.

It stands apart from `engine.core.workflow`, whose decisions know the language, so that who reads a log need not.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

import msgspec

from perdure.engine.core.events import Event
from perdure.engine.core.refs import Ref
from perdure.engine.core.settings import VersionSettings

Visibility: TypeAlias = Literal["private", "tenant", "shared"]


class Called(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True, gc=False):
    """A workflow that a state calls by name, as the name resolved when the version was published.

    `version` is set if the state says one; else it is the one that is published when the state is entered.
    """

    workflow: str
    version: int | None = None


class VersionSource(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True, gc=False):
    """The document that a definition was compiled from: its format, and the SHA-256 of its text.

    `outline_sha256` is that of the outline's text: what stands beside the definition, such as which state works for
    which step of the document. All three texts are kept beside the log.
    """

    format: str
    sha256: str
    outline_sha256: str


class VersionAdded(Event, frozen=True):
    """A version with this definition and these settings; a draft, unless it is published at once.

    `calls`, here and of `VersionPublished`, has by state what the names in the definition meant when it was published.
    A state that is not in it has its name looked up when it is entered, or gives an id. No settings: all at their
    defaults.

    `source` is the document that it was written as, unless that is the definition itself.

    Payload: `mock_sha256`, the digest of its text, if the version has a mock payload; `summary`, if whoever made it has
    said what has changed.
    """

    version: int
    definition_sha256: str
    is_published: bool = True
    settings: VersionSettings | None = None
    calls: dict[str, Called] = msgspec.field(default_factory=dict)
    source: VersionSource | None = None
    summary: Ref | None = None


class VisibilityChanged(Event, frozen=True):
    """The change of who sees the workflow: everybody in its workspace (`tenant`), its owner alone, or those named.

    `owner` is the user who made it, if its maker's key was anybody's.
    """

    visibility: Visibility
    users: tuple[str, ...] = ()
    roles: tuple[str, ...] = ()
    owner: str = ""
