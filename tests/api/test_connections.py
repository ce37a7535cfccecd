"""Raw connections: what is no request is refused in our envelope and the connection closed; nobody holds one up."""

from __future__ import annotations

import asyncio
import json
import resource
import socket
from collections.abc import AsyncIterator, Callable
from functools import partial
from typing import Any, NamedTuple

import pytest
import structlog

from perdure.api.http import connections
from perdure.api.server import KEPT_BACK, AcceptErrors, Server, connections_max
from perdure.api.settings import Settings
from tests.api.conftest import KEY, PROCESS, Api, Start, eventually

LIVE = b"GET /health/live HTTP/1.1\r\nHost: a\r\n\r\n"
HEAD = f"POST /v1/workflows HTTP/1.1\r\nHost: a\r\nX-Api-Key: {KEY}\r\n".encode()


class Told(NamedTuple):
    """An answer, as it came."""

    status: int
    headers: dict[str, str]
    body: Any


class Peer:
    """Somebody at the other end of a socket."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    def send(self, data: bytes) -> None:
        self._writer.write(data)

    async def told(self) -> Told:
        """The next answer."""
        async with asyncio.timeout(10):
            head = (await self._reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
            headers = dict(line.lower().split(": ", 1) for line in head[1:] if line)
            body = await self._reader.readexactly(int(headers["content-length"]))
        return Told(int(head[0].split()[1]), headers, json.loads(body))

    async def is_closed(self) -> bool:
        """Wait until the server closes, and see that it said nothing more."""
        async with asyncio.timeout(10):
            return await self._reader.read() == b""

    def close(self) -> None:
        self._writer.close()


Listening = Callable[..., Any]


@pytest.fixture
async def listening(start: Start) -> AsyncIterator[Listening]:
    """Makes an app listen, with settings of its own; gives it, the server, and what connects to it."""
    opened: list[Any] = []

    async def listen(**settings: Any) -> tuple[Api, Server, Callable[[], Any]]:
        api = await start(Settings(**settings))
        server = Server(api.engine, Settings(**settings))
        server.config.load()
        loop = asyncio.get_running_loop()
        listener = await loop.create_server(
            lambda: server.config.http_protocol_class(  # type: ignore[call-arg]
                config=server.config, server_state=server.server_state, app_state={}
            ),
            "127.0.0.1",
        )

        async def connect() -> Peer:
            address = listener.sockets[0].getsockname()
            peer = Peer(*await asyncio.open_connection(*address))
            opened.append(peer)
            return peer

        opened.append(listener)
        return api, server, connect

    yield listen
    for each in opened:
        each.close()
    for _ in range(5):
        await asyncio.sleep(0)


MALFORMED = {
    "length and coding": HEAD + b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "coding and length": HEAD + b"Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n",
    "two lengths": HEAD + b"Content-Length: 4\r\nContent-Length: 4\r\n\r\nabcd",
    "a list of lengths": HEAD + b"Content-Length: 4, 4\r\n\r\nabcd",
    "a signed length": HEAD + b"Content-Length: +4\r\n\r\nabcd",
    "another coding": HEAD + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "two codings": HEAD + b"Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "a coding in HTTP/1.0": HEAD.replace(b"1.1", b"1.0") + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "a blank before the colon": HEAD + b"Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
    "a bare LF after the line": b"GET /v1/waits HTTP/1.1\nHost: a\r\n\r\n",
    "a bare LF after a header": b"GET /v1/waits HTTP/1.1\r\nHost: a\nX: y\r\n\r\n",
    "a bare CR": b"GET /v1/waits HTTP/1.1\r\nHost: a\rX: y\r\n\r\n",
    "a folded header": b"GET /v1/waits HTTP/1.1\r\nHost: a\r\nX: a\r\n b\r\n\r\n",
    "a NUL": b"GET /v1/waits HTTP/1.1\r\nHost: a\r\nX: a\x00b\r\n\r\n",
    "no host": b"GET /v1/waits HTTP/1.1\r\n\r\n",
    "two hosts": b"GET /v1/waits HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
    "HTTP/0.9": b"GET /v1/waits\r\n\r\n",
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "another version": b"GET /v1/waits HTTP/1.2\r\nHost: a\r\n\r\n",
    "another method": b"BREW /v1/waits HTTP/1.1\r\nHost: a\r\n\r\n",
    "a tunnel": b"CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n",
    "no path": b"GET http://a:99999999/ HTTP/1.1\r\nHost: a\r\n\r\n",
    "a target that is no ASCII": b"GET /\xc3\xa9 HTTP/1.1\r\nHost: a\r\n\r\n",
    "an upgrade with a body": HEAD + b"Connection: upgrade\r\nUpgrade: h2c\r\nContent-Length: 2\r\n\r\n{}",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
}


async def test_what_is_no_request_is_refused_and_the_connection_closed(listening: Listening) -> None:
    """400 in our envelope with an id, logged like any request; what follows is never read as a request of its own."""
    api, _, connect = await listening()
    position = await api.store.position()
    for name, malformed in MALFORMED.items():
        peer = await connect()
        with structlog.testing.capture_logs() as logs:
            peer.send(malformed + LIVE)
            status, headers, body = await peer.told()
            assert await peer.is_closed(), name
        assert status == 400, name
        assert (body["success"], body["error"]["code"]) == (False, "VALIDATION_ERROR"), name
        assert headers["x-request-id"], name
        assert headers["connection"] == "close", name
        assert [line["status"] for line in logs if line["event"] == "request"] == [400], name
    assert await api.store.position() == position


async def test_it_is_refused_in_the_envelope_of_its_path(listening: Listening) -> None:
    """As far as the path can be told."""
    _, _, connect = await listening()
    peer = await connect()
    peer.send(f"POST {PROCESS}/terminateWorkflow/A HTTP/1.1\r\nHost: a\nX: y\r\n\r\n".encode())
    told = await peer.told()
    assert set(told.body) == {"message", "error"}
    assert "CR" in told.body["message"]


@pytest.mark.parametrize("chunk", [b"zz\r\n{}\r\n0\r\n\r\n", b"2\n{}\n0\n\n", b"2\r\n{}x\r\n0\r\n\r\n"])
async def test_a_broken_body_is_refused_and_nothing_done(listening: Listening, chunk: bytes) -> None:
    """The request that it belongs to gets 400, once, and no other request is read."""
    api, _, connect = await listening()
    workflow_id = await api.workflow()
    position = await api.store.position()
    peer = await connect()
    line = f"POST {PROCESS}/triggerworkflow/{workflow_id} HTTP/1.1\r\nHost: a\r\nX-Api-Key: {KEY}\r\n"
    peer.send(line.encode() + b"Transfer-Encoding: chunked\r\n\r\n" + chunk + LIVE)
    told = await peer.told()
    assert (told.status, told.body["error"]["code"]) == (400, "VALIDATION_ERROR")
    assert await peer.is_closed()
    assert await api.store.position() == position


async def test_requests_before_a_malformed_one_are_answered_first(listening: Listening) -> None:
    """In their order: a 400 that came before the answer of a request that was done would be a lie."""
    api, _, connect = await listening()
    workflow_id = await api.workflow({"StartAt": "S", "States": {"S": {"Type": "Wait", "Seconds": 60, "End": True}}})
    run = await api.trigger(workflow_id)
    body = b'{"payload": {"source": "SAP"}}'
    line = f"POST {PROCESS}/resumeWorkflow/{run} HTTP/1.1\r\nHost: a\r\nX-Api-Key: {KEY}\r\n"
    peer = await connect()
    peer.send(line.encode() + b"Content-Length: %d\r\n\r\n" % len(body) + body + LIVE + b"nonsense\r\n\r\n")
    await eventually(lambda: api.engine.node.metrics._holding)
    await api.push(60_000)
    assert [(await peer.told()).status for _ in range(3)] == [409, 200, 400]
    assert await peer.is_closed()


async def test_good_requests_stay_on_one_connection(listening: Listening) -> None:
    """One after another, several at once, in pieces, with an upgrade that is not taken, and with trailers dropped."""
    _, _, connect = await listening()
    peer = await connect()
    peer.send(LIVE + LIVE)
    assert [(await peer.told()).status for _ in range(2)] == [200, 200]
    for piece in (LIVE[:10], LIVE[10:], b"\r\n" + LIVE):
        peer.send(piece)
        await asyncio.sleep(0.001)
    assert [(await peer.told()).status for _ in range(2)] == [200, 200]
    trailer = b"Transfer-Encoding: chunked\r\n\r\n0\r\nX-Api-Key: " + KEY.encode() + b"\r\n\r\n"
    peer.send(b"POST /v1/workflows HTTP/1.1\r\nHost: a\r\n" + trailer)
    assert (await peer.told()).status == 401
    peer.send(LIVE[:-2] + b"Connection: upgrade\r\nUpgrade: h2c\r\n\r\n" + LIVE)
    assert (await peer.told()).status == 200
    assert await peer.is_closed()


@pytest.mark.parametrize(
    ("header", "status"),
    [("gzip", 415), ("identity", 201), ("br, gzip", 415), ("", 201)],
)
async def test_a_body_that_says_it_is_coded_is_refused(api: Api, header: str, status: int) -> None:
    """415: nobody knows what the sender meant by a plain body under such a name."""
    body = b'{"name": "w", "definition": {"StartAt": "S", "States": {"S": {"Type": "Succeed"}}}}'
    response = await api.post("/v1/workflows", content=body, headers={"Content-Encoding": header})
    assert response.status_code == status
    if status == 415:
        assert "Content-Encoding" in response.json()["error"]["message"]


async def test_long_headers_are_refused(listening: Listening) -> None:
    """431, before they fill the memory."""
    _, _, connect = await listening()
    peer = await connect()
    for _ in range(40):
        peer.send(LIVE[:-2] + b"X: " + b"a" * connections.HEAD_BYTES_MAX)
    told = await peer.told()
    assert (told.status, told.body["error"]["code"]) == (431, "VALIDATION_ERROR")


async def test_a_head_is_measured_when_it_is_whole_too(listening: Listening) -> None:
    """One that comes in a single piece, or behind another request, and is a byte too long; not one that just fits."""
    _, _, connect = await listening()
    fits = connections.HEAD_BYTES_MAX - len(b"/health/live" + b"Host: a\r\n" + b"X: \r\n")
    for before in (b"", LIVE):
        for length, status in ((fits, 200), (fits + 1, 431)):
            peer = await connect()
            peer.send(before + LIVE[:-2] + b"X: " + b"a" * length + b"\r\n\r\n")
            if before:
                assert (await peer.told()).status == 200
            assert (await peer.told()).status == status


@pytest.mark.parametrize("framing", [b"0\r\nX: ", b"1;"], ids=["a trailer", "an extension of a length"])
async def test_what_frames_a_body_is_bounded_too(listening: Listening, framing: bytes) -> None:
    """Nobody looks at it, and it would be kept until it ends."""
    _, _, connect = await listening()
    peer = await connect()
    peer.send(HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + framing)
    for _ in range(40):
        peer.send(b"a" * connections.HEAD_BYTES_MAX)
    assert (await peer.told()).status == 431


# --- who sends nothing, or reads nothing -------------------------------------------------------------------------


@pytest.fixture
def in_no_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Deadlines of twenty milliseconds."""
    original = connections.Door.__init__

    def make(door: Any, limit: int, _seconds: float, *more: Any) -> None:
        original(door, limit, 0.02, *more)

    monkeypatch.setattr(connections.Door, "__init__", make)


@pytest.mark.usefixtures("in_no_time")
async def test_a_head_or_a_body_that_does_not_come_is_not_waited_for(listening: Listening) -> None:
    """408, and the connection is closed; one that says nothing at all is closed without a word."""
    api, server, connect = await listening()
    silent = await connect()
    assert await silent.is_closed()
    blank = await connect()
    blank.send(b"\r\n\r\n")
    assert await blank.is_closed()
    for sent in (
        LIVE[:-2],
        LIVE + LIVE[:-2],
        HEAD + b"Content-Length: 9\r\n\r\n{",
        HEAD + b"Content-Length: 9\r\n\r\n",
    ):
        peer = await connect()
        peer.send(sent)
        if sent.startswith(LIVE):
            assert (await peer.told()).status == 200
        told = await peer.told()
        assert (told.status, told.body["error"]["code"]) == (408, "VALIDATION_ERROR"), sent
        assert "within 0.02 s" in told.body["error"]["message"]
        assert await peer.is_closed()
    await eventually(lambda: not server.server_state.connections)
    assert (await api.ok("GET", "/v1/workflows"))["data"] == []


@pytest.mark.usefixtures("in_no_time")
async def test_a_request_that_has_come_is_given_its_time(listening: Listening) -> None:
    """A call that is held is not cut off by a deadline for sending."""
    api, _, connect = await listening()
    workflow_id = await api.workflow({"StartAt": "S", "States": {"S": {"Type": "Wait", "Seconds": 60, "End": True}}})
    run = await api.trigger(workflow_id)
    body = b'{"payload": {"source": "SAP"}}'
    line = f"POST {PROCESS}/resumeWorkflow/{run} HTTP/1.1\r\nHost: a\r\nX-Api-Key: {KEY}\r\n"
    peer = await connect()
    peer.send(line.encode() + b"Content-Length: %d\r\n\r\n" % len(body) + body)
    await eventually(lambda: api.engine.node.metrics._holding)
    await asyncio.sleep(0.05)
    await api.push(60_000)
    assert (await peer.told()).status == 409


async def test_who_does_not_read_is_cut_off(listening: Listening, monkeypatch: pytest.MonkeyPatch) -> None:
    """An answer that nobody takes holds no connection."""
    monkeypatch.setattr(connections, "READING_S", 0.02)
    _, server, connect = await listening()
    peer = await connect()
    peer._reader._transport.pause_reading()
    ask = b"GET /openapi.json HTTP/1.1\r\nHost: a\r\n\r\n"
    for _ in range(400):
        peer.send(ask)
    await eventually(lambda: not server.server_state.connections)


async def test_of_too_many_connections_the_idle_ones_make_room(listening: Listening) -> None:
    """The longest idle first, half-sent heads among them; health is always reached."""
    _, server, connect = await listening(connections_max=3)
    first, second = await connect(), await connect()
    second.send(LIVE[:-2])
    third = await connect()
    third.send(LIVE)
    assert (await third.told()).status == 200
    for gone in (first, second):
        latest = await connect()
        latest.send(LIVE)
        assert (await latest.told()).status == 200
        assert await gone.is_closed()
    assert len(server.server_state.connections) == 3


@pytest.mark.parametrize("key", ["nobody", KEY])
async def test_of_too_many_connections_those_whose_body_does_not_come_make_room(listening: Listening, key: str) -> None:
    """If none is idle: the longest awaited first, whether its request has been refused or is being read."""
    _, server, connect = await listening(connections_max=2)
    head = f"POST /v1/workflows HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\nX-Api-Key: {key}\r\n\r\n".encode()
    first, second = await connect(), await connect()

    def has_unread(number: int) -> bool:
        return len(server.door.unread) == number

    for number, peer in enumerate((first, second), 1):
        peer.send(head)
        await eventually(partial(has_unread, number))
    latest = await connect()
    latest.send(LIVE)
    assert (await latest.told()).status == 200
    assert await first.is_closed()
    second.send(b"[1, 2, 3]")
    assert (await second.told()).status == (400 if key == KEY else 401)
    assert not server.door.unread


async def test_when_all_connections_are_busy_another_is_told_so(listening: Listening) -> None:
    """503 in our envelope; as soon as one is free again, there is room."""
    api, _, connect = await listening(connections_max=1)
    workflow_id = await api.workflow({"StartAt": "S", "States": {"S": {"Type": "Wait", "Seconds": 60, "End": True}}})
    run = await api.trigger(workflow_id)
    body = b'{"payload": {"source": "SAP"}}'
    line = f"POST {PROCESS}/resumeWorkflow/{run} HTTP/1.1\r\nHost: a\r\nX-Api-Key: {KEY}\r\n"
    busy = await connect()
    busy.send(line.encode() + b"Content-Length: %d\r\n\r\n" % len(body) + body)
    await eventually(lambda: api.engine.node.metrics._holding)
    with structlog.testing.capture_logs() as logs:
        for _ in range(3):
            told = await (await connect()).told()
            assert (told.status, told.body["error"]["code"]) == (503, "UNAVAILABLE")
            assert told.headers["retry-after"]
    assert [line["event"] for line in logs].count("too_many_connections") == 1
    await api.push(60_000)
    assert (await busy.told()).status == 409
    again = await connect()
    again.send(LIVE)
    assert (await again.told()).status == 200


async def test_calls_that_are_held_leave_connections_to_others(listening: Listening) -> None:
    """Half of the connections are held at most, half of those for one workspace; another call is told so at once."""
    api, _, connect = await listening(connections_max=8)
    workflow_id = await api.workflow({"StartAt": "S", "States": {"S": {"Type": "Wait", "Seconds": 60, "End": True}}})
    run = await api.trigger(workflow_id)
    key = f"Host: a\r\nX-Api-Key: {KEY}\r\n"
    polls = f"GET /v1/executions/{run}/events?after=2&wait=30 HTTP/1.1\r\n{key}\r\n".encode()
    body = '{"payload": {"source": "SAP"}}'
    resumes = f"POST {PROCESS}/resumeWorkflow/{run} HTTP/1.1\r\n{key}Content-Length: {len(body)}\r\n\r\n{body}".encode()
    for _ in range(2):
        (await connect()).send(polls)
    await eventually(lambda: api.engine.node.holds._counts.total() == 2)
    refused = await connect()
    for call, status, code in ((polls, 503, "UNAVAILABLE"), (resumes, 409, "NOT_WAITING")):
        refused.send(call)
        told = await refused.told()
        assert (told.status, told.body["error"]["code"]) == (status, code)
        assert told.headers["retry-after"]
    assert api.engine.node.holds.most == 4
    await api.push(60_000)
    await eventually(lambda: not api.engine.node.holds._counts)


async def test_a_burst_of_connections_takes_no_more_files_than_are_kept_back(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are accepted some at a time, so that those that are too many are closed before the next come in."""
    counts: list[int] = []
    enter = connections.Door.enter

    def entered(door: connections.Door, connection: Any, count: int) -> Any:
        counts.append(count)
        return enter(door, connection, count)

    monkeypatch.setattr(connections.Door, "enter", entered)
    listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
    burst = [socket.create_connection(listener.getsockname()) for _ in range(400)]
    server = Server(api.engine, Settings(connections_max=10))
    serving = asyncio.create_task(server.serve([listener]))
    await eventually(lambda: len(counts) == 400)
    server.stop()
    await serving
    for each in burst:
        each.close()
    assert max(counts) <= 10 + KEPT_BACK


def test_files_are_kept_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the system allows is raised if need be, and some is left for the database and the steps."""
    limits = [(1024, 4096)]
    monkeypatch.setattr(resource, "getrlimit", lambda _: limits[-1])
    monkeypatch.setattr(resource, "setrlimit", lambda _, wanted: limits.append(wanted))
    assert connections_max(500) == 500
    assert connections_max(1000) == 1000
    assert limits[1:] == [(1000 + KEPT_BACK, 4096)]
    with structlog.testing.capture_logs() as logs:
        assert connections_max(5000) == 4096 - KEPT_BACK
    assert [line["event"] for line in logs] == ["fewer_connections"]


async def test_errors_to_accept_are_logged_once_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    """The loop tells thousands of them when it has no file left; others it tells as ever."""
    now = 0.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    handler, loop = AcceptErrors(), asyncio.get_running_loop()
    others: list[Any] = []
    monkeypatch.setattr(loop, "default_exception_handler", others.append)
    with structlog.testing.capture_logs() as logs:
        for now in (1.0, 1.1, 1.9, 2.0, 2.5):  # noqa: B007 the clock
            handler(loop, {"message": "socket.accept() out of system resource", "exception": OSError(24, "Too many")})
        handler(loop, {"message": "Task exception was never retrieved"})
    assert [line["event"] for line in logs] == ["accept_failed"] * 2
    assert len(others) == 1


# --- stopping ----------------------------------------------------------------------------------------------------


async def test_what_is_under_way_when_the_server_stops_is_answered(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """503 in the dialect's envelope, with an id and when to come again; whoever still sends a body is among them."""
    monkeypatch.setattr("perdure.api.server.ANSWERING_S", 0.05)
    listener = socket.create_server(("127.0.0.1", 0))
    server = Server(api.engine, Settings())
    serving = asyncio.create_task(server.serve([listener]))
    await eventually(lambda: server.started)
    workflow_id = await api.workflow()
    peers = []
    for path in (f"{PROCESS}/triggerworkflow/{workflow_id}", "/v1/workflows"):
        peer = Peer(*await asyncio.open_connection(*listener.getsockname()))
        head = (
            f"POST {path} HTTP/1.1\r\nHost: a\r\nX-Api-Key: {KEY}\r\nX-Request-Id: mine\r\nContent-Length: 9\r\n\r\n{{"
        )
        peer.send(head.encode())
        peers.append(peer)
    await eventually(lambda: len(server.server_state.tasks) == 2)
    server.stop()
    told = [await peer.told() for peer in peers]
    await serving
    for each in told:
        assert (each.status, each.body["error"]["code"]) == (503, "UNAVAILABLE")
        assert (each.headers["x-request-id"], each.headers["retry-after"]) == ("mine", "1")
        assert each.headers["connection"] == "close"
    assert set(told[0].body) == {"message", "error"}
    assert told[1].body["success"] is False
    for peer in peers:
        peer.close()
