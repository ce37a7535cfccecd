"""`AsyncClient`: the same calls, awaited, over aiohttp."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Callable
from typing import Any, Self, TypeVar

import aiohttp
from yarl import URL

from perdure.api.client.addresses import proxy_of
from perdure.api.client.calls import Awaiting, Call
from perdure.api.client.errors import ClientError, NoAnswer, StrangeAnswer, Unreachable
from perdure.api.client.exchange import ANSWER_BYTES_MAX, Outside, Pause, Retries, WireRequest, WireResponse, exchange
from perdure.api.client.operations import CONNECT_TIMEOUT_S, IDLE_MAX_S, TIMEOUT_S, Operations

T = TypeVar("T")


class AsyncClient(Operations, Awaiting):
    """A server, asked by the tasks of one event loop; its methods are those of `Client`, awaited.

    Arguments and errors are those of `Client`. `connections_max`: so many calls are under way at once, and others wait
    for their turn, within their time-out.
    """

    def __init__(
        self,
        base_url: str,
        api_key: str,
        *,
        timeout_s: float = TIMEOUT_S,
        retries: Retries | None = None,
        tls: ssl.SSLContext | None = None,
        connections_max: int = 100,
        outside: Outside | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        super().__init__(base_url, api_key, timeout_s=timeout_s, retries=retries, outside=outside)
        self._sleep = sleep
        self._tls = tls
        self._proxy = proxy_of(self._address)
        self._connections_max = connections_max
        self._opened: aiohttp.ClientSession | None = None

    async def perform(self, call: Call[T]) -> T:
        steps = exchange(call, self._settings)
        try:
            step = next(steps)
            while True:
                if isinstance(step, Pause):
                    await self._sleep(step.seconds)
                    step = steps.send(None)
                    continue
                try:
                    answer = await self._send(step)
                except ClientError as error:
                    step = steps.throw(error)
                else:
                    step = steps.send(answer)
        except StopIteration as done:
            result: T = done.value
            return result

    async def close(self) -> None:
        """End all connections; a call afterwards opens new ones."""
        if self._opened is not None:
            opened, self._opened = self._opened, None
            await opened.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    @property
    def _session(self) -> aiohttp.ClientSession:
        if self._opened is None:
            self._opened = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(
                    limit=self._connections_max, keepalive_timeout=IDLE_MAX_S, ssl=self._tls or True
                ),
                cookie_jar=aiohttp.DummyCookieJar(),
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_TIMEOUT_S),
            )
            self._opened._retry_connection = False  # noqa: SLF001 what is repeated, and when, is decided in `exchange`
        return self._opened

    async def _send(self, request: WireRequest) -> WireResponse:
        url = URL(f"{self._address}{request.target}", encoded=True)
        asked: dict[str, Any] = {"data": request.body, "headers": request.headers, "allow_redirects": False}
        if self._proxy is not None:
            asked["proxy"] = str(self._proxy.address)
            if self._address.scheme == "https":
                asked["proxy_headers"] = self._proxy.headers
            else:
                asked["headers"] = {**request.headers, **self._proxy.headers}
        try:
            async with (
                asyncio.timeout(request.timeout_s),
                self._session.request(request.method, url, **asked) as response,
            ):
                body = await _whole(response)
                return WireResponse(
                    response.status, {name.lower(): value for name, value in response.headers.items()}, body
                )
        except aiohttp.ClientConnectorCertificateError as error:
            raise Unreachable(f"{self._address} cannot be reached: {error}", retryable=False) from None
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
            raise Unreachable(f"{self._address} cannot be reached: {error}") from None
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise NoAnswer(f"{self._address} did not answer ({_why(error)})") from None


def _why(error: Exception) -> str:
    """What was the matter; not all of the error, which may know the headers that were sent, and the URL."""
    said = error.message if isinstance(error, aiohttp.ClientResponseError) else str(error)
    return f"{type(error).__name__}({said!r})"


async def _whole(response: aiohttp.ClientResponse) -> bytes:
    pieces: list[bytes] = []
    length = 0
    async for piece in response.content.iter_any():
        pieces.append(piece)
        length += len(piece)
        if length > ANSWER_BYTES_MAX:
            raise StrangeAnswer(f"the answer is longer than {ANSWER_BYTES_MAX} bytes", response.status)
    return b"".join(pieces)
