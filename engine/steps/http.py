"""The HTTP client of `http_request`. It connects to public addresses only, unless configured otherwise."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import socket
from typing import Any, Final

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from perdure.engine.steps.addresses import IpAddress, denial, literal_address
from perdure.engine.steps.http_messages import HttpRequest, HttpResponse, read_request, redirected, result_of
from perdure.engine.steps.http_pages import all_pages
from perdure.engine.steps.http_plans import HostLimits
from perdure.engine.steps.http_pools import Lookups, Pools
from perdure.engine.steps.registry import StepContext, StepFailed
from perdure.engine.steps.values import text_of

ADDRESS_REFUSED: Final = "Http.AddressRefused"
SOCKET: Final = "States.Http.Socket"
TIMEOUT: Final = "States.Timeout"
TOO_LARGE: Final = "States.DataLimitExceeded"

REDIRECTS_MAX: Final = 5
BODY_MAX: Final = 1_048_576
"""Bytes of a response's body, decompressed."""
SHOWN_MAX: Final = 1_024
"""Characters of an error's body that its cause quotes."""

_ERRORS_FROM: Final = 400
_REDIRECTS: Final = frozenset((301, 302, 303, 307, 308))
_NO_TIMEOUT: Final = aiohttp.ClientTimeout(total=None, connect=None, sock_connect=None, sock_read=None)


class HttpClient:
    """Sends requests over connections that it keeps, by workspace and host. Close it when done; then it sends no more.

    Environment proxies, `.netrc` and cookies are ignored: they would mix the process's own rights into a
    user's request.

    `allow_private`: whether loopback, private, link-local and similar addresses may be reached.
    `resolver`: looks up names; by default the system's. It is closed with the client.
    `rates`: holds requests back that have a rate limit.
    """

    def __init__(
        self,
        *,
        allow_private: bool = False,
        resolver: AbstractResolver | None = None,
        rates: HostLimits | None = None,
    ) -> None:
        self._allow_private = allow_private
        self._resolver = resolver
        self._pools = Pools(self._open)
        self._lookups = Lookups()
        self._rates = rates or HostLimits()
        self._is_closed = False

    async def close(self) -> None:
        """Close all connections. Requests that are under way fail."""
        self._is_closed = True
        await self._pools.close()
        self._lookups.close()
        if self._resolver is not None:
            await self._resolver.close()  # a connector closes only one of its own

    async def send(self, request: HttpRequest, workspace: str = "") -> HttpResponse:
        """Send a request and follow redirects. Its time runs from when it is sent, not while it waits for its turn.

        Raises StepFailed: `States.Http.StatusCode.N` for a status from 400, `States.Http.Socket`, `States.Timeout`,
        `States.DataLimitExceeded`, `Http.AddressRefused`, `Http.RateLimited`, and `Http.InvalidInput` for the URL of a
        redirect.
        """
        host = request.url.raw_host
        try:
            return await self._follow(request, workspace)
        except TimeoutError:
            raise StepFailed(TIMEOUT, f"No answer from {host} within {request.timeout_s:g} s.") from None
        except (aiohttp.ClientError, OSError) as error:
            described = _without_secrets(text_of(error), request) or type(error).__name__
            raise StepFailed(SOCKET, f"The exchange with {host} failed: {described}") from error

    async def _follow(self, request: HttpRequest, workspace: str) -> HttpResponse:
        clock = asyncio.get_running_loop().time
        left_s = request.timeout_s
        for _ in range(REDIRECTS_MAX + 1):
            self._check_host(request.url)
            self._check_open()
            if request.rate_limit is not None:
                await self._rates.turn(workspace, request.url.raw_host or "", request.rate_limit)
            async with self._pools.slot(workspace, request.url.raw_host or "") as session:
                self._check_open()
                sent_at = clock()
                async with asyncio.timeout(left_s):
                    answer = await self._exchange(session, request)
                left_s -= clock() - sent_at
            if isinstance(answer, HttpResponse):
                return answer
            request = answer
        raise StepFailed(SOCKET, f"There were more than {REDIRECTS_MAX} redirects.")

    async def _exchange(self, session: aiohttp.ClientSession, request: HttpRequest) -> HttpResponse | HttpRequest:
        """Send one request: gives the response, or the request that it redirects to."""
        async with session.request(
            request.method, request.url, headers=request.headers, data=request.body, allow_redirects=False
        ) as response:
            location = response.headers.get("Location")
            if response.status in _REDIRECTS and location is not None:
                return redirected(request, response.status, location)
            if response.status >= _ERRORS_FROM:
                raise await _status_failure(response, request)
            return _response(response, await _read(response))

    def _open(self) -> aiohttp.ClientSession:
        resolver = self._resolver or self._lookups.share()
        if not self._allow_private:
            resolver = _PublicOnly(resolver)
        connector = aiohttp.TCPConnector(resolver=resolver, socket_factory=self._socket, limit=0)  # `Pools` has limits
        return aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={"User-Agent": "perdure"},
            timeout=_NO_TIMEOUT,  # ours spans redirects
            trust_env=False,
        )

    def _check_open(self) -> None:
        if self._is_closed:
            raise StepFailed(SOCKET, "The HTTP client is closed.")

    def _check_host(self, url: URL) -> None:
        """Refuse an address that stands in the URL itself: aiohttp asks no resolver about it."""
        host = url.raw_host or ""
        try:
            address = literal_address(host)
        except ValueError:
            raise _refused(host, "is an address in a form that is not accepted") from None
        if address is not None and not self._allow_private:
            _check(host, address)

    def _socket(self, info: Any) -> socket.socket:
        """Make the socket for one address. The last look, at what will really be connected to."""
        family, kind, protocol, _, target = info
        if not self._allow_private:
            _check(target[0], ipaddress.ip_address(target[0]))
        return socket.socket(family, kind, protocol)


class _PublicOnly(AbstractResolver):
    """Refuses a name if any of its addresses is not public. aiohttp connects to those that this gave."""

    def __init__(self, inner: AbstractResolver) -> None:
        self._inner = inner

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        found = await self._inner.resolve(host, port, family)
        for result in found:
            _check(host, ipaddress.ip_address(result["host"]))
        return found

    async def close(self) -> None:
        await self._inner.close()


def _check(host: str, address: IpAddress) -> None:
    kind = denial(address)
    if kind is not None:
        named = "is" if host == str(address) else f"is {address}, which is"
        raise _refused(host, f"{named} {kind}")


def _refused(host: str, why: str) -> StepFailed:
    return StepFailed(ADDRESS_REFUSED, f"Host {host} {why}: steps may reach public addresses only.", is_retryable=False)


async def _read(response: aiohttp.ClientResponse) -> bytes:
    body = bytearray()
    async for chunk in response.content.iter_any():
        body += chunk
        if len(body) > BODY_MAX:
            raise StepFailed(TOO_LARGE, f"The response's body has more than {BODY_MAX:,} bytes, the limit.")
    return bytes(body)


async def _status_failure(response: aiohttp.ClientResponse, request: HttpRequest) -> StepFailed:
    """The failure for an error's status, with the beginning of what the server says about it.

    A server may quote the request: what may be secret in that is left out.
    """
    body = bytearray()
    with contextlib.suppress(aiohttp.ClientError, OSError):  # the status is known, whatever becomes of the body
        async for chunk in response.content.iter_any():
            body += chunk
            if len(body) >= 4 * SHOWN_MAX:  # a character has at most four bytes
                break
    answer = _response(response, bytes(body))
    line = f"{answer.status} {answer.reason}".rstrip()
    text = _without_secrets(answer.text(), request)[:SHOWN_MAX]
    told = f"{_without_secrets(line, request)}: {text}" if text else _without_secrets(line, request)
    return StepFailed(f"States.Http.StatusCode.{answer.status}", told)


def _without_secrets(text: str, request: HttpRequest) -> str:
    for secret in request.secrets:
        text = text.replace(secret, "***")
    return text


def _response(response: aiohttp.ClientResponse, body: bytes) -> HttpResponse:
    return HttpResponse(
        status=response.status,
        reason=text_of(response.reason or ""),
        # aiohttp decodes what is no UTF-8 into halves of surrogate pairs, which are no Unicode
        headers=tuple((text_of(name), text_of(value)) for name, value in response.headers.items()),
        body=body,
    )


async def call(client: HttpClient, value: Any, context: StepContext) -> Any:
    """Run the step `http_request`. Raises `StepFailed`."""
    request = read_request(value, context.idempotency_key)
    if request.pagination is not None:
        return await all_pages(request, lambda page: client.send(page, context.workspace_id))
    response = await client.send(request, context.workspace_id)
    return result_of(response, is_aws=request.is_aws, wanted=request.response)
