"""Requests and answers about second chances: redrives, reruns and forks of runs."""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeAlias

import msgspec
from msgspec import UNSET, UnsetType

from perdure.api.dialects.schemas import Count, Instant, Number, RunStatus, Shape
from perdure.api.validation import VERSION_MAX, Request, Uuid
from perdure.engine.services.chances import REASON_MAX

Reason: TypeAlias = Annotated[str, msgspec.Meta(max_length=REASON_MAX)]
ProcessId: TypeAlias = Annotated[
    str, msgspec.Meta(min_length=1, max_length=128, extra={"accepts": "a text of 1 to 128 printable characters"})
]
AnyVersion: TypeAlias = Annotated[
    Annotated[int, msgspec.Meta(ge=1, le=VERSION_MAX)] | Literal["latest"],
    msgspec.Meta(extra={"accepts": f"an integer from 1 to {VERSION_MAX}, or 'latest'"}),
]


class RedriveRequest(Request, frozen=True):
    """Why the run is to go on; it stands in the log."""

    reason: Reason | None = None


class Redriven(Shape, frozen=True):
    """`redriven`: the run goes on where it failed."""

    message: Literal["redriven"]


class RerunRequest(Request, frozen=True):
    """Another run: its input and version of the workflow, unless they are to be those of the first one; and why."""

    input: dict[str, Any] | UnsetType = UNSET
    version: AnyVersion | None = None
    process_id: ProcessId | None = None
    reason: Reason | None = None


class ForkRequest(Request, frozen=True):
    """Another run with the history up to the event `seq`, whose one state in progress may have another `input`."""

    seq: Annotated[int, msgspec.Meta(ge=1, le=2**63 - 1)]
    input: Any = UNSET
    process_id: ProcessId | None = None
    reason: Reason | None = None


class RunMade(Shape, frozen=True):
    """The run is on disk, and starts."""

    execution_id: Uuid
    process_id: str


class OriginShown(Shape, frozen=True):
    """The run that a run was made from, and the event of it; `hash` tells that event from any other log's."""

    kind: Literal["rerun", "fork"]
    execution_id: Uuid
    seq: Number
    hash: str


class RunRelated(Shape, frozen=True):
    """A run that was made from another one."""

    execution_id: Uuid
    process_id: str
    status: RunStatus
    created_at: Instant


class Lineage(Shape, frozen=True):
    """The origin of a run, how often it was redriven, and what was made from it (the first hundred runs)."""

    execution_id: Uuid
    status: RunStatus
    redrives: Count
    origin: OriginShown | None
    reruns: list[RunRelated]
    forks: list[RunRelated]
    has_more: bool
