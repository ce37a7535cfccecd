"""Results of calls about documents and versions of workflows, in the form of `results`."""

from __future__ import annotations

from typing import TypeAlias

from perdure.api.client.results import JsonObject, NextCursor, Page, Result, Warned


class DocumentChecked(Result, frozen=True):
    """Every problem of a document, and what is probably not meant; `path` is a JSON Pointer into the document."""

    valid: bool
    problems: list[Warned]
    warnings: list[Warned]


class Converted(Result, frozen=True):
    """A document in another format."""

    format: str
    document: JsonObject


class VersionOfWorkflow(Result, frozen=True):
    """A version of a workflow: draft or published, and what its author says of the change."""

    workflow_id: str
    version: int
    status: str
    format: str
    change_summary: str | None
    created_at: str
    created_by: str
    published_at: str | None


VersionsOfWorkflow: TypeAlias = Page[VersionOfWorkflow, NextCursor]
