"""Connections: HTTP/1.1 as it comes from sockets, with deadlines and a limit, and every refusal in our envelope.

uvicorn's protocol over httptools does the work. Here stand what it leaves open: what no request can be made of is
answered like any other request, in its turn, and the connection closed, so that what follows is never read as a request
of its own (RFC 9112, section 11.2); and who sends nothing, or reads nothing, is not waited for.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from typing import Any, Final, cast

import httptools
import structlog
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from perdure.api.http.problems import HeadersTooLarge, RequestTooSlow
from perdure.engine.errors import Invalid, PerdureError, Unavailable

_log = structlog.get_logger("perdure.connections")

HEAD_BYTES_MAX: Final = 64 * 1024
"""A request's line and headers may have so many bytes, and so may what frames a body (lengths and trailers)."""

_AROUND: Final = len(": \r\n")

READING_S: Final = 30.0
"""Who does not take an answer for so long is cut off."""

_HEAD: Final = "head"
_BODY: Final = "body"
_NOTHING: Final = ""


class Door:
    """What the connections of a server share: how many there may be, how long they may take, and who is idle."""

    def __init__(self, connections_max: int, receive_timeout_s: float, refuse: ASGIApp) -> None:
        self.connections_max = connections_max
        self.seconds: Mapping[str, float] = {_HEAD: receive_timeout_s, _BODY: receive_timeout_s}
        self.refuse = refuse
        self.idle: dict[HttpConnection, None] = {}
        self.unread: dict[HttpConnection, None] = {}
        self._told_at = float("-inf")

    def enter(self, connection: HttpConnection, count: int) -> None:
        """Let a connection in. Of too many the one that has been idle longest goes.

        If none is idle, it is the one whose body has been awaited longest; if there is none, this one.
        """
        if count > self.connections_max:
            self._tell(count)
            longest = next(iter(self.idle), None) or next(iter(self.unread), None)
            if longest is None:
                connection.refuse(Unavailable("there are too many connections; repeat the call later"))
                return
            self.forget(longest)
            longest.transport.close()
        self.idle[connection] = None

    def forget(self, connection: HttpConnection) -> None:
        """Hold a connection for neither idle nor unread."""
        self.idle.pop(connection, None)
        self.unread.pop(connection, None)

    def _tell(self, count: int) -> None:
        now = time.monotonic()
        if now - self._told_at >= 1:
            self._told_at = now
            _log.warning("too_many_connections", connections=count, limit=self.connections_max)


class HttpConnection(HttpToolsProtocol):
    """One connection. It is idle while no whole head of a request has come that is not answered yet."""

    def __init__(self, door: Door, **given: Any) -> None:
        super().__init__(**given)
        self._parser: Any = self.parser
        self._door = door
        self._phase = _HEAD
        self._count = 0
        self._head_bytes = 0
        self._unused_bytes = 0
        self._hosts = 0
        self._timed: tuple[int, str] | None = None
        self._deadline: asyncio.TimerHandle | None = None
        self._reading: asyncio.TimerHandle | None = None
        self._problem: PerdureError | None = None
        self._is_over = False

    # --- life ----------------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._door.enter(self, len(self.connections))
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        self._is_over = True
        self._door.forget(self)
        for timer in (self._deadline, self._reading):
            if timer is not None:
                timer.cancel()
        super().connection_lost(exc)
        del self._parser  # it holds this connection, too

    def pause_writing(self) -> None:
        super().pause_writing()
        self._reading = self.loop.call_later(READING_S, self.transport.abort)

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._reading is not None:
            self._reading.cancel()

    # --- reading -------------------------------------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        if self._is_over:
            return
        self._unused_bytes += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:  # answered as if it had not asked; what follows is no HTTP of ours
            self._is_over = True
            self.cycle.keep_alive = False
        except httptools.HttpParserError as error:
            self._break(self._problem or Invalid(f"this is no HTTP: {_said(error)}"))
        else:
            if self._phase != _NOTHING and self._unused_bytes > HEAD_BYTES_MAX:
                self._break(_too_long())
        self._watch()

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._unset_keepalive_if_required()
        self._phase = _HEAD
        self._count += 1
        self._head_bytes = self._unused_bytes = self._hosts = 0

    def on_url(self, url: bytes) -> None:
        super().on_url(url)
        self._head_bytes += len(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._phase != _HEAD:  # a trailer, of which nobody asked for any
            return
        self._head_bytes += len(name) + len(value) + _AROUND
        super().on_header(name, value)
        if self.headers[-1][0] == b"host":
            self._hosts += 1

    def on_headers_complete(self) -> None:
        self._problem = _too_long() if self._head_bytes > HEAD_BYTES_MAX else self._framing()
        if self._problem is not None:
            raise self._problem
        super().on_headers_complete()
        self._door.idle.pop(self, None)
        self._phase = _BODY
        self._door.unread[self] = None

    def _framing(self) -> PerdureError | None:
        """What is wrong with a head that the parser let pass (RFC 9112, sections 3.2 and 6)."""
        version = self._parser.get_http_version()
        if version not in ("1.0", "1.1"):
            return Invalid(f"HTTP/{version} is not spoken here; send HTTP/1.1")
        if self._hosts != 1 and (version == "1.1" or self._hosts):
            return Invalid("Host: it must be there, and once")
        codings = [value.lower() for name, value in self.headers if name == b"transfer-encoding"]
        if codings and (version == "1.0" or codings != [b"chunked"]):
            return Invalid("Transfer-Encoding: only chunked is accepted, in HTTP/1.1")
        lengths = [value for name, value in self.headers if name == b"content-length"]
        if self._parser.should_upgrade() and (codings or lengths not in ([], [b"0"])):
            return Invalid("Upgrade: there is nothing to upgrade to; send the request without it")
        return None

    def on_body(self, body: bytes) -> None:
        self._unused_bytes = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        super().on_message_complete()
        self._phase = _NOTHING
        self._door.unread.pop(self, None)

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if not self.transport.is_closing() and self.cycle.response_complete:
            self._door.idle[self] = None

    # --- deadlines -----------------------------------------------------------------------------------------------

    def _watch(self) -> None:
        """Count the time from when this part of this request was begun."""
        timed = (self._count, _NOTHING if self._is_over else self._phase)
        if timed == self._timed:
            return
        self._timed = timed
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
        seconds = self._door.seconds.get(timed[1])
        if seconds is not None:
            self._deadline = self.loop.call_later(seconds, self._late, f"it did not come within {seconds:g} s")

    def _late(self, problem: str) -> None:
        if not self._count:  # nothing was asked
            self.transport.close()
        else:
            self._break(RequestTooSlow(f"the {self._phase} of the request: {problem}"))

    # --- refusing ------------------------------------------------------------------------------------------------

    def _break(self, problem: PerdureError) -> None:
        """Whoever reads the body of a request is told that it does not come; without a request one is made up."""
        if self._phase != _BODY:
            self.refuse(problem)
            return
        self._is_over = True
        if self.cycle.response_complete:
            self.transport.close()
            return
        cast("Scope", self.cycle.scope)["state"]["broken"] = problem
        self.cycle.more_body = self.cycle.keep_alive = False
        self.cycle.message_event.set()

    def refuse(self, problem: PerdureError) -> None:
        """Answer what no request can be made of, after all that came before it, and read nothing more."""
        self._is_over = True
        self._unset_keepalive_if_required()
        self._door.idle.pop(self, None)
        before: RequestResponseCycle | None = self.cycle
        self.cycle = self._made_up(problem)
        if before is None or before.response_complete:
            self._start_asgi_task(self.cycle, cast("Any", self._door.refuse))
        else:
            self.pipeline.appendleft((self.cycle, cast("Any", self._door.refuse)))

    def _made_up(self, problem: PerdureError) -> RequestResponseCycle:
        if not self._count:
            self.on_message_begin()
        path = self.url.decode("ascii", "replace").partition("?")[0]
        scope = {**self.scope, "method": "-", "path": path if path.startswith("/") else "/", "query_string": b""}
        scope["state"] = {"broken": problem}
        cycle = RequestResponseCycle(
            scope=cast("Any", scope),
            transport=self.transport,
            flow=self.flow,
            logger=self.logger,
            access_logger=self.access_logger,
            access_log=False,
            default_headers=self.server_state.default_headers,
            message_event=asyncio.Event(),
            expect_100_continue=False,
            keep_alive=False,
            on_response=self.on_response_complete,
        )
        cycle.more_body = False
        return cycle


async def refuse(scope: Scope, receive: Receive, send: Send) -> None:
    """The application that answers what no request could be made of."""
    del receive, send
    raise scope["state"]["broken"]


def _too_long() -> HeadersTooLarge:
    return HeadersTooLarge(f"the headers are longer than {HEAD_BYTES_MAX} bytes, which is the most")


def _said(error: Exception) -> str:
    """What the parser says; of an error in a callback, that the target is none, which is all that can fail there."""
    if isinstance(error, httptools.HttpParserCallbackError):
        return "the target of the request is no path"
    return str(error)[:1].lower() + str(error)[1:]
