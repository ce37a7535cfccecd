"""Requests and answers as types: what several dialects have in common.

A request's struct says what is accepted. An answer's is what the document of the API says of it, and what tests hold
every answer against: handlers make plain objects, which is quicker. Members that need not be there default to `UNSET`;
what may have members that are not named says so by its base. Each dialect has its own beside this one
(`api.dialects.process.schemas`, `api.dialects.resource.fields`), each answer below the request that it is for.
"""

from __future__ import annotations

from typing import Annotated, Any, Generic, Literal, TypeAlias, TypeVar

import msgspec
from msgspec import UNSET, UnsetType

from perdure.api.http.problems import STATUS
from perdure.api.validation import VERSION_MAX, Request, Uuid
from perdure.engine.services.access import SCOPES
from perdure.engine.services.runs import TERMINATION_REASON

T = TypeVar("T")
M = TypeVar("M")


class Shape(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An object with these members and no others."""


class OpenShape(msgspec.Struct, frozen=True, kw_only=True):
    """An object with these members, and others."""


Count: TypeAlias = Annotated[int, msgspec.Meta(ge=0)]
Number: TypeAlias = Annotated[int, msgspec.Meta(ge=1)]
Millis: TypeAlias = Annotated[int, msgspec.Meta(ge=0, description="Milliseconds since the epoch.")]
Instant: TypeAlias = Annotated[
    str,
    msgspec.Meta(pattern=r"Z\Z", description="ISO 8601, in UTC.", extra_json_schema={"format": "date-time"}),
]
JsonObject: TypeAlias = dict[str, Any]
Success: TypeAlias = Literal["success"]
Yes: TypeAlias = Annotated[bool, msgspec.Meta(extra_json_schema={"const": True})]
RunStatus: TypeAlias = Literal["pending", "running", "waiting", "completed", "failed", "timed_out", "terminated"]
TriggerType: TypeAlias = Literal["REQUEST", "SCHEDULE", "WEBHOOK", "FORM", "MANUAL"]
Scope: TypeAlias = Annotated[str, msgspec.Meta(extra_json_schema={"enum": list(SCOPES)})]
Version: TypeAlias = Annotated[int, msgspec.Meta(ge=1, le=VERSION_MAX)]
Code: TypeAlias = Annotated[str, msgspec.Meta(extra_json_schema={"enum": list(STATUS)})]
No: TypeAlias = Annotated[bool, msgspec.Meta(extra_json_schema={"const": False})]
StateName: TypeAlias = Annotated[str, msgspec.Meta(min_length=1, max_length=80)]


# --- runs --------------------------------------------------------------------------------------------------------


class ResumeQuery(Request, frozen=True):
    """The wait that is meant, if not the only one."""

    wait_id: Uuid | None = None
    state: StateName | None = None


class Termination(Request, frozen=True, forbid_unknown_fields=False):
    """Why; and whatever else the caller wants to stand in the log beside that."""

    termination_reason: Annotated[str, msgspec.Meta(max_length=1024)] = TERMINATION_REASON


class Nothing(Request, frozen=True):
    """A request that has no members; its body may be left out."""


class Terminate(Request, frozen=True):
    """The end of a run; all of the payload is kept."""

    payload: Termination = Termination()


class Resumed(Shape, frozen=True):
    """`restarted`: this call ended the wait; `already restarted`: an earlier one did."""

    message: Literal["restarted", "already restarted"]


class Terminated(Shape, frozen=True):
    """`terminated`: by this call; `already terminated`: by an earlier one."""

    message: Literal["terminated", "already terminated"]


# --- envelopes ---------------------------------------------------------------------------------------------------


class Data(Shape, Generic[T], frozen=True):
    """A success."""

    success: Yes
    data: T


class Page(Shape, Generic[T, M], frozen=True):
    """A page, and where it stands."""

    success: Yes
    data: list[T]
    meta: M


class Warned(Shape, frozen=True):
    """A warning: valid, but rarely meant; `path` is a JSON Pointer into the definition."""

    path: str
    message: str


class Health(Shape, frozen=True):
    """The health of the server."""

    status: Literal["live", "ready"]


# --- refusals ----------------------------------------------------------------------------------------------------


class WaitOpen(OpenShape, frozen=True):
    """A wait that the call could mean."""

    wait_id: Uuid
    state: str


class Details(OpenShape, frozen=True):
    """Details of a refusal for programs. Its members depend on the code."""

    field: str | UnsetType = UNSET
    errors: list[Warned] | UnsetType = UNSET
    scope: str | UnsetType = UNSET  # one that is refused is told as it came
    limit: int | UnsetType = UNSET
    allowed: list[str] | UnsetType = UNSET
    status: str | UnsetType = UNSET
    state: str | UnsetType | None = UNSET
    waits: list[WaitOpen] | UnsetType = UNSET


class Problem(Shape, frozen=True):
    """The code of a refusal, and its details. `message` names the field, the problem, and what is accepted."""

    code: Code
    message: str
    details: Details | UnsetType = UNSET


class Refusal(Shape, frozen=True):
    """A refusal."""

    success: No
    error: Problem
