"""Documents of any format as an embedding program gives them, and runs as their steps and approvals show them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from perdure.engine.core import ids
from perdure.engine.errors import Invalid
from perdure.engine.history.approvals import Approval
from perdure.engine.history.step_records import StepRecord
from perdure.engine.language import warnings
from perdure.engine.log.codec import decode_json
from perdure.engine.runtime.processing import incoming
from perdure.engine.second_chances import Embedded
from perdure.engine.services.documents import Format, GivenDocument, check_format, decoded, shown_as

DEFINITION_MAX: Final = 16 * 1024 * 1024
"""Bytes of JSON that a definition may have which is given as an object."""

_TELLING: Final[Mapping[str, str]] = {"steps": "steps", "nodes": "graph"}
"""Members that no definition in Amazon States Language has, and the format that has them."""


class Documented:
    """The calls of an engine about documents of workflows, and about runs in their terms."""

    async def validate(self: Embedded, document: Any, *, format: Format = "asl") -> list[str]:  # noqa: A002 everybody's word
        """Check a document as `create_workflow` would, and create nothing; its warnings.

        Raises `Invalid`, with every problem in `details["errors"]`.
        """
        given = given_document(document, format)
        if given.format == "asl":
            found = warnings(decode_json(self.services.documents.encoded(given.document)))
        else:
            found = list((await self.services.documents.compiled(await self._caller(), given)).warnings)
        return [f"{warning.path or '/'}: {warning.message}" for warning in found]

    async def document(
        self: Embedded,
        workflow_id: str,
        *,
        format: Format = "asl",  # noqa: A002 likewise
        version: int | None = None,
    ) -> Any:
        """The document of a version, the latest unless given: as it was written, or as it shows in another format.

        Raises `NotFound`.
        """
        check_format(format)
        caller, found = await self._caller(), ids.parse(workflow_id)
        row = await self.services.workflows.workflow(caller, found)
        return shown_as(await self.services.workflows.version(caller, found, version or row.latest_version), format)

    async def steps(self: Embedded, process_id: str) -> tuple[StepRecord, ...]:
        """The steps of an execution, in the order of its document: status, attempts, input, output and error of each.

        Raises `NotFound`.
        """
        caller = await self._caller()
        execution_id = await self.services.runs.find(caller, process_id)
        return (await self.services.records.of(caller, execution_id)).steps

    async def approvals(self: Embedded, process_id: str) -> tuple[Approval, ...]:
        """What an execution has asked people to approve, with every answer. Raises `NotFound`."""
        caller = await self._caller()
        return await self.services.records.approvals(caller, await self.services.runs.find(caller, process_id))

    async def decide(
        self: Embedded, process_id: str, approval_id: str, decision: str, *, by: str, comment: str | None = None
    ) -> Approval:
        """Answer an approval: `approve` or `reject`; `by` says who does. The approval as it is then.

        Raises `Invalid`, `NotFound`, `WaitExpired`, `Conflict` (it is decided, or that person has answered).
        """
        incoming.texts(process_id=process_id, approval_id=approval_id, comment=comment, by=by)
        caller = await self._caller()
        execution_id = await self.services.runs.find(caller, process_id)
        decided = await self.services.approvals.decide(
            caller, execution_id, approval_id, decision, comment=comment, by=by
        )
        return decided.approval


def given_document(document: Any, form: str) -> GivenDocument:
    """A document of the caller's, copied, or read if it is a text. Raises `Invalid`."""
    check_format(form)
    is_text = isinstance(document, str | bytes)
    if is_text and form == "asl":
        return GivenDocument(form, document)
    value = decoded(document) if is_text else incoming.json_value("definition", document, DEFINITION_MAX)
    if form == "asl" and isinstance(value, dict) and "States" not in value:
        meant = next((form for name, form in _TELLING.items() if name in value), None)
        if meant is not None:
            message = f"definition: it is no Amazon States Language; of a document of {meant} say format={meant!r}"
            raise Invalid(message, {"field": "format"})
    return GivenDocument(form, value)
