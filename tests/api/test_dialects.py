"""A dialect is a value and a table: mounted, it tells all that goes wrong under its prefix in its own way."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from datetime import date
from typing import Any

import httpx2
import pytest
import schemathesis
from jsonschema_rs import validator_for

from perdure.api.app import DIALECTS, ROUTES, TABLES, create_app, mounted
from perdure.api.dialects.envelopes import failure
from perdure.api.dialects.schemas import OpenShape, Shape
from perdure.api.http.dialect import Deprecation, Dialect, Dialects, ScopeSpelling, camel_case
from perdure.api.http.routing import Reply, Route, RouteCall
from perdure.api.openapi import document
from perdure.api.server import Server
from perdure.api.settings import Settings
from perdure.api.validation import Request
from perdure.engine.core.ids import text
from perdure.engine.errors import Conflict
from perdure.engine.services.access import SCOPES
from tests.api.conftest import ENDING, KEY, Api
from tests.api.test_connections import Peer

# --- an API that is nobody's -------------------------------------------------------------------------------------


class Fault(Shape, frozen=True):
    """What went wrong."""

    fault: str
    text: str
    more: dict[str, Any]


def fault(code: str, message: str, details: Mapping[str, Any]) -> dict[str, Any]:
    return {"fault": code, "text": message, "more": dict(details)}


ACME = Dialect(
    name="acme",
    prefix="/acme/api/",
    error_envelope=fault,
    error_schema=Fault,
    error_code_at=("fault",),
    error_codes={"VALIDATION_ERROR": "bad_input", "UNAUTHORIZED": "who_are_you", "INTERNAL_ERROR": "our_fault"},
    casing=camel_case,
    scope_spelling=ScopeSpelling(words={"things:read": "workflows.view"}),
    request_id_headers=("Acme-Request",),
    tags={"Things": "What Acme has."},
)


class NewThing(Request, frozen=True, rename="camel"):
    """A thing."""

    thing_size: int


class Thing(OpenShape, frozen=True, rename="camel"):
    """A thing that is there."""

    thing_size: int


async def make_thing(call: RouteCall[Any, NewThing]) -> Reply:
    """Make a thing."""
    return Reply({"thingSize": call.body.thing_size}, 201)


async def get_thing(call: RouteCall[Any, None]) -> Reply:
    """A thing: those that have the id of a workflow are there."""
    await call.engine.services.workflows.workflow(call.caller, call.path_id("id"))
    return Reply({"thingSize": 1})


async def doubt_thing(_call: RouteCall[Any, None]) -> Reply:
    """What is said of a thing that is in doubt."""
    raise Conflict("which one?", {"open_waits": [{"wait_id": "w", "state": "Ask_Twice"}]})


async def break_thing(_call: RouteCall[Any, None]) -> Reply:
    """A defect of ours."""
    raise RuntimeError("secret")


def route(method: str, path: str, handler: Any, **more: Any) -> Route:
    path = f"{ACME.prefix}{path}"
    return Route(dialect=ACME, method=method, path=path, handler=handler, answer=Thing, scope="workflows.view", **more)


OLD = Deprecation(deprecated_on=date(2026, 11, 1), sunset_on=date(2027, 6, 30), page="https://acme.example/new")

TABLE = (
    route("POST", "things", make_thing, body=NewThing, status=201),
    route("GET", "things/{id}", get_thing, refusals=frozenset({"NOT_FOUND"})),
    route("GET", "doubts", doubt_thing, refusals=frozenset({"CONFLICT"})),
    route("GET", "defects", break_thing),
    route("GET", "old-things/{id}", get_thing, refusals=frozenset({"NOT_FOUND"}), deprecation=OLD, operation_id="old"),
)
MOUNTED = mounted((*TABLES, TABLE))


@pytest.fixture
async def acme(api: Api) -> AsyncIterator[httpx2.AsyncClient]:
    """Who calls an app that has this dialect besides its own, with the operator's key."""
    app = create_app(api.engine, Settings(), routes=MOUNTED)
    transport = httpx2.ASGITransport(app)
    async with httpx2.AsyncClient(transport=transport, base_url="http://a", headers={"x-api-key": KEY}) as client:
        yield client


def told(response: httpx2.Response) -> tuple[int, str, dict[str, Any]]:
    """Status, code and details of a refusal in the envelope, which has nothing else in it."""
    body = response.json()
    assert set(body) == {"fault", "text", "more"}, body
    assert body["text"]
    return response.status_code, body["fault"], body["more"]


async def test_it_answers(acme: httpx2.AsyncClient) -> None:
    """Like any other, in its own casing."""
    made = await acme.post("/acme/api/things", json={"thingSize": 3})
    assert (made.status_code, made.json()) == (201, {"thingSize": 3})


async def test_what_it_refuses_is_told_in_its_own_way(acme: httpx2.AsyncClient) -> None:
    """Envelope, codes and the casing of details; a code that it has no word for is ours."""
    anyone, nobody = text(bytes(16)), {"x-api-key": "pk_nobody"}
    wrong = await acme.post("/acme/api/things", json={"thingSize": "large"})
    assert told(wrong) == (400, "bad_input", {"field": "thingSize"})
    assert told(await acme.post("/acme/api/things", content=b"{")) == (400, "bad_input", {})
    assert told(await acme.post("/acme/api/things", content=b"a", headers={"content-type": "a/b"}))[:2] == (
        415,
        "bad_input",
    )
    assert told(await acme.get(f"/acme/api/things/{anyone}", headers=nobody)) == (401, "who_are_you", {})
    assert told(await acme.get(f"/acme/api/things/{anyone}")) == (404, "NOT_FOUND", {})
    assert told(await acme.get("/acme/api/nothing")) == (404, "NOT_FOUND", {})
    refused = await acme.delete("/acme/api/things")
    assert told(refused) == (405, "METHOD_NOT_ALLOWED", {"allowed": ["POST"]})
    assert refused.headers["allow"] == "POST"
    assert told(await acme.get("/acme/api/doubts"))[2] == {"openWaits": [{"waitId": "w", "state": "Ask_Twice"}]}
    assert told(await acme.get("/acme/api/defects")) == (500, "our_fault", {})


async def test_a_missing_scope_is_told_in_its_own_way(api: Api, acme: httpx2.AsyncClient) -> None:
    """403, which names it."""
    key = await api.new_key("runs.view")
    refused = await acme.get("/acme/api/doubts", headers={"x-api-key": key})
    assert told(refused) == (403, "FORBIDDEN", {"scope": "workflows.view"})


async def test_the_others_are_as_they_were(acme: httpx2.AsyncClient) -> None:
    """A path that only looks alike is not under its prefix."""
    for path in ("/acme/api", "/acme/apis/things", "/v1/nothing", "/nothing"):
        assert (await acme.get(path)).json()["success"] is False, path
    assert set((await acme.get("/v2/workflows/nothing")).json()) == {"message", "error"}


@pytest.mark.parametrize(
    ("request_line", "more", "status"),
    [
        ("GET /acme/api/things/1 HTTP/1.1", b"\r\n", 400),  # no host
        ("GET /acme/api/things/1 HTTP/1.1", b"Host: a\r\nX: a\x00b\r\n\r\n", 400),
        ("POST /acme/api/things HTTP/1.1", b"Host: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", 400),
        ("GET /acme/api/things/1 HTTP/1.1", b"Host: a\r\nX: " + b"x" * 700_000, 431),
    ],
    ids=["no host", "a NUL", "another coding", "long headers"],
)
async def test_what_is_no_request_is_refused_in_the_envelope_of_where_it_was_sent(
    api: Api, request_line: str, more: bytes, status: int
) -> None:
    """So far as its path can be read, though no route has seen it."""
    server = Server(api.engine, Settings(), MOUNTED)
    server.config.load()
    listener = await asyncio.get_running_loop().create_server(
        lambda: server.config.http_protocol_class(  # type: ignore[call-arg]
            config=server.config, server_state=server.server_state, app_state={}
        ),
        "127.0.0.1",
    )
    peer = Peer(*await asyncio.open_connection(*listener.sockets[0].getsockname()))
    peer.send(request_line.encode() + b"\r\n" + more)
    refused = await peer.told()
    peer.close()
    listener.close()
    await asyncio.sleep(0)
    assert (refused.status, refused.body["fault"]) == (status, "bad_input")


async def test_a_server_that_stops_says_so_in_the_envelope(api: Api) -> None:
    """503, whoever it was that was called."""
    sent: list[Any] = []

    async def receive() -> Any:
        raise asyncio.CancelledError

    async def send(message: Any) -> None:
        sent.append(message)

    headers = [(b"x-api-key", KEY.encode()), (b"content-length", b"5")]
    path = "/acme/api/things"
    scope = {"type": "http", "method": "POST", "path": path, "query_string": b"", "headers": headers}
    await create_app(api.engine, Settings(), routes=MOUNTED)(scope, receive, send)
    assert sent[0]["status"] == 503
    assert json.loads(sent[1]["body"])["fault"] == "UNAVAILABLE"


async def test_its_words_for_scopes_are_taken(acme: httpx2.AsyncClient) -> None:
    """Where keys are made, and mean ours; so are all others."""
    scopes = ["things:read", "service.workflows.runs.view", "workflows.view"]
    made = await acme.post("/v1/keys", json={"name": "k", "scopes": scopes})
    assert made.json()["data"]["scopes"] == ["workflows.view", "runs.view"]
    unknown = await acme.post("/v1/keys", json={"name": "k", "scopes": ["things:write"]})
    assert unknown.status_code == 400


@pytest.mark.parametrize("name", ["Acme-Request", "X-Request-Id"])
async def test_a_request_is_named_under_its_header_too(acme: httpx2.AsyncClient, name: str) -> None:
    """Either is taken, and both are told, on refusals that no route makes too; elsewhere it means nothing."""
    for path in ("/acme/api/doubts", "/acme/api/nothing"):
        headers = (await acme.get(path, headers={name: "r-1"})).headers
        assert (headers["x-request-id"], headers["acme-request"]) == ("r-1", "r-1")
    elsewhere = (await acme.get("/v1/keys", headers={"Acme-Request": "r-1"})).headers
    assert "acme-request" not in elsewhere
    assert elsewhere["x-request-id"] != "r-1"


async def test_what_will_go_says_so(acme: httpx2.AsyncClient) -> None:
    """On every answer of the route, whatever the clock says, and on no other's."""
    made = await acme.post("/v1/workflows", json={"name": "a", "definition": ENDING})
    for thing, status in ((made.json()["data"]["id"], 200), (text(bytes(16)), 404), ("no-id", 400)):
        answer = await acme.get(f"/acme/api/old-things/{thing}")
        assert answer.status_code == status
        assert answer.headers["deprecation"] == "@1793491200"
        assert answer.headers["sunset"] == "Wed, 30 Jun 2027 00:00:00 GMT"
        assert answer.headers["link"] == '<https://acme.example/new>; rel="deprecation"; type="text/html"'
    assert not {"deprecation", "sunset", "link"} & set((await acme.get("/acme/api/doubts")).headers)


def test_a_sunset_comes_after_the_deprecation() -> None:
    """Another one is a mistake in the table."""
    with pytest.raises(ValueError, match=r"sunset_on: 2026-01-01 is before deprecated_on, 2026-11-01"):
        Deprecation(deprecated_on=date(2026, 11, 1), sunset_on=date(2026, 1, 1), page="/docs")


def test_the_end_of_a_dialect_is_that_of_its_routes() -> None:
    """Unless a route says another one."""
    gone = named("gone", "/gone/", deprecation=OLD)
    assert Route(dialect=gone, method="GET", path="/gone/a", handler=get_thing).end is OLD
    own = Deprecation(deprecated_on=date(2026, 1, 1), page="/docs")
    assert Route(dialect=gone, method="GET", path="/gone/a", handler=get_thing, deprecation=own).end is own
    assert "Sunset" not in own.headers()


# --- the document ------------------------------------------------------------------------------------------------


def test_the_document_describes_it() -> None:
    """Its heading, its refusals in its codes, and its words for scopes; the rest stays as it is."""
    found, ours = document(MOUNTED), document(ROUTES)
    schemathesis.openapi.from_dict(found).validate()
    assert {"name": "Things", "description": "What Acme has."} in found["tags"]
    by_name = "/openapi/{dialect}.json"  # which has the names of all dialects, and so this one's
    assert {path: found["paths"][path] for path in ours["paths"] if path != by_name} == {
        path: methods for path, methods in ours["paths"].items() if path != by_name
    }
    operation = found["paths"]["/acme/api/things"]["post"]
    assert (operation["tags"], operation["operationId"]) == (["Things"], "makeThing")
    name = operation["responses"]["400"]["$ref"].rpartition("/")[2]
    assert name == "Fault.400.bad_input"
    schema = found["components"]["responses"][name]["content"]["application/json"]["schema"]
    validator = validator_for({**schema, "components": found["components"]})
    assert validator.is_valid({"fault": "bad_input", "text": "a", "more": {}})
    assert not validator.is_valid({"fault": "VALIDATION_ERROR", "text": "a", "more": {}})
    old = found["paths"]["/acme/api/old-things/{id}"]["get"]
    assert old["deprecated"] is True
    assert {"Deprecation", "Sunset", "Link", "Acme-Request"} <= set(old["responses"]["200"]["headers"])
    assert "deprecated" not in operation
    assert "Acme-Request" in {each["name"] for each in operation["parameters"]}
    pattern = found["components"]["schemas"]["NewKey"]["properties"]["scopes"]["items"]
    for scope in ("things:read", "workflows.view", "service.workflows.workflows.view"):
        assert validator_for(pattern).is_valid(scope), scope
    assert not validator_for(pattern).is_valid("things:write")


# --- which is meant ----------------------------------------------------------------------------------------------


def named(name: str, prefix: str, **more: Any) -> Dialect:
    given = {"error_envelope": failure, "error_schema": Fault, "tags": {name: "a"}, **more}
    return Dialect(name=name, prefix=prefix, **given)


def test_the_longest_prefix_is_meant() -> None:
    """Whichever order they are mounted in; what is under none is at the root."""
    root, outer, inner = named("root", "/"), named("outer", "/a/"), named("inner", "/a/b/")
    for order in ([root, outer, inner], [inner, outer, root]):
        dialects = Dialects(order)
        found = [dialects.of(path) for path in ("/a/b/c", "/a/b", "/a/bc/d", "/a", "/", "*", "")]
        assert found == [inner, outer, outer, root, root, root, root]


def test_every_route_is_found_by_its_path() -> None:
    """So that what no route sees is told as the route would tell it."""
    assert [route.path for route in ROUTES if DIALECTS.of(route.path) is not route.dialect] == []


def test_what_cannot_be_mounted_says_why() -> None:
    """A prefix of half a segment, a route under another's, a heading that it does not have, and no root."""
    with pytest.raises(ValueError, match=r"prefix: '/a' is not accepted; it must begin and end with /"):
        named("a", "/a")
    with pytest.raises(ValueError, match="must begin with /acme/api/"):
        Route(dialect=ACME, method="GET", path="/v1/things", handler=get_thing)
    with pytest.raises(ValueError, match="tag: 'Ideas' is none of dialect acme: Things"):
        route("GET", "ideas", get_thing, tag="Ideas")
    with pytest.raises(ValueError, match="none of them is mounted at /"):
        Dialects([ACME])


def test_a_pattern_of_scopes_is_that_of_the_spellings() -> None:
    """Without any it is that of our words."""
    plain = Dialects([named("root", "/")])
    assert plain.scope_pattern(["a.b"]) == r"^(a\.b)$"
    assert DIALECTS.scope_pattern(SCOPES).startswith(r"^((service\.workflows\.)?(workflows\.view|")
