"""The application: all dialects over one engine."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route as Path

from perdure.api import openapi
from perdure.api.dialects import health
from perdure.api.dialects.process import routes as process
from perdure.api.dialects.resource import routes as resource
from perdure.api.dialects.runs import routes as runs
from perdure.api.dialects.service import routes as service
from perdure.api.http import metrics
from perdure.api.http.body_budget import BodyBudget
from perdure.api.http.dialect import Dialects
from perdure.api.http.middleware import DropRest, RawPath, RequestLog
from perdure.api.http.problems import refusal
from perdure.api.http.rate_limits import RateLimits
from perdure.api.http.routing import Endpoint, Guards, Route, Served
from perdure.api.http.throttle import Throttle
from perdure.api.settings import Settings
from perdure.engine.embedded import Engine
from perdure.engine.services.plans import Windows

TABLES: Final[Sequence[Sequence[Route]]] = (
    process.ROUTES,
    resource.ROUTES,
    runs.ROUTES,
    service.ROUTES,
    health.ROUTES,
)
"""What is mounted: the tables of all dialects. What is asked for most is looked for first."""


def mounted(tables: Iterable[Sequence[Route]]) -> Sequence[Route]:
    """All routes of some tables, and those that document them."""
    called = [route for table in tables for route in table]
    return (*called, *openapi.routes(called))


ROUTES: Final = mounted(TABLES)
"""Everything that can be called. Documentation and the tests' matrices are made from this table."""

DIALECTS: Final = Dialects(route.dialect for route in ROUTES)


def create_app(
    engine: Engine,
    settings: Settings,
    http: metrics.HttpMetrics | None = None,
    routes: Sequence[Route] = ROUTES,
) -> Starlette:
    """The ASGI application over an engine that has been started. Closing the engine is left to who started it."""
    http = http or metrics.HttpMetrics()
    dialects = Dialects(route.dialect for route in routes)
    by_path: dict[str, list[Route]] = {}
    for route in routes:
        by_path.setdefault(route.path, []).append(route)
    throttle = Throttle(engine.clock)
    limits = RateLimits(engine.services.access, Windows(engine.clock), engine.clock)
    guards = Guards(throttle, BodyBudget(settings.body_max_bytes), limits)
    served = Served(engine, settings, dialects)
    endpoints = {path: Endpoint(those, served, guards) for path, those in by_path.items()}

    async def refuse(request: Request, error: Exception) -> Response:
        """Answer what no route could: an unknown path, a method that it does not have."""
        return refusal(dialects.of(request.scope["path"]), error, state=request.scope["state"])

    app = Starlette(
        routes=[
            *(Path(path, endpoint) for path, endpoint in endpoints.items()),
            metrics.route(engine, http, settings, throttle, dialects.of(metrics.PATH)),
            Path("/", _home, methods=["GET"]),
        ],
        middleware=[Middleware(RequestLog, dialects, http), Middleware(DropRest), Middleware(RawPath)],
        exception_handlers={HTTPException: refuse},
    )
    app.router.redirect_slashes = False
    return app


async def _home(request: Request) -> Response:
    """Point whoever looks around to the page that tells what there is."""
    request.state.route = "/"
    return RedirectResponse("/docs", 302)
