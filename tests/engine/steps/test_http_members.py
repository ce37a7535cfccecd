"""Bodies, authorization, pages, rate limits and readings of http_request, against real servers on loopback."""

from __future__ import annotations

import json
from base64 import b64encode
from typing import Any

import pytest
from aiohttp import web

from perdure.engine.steps import StepFailed
from perdure.engine.steps.catalog import BY_NAME
from perdure.engine.steps.http import HttpClient
from perdure.engine.steps.http_messages import HttpResponse, following, read_request
from perdure.engine.steps.http_pages import ITEMS_SIZE_MAX, next_link
from perdure.engine.steps.http_plans import HOSTS_MAX, TURN_MAX_S, HostLimits, RateLimit
from tests.engine.steps.test_http import Server, ask, client, failure, other, server

__all__ = ["client", "other", "server"]


# --- bodies ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("members", "content_type", "body"),
    [
        ({"json": {"a": [1]}}, "application/json", '{"a":[1]}'),
        ({"json": "text"}, "application/json", '"text"'),
        ({"json": None}, "application/json", "null"),
        ({"json": 1, "headers": {"Content-Type": "application/vnd.x+json"}}, "application/vnd.x+json", "1"),
        ({"form": {"a": "ü &", "b": [1, True]}}, "application/x-www-form-urlencoded", "a=%C3%BC+%26&b=1&b=true"),
        ({"xml": "<a/>"}, "application/xml; charset=utf-8", "<a/>"),
        ({"xml": "<a/>", "headers": {"content-type": "text/xml"}}, "text/xml", "<a/>"),
        ({"text": "ü"}, "text/plain; charset=utf-8", "ü"),
        ({"text": "a,b", "headers": {"Content-Type": "text/csv"}}, "text/csv", "a,b"),
        ({"text": ""}, "text/plain; charset=utf-8", ""),
    ],
)
async def test_a_body_is_sent_as_its_member_says(
    client: HttpClient, server: Server, members: dict[str, Any], content_type: str, body: str
) -> None:
    """With the content type of that form, unless the headers have one that fits."""
    await ask(client, {"url": server.url, "method": "POST", **members})
    [seen] = server.seen
    assert (seen.headers["content-type"], seen.body) == (content_type, body)


async def test_multipart_is_written_as_the_rfc_says(client: HttpClient, server: Server) -> None:
    """Names, file names with odd characters, content types and bytes stand in it; a retry sends the same bytes."""
    parts = [
        {"name": "note", "text": "ü"},
        {"name": 'f"\r\n', "base64": b64encode(b"\x00\xff--x").decode(), "filename": 'a"b.bin'},
        {"name": "c", "text": "<a/>", "filename": "c.xml", "contentType": "application/xml"},
    ]
    value = {"url": f"{server.url}/up", "method": "POST", "multipart": parts}
    bodies = [read_request(value, "K").body, read_request(value, "L").body]
    assert bodies[0] == bodies[1]
    boundary = read_request(value, "K").headers["Content-Type"].partition("boundary=")[2].encode()
    assert bodies[0] is not None
    pieces = [piece.strip(b"\r\n") for piece in bodies[0].split(b"--" + boundary)]
    assert pieces == [
        b"",
        b'Content-Disposition: form-data; name="note"\r\n\r\n' + "ü".encode(),
        (
            b'Content-Disposition: form-data; name="f%22%0D%0A"; filename="a%22b.bin"\r\n'
            b"Content-Type: application/octet-stream\r\n\r\n\x00\xff--x"
        ),
        b'Content-Disposition: form-data; name="c"; filename="c.xml"\r\nContent-Type: application/xml\r\n\r\n<a/>',
        b"--",
    ]
    assert (await ask(client, {**value, "multipart": parts[:1]}))["status"] == 200
    assert server.seen[0].headers["content-type"].startswith("multipart/form-data; boundary=")


@pytest.mark.parametrize(
    ("members", "says"),
    [
        ({"json": 1, "form": {}}, "json and form cannot stand together"),
        ({"json": 1, "headers": {"Content-Type": "text/plain"}}, "json must not be there"),
        ({"form": [1]}, "form must be an object"),
        ({"form": {"a": {}}}, "form.a must be"),
        ({"form": {}, "headers": {"content-type": "x/y"}}, "form has a content type of its own"),
        ({"xml": 1}, "xml must be text"),
        ({"text": {}}, "text must be text"),
        ({"multipart": []}, "1 to 100 parts"),
        ({"multipart": [{"text": "x"}]}, "multipart.0.name is missing"),
        ({"multipart": [{"name": "x"}]}, "multipart.0 must have text or base64"),
        ({"multipart": [{"name": "x", "base64": "?"}]}, "multipart.0.base64 is no base64"),
        ({"multipart": [{"name": "x", "text": "", "contentType": "a\r\nb: c/d"}]}, "contentType must be"),
        ({"multipart": [{"name": "x", "txt": ""}]}, "Did you mean 'text'"),
        ({"auth": {"type": "digest"}}, "auth must be an object whose type is one of basic, bearer"),
        ({"auth": {"type": "basic", "username": "a"}}, "auth.password is missing"),
        ({"auth": {"type": "basic", "username": "a:b", "password": "c"}}, "no colon"),
        ({"auth": {"type": "bearer", "token": "a b"}}, "auth.token must be"),
        ({"auth": {"type": "bearer", "token": "a"}, "headers": {"authorization": "b"}}, "cannot stand together"),
        ({"pagination": {"type": "page"}}, "pagination.type must be one of link, cursor"),
        ({"pagination": {"type": "cursor"}}, "pagination.cursorPath is missing"),
        ({"pagination": {"type": "link", "cursorParam": "c"}}, "belong to the type cursor"),
        ({"pagination": {"type": "link", "maxPages": 101}}, "maxPages must be a whole number from 1 to 100"),
        ({"pagination": {"type": "link", "maxItems": True}}, "maxItems must be a whole number"),
        ({"pagination": {"type": "link"}, "method": "POST"}, "pagination is for the method GET"),
        ({"rateLimit": {"requests": 1}}, "rateLimit.seconds is missing"),
        ({"rateLimit": {"requests": 0, "seconds": 1}}, "rateLimit.requests must be"),
        ({"rateLimit": {"requests": 1, "seconds": 0}}, "rateLimit.seconds must be"),
        ({"response": "xml"}, "response must be one of auto, json, text"),
    ],
)
async def test_members_that_are_wrong_are_named(members: dict[str, Any], says: str) -> None:
    """Before anything is sent, with what is accepted; what is wrong with a secret does not quote it."""
    with pytest.raises(StepFailed) as refused:
        read_request({"url": "http://example.org", **members}, "K")
    assert refused.value.error == "Http.InvalidInput"
    assert says in str(refused.value.cause)


# --- authorization --------------------------------------------------------------------------------


async def test_authorization_is_sent_to_the_origin_alone(client: HttpClient, server: Server, other: Server) -> None:
    """Basic and bearer as the RFCs write them; a redirect to another origin goes without."""
    server.redirects(302, f"{other.url}/x")
    await ask(client, {"url": f"{server.url}/a", "auth": {"type": "basic", "username": "ü", "password": "p:w"}})
    await ask(client, {"url": f"{server.url}/from", "auth": {"type": "bearer", "token": "t0ken-1"}})
    assert server.seen[0].headers["authorization"] == f"Basic {b64encode('ü:p:w'.encode()).decode()}"
    assert server.seen[1].headers["authorization"] == "Bearer t0ken-1"
    assert "authorization" not in other.seen[0].headers


async def test_no_error_quotes_a_secret_header(client: HttpClient, server: Server) -> None:
    """Even if the server sends the request's headers back."""
    server.answers["/e"] = lambda request: web.Response(status=401, text=f"you sent {dict(request.headers)}")
    value = {
        "url": f"{server.url}/e",
        "auth": {"type": "bearer", "token": "s3cret-token"},
        "headers": {"X-Api-Key": "k3y-of-mine", "Accept": "text/plain"},
    }
    failed = await failure(client, value)
    assert failed.error == "States.Http.StatusCode.401"
    assert "s3cret-token" not in failed.cause
    assert "k3y-of-mine" not in failed.cause
    assert "text/plain" in failed.cause


# --- readings -------------------------------------------------------------------------------------


async def test_a_response_is_read_as_is_wanted(client: HttpClient, server: Server) -> None:
    """JSON whatever the content type says, text though it is JSON; what is no JSON fails if it must be."""
    server.answers["/j"] = lambda _: web.Response(text='{"a": 1}', content_type="text/plain")
    server.answers["/none"] = lambda _: web.Response(status=204)
    server.answers["/t"] = lambda _: web.Response(text="{", content_type="application/json")
    assert (await ask(client, {"url": f"{server.url}/j", "response": "json"}))["body"] == {"a": 1}
    assert (await ask(client, {"url": f"{server.url}/j"}))["body"] == '{"a": 1}'
    assert (await ask(client, {"url": f"{server.url}/any", "response": "text"}))["body"] == '{"ok": true}'
    assert (await ask(client, {"url": f"{server.url}/none", "response": "json"}))["body"] is None
    assert (await failure(client, {"url": f"{server.url}/t", "response": "json"})).error == "Http.InvalidResponse"


# --- pages ----------------------------------------------------------------------------------------


def pages_by_cursor(request: web.Request) -> web.Response:
    """Ten pages of three, the cursor of each being the number of the next."""
    page = int(request.query.get("after", "0"))
    return web.json_response(
        {"data": [3 * page + index for index in range(3)], "meta": {"next": page + 1 if page < 9 else None}}
    )


@pytest.mark.parametrize(
    ("limits", "items", "pages", "has_more"),
    [
        ({}, 30, 10, False),
        ({"maxPages": 4}, 12, 4, True),
        ({"maxItems": 7}, 7, 3, True),
        ({"maxItems": 6}, 6, 2, True),
        ({"maxItems": 30}, 30, 10, False),
        ({"maxItems": 29}, 29, 10, True),
    ],
)
async def test_pages_by_cursor_are_read_up_to_limits(
    client: HttpClient, server: Server, limits: dict[str, int], items: int, pages: int, has_more: bool
) -> None:
    """The query of the first one is kept, and whether there are more is told."""
    server.answers["/list"] = pages_by_cursor
    plan = {"type": "cursor", "itemsPath": "data", "cursorPath": "meta.next", "cursorParam": "after", **limits}
    found = await ask(client, {"url": f"{server.url}/list", "query": {"of": "x"}, "pagination": plan})
    assert found["body"] == list(range(items))
    assert (found["status"], found["pages"], found["hasMore"]) == (200, pages, has_more)
    assert len(server.seen) == pages
    assert server.seen[-1].query == ("of=x" if pages == 1 else f"of=x&after={pages - 1}")


async def test_pages_by_link_lose_secrets_at_another_origin(client: HttpClient, server: Server, other: Server) -> None:
    """Relative links and other relations are understood; a list may be the body itself."""
    server.answers["/1"] = lambda _: web.json_response([1], headers={"Link": '</0>; rel="prev", </2?a=1>; rel="next"'})
    server.answers["/2"] = lambda _: web.json_response([2], headers={"Link": f"<{other.url}/3>; title=x; rel=next"})
    other.answers["/3"] = lambda _: web.json_response([3], headers={"Link": '</1>; rel="last first"'})
    value = {"url": f"{server.url}/1", "auth": {"type": "bearer", "token": "t"}, "pagination": {"type": "link"}}
    found = await ask(client, value)
    assert (found["body"], found["pages"], found["hasMore"]) == ([1, 2, 3], 3, False)
    assert ["authorization" in seen.headers for seen in [*server.seen, *other.seen]] == [True, True, False]


async def test_a_page_leads_to_no_address_that_is_refused(server: Server) -> None:
    """Each page is looked at as the first one is; and from https none leads to http."""
    request = read_request({"url": "https://example.org/", "pagination": {"type": "link"}}, "K")
    with pytest.raises(StepFailed, match="from https to http"):
        following(request, "http://example.org/2")
    with pytest.raises(StepFailed, match="Link must"):
        following(request, "ftp://example.org/2")
    public = HttpClient()
    try:
        request = following(request, "https://169.254.169.254/latest")
        with pytest.raises(StepFailed) as refused:
            await public.send(request)
        assert refused.value.error == "Http.AddressRefused"
    finally:
        await public.close()


@pytest.mark.parametrize(
    ("answer", "plan", "error", "says"),
    [
        ({"data": 1}, {"itemsPath": "data"}, "Http.InvalidResponse", "no list of items at data"),
        ({"data": []}, {}, "Http.InvalidResponse", "itemsPath says where"),
        ({"d": [], "c": {"x": 1}}, {"itemsPath": "d"}, "Http.InvalidResponse", "is no text"),
        ({"d": [], "c": True}, {"itemsPath": "d"}, "Http.InvalidResponse", "is no text"),
        ({"d": [], "c": "same"}, {"itemsPath": "d"}, "Http.InvalidResponse", "read before"),
        ({"d": ["x" * 600_000], "c": "s"}, {"itemsPath": "d"}, "States.DataLimitExceeded", f"{ITEMS_SIZE_MAX:,}"),
    ],
)
async def test_pages_that_are_none_are_told(
    client: HttpClient, server: Server, answer: Any, plan: dict[str, Any], error: str, says: str
) -> None:
    """What is not as it was said fails the step; so does a circle, and too much of it."""
    server.answers["/list"] = lambda _: web.json_response(answer)
    failed = await failure(
        client, {"url": f"{server.url}/list", "pagination": {"type": "cursor", "cursorPath": "c", **plan}}
    )
    assert failed.error == error
    assert says in failed.cause


@pytest.mark.parametrize(
    "value", ["", "<", "<a", "<a>", "<a>; rel=prev", "<a>; title=next", '<a>; rel="next', ";" * 99]
)
def test_what_is_no_link_to_the_next_page_ends_the_list(value: str) -> None:
    """However it is garbled."""
    response = HttpResponse(status=200, reason="", headers=(("Link", value),), body=b"")
    assert next_link(response) is None


# --- rate limits ----------------------------------------------------------------------------------


class Time:
    """A clock that is pushed by whoever sleeps."""

    def __init__(self) -> None:
        self.now = 0.0
        self.slept: list[float] = []

    def read(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


async def test_so_many_requests_of_a_workspace_to_a_host_in_any_span() -> None:
    """The others wait, each for its turn; other hosts and workspaces do not."""
    time = Time()
    rates, limit, sent = HostLimits(time.read, time.sleep), RateLimit(3, 10), list[float]()
    for _ in range(8):
        await rates.turn("w", "h", limit)
        sent.append(time.now)
        time.now += 1
    assert all(later - earlier >= 10 for earlier, later in zip(sent, sent[3:], strict=False))
    assert sent == [0, 1, 2, 10, 11, 12, 20, 21]
    before = len(time.slept)
    await rates.turn("w", "other", limit)
    await rates.turn("v", "h", limit)
    assert len(time.slept) == before


async def test_a_turn_that_comes_too_late_is_refused_and_left_to_others() -> None:
    """The step fails, and may be retried."""
    time = Time()
    rates = HostLimits(time.read, time.sleep)
    await rates.turn("w", "h", RateLimit(1, 3600))
    for _ in range(2):
        with pytest.raises(StepFailed) as refused:
            await rates.turn("w", "h", RateLimit(1, TURN_MAX_S + 1))
        assert (refused.value.error, refused.value.is_retryable) == ("Http.RateLimited", True)
    await rates.turn("w", "h", RateLimit(1, 60))
    assert time.slept == [60]


async def test_hosts_whose_turns_are_long_over_are_forgotten() -> None:
    """So that memory is bounded, and no limit is lost."""
    time = Time()
    rates = HostLimits(time.read, time.sleep)
    for number in range(HOSTS_MAX):
        await rates.turn("w", str(number), RateLimit(1, 1))
    time.now = 4_000
    for number in range(HOSTS_MAX):
        await rates.turn("w", f"new {number}", RateLimit(1, 1))
    assert len(rates._turns) == HOSTS_MAX


async def test_requests_with_a_limit_are_held_back_by_host(server: Server) -> None:
    """Pages count as the requests that they are."""
    time = Time()
    client = HttpClient(allow_private=True, rates=HostLimits(time.read, time.sleep))
    server.answers["/list"] = pages_by_cursor
    plan = {"type": "cursor", "itemsPath": "data", "cursorPath": "meta.next", "cursorParam": "after"}
    try:
        value = {"url": f"{server.url}/list", "pagination": plan, "rateLimit": {"requests": 4, "seconds": 10}}
        assert (await ask(client, value))["pages"] == 10
        assert time.slept == [10, 10]
        await ask(client, {"url": f"{server.url}/free"})
        assert time.slept == [10, 10]
    finally:
        await client.close()


# --- examples -------------------------------------------------------------------------------------


@pytest.mark.parametrize("example", BY_NAME["http_request"].examples, ids=lambda example: example.title)
async def test_each_example_of_the_catalog_is_answered(client: HttpClient, server: Server, example: Any) -> None:
    """With values for its templates, and a server of ours for its own."""
    text = json.dumps(dict(example.config)).replace("https://api.example.com", server.url)
    for template in ("orderId", "customer", "token"):
        text = text.replace(f"{{{{ input.{template} }}}}", "value-of-it")
    server.answers["/invoices"] = lambda _: web.json_response({"data": [1], "meta": {}})
    found = await ask(client, json.loads(text))
    assert found["status"] == 200
    assert server.seen
