"""Starting an execution: shared by triggers and by the tasks of parents."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

from perdure.engine.core import commands as c
from perdure.engine.core import ids
from perdure.engine.core.events import Origin, Parent, RunLimit
from perdure.engine.errors import Invalid
from perdure.engine.log.digests import request_digest
from perdure.engine.runtime.callers import Caller
from perdure.engine.services.workflows import Published
from perdure.store.protocols import Store
from perdure.store.records import ExecutionRow, ProcessIdRow

PROCESS_ID_MAX: Final = 128


class Start(NamedTuple):
    """An execution to be started: a version of a workflow, an input, and a process id if the caller chose one.

    `origin` is the execution that it repeats, and `reason` why.
    Its `limits` are found last (`engine.services.run_limits`): by whoever starts it, however that comes.
    """

    found: Published
    input: Any
    process_id: str | None
    trigger: str
    is_test: bool = False
    parent: Parent | None = None
    origin: Origin | None = None
    reason: str | None = None
    limits: tuple[RunLimit, ...] | None = None

    def command(self, caller: Caller) -> c.Trigger:
        """The `Trigger` command."""
        version = self.found.version
        if self.limits is None:
            raise AssertionError("a start without its limits: RunLimits.limited gives them")
        return c.Trigger(
            workspace=ids.text(caller.workspace_id),
            workflow=ids.text(version.workflow_id),
            workflow_version=version.version,
            definition_sha256=version.definition_digest.hex(),
            trigger=self.trigger,
            input=self.input,
            process_id=self.process_id,
            is_test=self.is_test,
            parent=self.parent,
            settings=self.found.settings,
            origin=self.origin,
            reason=self.reason,
            limits=self.limits,
            live=None if caller.live_workspace_id is None else ids.text(caller.live_workspace_id),
        )

    def claim(self, caller: Caller, execution_id: bytes, salt: bytes) -> ProcessIdRow | None:
        """The claim to the process id, which one execution has for ever."""
        if self.process_id is None:
            return None
        version = self.found.version
        return ProcessIdRow(
            caller.organization_id,
            caller.workspace_id,
            self.process_id,
            execution_id,
            version.workflow_id,
            version.version,
            salt,
            request_digest(salt, self.input),
        )


def check_process_id(value: str) -> None:
    """Raise `Invalid` unless the value can be a process id."""
    if not 1 <= len(value) <= PROCESS_ID_MAX or not value.isprintable() or value in (".", ".."):
        raise Invalid(
            f"process_id: it must have 1 to {PROCESS_ID_MAX} printable characters and be neither '.' nor '..'",
            {"field": "process_id"},
        )


async def implied(store: Store, caller: Caller, process_id: str | None) -> ExecutionRow | None:
    """The execution of the caller's workspace whose id this is: it is found by that, whatever its process id is."""
    if process_id is None or not ids.is_id(process_id):
        return None
    execution_id = ids.parse(process_id)
    row = await store.execution(execution_id)
    return row if row is not None and row.workspace_id == caller.workspace_id else None
