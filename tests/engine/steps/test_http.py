"""http_request against real servers on loopback, and what it refuses to reach."""

from __future__ import annotations

import asyncio
import gzip
import ipaddress
import socket
from collections.abc import Callable
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import aiohttp
import pytest
from aiohttp import web
from aiohttp.abc import AbstractResolver
from aiohttp.test_utils import TestServer, unused_port
from yarl import URL

from perdure.engine.core.commands import TaskSuccess
from perdure.engine.steps import StepContext, StepFailed
from perdure.engine.steps import http as http_module
from perdure.engine.steps.builtin import builtin_steps
from perdure.engine.steps.http import BODY_MAX, HttpClient
from perdure.engine.steps.http_messages import read_request, redirected
from perdure.engine.steps.invoke import outcome_of
from tests.present import present

CONTEXT = StepContext(execution_id="e1", state="S", attempt=0, idempotency_key="e1/S/-/1")


class Seen(NamedTuple):
    """A request as a server saw it."""

    method: str
    path: str
    query: str
    headers: dict[str, str]
    body: str


class Server:
    """A server that remembers requests and answers by path; other paths give {"ok": true}."""

    def __init__(self) -> None:
        self.seen: list[Seen] = []
        self.answers: dict[str, Callable[[web.Request], Any]] = {}
        self.url = ""

    async def handle(self, request: web.Request) -> web.StreamResponse:
        headers = {name.lower(): value for name, value in request.headers.items()}
        body = await request.text()
        self.seen.append(Seen(request.method, request.path, request.raw_path.partition("?")[2], headers, body))
        answer = self.answers.get(request.path)
        if answer is None:
            return web.json_response({"ok": True})
        given = answer(request)
        return await given if asyncio.iscoroutine(given) else given

    def redirects(self, status: int, location: str) -> None:
        self.answers["/from"] = lambda _: web.Response(status=status, headers={"Location": location})


@asynccontextmanager
async def serving():
    server = Server()
    app = web.Application()
    app.router.add_route("*", "/{rest:.*}", server.handle)
    async with TestServer(app) as running:
        server.url = str(running.make_url("")).rstrip("/")
        yield server


@pytest.fixture
async def server():
    async with serving() as one:
        yield one


@pytest.fixture
async def other():
    """A second server: the same host, another origin."""
    async with serving() as one:
        yield one


@pytest.fixture
async def client():
    made = HttpClient(allow_private=True)
    yield made
    await made.close()


class Names(AbstractResolver):
    """Knows made-up names. A name with several answers gives one after the other, then the last one again."""

    def __init__(self, **addresses: list[list[str]]) -> None:
        self.addresses = {name.replace("_", "."): answers for name, answers in addresses.items()}
        self.asked: list[str] = []
        self.is_closed = False

    async def resolve(self, host, port=0, family=socket.AF_UNSPEC):
        self.asked.append(host)
        answers = self.addresses.get(host)
        if answers is None:
            raise OSError(None, "no such name")
        found = answers.pop(0) if len(answers) > 1 else answers[0]
        return [
            {
                "hostname": host,
                "host": address,
                "port": port,
                "family": socket.AF_INET6 if ":" in address else socket.AF_INET,
                "proto": 0,
                "flags": 0,
            }
            for address in found
        ]

    async def close(self):
        self.is_closed = True


@asynccontextmanager
async def raw_server(answer: bytes):
    """Sends these bytes to whoever connects, and hangs up."""

    async def handle(reader, writer):
        await reader.read(65_536)
        writer.write(answer)
        writer.close()

    async with await asyncio.start_server(handle, "127.0.0.1", 0) as listening:
        yield f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}"


async def ask(client: HttpClient, value: Any) -> Any:
    return await present(builtin_steps(client).get("http_request")).call(value, CONTEXT)


async def failure(client: HttpClient, value: Any) -> Any:
    """What the step raised; it has a cause."""
    with pytest.raises(StepFailed) as failed:
        await ask(client, value)
    assert failed.value.cause is not None
    return failed.value


# --- asking and answering -------------------------------------------------------------------------


async def test_a_get_gives_status_headers_and_decoded_body(server, client):
    """A URL alone is a GET, with the idempotency key; header names come back in lower case."""
    result = await ask(client, {"url": server.url + "/a"})
    assert (result["status"], result["body"]) == (200, {"ok": True})
    assert result["headers"]["content-type"].startswith("application/json")
    [seen] = server.seen
    assert (seen.method, seen.path, seen.query, seen.body) == ("GET", "/a", "", "")
    assert seen.headers["idempotency-key"] == CONTEXT.idempotency_key
    assert seen.headers["user-agent"] == "perdure"
    assert "cookie" not in seen.headers


@pytest.mark.parametrize("method", ["POST", "put", "Patch", "DELETE", "OPTIONS"])
async def test_a_body_is_sent_as_json(server, client, method):
    """Without a content type of its own any body goes out as JSON, text too; methods may be in lower case."""
    bodies: tuple[Any, ...] = ({"a": [1, None]}, "text", 0, False, [])
    for body in bodies:
        await ask(client, {"method": method, "url": server.url, "body": body})
    assert {seen.method for seen in server.seen} == {method.upper()}
    assert {seen.headers["content-type"] for seen in server.seen} == {"application/json"}
    assert [seen.body for seen in server.seen] == ['{"a":[1,null]}', '"text"', "0", "false", "[]"]


async def test_a_body_of_another_type_is_sent_as_it_is(server, client):
    """Text under a content type goes out unchanged; what is no text needs a JSON type; null is no body."""
    for body, content_type in (("a=1&b=é", "application/x-www-form-urlencoded"), ({"a": 1}, "application/x+json")):
        await ask(
            client,
            {"method": "POST", "url": server.url, "body": body, "headers": {"content-type": content_type}},
        )
    await ask(client, {"method": "POST", "url": server.url, "body": None})
    assert [seen.body for seen in server.seen] == ["a=1&b=é", '{"a":1}', ""]
    assert server.seen[1].headers["content-type"] == "application/x+json"


async def test_query_and_headers_are_added(server, client):
    """The query joins that of the URL; the caller's own idempotency key, in any case, wins."""
    await ask(
        client,
        {
            "url": server.url + "/p%2Fq?x=1#part",
            "query": {"x": "2&3", "n": 1.5, "b": True, "l": ["a", 2]},
            "headers": {"IDEMPOTENCY-key": "mine", "X-Umlaut": "ä\tb", "Authorization": "Bearer t"},
        },
    )
    [seen] = server.seen
    assert seen.query == "x=1&x=2%263&n=1.5&b=true&l=a&l=2"
    assert seen.headers["idempotency-key"] == "mine"
    assert seen.headers["authorization"] == "Bearer t"
    assert seen.headers["x-umlaut"] == "ä\tb"


async def test_the_shape_of_aws_is_answered_in_kind(server, client):
    """ApiEndpoint and its fellows work as in Step Functions, and so does the result."""
    result = await ask(
        client,
        {
            "ApiEndpoint": server.url + "/v1",
            "Method": "POST",
            "Headers": {"X-A": "b"},
            "QueryParameters": {"q": "1"},
            "RequestBody": {"a": 1},
        },
    )
    assert (result["StatusCode"], result["StatusText"], result["ResponseBody"]) == (200, "OK", {"ok": True})
    assert result["Headers"]["content-type"] == ["application/json; charset=utf-8"]
    [seen] = server.seen
    assert (seen.method, seen.path, seen.query, seen.body) == ("POST", "/v1", "q=1", '{"a":1}')
    assert (seen.headers["x-a"], seen.headers["idempotency-key"]) == ("b", CONTEXT.idempotency_key)


@pytest.mark.parametrize(
    ("body", "content_type", "wanted"),
    [
        (b'{"a":1}', "application/json", {"a": 1}),
        (b"[1]", "application/problem+json; charset=utf-8", [1]),
        (b"null", "Text/JSON", None),
        (b"{", "application/json", "{"),
        (b"NaN", "application/json", "NaN"),
        (b"\xff", "application/json", "\ufffd"),
        (b"[" * 100_000, "application/json", "[" * 100_000),
        (b"1" * 5_000, "application/json", "1" * 5_000),
        (b"", "application/json", ""),
        (b'{"a":1}', "text/plain", '{"a":1}'),
        (b'{"a":1}', "application/jsonp", '{"a":1}'),
        ("é".encode("latin-1"), "text/plain; charset=ISO-8859-1", "é"),
        ("€".encode("cp1252"), 'text/html; a=b; charset="windows-1252"', "€"),
        ("é".encode(), "text/plain; charset=unicode_escape", "é"),
        (b"\x89PNG", "image/png", "\ufffdPNG"),
    ],
)
async def test_the_body_is_json_if_its_type_says_so_and_it_is(server, client, body, content_type, wanted):
    """Anything else is text; no server can choose a codec that gives what is not Unicode."""
    server.answers["/"] = lambda _: web.Response(body=body, headers={"Content-Type": content_type})
    result = await ask(client, {"url": server.url})
    assert result["body"] == wanted


async def test_repeated_and_broken_headers_of_a_response(client):
    """A repeated header is joined by commas, for AWS an array; what is no UTF-8 in it becomes Unicode."""
    answer = b"HTTP/1.1 200 F\xffne\r\nX-A: 1\r\nx-a: \xff\r\nContent-Length: 2\r\n\r\nhi"
    async with raw_server(answer) as url:
        ours, aws = await ask(client, {"url": url}), await ask(client, {"ApiEndpoint": url})
    assert ours["headers"]["x-a"] == "1, ?"
    assert aws["Headers"]["x-a"] == ["1", "?"]
    assert outcome_of(ours) == TaskSuccess(ours)
    assert outcome_of(aws) == TaskSuccess(aws)


async def test_an_answer_without_a_body(server, client):
    """204, and the answer to HEAD, have an empty text for a body."""
    server.answers["/none"] = lambda _: web.Response(status=204)
    assert (await ask(client, {"url": server.url + "/none"}))["body"] == ""
    assert (await ask(client, {"method": "HEAD", "url": server.url}))["body"] == ""


async def test_fifty_requests_at_once_share_one_session(server, client):
    """Requests run side by side, over connections that are kept."""
    results = await asyncio.gather(*(ask(client, {"url": f"{server.url}/{n}"}) for n in range(50)))
    assert [result["status"] for result in results] == [200] * 50
    assert sorted(seen.path for seen in server.seen) == sorted(f"/{n}" for n in range(50))


# --- failures -------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [400, 404, 429, 500, 503, 599])
async def test_a_status_from_400_is_an_error_of_its_own(server, client, status):
    """The error names the status; the cause has the status line and the beginning of the body."""
    server.answers["/"] = lambda _: web.Response(status=status, reason="Quite Bad", text="é" * 5_000)
    failed = await failure(client, {"url": server.url})
    assert failed.error == f"States.Http.StatusCode.{status}"
    assert failed.cause == f"{status} Quite Bad: " + "é" * 1_024


async def test_an_error_without_a_body_has_its_status_line(server, client):
    """There is no colon where nothing follows."""
    server.answers["/"] = lambda _: web.Response(status=404)
    assert (await failure(client, {"url": server.url})).cause == "404 Not Found"


async def test_an_error_whose_body_breaks_off_is_still_that_error(client):
    """The status is known, whatever becomes of the body."""
    async with raw_server(b"HTTP/1.1 500 No\r\nContent-Length: 100\r\n\r\nhalf") as url:
        failed = await failure(client, {"url": url})
    assert (failed.error, failed.cause) == ("States.Http.StatusCode.500", "500 No: half")


@pytest.mark.parametrize("is_compressed", [False, True])
async def test_a_body_has_at_most_one_mebibyte(server, client, is_compressed):
    """The limit holds for what comes out, so a bomb of a few kilobytes is refused as well."""

    def answer(size):
        body = b"a" * size
        headers = {"Content-Encoding": "gzip"} if is_compressed else {}
        return web.Response(body=gzip.compress(body) if is_compressed else body, headers=headers)

    server.answers["/most"] = lambda _: answer(BODY_MAX)
    server.answers["/more"] = lambda _: answer(BODY_MAX + 1)
    server.answers["/bomb"] = lambda _: answer(50 * BODY_MAX)
    assert len((await ask(client, {"url": server.url + "/most"}))["body"]) == BODY_MAX
    for path in ("/more", "/bomb"):
        failed = await failure(client, {"url": server.url + path})
        assert failed.error == "States.DataLimitExceeded"
        assert "1,048,576 bytes" in failed.cause


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"nonsense\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf",
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 4\r\n\r\nhalf",
        b"HTTP/1.1 200 OK\r\nX: " + b"a" * 100_000 + b"\r\n\r\n",
    ],
)
async def test_a_broken_exchange_is_a_socket_error(client, answer):
    """A connection that ends too early, and an answer that is no HTTP, are States.Http.Socket."""
    async with raw_server(answer) as url:
        failed = await failure(client, {"url": url})
    assert failed.error == "States.Http.Socket"
    assert "127.0.0.1" in failed.cause


async def test_nobody_there_is_a_socket_error(client):
    """So are a refused connection, and a server without the TLS that the URL says."""
    failed = await failure(client, {"url": f"http://127.0.0.1:{unused_port()}"})
    assert failed.error == "States.Http.Socket"
    async with raw_server(b"HTTP/1.1 200 OK\r\n\r\n") as url:
        failed = await failure(client, {"url": url.replace("http:", "https:")})
    assert failed.error == "States.Http.Socket"


async def test_a_name_that_is_not_known_is_a_socket_error():
    """DNS says no."""
    client = HttpClient(resolver=Names())
    failed = await failure(client, {"url": "http://nobody.test"})
    await client.close()
    assert failed.error == "States.Http.Socket"
    assert "nobody.test" in failed.cause


@pytest.mark.parametrize("part", ["headers", "body", "redirect"])
async def test_no_answer_in_time_is_a_timeout(server, client, part):
    """The time is for all of it, also for a body that comes in drips and for redirects."""
    is_over = asyncio.Event()

    async def never(request):
        if part == "redirect":
            return web.Response(status=302, headers={"Location": "/slow"})
        if part == "headers":
            await is_over.wait()
            return web.Response()
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b"a")
        await is_over.wait()
        return response

    async def slow(_):
        await is_over.wait()
        return web.Response()

    server.answers |= {"/": never, "/slow": slow}
    failed = await failure(client, {"url": server.url, "timeout_s": 0.05})
    is_over.set()
    assert (failed.error, failed.cause) == ("States.Timeout", "No answer from 127.0.0.1 within 0.05 s.")


async def test_a_cancelled_request_is_cancelled(server, client):
    """Cancelling the step is no timeout and no failure of its own."""
    arrived, is_over = asyncio.Event(), asyncio.Event()

    async def slow(_):
        arrived.set()
        await is_over.wait()
        return web.Response()

    server.answers["/"] = slow
    asking = asyncio.create_task(ask(client, {"url": server.url}))
    await arrived.wait()
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    is_over.set()


async def test_a_closed_client_sends_nothing(server):
    """After close, which may come twice, requests fail, and the resolver is closed too."""
    names = Names()
    client = HttpClient(allow_private=True, resolver=names)
    await ask(client, {"url": server.url})
    await client.close()
    await client.close()
    failed = await failure(client, {"url": server.url})
    assert (failed.error, failed.cause) == ("States.Http.Socket", "The HTTP client is closed.")
    assert names.is_closed
    assert len(server.seen) == 1


# --- redirects ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "method", "then"),
    [
        (301, "GET", "GET"),
        (301, "POST", "GET"),
        (302, "POST", "GET"),
        (302, "PUT", "PUT"),
        (303, "PUT", "GET"),
        (303, "HEAD", "HEAD"),
        (307, "POST", "POST"),
        (308, "PATCH", "PATCH"),
    ],
)
async def test_redirects_are_followed(server, client, status, method, then):
    """The method and the body stay or go as HTTP says; headers of the same origin stay."""
    server.redirects(status, "to?x=1#y")
    await ask(
        client,
        {"method": method, "url": server.url + "/from", "body": [1], "headers": {"Authorization": "secret"}},
    )
    last = server.seen[-1]
    assert (last.method, last.path, last.query) == (then, "/to", "x=1")
    keeps_body = then == method  # and so 301 keeps even what a GET sent
    assert last.body == ("[1]" if keeps_body else "")
    assert ("content-type" in last.headers) == keeps_body
    assert last.headers["authorization"] == "secret"
    assert last.headers["idempotency-key"] == CONTEXT.idempotency_key


async def test_another_origin_gets_no_secrets(server, other, client):
    """Headers that may be meant for the first server alone stay there, whatever they are called."""
    server.redirects(307, other.url + "/to")
    headers = {"Authorization": "s", "Cookie": "s", "X-Api-Key": "s", "Accept": "a/b"}
    await ask(client, {"method": "POST", "url": server.url + "/from", "headers": headers, "body": 1})
    [seen] = other.seen
    assert "s" not in seen.headers.values()
    assert (seen.headers["accept"], seen.headers["content-type"], seen.body) == ("a/b", "application/json", "1")
    assert seen.headers["idempotency-key"] == CONTEXT.idempotency_key


async def test_redirects_end(server, client):
    """Five are followed, a sixth is not."""
    for n in range(7):
        server.answers[f"/{n}"] = lambda _, n=n: web.Response(status=302, headers={"Location": f"/{n + 1}"})
    server.answers["/6"] = lambda _: web.Response(text="there")
    assert (await ask(client, {"url": server.url + "/1"}))["body"] == "there"
    failed = await failure(client, {"url": server.url + "/0"})
    assert (failed.error, failed.cause) == ("States.Http.Socket", "There were more than 5 redirects.")


@pytest.mark.parametrize(
    "location",
    [
        "ftp://example.com/",
        "file:///etc/passwd",
        "http://user:password@example.com/",
        "http://a b/",
        "https://[::1",
        "",
    ],
)
async def test_a_redirect_to_anything_else_is_refused(server, client, location):
    """What could not stand in the input cannot stand in a Location."""
    server.redirects(302, location)
    failed = await failure(client, {"url": server.url + "/from"})
    assert failed.error == "Http.InvalidInput"
    assert "Location" in failed.cause


async def test_a_redirect_that_leads_nowhere_is_an_answer(server, client):
    """A 3xx without a Location, or of another kind, is given as it is."""
    server.answers["/a"] = lambda _: web.Response(status=302)
    server.answers["/b"] = lambda _: web.Response(status=304, headers={"Location": "/"})
    assert (await ask(client, {"url": server.url + "/a"}))["status"] == 302
    assert (await ask(client, {"url": server.url + "/b"}))["status"] == 304


def test_a_redirect_never_leaves_tls():
    """From https to http would send in the clear what was meant to be secret."""
    request = read_request({"url": "https://example.com/"}, "k")
    with pytest.raises(StepFailed, match="from https to http"):
        redirected(request, 302, "http://example.com/")
    assert redirected(request, 302, "//other.test/x").url == URL("https://other.test/x")


# --- addresses ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "10.0.0.1",
        "169.254.169.254",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "[::ffff:8.8.8.8]",
        "[64:ff9b::7f00:1]",
        "[2002:7f00:1::]",
        "[fd00:ec2::254]",
        "0x7f.1",
        "2130706433",
        "127.1",
        "0177.0.0.1",
        "127.0.0.1.",
        "①②⑦.⓪.⓪.①",
        "127。0。0。1",
        "\uff11\uff12\uff17.0.0.1",
        "[fe80::1%25eth0]",
    ],
)
async def test_an_address_in_the_url_is_refused(host):
    """A connector asks no resolver about these, so the URL itself is looked at; nothing is looked up."""
    names = Names()
    client = HttpClient(resolver=names)
    failed = await failure(client, {"url": f"http://{host}/"})
    await client.close()
    assert failed.error == "Http.AddressRefused"
    assert names.asked == []


@pytest.mark.parametrize("host", ["0x7f.1", "2130706433", "127.1", "[fe80::1%25eth0]"])
async def test_an_address_in_an_odd_form_is_refused_always(client, host):
    """Where private addresses are allowed they still have to be written in the usual form."""
    failed = await failure(client, {"url": f"http://{host}/"})
    assert failed.error == "Http.AddressRefused"
    assert "in a form that is not accepted" in failed.cause


@pytest.mark.parametrize(
    "addresses", [["127.0.0.1"], ["8.8.8.8", "10.1.2.3"], ["::1"], ["fe80::1%eth0"], ["::ffff:169.254.169.254"]]
)
async def test_a_name_that_leads_inside_is_refused(addresses):
    """One address that is not public is enough; the refusal names the host and that address."""
    names = Names(inside_test=[addresses])
    client = HttpClient(resolver=names)
    failed = await failure(client, {"url": "http://inside.test/"})
    await client.close()
    assert failed.error == "Http.AddressRefused"
    assert failed.cause.startswith(f"Host inside.test is {ipaddress.ip_address(addresses[-1])}, which is ")
    assert names.asked == ["inside.test"]


async def test_the_systems_own_resolver_is_asked_through_the_same_check():
    """A name like localhost, which every system knows, is refused too."""
    client = HttpClient()
    failed = await failure(client, {"url": "http://localhost/"})
    await client.close()
    assert failed.error == "Http.AddressRefused"
    assert "localhost" in failed.cause


@pytest.fixture
def loopback_is_public(monkeypatch):
    """Takes 127.0.0.1 for the public network and all else for private."""
    monkeypatch.setattr(http_module, "denial", lambda address: None if str(address) == "127.0.0.1" else "private")


@pytest.mark.usefixtures("loopback_is_public")
async def test_the_address_that_was_checked_is_the_one_connected_to(server):
    """A name whose next answer is another one (DNS rebinding) is asked once for one connection."""
    names = Names(public_test=[["127.0.0.1"], ["127.0.0.2"]])
    client = HttpClient(resolver=names)
    url = URL(server.url).with_host("public.test")
    result = await ask(client, {"url": str(url)})
    await client.close()
    assert result["status"] == 200
    assert names.asked == ["public.test"]
    assert server.seen[0].headers["host"] == f"public.test:{url.port}"


@pytest.mark.usefixtures("loopback_is_public")
@pytest.mark.parametrize("location", ["http://127.0.0.2/", "http://inside.test/", "http://2130706434/", "//[::1]/"])
async def test_each_redirect_is_checked_again(server, location):
    """A public server cannot send a step inside."""
    server.redirects(302, location)
    client = HttpClient(resolver=Names(inside_test=[["127.0.0.2"]]))
    failed = await failure(client, {"url": server.url + "/from"})
    await client.close()
    assert failed.error == "Http.AddressRefused"
    assert len(server.seen) == 1


@pytest.mark.usefixtures("loopback_is_public")
async def test_fifty_refusals_at_once_leave_nothing_behind():
    """Everyone who waited for the same look-up gets the refusal."""
    client = HttpClient(resolver=Names(inside_test=[["127.0.0.2"]]))
    failures = await asyncio.gather(*(failure(client, {"url": "http://inside.test/"}) for _ in range(50)))
    await client.close()
    assert {failed.error for failed in failures} == {"Http.AddressRefused"}


async def test_the_last_look_is_at_what_is_connected_to():
    """Even if every check before were passed by, the socket for a private address is not made."""
    info = (socket.AF_INET, socket.SOCK_STREAM, 0, "", ("127.0.0.1", 80))
    with pytest.raises(StepFailed, match=r"127\.0\.0\.1 is loopback"):
        HttpClient()._socket(info)
    HttpClient(allow_private=True)._socket(info).close()


async def test_the_environment_is_ignored(server, client, monkeypatch, tmp_path):
    """Neither a proxy nor a .netrc nor a cookie of an earlier answer gets into a request."""
    dead = f"http://127.0.0.1:{unused_port()}"
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, dead)
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login me password secret\n", encoding="utf-8")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    server.answers["/"] = lambda _: web.Response(headers={"Set-Cookie": "a=b"})
    for _ in range(2):
        await ask(client, {"url": server.url})
    assert all("cookie" not in seen.headers and "authorization" not in seen.headers for seen in server.seen)


# --- input ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        (None, "input must be an object"),
        ("http://example.com", "input must be an object"),
        ({}, "url is missing"),
        ({"method": "GET"}, "url is missing"),
        ({"url": 1}, "url must be text"),
        ({"url": ""}, "url must be text"),
        ({"url": "http://a/" + "b" * 8_192}, "url must be text"),
        ({"url": "http://a/\r\nX: y"}, "without spaces"),
        ({"url": "http://a\\@b/"}, "without spaces"),
        ({"url": "example.com"}, "url must be an http: or https: URL"),
        ({"url": "ftp://example.com"}, "url must be an http: or https: URL"),
        ({"url": "javascript:alert(1)"}, "url must be an http: or https: URL"),
        ({"url": "http:///x"}, "url must be an http: or https: URL"),
        ({"url": "http://a:0/"}, "url must be an http: or https: URL"),
        ({"url": "http://a:65536/"}, "url is no URL"),
        ({"url": "http://[::1/"}, "url is no URL"),
        ({"url": "http://u@a/"}, "no user and no password"),
        ({"url": "http://:p@a/"}, "no user and no password"),
        ({"url": "http://@a/"}, "no user and no password"),
        ({"url": "http://127%2E0.0.1/"}, "neither a name nor an address"),
        ({"url": "http://a..b/"}, "neither a name nor an address"),
        ({"url": "http://" + "a" * 64 + ".com/"}, "neither a name nor an address"),
        ({"url": "http://" + "a." * 130 + "com/"}, "neither a name nor an address"),
        ({"url": "http://a", "method": "TRACE"}, "method must be one of GET"),
        ({"url": "http://a", "method": "GET / HTTP/1.1\r\nX: y"}, "method must be one of GET"),
        ({"url": "http://a", "method": None}, "method must be one of GET"),
        ({"url": "http://a", "headers": []}, "headers must be an object"),
        ({"url": "http://a", "headers": {"X-A": "b\r\nX-B: c"}}, "headers.X-A must be text without line breaks"),
        ({"url": "http://a", "headers": {"X-A": "b\x00"}}, "headers.X-A must be text without line breaks"),
        ({"url": "http://a", "headers": {"X-A": 1}}, "headers.X-A must be text"),
        ({"url": "http://a", "headers": {"X-A\r\nB": "c"}}, "no name of a header"),
        ({"url": "http://a", "headers": {"X A": "c"}}, "no name of a header"),
        ({"url": "http://a", "headers": {"": "c"}}, "no name of a header"),
        ({"url": "http://a", "headers": {"é": "c"}}, "no name of a header"),
        ({"url": "http://a", "headers": {"hOST": "c"}}, "must not hold hOST"),
        ({"url": "http://a", "headers": {"Content-Length": "0"}}, "must not hold Content-Length"),
        ({"url": "http://a", "headers": {"Transfer-Encoding": "chunked"}}, "must not hold Transfer-Encoding"),
        ({"url": "http://a", "headers": {"Proxy-Authorization": "c"}}, "must not hold Proxy-Authorization"),
        ({"url": "http://a", "headers": {"X-A": "1", "x-a": "2"}}, "the same header twice"),
        ({"url": "http://a", "query": "a=b"}, "query must be an object"),
        ({"url": "http://a", "query": {"a": None}}, "query.a must be"),
        ({"url": "http://a", "query": {"a": [["b"]]}}, "query.a must be"),
        ({"url": "http://a", "body": 1, "headers": {"Content-Type": "text/plain"}}, "body must be text"),
        ({"url": "http://a", "timeout_s": 0}, "timeout_s must be"),
        ({"url": "http://a", "timeout_s": 301}, "timeout_s must be"),
        ({"url": "http://a", "timeout_s": True}, "timeout_s must be"),
        ({"url": "http://a", "timeout_s": "1"}, "timeout_s must be"),
        ({"url": "http://a", "proxy": "http://b"}, "proxy is no field"),
        ({"url": "http://a", "Authentication": {}}, "Authentication names a connection of AWS"),
        ({"url": "http://a", "ApiEndpoint": "http://a"}, "url is no field"),
        ({"ApiEndpoint": "http://a", "Authentication": {}}, "Authentication names a connection of AWS"),
        ({"ApiEndpoint": "http://a", "Transform": {}}, "Transform is no field"),
        ({"ApiEndpoint": "http://a", "timeout_s": 1}, "timeout_s is no field"),
        ({"ApiEndpoint": "ftp://a"}, "ApiEndpoint must be an http: or https: URL"),
        ({"ApiEndpoint": "http://a", "Method": "X"}, "Method must be"),
        ({"ApiEndpoint": "http://a", "Headers": {"X": 1}}, "Headers.X must be text"),
        ({"ApiEndpoint": "http://a", "QueryParameters": []}, "QueryParameters must be"),
        (
            {"ApiEndpoint": "http://a", "RequestBody": 1, "Headers": {"Content-Type": "text/plain"}},
            "RequestBody must be text",
        ),
    ],
)
async def test_other_input_is_refused_by_field(value, problem):
    """Before anything is looked up or sent, the error names the field, in the words of the shape that was used."""
    names = Names(a=[["127.0.0.1"]])
    client = HttpClient(resolver=names)
    failed = await failure(client, value)
    await client.close()
    assert failed.error == "Http.InvalidInput"
    assert problem in failed.cause
    assert names.asked == []


def test_names_that_are_taken():
    """Hosts may have underscores, a final dot, capitals and letters beyond ASCII."""
    for host, wanted in (
        ("my_service.test", "my_service.test"),
        ("EXAMPLE.com.", "example.com."),
        ("bücher.example", "xn--bcher-kva.example"),
        ("a", "a"),
        ("[2001:4860:4860::8888]:8443", "2001:4860:4860::8888"),
    ):
        assert read_request({"url": f"https://{host}/"}, "k").url.raw_host == wanted


def test_aiohttp_still_asks_no_resolver_about_addresses():
    """The reason why the URL's own host is looked at; if this fails the check may be simplified."""
    assert aiohttp.connector.is_ip_address("127.0.0.1")  # type: ignore[attr-defined]  # the name that it calls
