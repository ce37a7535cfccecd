"""Calls about workflows: they are written, applied, changed, tried out and looked at."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Literal, TypeAlias

from msgspec import UNSET, UnsetType

from perdure.api.client import results
from perdure.api.client.calls import Call, Iteration, Operation, Walk, given

ResumeRule: TypeAlias = Literal["any", "named"]

_PROCESS: Final = "/v2/workflows"
_ONE: Final = "/v1/workflows/{id}"


def _settings(resume: ResumeRule | None, settings: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """The settings to be sent: those that are given, and `resume`, which is one of them."""
    return (given(resume=resume) | dict(settings or {})) or None


class WorkflowCalls:
    """Calls about workflows. `definition` is an object in Amazon States Language."""

    # --- changes -------------------------------------------------------------------------------------------------

    @Operation
    def create_workflow(
        self,
        name: str,
        definition: Mapping[str, Any],
        *,
        description: str | None = None,
        is_draft: bool = False,
        resume: ResumeRule | None = None,
        settings: Mapping[str, Any] | None = None,
        mock_payload: Mapping[str, Any] | None = None,
        trigger: Mapping[str, Any] | None = None,
    ) -> Call[results.WorkflowSaved]:
        """Make a workflow of this name (1 to 120 characters); its first version is published unless it is a draft.

        `resume` "named": whoever resumes its runs must say which wait is meant. It is one of the `settings`, by the
        API's names (`{"timeoutMs": 60000}`). `trigger` says when it starts by itself: `cron_expression` with
        `timezone`, and `schedules` (members as of `create_schedule`). Raises `Invalid` with every problem of the
        definition in `details["errors"]`. Is not repeated by itself if its answer is lost, since that might make two:
        `apply_workflow` is.
        """
        body = {"name": name, "definition": definition, "status": "draft" if is_draft else "published"}
        body |= given(description=description, settings=_settings(resume, settings), mock_payload=mock_payload)
        body |= trigger or {}
        return Call("POST", "/v1/workflows", results.WorkflowSaved, "data", body=body)

    @Operation
    def apply_workflow(
        self,
        name: str,
        definition: Mapping[str, Any],
        *,
        description: str | None = None,
        is_draft: bool = False,
        resume: ResumeRule | None = None,
        settings: Mapping[str, Any] | None = None,
    ) -> Call[results.WorkflowApplied]:
        """Create the workflow of that name, or its next version if anything differs: `outcome` says which, if either.

        What is not given stays as it is. Raises `Invalid`, `Conflict` (several workflows have the name).
        """
        body = {"definition": definition, "status": "draft" if is_draft else "published"}
        body |= given(description=description, settings=_settings(resume, settings))
        return Call(
            "PUT",
            "/v1/workflows/by-name/{name}",
            results.WorkflowApplied,
            "data",
            values={"name": name},
            body=body,
            is_safe=True,
        )

    @Operation
    def change_workflow(
        self,
        workflow_id: str,
        *,
        name: str | None = None,
        description: str | None = None,
        definition: Mapping[str, Any] | None = None,
        status: Literal["published", "draft"] | None = None,
        resume: ResumeRule | None = None,
        trigger: Mapping[str, Any] | None = None,
        settings: Mapping[str, Any] | None = None,
    ) -> Call[results.WorkflowSaved]:
        """Change what is given; a published version never changes, so that may make the next one.

        `trigger` as of `create_workflow`: with `trigger_type` "manual" it removes all schedules; `schedules` in it are
        those beside the one of `cron_expression` as they are to be (`id` names one that is there). Raises `NotFound`,
        `Invalid`, `Conflict`. The same change again changes nothing.
        """
        body = given(name=name, description=description, definition=definition, status=status)
        body |= given(settings=_settings(resume, settings))
        body |= trigger or {}
        return Call("PATCH", _ONE, results.WorkflowSaved, "data", values={"id": workflow_id}, body=body, is_safe=True)

    @Operation
    def publish_workflow(self, workflow_id: str) -> Call[results.WorkflowSaved]:
        """Publish a workflow's latest version, if it is a draft. Raises `NotFound`, `Conflict`."""
        body = {"status": "published"}
        return Call("PATCH", _ONE, results.WorkflowSaved, "data", values={"id": workflow_id}, body=body, is_safe=True)

    @Operation
    def archive_workflow(self, workflow_id: str) -> Call[results.WorkflowShown]:
        """Let no run of it start any more; history stays readable. Raises `NotFound`."""
        return Call("DELETE", _ONE, results.WorkflowShown, "data", values={"id": workflow_id}, is_safe=True)

    @Operation
    def try_state(
        self,
        definition: Mapping[str, Any],
        state_input: Any = UNSET,
        *,
        state: str | None = None,
        result: Any = UNSET,
        error: Mapping[str, str] | None = None,
        context: Mapping[str, Any] | None = None,
        variables: Mapping[str, Any] | None = None,
        retry_count: int | None = None,
    ) -> Call[results.StateTried]:
        """Run one state by itself; nothing is called or kept.

        `definition` is a state, or a machine of which `state` is one. `result`, or `error` (`error`, `cause`), is what
        its step gives; `context` is the whole context object, `retry_count` how often it has been tried again.
        """
        body = {"definition": definition, **given(state=state, error=error, context=context)}
        body |= given(variables=variables, retry_count=retry_count)
        body |= {name: value for name, value in (("input", state_input), ("result", result)) if value is not UNSET}
        return Call("POST", "/v1/test-state", results.StateTried, "data", body=body, is_safe=True)

    # --- views ---------------------------------------------------------------------------------------------------

    @Operation
    def workflow(
        self,
        workflow_id: str,
        *,
        version: int | None = None,
        expand: Literal["definition", "document"] = "definition",
    ) -> Call[results.WorkflowWhole]:
        """A workflow with its latest version, or another one. Raises `NotFound`.

        It comes with the `definition` that it was written as or compiled to, or with the `document` as it was written.
        """
        values, query = {"id": workflow_id}, {"version": version, "expand": expand}
        return Call("GET", _ONE, results.WorkflowWhole, "data", values=values, query=query, is_safe=True)

    @Operation
    def workflows(
        self,
        *,
        page: int = 1,
        limit: int | None = None,
        status: Literal["draft", "published", "paused", "archived"] | None = None,
        search: str | None = None,
    ) -> Call[results.WorkflowPage]:
        """A page of workflows, newest first, 1 to 100, 20 unless given; `search` is a part of the name."""
        return _workflows(page, limit, status, search)

    @Iteration
    def iter_workflows(
        self, *, status: Literal["draft", "published", "paused", "archived"] | None = None, search: str | None = None
    ) -> Walk[results.WorkflowShown]:
        """All workflows, newest first: each that is there at the start once."""

        def then(page: results.WorkflowPage) -> Call[results.WorkflowPage] | None:
            following = page.meta.next_cursor
            return None if following is None else _workflows(None, 100, status, search, following)

        return Walk(_workflows(None, 100, status, search, ""), lambda page: page.data, then)

    @Operation
    def workflow_version(self, workflow_id: str, version: int) -> Call[results.VersionItem]:
        """All data of a version, as the process API has it. Raises `NotFound`."""
        return _version("getWorkflowById", results.VersionItem, workflow_id, version)

    @Operation
    def workflow_schema(self, workflow_id: str, version: int) -> Call[results.SchemaItem]:
        """An example of a version's input, and a JSON Schema for it. Raises `NotFound`."""
        return _version("getWorkflowSchemaById", results.SchemaItem, workflow_id, version)

    @Operation
    def workflow_versions(
        self, *, after: results.VersionKey | None = None, limit: int | None = None
    ) -> Call[results.VersionPage]:
        """A page of all versions of all workflows, newest first, 1 to 30; `after` is a page's `last_key`."""
        return _versions(after, limit)

    @Iteration
    def iter_workflow_versions(self) -> Walk[results.VersionListed]:
        """All versions of all workflows, newest first."""

        def then(page: results.VersionPage) -> Call[results.VersionPage] | None:
            return None if isinstance(page.last_key, UnsetType) else _versions(page.last_key, 30)

        return Walk(_versions(None, 30), lambda page: page.items, then)


def _workflows(
    page: int | None, limit: int | None, status: str | None, search: str | None, cursor: str | None = None
) -> Call[results.WorkflowPage]:
    query = {"page": page, "limit": limit, "status": status, "search": search, "cursor": cursor}
    return Call("GET", "/v1/workflows", results.WorkflowPage, query=query, is_safe=True)


def _version(name: str, reply: Any, workflow_id: str, version: int) -> Call[Any]:
    query = {"workflow_id": workflow_id, "workflow_version": version}
    return Call("GET", f"{_PROCESS}/{name}", reply, "item", query=query, is_safe=True)


def _versions(after: results.VersionKey | None, limit: int | None) -> Call[results.VersionPage]:
    query: dict[str, Any] = {"limit": limit}
    if after is not None:
        query["workflow_id"], query["workflow_version"] = after.workflow_id, after.workflow_version
        query["organization_id"] = after.organization_id
    return Call("GET", f"{_PROCESS}/getOrganizationWorkflows", results.VersionPage, query=query, is_safe=True)
