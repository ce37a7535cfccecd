"""Writing versions: what is stored of a definition or document that is given, and the settings that go with it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any, NamedTuple

from msgspec.structs import fields, replace

from perdure.engine.core import workflow
from perdure.engine.core.settings import VERSION_DEFAULTS, VersionSettings, version_settings
from perdure.engine.language import Problem
from perdure.engine.limits import Limits
from perdure.engine.log.codec import decode_json, encode_json
from perdure.engine.runtime.callers import Caller
from perdure.engine.runtime.streams.bulky import apart_if_bulky, check_bulky
from perdure.engine.services.documents import Documents, GivenDocument
from perdure.engine.services.settings import changed_version
from perdure.store.records import WorkflowVersionRow


class WrittenVersion(NamedTuple):
    """A version as somebody wrote it; settings that are not named stay as they are."""

    definition: Any
    mock_payload: Any = None
    settings: Mapping[str, Any] | None = None
    summary: str | None = None
    is_draft: bool = False


class Writing:
    """Makes of what somebody wrote what is stored of it."""

    def __init__(self, documents: Documents, limits: Limits) -> None:
        self._documents = documents
        self._limits = limits

    async def definition(
        self, caller: Caller, written: WrittenVersion, before: workflow.Definition | None
    ) -> tuple[workflow.Definition, list[Problem]]:
        """What is stored of a definition that comes after another one, if there is one; and warnings about it.

        Raises `Invalid` with every problem in it, and `RateLimited`.
        """
        definition, mock = written.definition, None
        if written.mock_payload is not None:
            mock = encode_json(written.mock_payload).decode()
        if isinstance(definition, GivenDocument) and definition.format != "asl":
            made = await self._documents.compiled(caller, definition, is_draft=written.is_draft)
            settings = self.settings(self.settings(_left(before), made.settings), written.settings)
            given = workflow.Definition(
                made.text, made.sha256, mock, settings, source=made.source, summary=written.summary
            )
            return given, list(made.warnings)
        if isinstance(definition, GivenDocument):
            definition = definition.document
        size = len(definition if isinstance(definition, str | bytes) else encode_json(definition))
        check_bulky(caller.workspace_id, size)
        encoded = await apart_if_bulky(caller.workspace_id, size, self._documents.encoded, definition)
        digest, settings = hashlib.sha256(encoded).hexdigest(), self.settings(_left(before), written.settings)
        return workflow.Definition(encoded.decode(), digest, mock, settings, summary=written.summary), []

    def settings(self, current: VersionSettings, given: Mapping[str, Any] | None) -> VersionSettings:
        """Settings with these members changed. Raises `Invalid`."""
        return changed_version(current, given, self._limits)

    async def check_publishable(self, caller: Caller, draft: workflow.Definition) -> None:
        """Raise `Invalid`, with every problem, if a draft holds what only a draft may."""
        if draft.source is not None:
            await self._documents.compiled(caller, GivenDocument(draft.source.format, draft.source.text))


def definition_of(row: WorkflowVersionRow) -> workflow.Definition:
    """A version as the command that follows it carries it."""
    source = None
    if row.source is not None:
        source = workflow.SourceText(row.format, row.source, row.outline or "")
    return workflow.Definition(
        row.definition,
        row.definition_digest.hex(),
        row.mock_payload,
        version_settings(row.settings),
        source=source,
        summary=row.summary,
    )


def _left(before: workflow.Definition | None) -> VersionSettings:
    """The settings that another document leaves as they are: all but those that the one before it had in it.

    A setting that has another value than that document gave it was set beside it, and stays.
    """
    if before is None:
        return VERSION_DEFAULTS
    document = None if before.source is None else decode_json(before.source.text)
    said = document.get("settings") if isinstance(document, dict) else None
    if not isinstance(said, dict):
        return before.settings
    taken_back = {
        field.name: field.default
        for field in fields(before.settings)
        if field.encode_name in said and said[field.encode_name] == getattr(before.settings, field.name)
    }
    return replace(before.settings, **taken_back)
