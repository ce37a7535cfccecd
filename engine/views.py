"""The result types of the embedded engine: named tuples, with ids as text."""

from __future__ import annotations

from typing import Any, NamedTuple

from perdure.engine.core import ids
from perdure.engine.core.refs import resolve
from perdure.engine.core.state import State
from perdure.engine.services.workflows import Saved
from perdure.engine.steps.invoke import fresh
from perdure.store.records import ExecutionRow


class EngineStatus(NamedTuple):
    """The status of an engine.

    `failure` is what has stopped it, `problem` what keeps writes from being answered soon, and `clock` why nothing
    fires that is due; each null if nothing does. `deaths`: of so many nodes in a row before it, if it takes up bit by
    bit what was under way; else 0.
    """

    failure: Exception | None
    is_draining: bool
    is_recovering: bool
    deaths: int
    problem: str | None
    clock: str | None = None


class Workflow(NamedTuple):
    """A workflow, as `create_workflow` gives it."""

    id: str
    name: str
    version: int
    warnings: list[str]


class WorkflowSummary(NamedTuple):
    """A workflow of a page. `status`: draft, published or archived; `version`: the latest, drafts included."""

    id: str
    name: str
    status: str
    version: int
    modified_at: int


class Execution(NamedTuple):
    """An execution that has been started. The same call again gives the same one."""

    id: str
    process_id: str


class Result(NamedTuple):
    """The end of an execution. `status`: completed, failed, timed_out or terminated; `output` is of a completed one."""

    status: str
    output: Any
    error: str | None
    cause: str | None


class ExecutionSummary(NamedTuple):
    """One execution of a page. Instants are milliseconds since the epoch."""

    id: str
    process_id: str
    workflow_id: str
    workflow_version: int
    status: str
    state: str | None
    created_at: int
    modified_at: int
    ended_at: int | None


class Wait(NamedTuple):
    """An open wait: what `resume` ends. Instants are milliseconds since the epoch."""

    id: str
    state: str
    process_id: str
    execution_id: str
    opened_at: int
    due_at: int | None


class Page(NamedTuple):
    """A page of executions, newest first; `last_key` asks for the next, null if there is none."""

    items: list[ExecutionSummary]
    last_key: str | None


def workflow_of(saved: Saved) -> Workflow:
    """A workflow that was just saved."""
    return Workflow(
        ids.text(saved.workflow.workflow_id),
        saved.workflow.name,
        saved.version.version,
        [f"{warning.path or '/'}: {warning.message}" for warning in saved.warnings],
    )


def summary_of(row: ExecutionRow, process_id: str) -> ExecutionSummary:
    """An execution, by its row."""
    return ExecutionSummary(
        id=ids.text(row.execution_id),
        process_id=process_id,
        workflow_id=ids.text(row.workflow_id),
        workflow_version=row.workflow_version,
        status=row.status,
        state=row.state,
        created_at=row.created_at,
        modified_at=row.modified_at,
        ended_at=row.ended_at,
    )


def result_of(state: State, payloads: dict[int, Any]) -> Result:
    """The result of an execution that has ended, from its state."""

    def value(reference: str | None) -> Any:  # a copy: others see the same payloads
        return None if reference is None else fresh(resolve(reference, payloads))

    error = state.error if state.error_ref is None else value(state.error_ref)
    output = state.output if state.status == "completed" else None
    return Result(state.status, value(output), error, value(state.cause))
