"""Members that requests and answers of the resource API have in common, and pages."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Final, Literal, TypeAlias

import msgspec
from msgspec import UNSET, UnsetType

from perdure.api.dialects.schemas import (
    Count,
    Number,
    Shape,
)
from perdure.api.http.headers import HOLD_MAX_S
from perdure.api.validation import Uuid

EVENTS_DEFAULT: Final = 100

# A name is one line; a description may have more.
Name: TypeAlias = Annotated[
    str,
    msgspec.Meta(
        min_length=1,
        max_length=120,
        pattern=r"^[^\x00-\x1f\x7f-\x9f\u2028\u2029]*\Z",
        extra={"accepts": "a text of 1 to 120 characters, none of them a control character"},
    ),
]
PersonId: TypeAlias = Annotated[
    str,
    msgspec.Meta(
        min_length=1,
        max_length=128,
        pattern=r"^[\x21-\x7e]*\Z",
        extra={"accepts": "a text of 1 to 128 printable ASCII characters without spaces"},
    ),
]
Description: TypeAlias = Annotated[
    str,
    msgspec.Meta(max_length=500, pattern=r"^[^\x00]*\Z", extra={"accepts": "a text of at most 500 characters"}),
]
Definition: TypeAlias = Annotated[
    dict[str, Any], msgspec.Meta(extra={"accepts": "an object in Amazon States Language"})
]
GraphNodes: TypeAlias = Annotated[list[Any], msgspec.Meta(extra={"accepts": "a list of nodes {id, type, config}"})]
Edges: TypeAlias = Annotated[list[Any], msgspec.Meta(extra={"accepts": "a list of edges {source, target}"})]
Variables: TypeAlias = Annotated[dict[str, Any], msgspec.Meta(extra={"accepts": "an object of default values"})]
StepList: TypeAlias = Annotated[list[Any], msgspec.Meta(extra={"accepts": "a list of steps {id, type, config}"})]
VisibilityWord: TypeAlias = Annotated[
    Literal["private", "tenant", "shared"], msgspec.Meta(extra={"accepts": "'private', 'tenant' or 'shared'"})
]
People: TypeAlias = Annotated[list[PersonId], msgspec.Meta(max_length=100)]
Summary: TypeAlias = Annotated[
    str, msgspec.Meta(max_length=500, pattern=r"^[^\x00]*\Z", extra={"accepts": "a text of at most 500 characters"})
]
DocumentFormat: TypeAlias = Literal["asl", "graph", "service", "steps"]
CursorText: TypeAlias = Annotated[str, msgspec.Meta(max_length=128)]
ScopeName: TypeAlias = Annotated[str, msgspec.Meta(extra_json_schema={"pattern": ""})]
"""A scope in any dialect's spelling; the document shows those of the server's dialects."""
Moment: TypeAlias = Annotated[datetime, msgspec.Meta(extra_json_schema={"format": "date-time"})]
WorkflowStatus: TypeAlias = Literal["draft", "published", "paused", "archived"]
TriggeredBy: TypeAlias = Literal["manual", "schedule"]
EventLimit: TypeAlias = Annotated[int, msgspec.Meta(ge=1, le=1000)]
Position: TypeAlias = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
StepMs: TypeAlias = Annotated[int, msgspec.Meta(ge=-(2**53), le=2**53)]
Seconds: TypeAlias = Annotated[int, msgspec.Meta(ge=0, le=HOLD_MAX_S)]
Payloads: TypeAlias = Literal["full", "digest"]


class Numbered(Shape, frozen=True):
    """The number of this page, and the number of items on all of them."""

    page: Number
    limit: Number
    total: Count


class NextCursor(Shape, frozen=True):
    """`next_cursor`: what asks for the next page as `cursor`, if there is one."""

    limit: Number
    has_more: bool
    next_cursor: str | None


class PagePlaced(NextCursor, frozen=True, kw_only=True):
    """A page by its number has that, and the number of items on all pages; a cursor goes on from it, too."""

    page: Number | UnsetType = UNSET
    total: Count | UnsetType = UNSET


class After(Shape, frozen=True):
    """`after`: the position of the next page, if there is one."""

    limit: Number
    has_more: bool
    after: Uuid | None
