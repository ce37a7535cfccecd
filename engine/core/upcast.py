"""Upcasters: earlier released versions of events, and how each becomes the next version.

An event's version is one more than the number of those before it, so it stands in no other place. What is read from a
log is brought up to the version of today before anything else sees it; the log itself stays as it was written, and is
verified so. A struct here is as frozen as the bytes that it reads: an unknown member is refused in it, too.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, Generic, Literal, NamedTuple, TypeAlias, TypeVar

import msgspec
from msgspec.structs import asdict

from perdure.engine.core.events import (
    BranchesStarted,
    CountsRule,
    Event,
    ExecutionStarted,
    MapStarted,
    Origin,
    Parent,
    ResumeRule,
    RunLimit,
    TaskScheduled,
    WaitOpened,
)
from perdure.engine.core.pinned import LogPinned
from perdure.engine.core.refs import Ref
from perdure.engine.core.settings import VersionSettings
from perdure.engine.core.versions import Called, VersionAdded

E = TypeVar("E", bound=Event)

Upcast: TypeAlias = Callable[[Any, int, int], Event]
"""`upcast(event, seq, recorded_at)` makes the next version of an event."""


class Earlier(NamedTuple, Generic[E]):
    """An earlier version of an event: its struct, and the upcaster to the next version."""

    form: type[E]
    upcast: Callable[[E, int, int], Event]


class TaskScheduled1(Event, frozen=True):
    """`keyed` was the attempt whose idempotency key this one carried; parameters tell keys apart now.

    Read as the next version: without it.
    """

    state: str
    resource: str
    parameters: Ref
    visit: int = 1
    attempt: int = 0
    keyed: int = 0
    wait: str | None = None
    child: str | None = None
    is_awaited: bool = False
    due_at: int | None = None
    scope: str = ""


class BranchesStarted1(Event, frozen=True):
    """It did not say which visit of the state it was.

    Read as the next version: `visit` is the event's own seq, a number that no other visit has.
    """

    state: str
    input: Ref
    start_at: tuple[str, ...]
    attempt: int = 0
    scope: str = ""


class MapStarted1(Event, frozen=True):
    """As BranchesStarted 1."""

    state: str
    items: Ref
    count: int
    start_at: str
    concurrency: int = 0
    tolerated: int = 0
    attempt: int = 0
    scope: str = ""


class WaitOpened1(Event, frozen=True):
    """Its first heartbeat was due `heartbeat_ms` after the event was recorded.

    Read as the next version: with both `due_at` and `heartbeat_ms`, `heartbeat_due_at` is the lesser of `due_at` and
    `recorded_at` + `heartbeat_ms`; else null.
    """

    state: str
    wait: str
    resource: str
    parameters: Ref
    visit: int = 1
    attempt: int = 0
    token_sha256: str | None = None
    due_at: int | None = None
    heartbeat_ms: int | None = None
    scope: str = ""


class LogPinned1(Event, frozen=True):
    """It had no digest of the log before it, only the event at that position.

    Read as the next version: without one.
    """

    position: int
    sha256: str


class ExecutionStarted1(Event, frozen=True):
    """There were no sandboxes.

    Read as the next version: without `live`.
    """

    kind: Literal["execution"]
    workspace: str
    workflow: str
    workflow_version: int
    definition_sha256: str
    trigger: str
    start_at: str
    input: Ref
    is_test: bool = False
    due_at: int | None = None
    parent: Parent | None = None
    resume: ResumeRule = "any"
    limit_at: int | None = None
    limits: tuple[RunLimit, ...] = ()
    counts: CountsRule = "all"
    timeout_ms: int | None = None
    limit_ms: int | None = None
    origin: Origin | None = None


class VersionAdded1(Event, frozen=True):
    """It had one setting only.

    Read as the next version: with `settings` that have this `resume`.
    """

    version: int
    definition_sha256: str
    is_published: bool = True
    resume: ResumeRule = "any"
    calls: dict[str, Called] = msgspec.field(default_factory=dict)


class VersionAdded2(Event, frozen=True):
    """Every definition was the document itself.

    Read as the next version: without `source` and `summary`.
    """

    version: int
    definition_sha256: str
    is_published: bool = True
    settings: VersionSettings | None = None
    calls: dict[str, Called] = msgspec.field(default_factory=dict)


def _in_no_sandbox(event: ExecutionStarted1, _seq: int, _at: int) -> ExecutionStarted:
    """Version 2 names the workspace that a sandbox is paired with. Every run is read through this: member by member."""
    return ExecutionStarted(**{name: getattr(event, name) for name in ExecutionStarted1.__struct_fields__})


def _without_keyed(event: TaskScheduled1, _seq: int, _at: int) -> TaskScheduled:
    """Version 2 has no `keyed`: every call has a key that says what is done (record 22)."""
    members = asdict(event)
    del members["keyed"]
    return TaskScheduled(**members)


def _with_heartbeat(event: WaitOpened1, _seq: int, recorded_at: int) -> WaitOpened:
    """Version 2 says when the first heartbeat is due.

    Of version 1 it was computed: so long after the event was recorded, and not after the deadline.
    """
    first_at = None
    if event.due_at is not None and event.heartbeat_ms is not None:
        first_at = min(event.due_at, recorded_at + event.heartbeat_ms)
    return WaitOpened(**asdict(event), heartbeat_due_at=first_at)


def _with_settings(event: VersionAdded1, _seq: int, _at: int) -> VersionAdded2:
    """Version 2 has all settings in one member."""
    settings = None if event.resume == "any" else VersionSettings(resume=event.resume)
    return VersionAdded2(event.version, event.definition_sha256, event.is_published, settings, event.calls)


EARLIER: Final[Mapping[str, tuple[Earlier[Any], ...]]] = {
    "ExecutionStarted": (Earlier(ExecutionStarted1, _in_no_sandbox),),
    "TaskScheduled": (Earlier(TaskScheduled1, _without_keyed),),
    "BranchesStarted": (Earlier(BranchesStarted1, lambda event, seq, _: BranchesStarted(**asdict(event), visit=seq)),),
    "MapStarted": (Earlier(MapStarted1, lambda event, seq, _: MapStarted(**asdict(event), visit=seq)),),
    "WaitOpened": (Earlier(WaitOpened1, _with_heartbeat),),
    "VersionAdded": (
        Earlier(VersionAdded1, _with_settings),
        Earlier(VersionAdded2, lambda event, _seq, _at: VersionAdded(**asdict(event))),
    ),
    "LogPinned": (Earlier(LogPinned1, lambda event, _seq, _at: LogPinned(**asdict(event))),),
}
"""By the event's name, the versions before the one of today, from version 1 on."""
