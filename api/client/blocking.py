"""`Client`: calls that wait for their answers, over `http.client`, which is there and quickly imported."""

from __future__ import annotations

import http.client
import io
import selectors
import socket
import ssl
import time
from collections import deque
from collections.abc import Callable
from typing import Any, Final, Self, TypeVar

from perdure.api.client.addresses import Address, Proxy, proxy_of
from perdure.api.client.calls import Blocking, Call
from perdure.api.client.errors import ClientError, NoAnswer, StrangeAnswer, Unreachable
from perdure.api.client.exchange import ANSWER_BYTES_MAX, Outside, Pause, Retries, WireRequest, WireResponse, exchange
from perdure.api.client.operations import CONNECT_TIMEOUT_S, IDLE_MAX_S, TIMEOUT_S, Operations

T = TypeVar("T")

_PIECE: Final = 1024 * 1024


class Client(Operations, Blocking):
    """A server, asked by one thread or by several at once.

    `base_url`: such as http://127.0.0.1:8080. `api_key` belongs to one workspace, and so does all that is asked for.
    `timeout_s`: for all of one try, beside the time that the server is asked to hold a call. `retries`: how often
    what may be repeated is tried (`Retries(attempts_max=1)`: once). `tls`: for https, the system's unless given.
    `outside` and `sleep` are for tests. Raises `ValueError` for an address or a key that is none.

    Connections are kept open and used again; `close`, or leaving the `with` block, ends them.
    """

    def __init__(
        self,
        base_url: str,
        api_key: str,
        *,
        timeout_s: float = TIMEOUT_S,
        retries: Retries | None = None,
        tls: ssl.SSLContext | None = None,
        outside: Outside | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        super().__init__(base_url, api_key, timeout_s=timeout_s, retries=retries, outside=outside)
        self._sleep = sleep
        self._connections = Connections(self._address, tls)

    def perform(self, call: Call[T]) -> T:
        steps = exchange(call, self._settings)
        try:
            step = next(steps)
            while True:
                if isinstance(step, Pause):
                    self._sleep(step.seconds)
                    step = steps.send(None)
                    continue
                try:
                    answer = self._connections.send(step)
                except ClientError as error:
                    step = steps.throw(error)
                else:
                    step = steps.send(answer)
        except StopIteration as done:
            result: T = done.value
            return result

    def close(self) -> None:
        """End all connections that rest; a call afterwards opens new ones."""
        self._connections.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Connections:
    """Connections to one server: a call has one for itself, and gives it back."""

    def __init__(self, address: Address, tls: ssl.SSLContext | None) -> None:
        self._address = address
        self._tls = tls
        self._proxy = proxy_of(address)
        self._idle: deque[tuple[http.client.HTTPConnection, float]] = deque()

    def send(self, request: WireRequest) -> WireResponse:
        """Send a request and read its answer. Raises `Unreachable`, `NoAnswer`, `StrangeAnswer`."""
        until = time.monotonic() + request.timeout_s
        connection = self._rested() or self._connected(min(CONNECT_TIMEOUT_S, request.timeout_s))
        try:
            answer = self._converse(connection, request, lambda: _left(until))
        except (OSError, http.client.HTTPException, ValueError) as error:
            connection.close()
            raise NoAnswer(f"{self._address} did not answer ({error!r})") from None
        except BaseException:  # whatever it is, half an answer must not be the next call's
            connection.close()
            raise
        if connection.sock is not None:  # the answer did not say that it is the last one
            self._idle.append((connection, time.monotonic()))
        return answer

    def close(self) -> None:
        while self._idle:
            self._idle.pop()[0].close()

    def _rested(self) -> http.client.HTTPConnection | None:
        """The connection that was used last, unless it has rested for long or its server has ended it."""
        while self._idle:
            try:
                connection, since = self._idle.pop()
            except IndexError:  # another thread was quicker
                return None
            if time.monotonic() - since <= IDLE_MAX_S and not _has_something_to_read(connection.sock):
                return connection
            connection.close()
        return None

    def _connected(self, timeout_s: float) -> http.client.HTTPConnection:
        connection = _made(self._address, self._proxy, self._tls, timeout_s)
        try:
            connection.connect()
        except ssl.SSLCertVerificationError as error:
            connection.close()
            raise Unreachable(f"{self._address} cannot be reached: {error}", retryable=False) from None
        except (OSError, http.client.HTTPException, ValueError) as error:
            connection.close()
            raise Unreachable(f"{self._address} cannot be reached: {error}") from None
        return connection

    def _converse(
        self, connection: http.client.HTTPConnection, request: WireRequest, left_s: Callable[[], float]
    ) -> WireResponse:
        target, headers = f"{self._address.path}{request.target}", dict(request.headers)
        if self._proxy is not None and self._address.scheme == "http":
            target = f"http://{self._address.netloc}{target}"
            headers |= self._proxy.headers
        connection.sock.settimeout(left_s())
        connection.response_class = lambda sock, **more: http.client.HTTPResponse(_Timed(sock, left_s), **more)  # type: ignore[arg-type,assignment]
        connection.request(request.method, target, request.body, headers)
        with connection.getresponse() as response:
            body = _whole(response)
        return WireResponse(response.status, {name.lower(): value for name, value in response.getheaders()}, body)


def _made(
    address: Address, proxy: Proxy | None, tls: ssl.SSLContext | None, timeout_s: float
) -> http.client.HTTPConnection:
    host, port = (address.host, address.port) if proxy is None else (proxy.address.host, proxy.address.port)
    if address.scheme == "http":
        return http.client.HTTPConnection(host, port, timeout=timeout_s)
    connection = http.client.HTTPSConnection(host, port, timeout=timeout_s, context=tls)
    if proxy is not None:
        connection.set_tunnel(address.host, address.port, proxy.headers)
    return connection


def _whole(response: http.client.HTTPResponse) -> bytes:
    pieces: list[bytes] = []
    while piece := response.read(_PIECE):
        pieces.append(piece)
        if _PIECE * len(pieces) > ANSWER_BYTES_MAX:
            raise StrangeAnswer(f"the answer is longer than {ANSWER_BYTES_MAX} bytes", response.status)
    body = b"".join(pieces)
    if response.length:  # what is still to come will not come: `read` with a size does not say so
        raise http.client.IncompleteRead(body, response.length)
    return body


def _has_something_to_read(sock: socket.socket) -> bool:
    """Whether something comes that nobody has asked for: as a rule the end."""
    with selectors.DefaultSelector() as selector:
        try:
            selector.register(sock, selectors.EVENT_READ)
        except (OSError, ValueError):  # closed here
            return True
        return bool(selector.select(0))


def _left(until: float) -> float:
    left = until - time.monotonic()
    if left <= 0:
        raise TimeoutError("the time is over")
    return left


class _Timed:
    """A socket whose reads all have to end by the same time, however slowly bytes drip in."""

    def __init__(self, sock: socket.socket, left_s: Callable[[], float]) -> None:
        self._sock = sock
        self._left_s = left_s

    def makefile(self, *_: Any, **__: Any) -> io.BufferedReader:
        return io.BufferedReader(_TimedReads(self._sock, self._left_s))


class _TimedReads(io.RawIOBase):
    def __init__(self, sock: socket.socket, left_s: Callable[[], float]) -> None:
        super().__init__()
        self._sock = sock
        self._raw = sock.makefile("rb", buffering=0)
        self._left_s = left_s

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        self._sock.settimeout(self._left_s())
        return self._raw.readinto(buffer)

    def close(self) -> None:
        self._raw.close()
        super().close()
