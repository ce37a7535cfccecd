"""`GET /metrics`, for Prometheus: the metrics of the node and of the HTTP server, of all organizations together.

It is for whoever has the scope `operator`, or for everybody if the setting `metrics` says so. It shows numbers by route
and by workflow (its id): no name, process id or path of anybody's, and no more of them than a bound.
"""

from __future__ import annotations

from typing import Any, Final

import structlog
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route as Path

from perdure.api.http.auth import authenticate
from perdure.api.http.dialect import Dialect
from perdure.api.http.problems import refusal
from perdure.api.http.throttle import Throttle
from perdure.api.settings import Settings
from perdure.engine.core.organization import OPERATOR
from perdure.engine.embedded import Engine
from perdure.engine.errors import PerdureError
from perdure.engine.runtime.telemetry.instruments import SECONDS, Counter, Histogram, Instruments, exposition
from perdure.store.errors import StoreError

_log = structlog.get_logger("perdure.metrics")

PATH: Final = "/metrics"
METHODS: Final = frozenset({"DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"})
UNMATCHED: Final = "unmatched"
OTHER: Final = "other"


class HttpMetrics(Instruments):
    """Requests by dialect, route, method and status, how long they took, and refusals by dialect and code."""

    def __init__(self) -> None:
        self.requests = Counter("http_requests", "Requests answered.", ("dialect", "method", "route", "status"))
        self.seconds = Histogram(
            "http_request_seconds", "From request to answer.", SECONDS, ("dialect", "method", "route")
        )
        self.refusals = Counter("http_refusals", "Requests refused, by the code that says why.", ("dialect", "code"))

    def answered(self, dialect: str, method: str, state: dict[str, Any], status: int, seconds: float) -> None:
        """Note a request; `state["route"]` is the template of its path, `state["refusal"]` the code of a refusal.

        `status` 0: nobody was there to be answered.
        """
        route = state.get("route", UNMATCHED)
        method = method if method in METHODS else OTHER
        self.requests.add(dialect, method, route, str(status))
        self.seconds.observe(seconds, dialect, method, route)
        if "refusal" in state:
            self.refusals.add(dialect, state["refusal"])


def route(engine: Engine, http: HttpMetrics, settings: Settings, throttle: Throttle, dialect: Dialect) -> Path:
    """The route. It answers in a format of its own, so it is none of the table of those that answer JSON."""

    async def respond(request: Request) -> Response:
        request.state.route = PATH
        if settings.metrics != "open":
            try:
                (await authenticate(engine.services.access, throttle, request)).require(OPERATOR)
            except PerdureError as error:
                return refusal(dialect, error, state=request.scope["state"])
        metrics = engine.metrics
        try:
            await metrics.count_live(engine.store)
        except StoreError as error:  # all else can still be told, and now it matters
            _log.error("live_not_counted", error=str(error))
            metrics.live.values = {}
        return Response(exposition(metrics, http), headers={"Content-Type": CONTENT_TYPE_LATEST})

    return Path(PATH, respond, methods=["GET"])
