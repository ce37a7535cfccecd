"""Authoring: workflows as documents of any format, with the schedule that a document has in it.

What a document says of when it runs (a `trigger` of steps, `cron_expression` of service steps) becomes the workflow's
main schedule; another document in its place changes or removes that, and leaves the workflow's other schedules alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from msgspec import UNSET

from perdure.engine.core.schedules import EditSchedules, ScheduleSpec
from perdure.engine.core.workflow import Sharing
from perdure.engine.errors import Invalid
from perdure.engine.log.codec import decode_json
from perdure.engine.runtime.callers import Caller
from perdure.engine.services.document_triggers import NOT_YET, not_yet, trigger_place
from perdure.engine.services.documents import Documents, GivenDocument
from perdure.engine.services.schedules import GivenSchedule, Schedules
from perdure.engine.services.workflows import Applied, Saved, Workflows


class Authored(NamedTuple):
    """A workflow as it is to be written; what is null stays as it is. `is_paused` counts where it is made.

    `based_on` is the version that the document was made from, by whoever changes a part of it.
    """

    document: GivenDocument | None = None
    name: str | None = None
    description: str | None = None
    is_published: bool | None = None
    settings: Mapping[str, Any] | None = None
    mock_payload: Any = None
    sharing: Sharing | None = None
    summary: str | None = None
    is_paused: bool = False
    based_on: int | None = None


class Authoring:
    """Workflows written as documents, limited to what a caller may see."""

    def __init__(self, workflows: Workflows, schedules: Schedules, documents: Documents) -> None:
        self._workflows = workflows
        self._schedules = schedules
        self._documents = documents

    async def create(self, caller: Caller, wanted: Authored) -> Saved:
        """Create a workflow; it needs a name and a document. It is a draft unless it `is_published`.

        Raises `Invalid` with every problem of the document in `details["errors"]`.
        """
        if wanted.name is None or wanted.document is None:
            message = "a workflow needs a name and a document"
            raise ValueError(message)
        main = await self._main_spec(caller, wanted.document)
        return await self._workflows.create(
            caller,
            wanted.name,
            wanted.document,
            description=wanted.description,
            is_published=bool(wanted.is_published),
            mock_payload=wanted.mock_payload,
            settings=wanted.settings,
            schedules=() if main is None else (main,),
            sharing=wanted.sharing,
            summary=wanted.summary,
            is_paused=wanted.is_paused,
        )

    async def apply(self, caller: Caller, wanted: Authored) -> Applied:
        """Make a document that of the workflow of its name: create it, or its next version if anything differs.

        A document that is there already changes nothing, its schedule neither. Raises what `Workflows.apply` does.
        """
        if wanted.name is None or wanted.document is None:
            message = "a workflow needs a name and a document"
            raise ValueError(message)
        document = wanted.document
        main = await self._main_spec(caller, document)

        async def edit(workflow_id: bytes) -> EditSchedules | None:
            return await self._main_edit(caller, workflow_id, document)

        return await self._workflows.apply(
            caller,
            wanted.name,
            document,
            description=wanted.description,
            is_published=bool(wanted.is_published),
            settings=wanted.settings,
            schedules=() if main is None else (main,),
            edit=None if document.format == "asl" else edit,
            summary=wanted.summary,
        )

    async def change(self, caller: Caller, workflow_id: bytes, wanted: Authored) -> Saved:
        """Change what is given; another document makes the next version. Raises `Invalid`, `NotFound`, `Conflict`."""
        edit = None
        if wanted.document is not None:
            edit = await self._main_edit(caller, workflow_id, wanted.document)
        return await self._workflows.change(
            caller,
            workflow_id,
            name=wanted.name,
            description=wanted.description,
            definition=wanted.document,
            mock_payload=wanted.mock_payload,
            is_published=wanted.is_published,
            settings=wanted.settings,
            schedules=edit,
            sharing=wanted.sharing,
            summary=wanted.summary,
            based_on=wanted.based_on,
        )

    async def restore(self, caller: Caller, workflow_id: bytes, version: int) -> Saved:
        """Make an earlier version the next one again, with the schedule that its document has in it.

        Raises `NotFound`, and `Conflict` if it is the latest version already.
        """
        row = await self._workflows.version(caller, workflow_id, version)
        edit = None
        if row.source is not None:
            given = GivenDocument(row.format, decode_json(row.source))
            edit = await self._main_edit(caller, workflow_id, given)
        return await self._workflows.restore(caller, workflow_id, version, edit)

    async def _main_spec(self, caller: Caller, document: GivenDocument) -> ScheduleSpec | None:
        """The main schedule that a document asks for. Raises `Invalid`, with every problem of the document."""
        try:
            main = schedule_of(document)
            return None if main is None else self._spec(document, main)
        except Invalid:
            await self._documents.compiled(caller, document, is_draft=True)
            raise

    async def _main_edit(self, caller: Caller, workflow_id: bytes, document: GivenDocument) -> EditSchedules | None:
        await self._main_spec(caller, document)
        wanted = schedule_of(document)
        rows = await self._schedules.rows(caller, workflow_id)
        main = next((row for row in rows if row.is_main), None)
        if main is not None:
            return EditSchedules(edited=(await self._schedules.edit_of(main, wanted, field=_field(document)),))
        if wanted is None:
            return None
        return EditSchedules(added=(self._spec(document, wanted),))

    def _spec(self, document: GivenDocument, wanted: GivenSchedule) -> ScheduleSpec:
        return self._schedules.spec(wanted, field=_field(document), is_main=True)


def _field(document: GivenDocument) -> str:
    """Where a document has its schedule."""
    return "" if document.format == "service" else "trigger."


def schedule_of(given: GivenDocument) -> GivenSchedule | None:
    """The schedule that a document has in it. Raises `Invalid` for a trigger that there is not yet."""
    document = given.document
    if type(document) is not dict:
        return None
    if given.format == "service":
        cron = document.get("cron_expression") or document.get("schedule")
        zone = document.get("timezone")
        if document.get("trigger_type", "schedule") != "schedule":
            return None
        if not isinstance(cron, str) or not isinstance(zone, str | None):
            return None
        return GivenSchedule(cron=cron, timezone=zone or UNSET)
    place = trigger_place(given.format, document)
    trigger: Mapping[str, Any] = {} if place is None else place.members
    kind = trigger.get("type", "api")
    if isinstance(kind, str) and kind in NOT_YET:
        raise Invalid(f"trigger: {not_yet(kind)}", {"field": "trigger.type"})
    return _scheduled(trigger) if kind == "schedule" else None


def _scheduled(trigger: Mapping[str, Any]) -> GivenSchedule | None:
    """The schedule of a trigger; null for what is none, which the compiler refuses with every problem."""
    inside = trigger["config"] if isinstance(trigger.get("config"), dict) and trigger["config"] else trigger
    enabled, zone = inside.get("enabled", True), inside.get("timezone")
    cron, interval = inside.get("cron"), inside.get("interval")
    if not isinstance(enabled, bool) or not isinstance(zone, str | None):
        return None
    if isinstance(cron, str):
        return GivenSchedule(cron=cron, timezone=zone or UNSET, is_enabled=enabled)
    if not isinstance(interval, dict):
        return None
    value, unit = interval.get("value", 1), interval.get("unit", "minutes")
    if type(value) is not int or not isinstance(unit, str):
        return None
    return GivenSchedule(interval=(value, unit), timezone=zone or UNSET, is_enabled=enabled)
