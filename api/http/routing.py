"""Routes as data, and the one way in which all of them are called.

A route says method, path, scope, query, body and handler; what a request must have before its handler sees it is
decided here, in this order: key, scope, path, query, body. So a table of routes can be documented, and tested, whole.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from copy import copy
from functools import lru_cache
from typing import Any, Final, Generic, NamedTuple, TypeVar
from urllib.parse import parse_qsl, unquote_to_bytes

import msgspec
from starlette.datastructures import Headers
from starlette.requests import Request as HttpRequest
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from perdure.api.http.auth import NOBODY, authenticate
from perdure.api.http.body_budget import BodyBudget, CountedBody
from perdure.api.http.conditional import is_known, not_that, tag_of, wanted_tags
from perdure.api.http.dialect import Deprecation, Dialect, Dialects
from perdure.api.http.headers import idempotency_key, one_key
from perdure.api.http.json_body import JSON, parse_object, read_body
from perdure.api.http.problems import json_response, no_such_method, refusal
from perdure.api.http.rate_limits import RateLimits
from perdure.api.http.spelling import names_of_members, respell
from perdure.api.http.throttle import Throttle
from perdure.api.settings import Settings
from perdure.api.validation import QUERY, Request, id_of, read
from perdure.engine.embedded import Engine
from perdure.engine.errors import Invalid, PerdureError, Unauthorized, Unavailable
from perdure.engine.runtime.callers import Caller, IdempotencyClaim, IdempotencyKey, Terms
from perdure.engine.services.idempotency import Answered
from perdure.engine.services.principals import Principal
from perdure.engine.services.sending import ClaimLost, StreamMoved
from perdure.engine.shown import shown_name

Q = TypeVar("Q")
B = TypeVar("B")

PARAMETERS_MAX = 32
NOT_MODIFIED: Final = 304

ANY_KEY: Final = ""
"""The scope of a route that any key may call."""


class NoQuery(Request, frozen=True):
    """A query without parameters."""


class Reply(NamedTuple):
    """The reply of a handler: a JSON value, a status, and headers. `position`: that of the log then.

    A body of bytes is sent as it is; its headers say what it is.
    """

    body: Any
    status: int = 200
    headers: Mapping[str, str] = {}
    position: int | None = None


class Served(NamedTuple):
    """The engine and the settings that all calls share."""

    engine: Engine
    settings: Settings
    dialects: Dialects


MOVES_MAX: Final = 10
"""So often a change with an `If-Match` is begun again, since something else has happened to the thing meanwhile."""


class Guards(NamedTuple):
    """The guards against whoever asks for too much: by wrong keys, by long bodies, by more than their plan allows."""

    throttle: Throttle
    budget: BodyBudget
    limits: RateLimits


class RouteCall(Generic[Q, B]):
    """A request on its way to a handler, with everything checked that the route declares.

    `given` is the body as the JSON value that came, null if none did; `body` is what the route makes of it.
    """

    def __init__(
        self,
        served: Served,
        request: HttpRequest,
        principal: Principal,
        path: Mapping[str, str],
        parameters: Sequence[tuple[str, str]],
        query: Q,
        body: B,
        given: dict[str, Any] | None,
    ) -> None:
        self.engine, self.settings, self.dialects = served
        self.principal = principal
        self.path = path
        self.query = query
        self.body = body
        self.given = given
        self._request = request
        self._parameters = parameters

    @property
    def caller(self) -> Caller:
        return self.principal.caller

    @property
    def headers(self) -> Headers:
        return self._request.headers

    def under(self, terms: Terms) -> RouteCall[Q, B]:
        """The same call, whose first command goes with these terms."""
        again = copy(self)
        again.principal = self.principal._replace(caller=self.caller._replace(terms=terms))
        return again

    def reading(self, query: Request) -> RouteCall[Any, None]:
        """A call that asks with this query for what stands at the same path, by the same key."""
        return RouteCall(
            Served(self.engine, self.settings, self.dialects),
            *(self._request, self.principal, self.path, (), query, None, None),
        )

    def path_id(self, name: str) -> bytes:
        """The id that stands in the path. Raises `Invalid`."""
        return id_of(name, self.path[name])

    def idempotency(self, body: Any, key: str | None = None) -> IdempotencyKey | None:
        """The request's key, with the request as a JSON value: method, path, query and body. Raises `Invalid`.

        `key` is one that stood in the body, from which it is left out here; a header, too, must have the same.
        """
        key = one_key(idempotency_key(self.headers), key)
        if key is None:
            return None
        parameters = [list(pair) for pair in sorted(self._parameters)]
        return IdempotencyKey(key, [self._request.method, self._request.scope["path"], parameters, body])


Handler = Callable[[RouteCall[Any, Any]], Awaitable[Reply]]
Repeated = Callable[[RouteCall[Any, Any], Answered], Awaitable[Reply]]
StreamOf = Callable[[RouteCall[Any, Any]], bytes]


class Route(msgspec.Struct, frozen=True, kw_only=True):
    """One method of one path.

    `dialect` is whose it is: its path begins as that one's do, and what it refuses is told as that one tells it.
    `scope` is what the key must have (`ANY_KEY`: nothing); none: everybody may. `body` is the struct of a request
    object, `dict` for a JSON object of the caller's own, none where no body is looked at. `tells_position`: every
    answer, errors too, says where the log stood, if its key was accepted.

    `repeated` answers a request again whose `Idempotency-Key` was used before, from what is stored of the first one;
    only routes whose handler looks at the key itself have the header and none. `is_of_one`: a GET of one thing, whose
    answer has a tag. `changes` names the stream that a change of the thing at this path is recorded in: so it takes an
    `If-Match`, with the tag of the GET of that path.

    The rest is for the document (`api.openapi`), and tests hold the answers against it: `answer` is the type of a
    success, and `refusals` are the codes beyond those that the declarations above imply; `headers` are those that
    the handler looks at; `body_as` describes a body that is a JSON object of the caller's own. `tag` is the heading of
    the dialect's that it stands under, the first if it says none; `operation_id` its name, if not the handler's.
    `deprecation` tells its end.
    """

    dialect: Dialect
    method: str
    path: str
    handler: Handler
    scope: str | None = None
    query: type[Request] = NoQuery
    body: type | None = None
    is_body_optional: bool = False
    tells_position: bool = False
    repeated: Repeated | None = None
    is_of_one: bool = False
    changes: StreamOf | None = None
    status: int = 200
    answer: Any = None
    media_type: str = JSON
    refusals: frozenset[str] = frozenset()
    headers: tuple[str, ...] = ()
    body_as: Any = None
    tag: str = ""
    operation_id: str = ""
    deprecation: Deprecation | None = None

    def __post_init__(self) -> None:
        """Raises `ValueError` for a path or a tag that is none of the dialect's."""
        dialect = self.dialect
        if not self.path.startswith(dialect.prefix):
            message = f"{self.path}: the path of a route of dialect {dialect.name} must begin with {dialect.prefix}"
            raise ValueError(message)
        if self.is_of_one and self.method != "GET":
            message = f"{self.method} {self.path}: is_of_one: only a GET has a tag"
            raise ValueError(message)
        if self.tag and self.tag not in dialect.tags:
            message = f"{self.path}: tag: {self.tag!r} is none of dialect {dialect.name}: {', '.join(dialect.tags)}"
            raise ValueError(message)

    @property
    def heading(self) -> str:
        """The tag under which the document has it."""
        return self.tag or next(iter(self.dialect.tags))

    @property
    def end(self) -> Deprecation | None:
        """Its end, if it is foretold: its own, or that of all of the dialect."""
        return self.deprecation or self.dialect.deprecation

    @property
    def may_be_yaml(self) -> bool:
        """Whether the body may be YAML, since it holds a definition."""
        return "definition" in getattr(self.body, "__struct_fields__", ())


class Endpoint:
    """All methods of one path."""

    def __init__(self, routes: Sequence[Route], served: Served, guards: Guards) -> None:
        self._routes = {route.method: route for route in routes}
        self._served = served
        self._throttle, self._budget, self._limits = guards

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        response = await self.respond(HttpRequest(scope, receive))
        await response(scope, receive, send)

    async def respond(self, request: HttpRequest) -> Response:
        """Answer a request; whatever goes wrong is told in the envelope of the route's dialect."""
        route = self._routes.get("GET" if request.method == "HEAD" else request.method)
        if route is None:
            return self._refuse_method(request)
        request.state.route = route.path
        if route.end is not None:
            request.state.answer_headers = route.end.headers()
        try:
            answer = await self._answer(route, request)
            headers = {**answer.headers, **self._position(route, answer.position)}
            if isinstance(answer.body, bytes):
                return Response(answer.body, answer.status, headers)
            if route.is_of_one:
                return _tagged(request, answer, headers)
            return json_response(answer.body, answer.status, headers)
        except Exception as error:  # noqa: BLE001 refusal logs what it hides
            # How far the log is tells how much everybody does: that is for who has a key, as long as it is good.
            has_key = hasattr(request.state, "actor") and not isinstance(error, Unauthorized)
            position = error.position if isinstance(error, PerdureError) else None
            headers = self._position(route, position) if has_key else {}
            return refusal(route.dialect, error, headers, state=request.scope["state"])

    def _refuse_method(self, request: HttpRequest) -> Response:
        """All methods of a path are of one dialect; what its answers carry, this one does."""
        some = next(iter(self._routes.values()))
        request.state.route = some.path
        allowed = [*self._routes, "HEAD"] if "GET" in self._routes else [*self._routes]
        return refusal(some.dialect, no_such_method(allowed), state=request.scope["state"])

    def _position(self, route: Route, position: int | None) -> dict[str, str]:
        if not route.tells_position:
            return {}
        if position is None:
            position = self._served.engine.position
        return {"X-Log-Position": str(position)}

    async def _answer(self, route: Route, request: HttpRequest) -> Reply:
        principal = NOBODY
        if route.scope is not None:
            principal = await authenticate(self._served.engine.services.access, self._throttle, request)
            request.state.actor = principal.caller.actor
            await self._limits.take(principal.caller.organization_id, request.scope["state"])
            if route.scope != ANY_KEY:
                principal.require(route.scope)
        path = {name: _decoded(name, value) for name, value in request.path_params.items()}
        parameters = _parameters(request.scope.get("query_string", b""))
        query = read(route.query, dict(parameters), what=QUERY)
        whose = principal.caller.workspace_id
        with CountedBody(self._budget, whose) as counted:
            given = await self._given(route, request, whose, counted)
            if principal.caller.grant is not None:  # a body may have taken its time
                principal.caller.grant.check(self._served.engine.clock)
            body = _body(route, given)
            call = RouteCall(self._served, request, principal, path, parameters, query, body, given)
            try:
                return await self._answer_once(route, call)
            except PerdureError as error:
                respell(error, names_of(route))
                raise

    async def _answer_once(self, route: Route, call: RouteCall[Any, Any]) -> Reply:
        """Answer a call, or if it was answered before under its idempotency key, in the way of a repetition."""
        key = None if route.repeated is None else call.idempotency(call.given or {})
        if route.repeated is None or key is None:
            return await self._answer_if_match(route, call)
        replies: list[Reply] = []

        async def attempt(claim: IdempotencyClaim | None) -> Answered | None:
            try:
                replies.append(await route.handler(call.under(Terms(claim=claim))))
            except ClaimLost:
                return None
            return Answered(None, b"", replies[0].position or 0)

        answered = await self._served.engine.services.idempotency.run_once(call.caller, key, attempt)
        return replies[0] if replies else await route.repeated(call, answered)

    async def _answer_if_match(self, route: Route, call: RouteCall[Any, Any]) -> Reply:
        """Answer a call, if the thing is still what its `If-Match` says, up to the moment of the decision.

        Where the stream ends is read before the thing, and the command is decided only if it ends there still. What
        has happened to it meanwhile need not have changed what is shown: so it is looked at again.
        """
        tags = None if route.method == "GET" else wanted_tags(call.headers)
        if tags is None:
            return await route.handler(call)
        shown = self._routes.get("GET")
        if route.changes is None or shown is None or not shown.is_of_one:
            raise Invalid("If-Match: it is not looked at here, so that it would guard against nothing; leave it out")
        stream_id, store = route.changes(call), self._served.engine.store
        for _ in range(MOVES_MAX):
            stream = (await store.streams_of([stream_id])).get(stream_id)
            now = await shown.handler(call.reading(shown.query()))
            tag = tag_of(msgspec.json.encode(now.body))
            if tag not in tags:
                raise not_that(tag)
            try:
                return await route.handler(call.under(Terms(unmoved=(stream_id, stream.seq if stream else 0))))
            except StreamMoved:
                continue
        raise Unavailable("too much happens to this at once; repeat the call")

    async def _given(
        self, route: Route, request: HttpRequest, whose: bytes, counted: CountedBody
    ) -> dict[str, Any] | None:
        if route.body is None:
            return None
        limit = self._served.settings.body_max_bytes
        raw = await read_body(request.receive, request.headers, limit, counted.take)
        broken = getattr(request.state, "broken", None)  # told by `api.http.connections`
        if broken is not None:
            raise broken
        return await parse_object(raw, request.headers, limit=limit, whose=whose, may_be_yaml=route.may_be_yaml)


def _tagged(request: HttpRequest, answer: Reply, headers: Mapping[str, str]) -> Response:
    """The answer with its tag, or only that it is what the caller has."""
    content = msgspec.json.encode(answer.body)
    headers = {**headers, "ETag": tag_of(content)}
    if is_known(request.headers, headers["ETag"]):
        return Response(None, NOT_MODIFIED, headers)
    return Response(content, answer.status, headers, media_type=JSON)


@lru_cache(maxsize=512)
def names_of(route: Route) -> Mapping[str, str]:
    """The names in this route's requests of what services name as this code does, where they differ."""
    body = route.body if route.body is not None and issubclass(route.body, Request) else None
    return {**route.dialect.field_names, **names_of_members(route.query), **names_of_members(body)}


def _decoded(name: str, value: str) -> str:
    try:
        return unquote_to_bytes(value).decode("utf-8")
    except UnicodeDecodeError:
        raise Invalid(f"{name}: it is not UTF-8, percent-encoded") from None


def _parameters(query_string: bytes) -> list[tuple[str, str]]:
    try:
        parameters = parse_qsl(
            query_string.decode("ascii"),
            keep_blank_values=True,
            errors="strict",
            max_num_fields=PARAMETERS_MAX,
        )
    except UnicodeError:
        raise Invalid("the query is not UTF-8, percent-encoded") from None
    except ValueError:
        raise Invalid(f"the query has more than {PARAMETERS_MAX} parameters") from None
    found: dict[str, str] = {}
    for name, value in parameters:  # the same again is no contradiction: `lastKey` may be put behind what is there
        if found.setdefault(name, value) != value:
            raise Invalid(f"{shown_name(name)}: it is there twice, with two values; send one", {"field": name})
    return list(found.items())


def _body(route: Route, given: dict[str, Any] | None) -> Any:
    if route.body is None:
        return None
    if given is None and not route.is_body_optional:
        raise Invalid("there is no body; it must be a JSON object")
    if not issubclass(route.body, Request):
        return given
    return None if given is None else read(route.body, given)
