"""Calls about documents of any format, and about versions of workflows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Literal, TypeAlias

from perdure.api.client import document_results as results
from perdure.api.client.calls import Call, Iteration, Operation, Walk
from perdure.api.client.results import WorkflowApplied, WorkflowSaved

DocumentFormat: TypeAlias = Literal["asl", "graph", "service", "steps"]

_ONE: Final = "/v1/workflows/{id}"


class DocumentCalls:
    """Calls about documents and versions."""

    @Operation
    def write_workflow(self, name: str, members: Mapping[str, Any]) -> Call[WorkflowSaved]:
        """Make a workflow from the members that the API has: `nodes`, `edges` and `variables`, or `steps`.

        It is a draft unless `status` is "published". Others are `description`, `change_summary`, `visibility`,
        `shared_user_ids`, `shared_role_ids`, `settings`, `mock_payload`. Is not repeated by itself, since that might
        make two. Raises `Invalid` with every problem in `details["errors"]`.
        """
        return Call("POST", "/v1/workflows", WorkflowSaved, "data", body={"name": name, **members})

    @Operation
    def rewrite_workflow(self, workflow_id: str, members: Mapping[str, Any]) -> Call[WorkflowSaved]:
        """Change those members of a workflow; another document makes the next version. Raises `NotFound`, `Invalid`."""
        body = dict(members)
        return Call("PATCH", _ONE, WorkflowSaved, "data", values={"id": workflow_id}, body=body, is_safe=True)

    @Operation
    def apply_document(self, name: str, members: Mapping[str, Any]) -> Call[WorkflowApplied]:
        """Give the workflow of that name this document, as `apply_workflow` does a definition."""
        path, values = "/v1/workflows/by-name/{name}", {"name": name}
        return Call("PUT", path, WorkflowApplied, "data", values=values, body=dict(members), is_safe=True)

    @Operation
    def validate_workflow(
        self, document: Mapping[str, Any], *, written_as: DocumentFormat = "asl", is_draft: bool = False
    ) -> Call[results.DocumentChecked]:
        """Check a document: every problem in it, and warnings. In a draft, nodes may be left that nothing leads to."""
        body = {"document": document, "format": written_as, "is_draft": is_draft}
        return Call("POST", "/v1/workflows/validate", results.DocumentChecked, "data", body=body, is_safe=True)

    @Operation
    def convert_workflow(
        self, document: Mapping[str, Any], *, written_as: DocumentFormat, to: DocumentFormat
    ) -> Call[results.Converted]:
        """Show a document in another format. Raises `Invalid` with every problem in `details["errors"]`."""
        body = {"document": document, "from": written_as, "to": to}
        return Call("POST", "/v1/workflows/convert", results.Converted, "data", body=body, is_safe=True)

    @Operation
    def versions_of(
        self, workflow_id: str, *, cursor: str | None = None, limit: int | None = None
    ) -> Call[results.VersionsOfWorkflow]:
        """A page of a workflow's versions, newest first, 1 to 100, 20 unless given. Raises `NotFound`."""
        return _versions(workflow_id, cursor, limit)

    @Iteration
    def iter_versions_of(self, workflow_id: str) -> Walk[results.VersionOfWorkflow]:
        """All versions of a workflow, newest first."""

        def then(page: results.VersionsOfWorkflow) -> Call[results.VersionsOfWorkflow] | None:
            following = page.meta.next_cursor
            return None if following is None else _versions(workflow_id, following, 100)

        return Walk(_versions(workflow_id, None, 100), lambda page: page.data, then)

    @Operation
    def restore_version(self, workflow_id: str, version: int) -> Call[WorkflowSaved]:
        """Make an earlier version the next one again. Is not repeated by itself. Raises `NotFound`, `Conflict`."""
        path = f"{_ONE}/versions/{{version}}/restore"
        return Call("POST", path, WorkflowSaved, "data", values={"id": workflow_id, "version": version})


def _versions(workflow_id: str, cursor: str | None, limit: int | None) -> Call[results.VersionsOfWorkflow]:
    path, query = f"{_ONE}/versions", {"cursor": cursor, "limit": limit}
    return Call("GET", path, results.VersionsOfWorkflow, values={"id": workflow_id}, query=query, is_safe=True)
