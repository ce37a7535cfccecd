"""Health: whether the process is alive, and whether it should be sent requests. Both are open to everybody."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from perdure.api.dialects.envelopes import data
from perdure.api.dialects.root import HEALTH, ROOT
from perdure.api.dialects.schemas import Data, Health
from perdure.api.http.routing import Reply, Route, RouteCall
from perdure.engine.embedded import Engine
from perdure.engine.errors import Unavailable


async def live(_call: RouteCall[Any, Any]) -> Reply:
    """The process runs and its loop turns."""
    return data({"status": "live"})


async def ready(call: RouteCall[Any, Any]) -> Reply:
    """Requests are welcome: what was under way has been taken up again, and nothing has failed or ends."""
    problem = why_not_ready(call.engine)
    if problem is not None:
        raise Unavailable(f"not ready: the engine {problem}")
    return data({"status": "ready"})


def why_not_ready(engine: Engine) -> str | None:
    """The reason why the engine is not ready; null if it is."""
    condition = engine.condition
    if condition.failure is not None:
        return "has stopped after a failed commit"
    if condition.is_draining:
        return "is draining"
    if condition.is_recovering and condition.deaths:
        return f"takes up what was under way bit by bit, after {condition.deaths} deaths in a row"
    if condition.is_recovering:
        return "is still taking up what was under way"
    return condition.problem or condition.clock


ROUTES: Final[Sequence[Route]] = (
    Route(dialect=ROOT, tag=HEALTH, method="GET", path="/health/live", handler=live, answer=Data[Health]),
    Route(
        dialect=ROOT,
        tag=HEALTH,
        method="GET",
        path="/health/ready",
        handler=ready,
        answer=Data[Health],
        refusals=frozenset({"UNAVAILABLE"}),
    ),
)
