"""Resolution of workflow names: the workflow that a state starts by its name (record 26).

What a name means is settled when a version is published, and stands in the event that publishes it. So it is read from
the workflow's stream, and nothing else has to agree with it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from perdure.engine.core import ids
from perdure.engine.core.versions import Called
from perdure.engine.core.workflow import WorkflowState
from perdure.engine.language import Problem, executions_of
from perdure.engine.log.codec import decode_json
from perdure.engine.runtime.callers import KEY_ACTOR, Caller
from perdure.engine.runtime.node import NodeParts
from perdure.engine.runtime.streams.bulky import apart_if_bulky
from perdure.engine.runtime.streams.changes import changes_workflow
from perdure.engine.runtime.streams.stream import HotStream
from perdure.engine.services.cache import Cache
from perdure.engine.steps.executions import readings_of
from perdure.store.protocols import Store
from perdure.store.records import NewEvent, WorkflowRow
from perdure.store.viewer import Viewer

WORKFLOWS_MAX: Final = 1024
"""The calls of so many workflows are kept at hand."""

LATER: Final = "the name is looked up whenever the state is entered, until the definition is applied again"


class CallingWorkflow(NamedTuple):
    """The workflow whose definition it is, with the name that it has, or is about to have."""

    workflow_id: bytes
    name: str


class ResolvedCalls(NamedTuple):
    """The workflows that names in a definition resolve to, by state, and for unresolved names the reason."""

    calls: dict[str, Called]
    unclear: dict[str, Problem]


class RecordedCalls(Cache[bytes, Mapping[int, Mapping[str, Called]]]):
    """A cache of the meanings that names in versions of workflows had when they were published, by workflow."""

    def __init__(self) -> None:
        super().__init__(WORKFLOWS_MAX)

    def on_changed(self, hot: HotStream, events: Sequence[NewEvent]) -> None:
        """A commit has changed a workflow: it may have a version more."""
        if changes_workflow(hot, events):
            self.forget(lambda workflow_id: workflow_id == hot.stream_id)


class Calls:
    """Resolves the workflow names that definitions call."""

    def __init__(self, node: NodeParts, recorded: RecordedCalls) -> None:
        self._store = node.store
        self._loader = node.loader
        self._recorded = recorded

    async def recorded(self, workflow_id: bytes, version: int) -> Mapping[str, Called]:
        """The workflows that the names in a version resolved to when it was published, by state."""
        versions = await self._recorded.read(workflow_id, lambda: self._read(workflow_id))
        return versions.get(version, {})

    async def _read(self, workflow_id: bytes) -> Mapping[int, Mapping[str, Called]]:
        row = await self._store.stream(workflow_id)
        if row is None:
            return {}
        fold = await self._loader.from_snapshot(row) or await self._loader.from_the_start(row)
        state: WorkflowState = fold.state
        return {number: version.calls for number, version in state.versions.items() if version.calls}

    async def meant(self, caller: Caller, definition: str, own: CallingWorkflow) -> ResolvedCalls:
        """The workflows that the names in a definition, given as text, resolve to now; ids are left out."""
        found = ResolvedCalls({}, {})
        known: dict[str, Called | str | None] = {}
        for pointer, state, target in await _executions_of(caller, definition):
            if target not in known:
                known[target] = await self._meaning(caller, target, own)
            meaning = known[target]
            if isinstance(meaning, str):
                found.unclear[state] = Problem(pointer, f"{meaning}; {LATER}")
            elif meaning is not None:
                found.calls[state] = meaning
        return found

    async def _meaning(self, caller: Caller, target: str, own: CallingWorkflow) -> Called | str | None:
        """What a text means, or why nothing; null if it is an id."""
        for name, version in readings_of(target):
            rows = [row for row in await named(self._store, caller, name) if row.workflow_id != own.workflow_id]
            meant = [row.workflow_id for row in rows if row.status != "archived"]
            if own.name == name or ids.text(own.workflow_id) == name:
                meant.append(own.workflow_id)
            if len(meant) > 1:
                return f"several workflows are named {name!r}, so that it means none of them"
            if meant:
                workflow = ids.text(meant[0])
                return None if workflow == name else Called(workflow, version)
            if rows:
                return f"workflow {name!r} is archived, so that no run of it starts"
        return f"no workflow is named {target!r} yet"

    async def warnings(self, caller: Caller, definition: str, own: CallingWorkflow, version: int) -> list[Problem]:
        """Warnings about calls of a version that will fail, or are not resolved yet."""
        recorded = await self.recorded(own.workflow_id, version)
        unclear = (await self.meant(caller, definition, own)).unclear
        found = [problem for state, problem in unclear.items() if state not in recorded]
        for pointer, state, target in await _executions_of(caller, definition):
            called = recorded.get(state)
            row = None if called is None else await self._store.workflow(ids.parse(called.workflow))
            if row is not None and row.status == "archived":
                message = (
                    f"{target!r} means workflow {ids.text(row.workflow_id)}, as when this was published, and that is "
                    "archived: no run of it starts"
                )
                found.append(Problem(pointer, message))
        return found


async def author_of(store: Store, workflow_id: bytes, version: int) -> Viewer | None:
    """Whoever wrote a version, as somebody who looks at workflows: by their key, as it is now; null if it was none.

    A run finds the workflows that they may see, whoever runs it, and whoever owns the workflow that it is of.
    """
    row = await store.workflow_version(workflow_id, version)
    if row is None or not row.created_by.startswith(KEY_ACTOR):
        return None
    key = await store.api_key(ids.parse(row.created_by.removeprefix(KEY_ACTOR)))
    if key is None:
        return Viewer(None, (), row.created_by)
    return Viewer(key.user_id, tuple(sorted(decode_json(key.role_ids))), row.created_by)


async def named(store: Store, caller: Caller, name: str) -> list[WorkflowRow]:
    """The workflow of the caller's workspace with this id, or those with this name, of which two are enough.

    Archived ones only if there are no others.
    """
    if ids.is_id(name):
        row = await store.workflow(ids.parse(name))
        if row is not None and caller.sees(row):
            return [row]
    return await store.workflows_named(caller.home_workspace_id, name, caller.viewer)


async def _executions_of(caller: Caller, definition: str) -> list[tuple[str, str, str]]:
    def found() -> list[tuple[str, str, str]]:
        return list(executions_of(decode_json(definition)))

    return await apart_if_bulky(caller.workspace_id, len(definition), found)
