"""Workflows: creating, changing, publishing and finding them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final, Literal, NamedTuple, TypeAlias
from weakref import WeakValueDictionary

from msgspec.structs import replace

from perdure.engine.core import ids, workflow
from perdure.engine.core.schedules import EditSchedules, ScheduleSpec
from perdure.engine.core.settings import VersionSettings, version_settings
from perdure.engine.errors import Conflict, NotFound
from perdure.engine.language import Machine, Problem, opens_several_waits, warnings
from perdure.engine.log.codec import decode_json
from perdure.engine.runtime.callers import Caller
from perdure.engine.runtime.node import NodeParts
from perdure.engine.runtime.streams.bulky import apart_if_bulky
from perdure.engine.runtime.streams.changes import changes_workflow
from perdure.engine.runtime.streams.stream import HotStream
from perdure.engine.services.cache import Cache
from perdure.engine.services.calls import CallingWorkflow, Calls
from perdure.engine.services.documents import Documents, GivenDocument
from perdure.engine.services.sending import send
from perdure.engine.services.workflow_warnings import SAME_NAME, SEVERAL_WAITS
from perdure.engine.services.writing import Writing, WrittenVersion, definition_of
from perdure.store.records import NewEvent, WorkflowRow, WorkflowVersionRow

PUBLISHED_MAX: Final = 1024
"""So many runnable versions are kept at hand."""

EditOf: TypeAlias = Callable[[bytes], Awaitable[EditSchedules | None]]
"""Gives the change of a workflow's schedules, by its id."""


class Published(NamedTuple):
    """A version that can be run."""

    workflow: WorkflowRow
    version: WorkflowVersionRow
    machine: Machine
    settings: VersionSettings


class Saved(NamedTuple):
    """A workflow after a change, the version it is about, and warnings about its definition."""

    workflow: WorkflowRow
    version: WorkflowVersionRow
    warnings: list[Problem]


class Applied(NamedTuple):
    """The result of applying a definition under a name."""

    saved: Saved
    outcome: Literal["created", "changed", "unchanged"]


class PublishedVersions(Cache[tuple[bytes, bytes, int | None, bool], Published]):
    """Versions that can be run."""

    def __init__(self) -> None:
        super().__init__(PUBLISHED_MAX)

    def on_changed(self, hot: HotStream, events: Sequence[NewEvent]) -> None:
        """A commit has changed a workflow: another version may be the one that runs, or none."""
        if changes_workflow(hot, events):
            self.forget(lambda key: key[0] == hot.stream_id)


class Workflows:
    """Workflows and their versions, limited to what a caller may see."""

    def __init__(self, node: NodeParts, documents: Documents, calls: Calls, published: PublishedVersions) -> None:
        self._node = node
        self._store = node.store
        self._writing = Writing(documents, node.limits)
        self._calls = calls
        self._published = published
        # Names are unique over streams, which no stream's state can say: one at a time.
        self._applying = WeakValueDictionary[tuple[bytes, str], asyncio.Lock]()

    # --- changing ------------------------------------------------------------------------------------------------

    async def create(  # noqa: PLR0913 all that a workflow is made with
        self,
        caller: Caller,
        name: str,
        definition: Any,
        *,
        description: str | None = None,
        is_published: bool = True,
        mock_payload: Any = None,
        settings: Mapping[str, Any] | None = None,
        schedules: Sequence[ScheduleSpec] = (),
        sharing: workflow.Sharing | None = None,
        summary: str | None = None,
        is_paused: bool = False,
    ) -> Saved:
        """Create a workflow with its first version; `settings` are as `engine.services.settings` reads them.

        `definition` is one in Amazon States Language, or a `GivenDocument` of any format; `sharing` says who sees the
        workflow, and `summary` what is new. Raises `Invalid` with every problem of the document in
        `details["errors"]`.
        """
        workflow_id = self._node.processor.new_id()
        written = WrittenVersion(definition, mock_payload, settings, summary, is_draft=not is_published)
        given, told = await self._writing.definition(caller, written, None)
        if is_published:
            given = await self._with_calls(caller, given, CallingWorkflow(workflow_id, name))
        workspace = ids.text(caller.home_workspace_id)
        command = workflow.CreateWorkflow(
            *(workspace, name, description, given, is_published, tuple(schedules)),
            sharing=sharing,
            owner=caller.user_id or "",
            is_paused=is_paused,
        )
        await send(self._node, caller, "workflow", workflow_id, command)
        return await self._saved(caller, workflow_id, told)

    async def change(  # noqa: PLR0913 all that can be changed of a workflow at once
        self,
        caller: Caller,
        workflow_id: bytes,
        *,
        name: str | None = None,
        description: str | None = None,
        definition: Any = None,
        mock_payload: Any = None,
        is_published: bool | None = None,
        settings: Mapping[str, Any] | None = None,
        schedules: EditSchedules | None = None,
        sharing: workflow.Sharing | None = None,
        summary: str | None = None,
        based_on: int | None = None,
    ) -> Saved:
        """Change what is given; another definition or setting makes the next version, which keeps the rest.

        So does the same definition, given again, if a name in it means another workflow by now. Raises `Conflict` if
        what is given is `based_on` another version than the latest.
        """
        row = await self.workflow(caller, workflow_id)
        latest = await self.version(caller, workflow_id, row.latest_version)
        if based_on not in (None, latest.version):
            raise Conflict("the workflow was changed by somebody else meanwhile; read it again")
        return await self._change(
            caller,
            (row, latest),
            name=name,
            description=description,
            definition=definition,
            mock_payload=mock_payload,
            is_published=is_published,
            settings=settings,
            schedules=schedules,
            sharing=sharing,
            summary=summary,
        )

    async def _change(  # noqa: PLR0913 likewise
        self,
        caller: Caller,
        seen: tuple[WorkflowRow, WorkflowVersionRow],
        *,
        name: str | None = None,
        description: str | None = None,
        definition: Any = None,
        mock_payload: Any = None,
        is_published: bool | None = None,
        settings: Mapping[str, Any] | None = None,
        schedules: EditSchedules | None = None,
        sharing: workflow.Sharing | None = None,
        summary: str | None = None,
    ) -> Saved:
        """Change a workflow that was read, with its latest version; what is not given is taken from there."""
        row, latest = seen
        workflow_id = row.workflow_id
        current = definition_of(latest)
        stays_draft = latest.published_at is None if is_published is None else not is_published
        changed, told = None, list[Problem]()
        if definition is not None:
            written = WrittenVersion(definition, mock_payload, settings, summary, is_draft=stays_draft)
            changed, told = await self._writing.definition(caller, written, current)
            if changed.mock_payload is None:
                changed = replace(changed, mock_payload=current.mock_payload)
        elif settings and (wanted := self._writing.settings(current.settings, settings)) != current.settings:
            changed = replace(current, settings=wanted, summary=summary)
        if definition is None and is_published and latest.published_at is None:
            await self._writing.check_publishable(caller, current)
        own = CallingWorkflow(workflow_id, row.name if name is None else name)
        if changed is not None:
            changed = await self._with_calls(caller, changed, own)
        elif is_published:
            current = await self._with_calls(caller, current, own)
        command = workflow.ChangeWorkflow(
            version=latest.version,
            current=current,
            was_published=latest.published_at is not None,
            name=name,
            description=description,
            definition=changed,
            is_published=is_published,
            schedules=schedules,
            sharing=sharing,
        )
        await send(self._node, caller, "workflow", workflow_id, command)
        return await self._saved(caller, workflow_id, told)

    async def check(self, caller: Caller, given: GivenDocument, *, is_draft: bool = False) -> list[Problem]:
        """Warnings about a document that is not kept. Raises `Invalid` with every problem, as `create` does."""
        made, found = await self._writing.definition(caller, WrittenVersion(given, is_draft=is_draft), None)
        more = await apart_if_bulky(caller.workspace_id, len(made.text), _warned, made.text, made.settings)
        return [*found, *more]

    async def apply(  # noqa: PLR0913 as `create`
        self,
        caller: Caller,
        name: str,
        definition: Any,
        *,
        description: str | None = None,
        is_published: bool = True,
        settings: Mapping[str, Any] | None = None,
        schedules: Sequence[ScheduleSpec] = (),
        edit: EditOf | None = None,
        summary: str | None = None,
    ) -> Applied:
        """Make this the definition of the workflow of that name: create it, or its next version if anything differs.

        `schedules` are those of a workflow that is created, `edit` gives the change of those of one whose definition
        changes. Applied again it changes nothing, unless a name in it means another workflow by now; a draft that was
        applied before is published if it is not to be one. Raises `Conflict` if several workflows have the name, and
        what `create` does.
        """
        async with self._applying.setdefault((caller.home_workspace_id, name), asyncio.Lock()):
            rows = await self._store.workflows_named(caller.home_workspace_id, name, caller.viewer)
            in_use = [row for row in rows if row.status != "archived"]
            if len(in_use) > 1:
                named = ", ".join(ids.text(row.workflow_id) for row in in_use)
                raise Conflict(f"several workflows are named {name!r} ({named}): rename or archive all but one")
            if in_use:
                written = WrittenVersion(definition, settings=settings, summary=summary, is_draft=not is_published)
                return await self._apply(caller, in_use[0], written, description, edit)
            saved = await self.create(
                caller,
                name,
                definition,
                description=description,
                is_published=is_published,
                settings=settings,
                schedules=schedules,
                summary=summary,
            )
            return Applied(saved, "created")

    async def _apply(
        self,
        caller: Caller,
        row: WorkflowRow,
        written: WrittenVersion,
        description: str | None,
        edit: EditOf | None,
    ) -> Applied:
        before = await self.version(caller, row.workflow_id, row.latest_version)
        had = definition_of(before)
        is_published = not written.is_draft
        wanted, _ = await self._writing.definition(caller, written, had)
        is_new = (wanted.sha256, wanted.settings, wanted.source) != (had.sha256, had.settings, had.source)
        saved = await self._change(
            caller,
            (row, before),
            description=None if description == row.description else description,
            definition=written.definition if is_published or is_new else None,
            settings=written.settings,
            summary=written.summary,
            is_published=is_published if is_published or is_new else None,
            schedules=await edit(row.workflow_id) if edit is not None and is_new else None,
        )
        is_same = (saved.workflow, saved.version) == (row, before)
        return Applied(saved, "unchanged" if is_same else "changed")

    async def _with_calls(
        self, caller: Caller, given: workflow.Definition, own: CallingWorkflow
    ) -> workflow.Definition:
        meant = await self._calls.meant(caller, given.text, own)
        return replace(given, calls=meant.calls)

    async def archive(self, caller: Caller, workflow_id: bytes) -> WorkflowRow:
        """Archive a workflow: no run of it starts any more."""
        await self.workflow(caller, workflow_id)
        await send(self._node, caller, "workflow", workflow_id, workflow.ArchiveWorkflow())
        return await self.workflow(caller, workflow_id)

    async def saved(self, caller: Caller, workflow_id: bytes) -> Saved:
        """A workflow as it is after its last change, with warnings about its latest version. Raises `NotFound`."""
        return await self._saved(caller, workflow_id)

    async def _saved(self, caller: Caller, workflow_id: bytes, told: Sequence[Problem] = ()) -> Saved:
        row = await self.workflow(caller, workflow_id)
        version = await self.version(caller, workflow_id, row.latest_version)
        settings = version_settings(version.settings)
        found = [
            *told,
            *await apart_if_bulky(caller.workspace_id, len(version.definition), _warned, version.definition, settings),
        ]
        found += await self._calls.warnings(
            caller, version.definition, CallingWorkflow(workflow_id, row.name), version.version
        )
        found += [
            Problem("", SAME_NAME.format(row.name, ids.text(each))) for each in await self._namesakes(caller, row)
        ]
        return Saved(row, version, found)

    async def _namesakes(self, caller: Caller, row: WorkflowRow) -> list[bytes]:
        """Another workflow in use that has this one's name, if the caller sees one."""
        rows = await self._store.workflows_named(row.workspace_id, row.name, caller.viewer)
        others = [
            each.workflow_id for each in rows if each.workflow_id != row.workflow_id and each.status != "archived"
        ]
        return others[:1]

    # --- finding -------------------------------------------------------------------------------------------------

    async def workflow(self, caller: Caller, workflow_id: bytes) -> WorkflowRow:
        """A workflow of the caller's workspace. Raises `NotFound`."""
        row = await self._store.workflow(workflow_id)
        if row is None or not caller.sees(row):
            raise NotFound(f"there is no workflow {ids.text(workflow_id)}")
        return row

    async def version(self, caller: Caller, workflow_id: bytes, version: int | None) -> WorkflowVersionRow:
        """A version of a workflow of the caller's workspace; without a number the latest published one."""
        row = await self.workflow(caller, workflow_id)
        if version is None:
            found = await self._store.latest_published(workflow_id)
        else:
            found = await self._store.workflow_version(workflow_id, version)
        if found is None:
            wanted = "published version" if version is None else f"version {version}"
            raise NotFound(f"workflow {ids.text(row.workflow_id)} has no {wanted}")
        return found

    async def versions(
        self, caller: Caller, workflow_id: bytes, *, before: int | None = None, limit: int = 20
    ) -> tuple[list[WorkflowVersionRow], bool]:
        """Versions of a workflow of the caller's workspace, newest first, below `before`; and whether more follow."""
        await self.workflow(caller, workflow_id)
        rows = [
            row for row in await self._store.workflow_versions(workflow_id) if before is None or row.version < before
        ]
        rows.reverse()
        return rows[:limit], len(rows) > limit

    async def restore(
        self, caller: Caller, workflow_id: bytes, version: int, schedules: EditSchedules | None = None
    ) -> Saved:
        """Make an earlier version the next one again: what it was written as, and its settings.

        It is published if the latest one is. Raises `NotFound`, `Conflict` if it is the latest version already, and
        `Invalid` if it was a draft that cannot be published.
        """
        row = await self.workflow(caller, workflow_id)
        wanted = await self.version(caller, workflow_id, version)
        if version == row.latest_version:
            raise Conflict(f"version {version} is the latest one already")
        latest = await self.version(caller, workflow_id, row.latest_version)
        given = replace(definition_of(wanted), summary=f"restored from version {version}")
        given = await self._with_calls(caller, given, CallingWorkflow(workflow_id, row.name))
        was_published = latest.published_at is not None
        if was_published and wanted.published_at is None:
            await self._writing.check_publishable(caller, given)
        command = workflow.ChangeWorkflow(
            version=latest.version,
            current=definition_of(latest),
            was_published=was_published,
            definition=given,
            schedules=schedules,
        )
        await send(self._node, caller, "workflow", workflow_id, command)
        return await self._saved(caller, workflow_id)

    async def runnable(
        self, caller: Caller, workflow_id: bytes, version: int | None, *, is_test: bool = False
    ) -> Published:
        """The version that a trigger means. Raises `NotFound`, or `Conflict` for a draft or an archived workflow."""
        key = (workflow_id, caller.home_workspace_id, version, is_test)
        found = self._published.get(key)
        if found is None:
            found = await self._published.read(
                key, lambda: self._read_runnable(caller, workflow_id, version, is_test=is_test)
            )
        if not caller.sees(found.workflow):
            raise NotFound(f"there is no workflow {ids.text(workflow_id)}")
        return found

    async def input_unsaid(self, caller: Caller, workflow_id: bytes, version: int | None, *, is_test: bool) -> Any:
        """What runs if no input is given: an empty object, or for a test the version's mock payload if there is one."""
        if not is_test:
            return {}
        found = await self.runnable(caller, workflow_id, version, is_test=True)
        mock = found.version.mock_payload
        return {} if mock is None else decode_json(mock)

    async def _read_runnable(
        self, caller: Caller, workflow_id: bytes, version: int | None, *, is_test: bool
    ) -> Published:
        row = await self.workflow(caller, workflow_id)
        if row.status == "archived":
            raise Conflict(f"workflow {ids.text(workflow_id)} is archived: no run of it starts")
        if row.status == "paused":
            raise Conflict(f"workflow {ids.text(workflow_id)} is paused: no run of it starts until it is resumed")
        found = await self._wanted(row, version, is_test=is_test)
        machine = await self._node.definitions.machine(workflow_id, found.version)
        return Published(row, found, machine, version_settings(found.settings))

    async def _wanted(self, row: WorkflowRow, version: int | None, *, is_test: bool) -> WorkflowVersionRow:
        shown = ids.text(row.workflow_id)
        if version is None and not is_test:
            found = await self._store.latest_published(row.workflow_id)
            if found is None:
                raise Conflict(f"workflow {shown} is a draft; publish it, or run it with test=true")
            return found
        found = await self._store.workflow_version(row.workflow_id, version or row.latest_version)
        if found is None:
            raise NotFound(f"workflow {shown} has no version {version}")
        if found.published_at is None and not is_test:
            raise Conflict(f"version {version} of workflow {shown} is a draft; publish it, or run it with test=true")
        return found


def _warned(text: str, settings: VersionSettings) -> list[Problem]:
    definition = decode_json(text)
    found = warnings(definition)
    if settings.resume == "any" and opens_several_waits(definition):
        found.append(Problem("", SEVERAL_WAITS))
    return found
