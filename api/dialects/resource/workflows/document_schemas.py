"""Documents and versions of workflows as types: what is checked and converted, and what a version says of itself."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec

from perdure.api.dialects.resource.fields import CursorText, DocumentFormat
from perdure.api.dialects.schemas import Instant, JsonObject, Number, Shape, Warned
from perdure.api.http.paging import LIMIT_DEFAULT, WideLimit
from perdure.api.validation import Request, Uuid


class DocumentCheck(Request, frozen=True):
    """A document to be checked. In a draft, nodes that nothing leads to are warnings, and there may be none at all."""

    document: dict[str, Any]
    format: DocumentFormat = "asl"
    is_draft: bool = False


class DocumentChecked(Shape, frozen=True):
    """Every problem of a document, with its place as a JSON Pointer, and what is probably not meant."""

    valid: bool
    problems: list[Warned]
    warnings: list[Warned]


class Conversion(Request, frozen=True):
    """A document, the format that it is `from`, and the one that it is to be shown in."""

    from_: DocumentFormat = msgspec.field(name="from")
    to: DocumentFormat
    document: dict[str, Any]


class Converted(Shape, frozen=True):
    """A document in another format."""

    format: DocumentFormat
    document: JsonObject


class VersionsQuery(Request, frozen=True):
    """A page of a workflow's versions, newest first."""

    limit: WideLimit = LIMIT_DEFAULT
    cursor: CursorText | None = None


class VersionOfWorkflow(Shape, frozen=True):
    """A version of a workflow: what it was written as, and what its author says of the change."""

    workflow_id: Uuid
    version: Number
    status: Literal["draft", "published"]
    format: DocumentFormat
    change_summary: str | None
    created_at: Instant
    created_by: str
    published_at: Instant | None


class NumberInPath(Request, frozen=True):
    """The number of a version, in a path."""

    version: Annotated[int, msgspec.Meta(ge=1, le=2**31 - 1)]
