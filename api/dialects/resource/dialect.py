"""The resource API: all that there is, as things with ids."""

from __future__ import annotations

from typing import Any, Final

from perdure.api.dialects.envelopes import failure
from perdure.api.dialects.schemas import Refusal
from perdure.api.dialects.spellings import EVERY
from perdure.api.http.dialect import Dialect
from perdure.api.http.routing import Route

WORKFLOWS: Final = "Workflows"
SCHEDULES: Final = "Schedules"
KEYS: Final = "Keys"
ACTIONS: Final = "Actions"
TRIALS: Final = "Trials"
WAITS: Final = "Waits"
LOG: Final = "Log"
EXECUTIONS: Final = "Executions"
TASKS: Final = "Tasks"
BULK: Final = "Bulk"
CLOCK: Final = "Clock"

RESOURCE: Final = Dialect(
    name="resource",
    prefix="/v1/",
    error_envelope=failure,
    error_schema=Refusal,
    scope_spelling=EVERY,
    tags={
        WORKFLOWS: "Workflows as they are written: definitions in Amazon States Language.",
        SCHEDULES: "When workflows start by themselves, and what was decided of each slot.",
        KEYS: "Who may call, and what.",
        ACTIONS: "What steps of workflows can do, with JSON Schemas.",
        TRIALS: "One state by itself: nothing is called, started or kept.",
        WAITS: "Pauses that somebody outside must end.",
        LOG: "All that happens, in the order in which it is on disk.",
        EXECUTIONS: "Runs as programs see them: by process id or execution id, event by event.",
        BULK: "One command for many runs: a job of its own, which is watched and stopped.",
        TASKS: "Tasks that wait for whoever was handed their token.",
        CLOCK: "The server's clock, and steps of the computer's.",
    },
)


def route(tag: str, method: str, path: str, scope: str, handler: Any, **more: Any) -> Route:
    """A route of the resource API, under this heading of the document."""
    return Route(
        dialect=RESOURCE,
        tag=tag,
        method=method,
        path=f"{RESOURCE.prefix}{path}",
        scope=scope,
        handler=handler,
        **more,
    )


def page_meta(limit: int, *, has_more: bool, last: Any) -> dict[str, Any]:
    """Where a page stands whose position is the id of its last item."""
    return {"limit": limit, "has_more": has_more, "after": last if has_more else None}
