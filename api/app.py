"""The application: all dialects over one engine."""

from __future__ import annotations

from collections.abc import Sequence

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route as Path

from perdure.api import openapi
from perdure.api.dialects import health
from perdure.api.dialects.process import routes as process
from perdure.api.dialects.resource import events, executions, releases, tasks, trials
from perdure.api.dialects.resource import routes as resource
from perdure.api.http import metrics
from perdure.api.http.middleware import DropRest, RawPath, RequestLog
from perdure.api.http.problems import refusal
from perdure.api.http.routing import Endpoint, Route
from perdure.api.http.throttle import Throttle
from perdure.api.settings import Settings
from perdure.engine.embedded import Engine

_CALLED: Sequence[Route] = (
    *(*process.ROUTES, *executions.ROUTES, *events.ROUTES, *resource.ROUTES),
    *(*tasks.ROUTES, *releases.ROUTES, *trials.ROUTES, *health.ROUTES),
)

ROUTES: Sequence[Route] = (*_CALLED, *openapi.routes(_CALLED))
"""Everything that can be called. Documentation and the tests' matrices are made from this table; what is asked
for most is looked for first."""


def create_app(engine: Engine, settings: Settings, http: metrics.HttpMetrics | None = None) -> Starlette:
    """The ASGI application over an engine that has been started. Closing the engine is left to who started it."""
    http = http or metrics.HttpMetrics()
    by_path: dict[str, list[Route]] = {}
    for route in ROUTES:
        by_path.setdefault(route.path, []).append(route)
    throttle = Throttle(engine.clock)
    endpoints = {path: Endpoint(routes, engine, settings, throttle) for path, routes in by_path.items()}
    app = Starlette(
        routes=[
            *(Path(path, endpoint) for path, endpoint in endpoints.items()),
            metrics.route(engine, http, settings, throttle),
            Path("/", _home, methods=["GET"]),
        ],
        middleware=[Middleware(RequestLog, http), Middleware(DropRest), Middleware(RawPath)],
        exception_handlers={HTTPException: _refuse},
    )
    app.router.redirect_slashes = False
    return app


async def _home(request: Request) -> Response:
    """Point whoever looks around to the page that tells what there is."""
    request.state.route = "/"
    return RedirectResponse("/docs", 302)


async def _refuse(request: Request, error: Exception) -> Response:
    """Answer what no route could: an unknown path, a method that it does not have."""
    return refusal(request.scope["path"], error)
