"""Middleware for every request: request id, log line, the rest of the body, and a canonical path."""

from __future__ import annotations

import asyncio
import re
import time
import uuid
from typing import Any, Final
from urllib.parse import quote, unquote_to_bytes

import structlog
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from perdure.api.http.dialect import Dialects
from perdure.api.http.headers import REQUEST_ID, request_id
from perdure.api.http.metrics import HttpMetrics
from perdure.api.http.problems import refusal
from perdure.engine.errors import Unavailable
from perdure.engine.runtime.telemetry.request_context import bind_request

_log = structlog.get_logger("perdure.request")

ANSWER_HEADERS: Final = (("Cache-Control", "no-store"), ("X-Content-Type-Options", "nosniff"))
"""Of every answer that says nothing else: it is for who asked, and it is what its type says."""

STOPPING: Final = "the server stops before this is done; whether it is done all the same is not known: repeat the call"

DROPPED_MAX: Final = 16 * 1024 * 1024
DROPPING_S: Final = 5.0
PATH_SHOWN_MAX: Final = 128
SEGMENTS_SHOWN: Final = 4
"""Of a path that is none of ours the beginning is logged; what may be a process id stands behind that."""

_PLAIN_PATH = re.compile(rb"[A-Za-z0-9._~/-]*")


class RequestLog:
    """Names each request (`X-Request-Id`), and logs and counts it when it has been answered.

    The line names the route and never the path, and has no bodies, queries or keys. What the request turns out to be
    about is bound to it and to all other lines of the request, as `execution_id` and `process_id`: a process id is the
    caller's data, and stands in that field and nowhere else, so that whoever must forget it can drop the field.
    Handlers tell the actor in `scope["state"]`, and under `answer_headers` what the answer must carry however it comes
    out. A request that is cancelled (by a server that stops) is answered, too.
    """

    def __init__(self, app: ASGIApp, dialects: Dialects, metrics: HttpMetrics | None = None) -> None:
        self._app = app
        self._dialects = dialects
        self._metrics = metrics or HttpMetrics()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = time.perf_counter()
        dialect = self._dialects.of(scope["path"])
        names = (REQUEST_ID, *dialect.request_id_headers)
        name = request_id(Headers(scope=scope), names) or str(uuid.uuid4())
        state = scope.setdefault("state", {})
        status = 0

        async def send_named(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                for header, value in (*((header, name) for header in names), *state.get("answer_headers", {}).items()):
                    headers[header] = value
                for header, value in ANSWER_HEADERS:
                    headers.setdefault(header, value)
            await send(message)

        with bind_request(name):
            try:
                await self._app(scope, receive, send_named)
            except asyncio.CancelledError:
                if status:  # half an answer is out: the connection is cut
                    raise
                await refusal(dialect, Unavailable(STOPPING), state=state)(scope, receive, send_named)
            except Exception as error:
                if status:
                    raise
                await refusal(dialect, error, state=state)(scope, receive, send_named)
            finally:
                seconds = time.perf_counter() - started
                self._metrics.answered(dialect.name, scope["method"], state, status, seconds)
                _log.info("request", **_described(scope, state), status=status, duration_ms=round(seconds * 1000, 1))


def _described(scope: Scope, state: dict[str, Any]) -> dict[str, Any]:
    described = {"method": scope["method"]}
    if "route" in state:
        described["route"] = state["route"]
    else:
        start = "/".join(scope["path"].split("/")[:SEGMENTS_SHOWN])
        described["path"] = start[:PATH_SHOWN_MAX]
    if "actor" in state:
        described["actor"] = state["actor"]
    return described


class DropRest:
    """Drops what is left of a body before the answer, so that a caller who is still sending can read it.

    Bounded in bytes and time; then the connection is closed after the answer. A caller that waits for `100 Continue`
    has sent nothing, and need not.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        has_body = headers.get("content-length", "0") != "0" or "transfer-encoding" in headers
        is_read, is_sending = not has_body, "expect" not in headers

        async def receive_noting() -> Message:
            nonlocal is_read, is_sending
            is_sending = True
            message = await receive()
            is_read = is_read or not message.get("more_body", False)
            return message

        async def send_after_body(message: Message) -> None:
            nonlocal is_read
            if message["type"] == "http.response.start" and is_sending and not is_read:
                is_read = True
                if not await _drop(receive):
                    MutableHeaders(scope=message)["Connection"] = "close"
            await send(message)

        await self._app(scope, receive_noting, send_after_body)


async def _drop(receive: Receive) -> bool:
    """Read to the end of the body; whether it came."""
    dropped = 0
    try:
        async with asyncio.timeout(DROPPING_S):
            while dropped <= DROPPED_MAX:
                message = await receive()
                if not message.get("more_body", False):
                    return True
                dropped += len(message.get("body", b""))
    except TimeoutError:
        pass
    return False


class RawPath:
    """Routes by the path as it was sent, so that `%2F` in a process id is no slash.

    Each segment is brought to one spelling (everything but unreserved characters percent-encoded); whoever handles the
    request decodes what stands in it.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            raw: bytes = scope.get("raw_path") or quote(scope["path"]).encode()
            scope = {**scope, "path": canonical_path(raw)}
        await self._app(scope, receive, send)


def canonical_path(raw: bytes) -> str:
    """A path with one spelling for each of its segments."""
    raw = raw.partition(b"?")[0]
    if _PLAIN_PATH.fullmatch(raw):
        return raw.decode("ascii")
    return "/".join(quote(unquote_to_bytes(segment), safe="") for segment in raw.split(b"/"))
