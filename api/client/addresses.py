"""Addresses of servers, and the proxies that the environment defines for them."""

from __future__ import annotations

import os
from base64 import b64encode
from typing import Final, NamedTuple
from urllib.parse import unquote, urlsplit

PORTS: Final = {"http": 80, "https": 443}


class Address(NamedTuple):
    """An address of a server. `path` is what its paths stand behind, and does not end with a slash."""

    scheme: str
    host: str
    port: int
    path: str = ""

    @property
    def netloc(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == PORTS[self.scheme] else f"{host}:{self.port}"

    def __str__(self) -> str:
        return f"{self.scheme}://{self.netloc}{self.path}"


class Proxy(NamedTuple):
    """A proxy, and the header that opens it."""

    address: Address
    headers: dict[str, str]

    def __repr__(self) -> str:
        return f"Proxy({str(self.address)!r})"


def parse(url: str) -> Address:
    """An address out of a URL. Raises `ValueError`."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        parts, port = urlsplit(""), None
    is_plain = url.isascii() and url.isprintable() and " " not in url
    if parts.scheme not in PORTS or not parts.hostname or "@" in parts.netloc or not is_plain:
        raise ValueError(f"{url!r} is no address of a server, such as http://127.0.0.1:8080")
    if parts.query or parts.fragment:
        raise ValueError(f"{url!r} is no address of a server: it has a query or a fragment")
    return Address(parts.scheme, parts.hostname, port or PORTS[parts.scheme], parts.path.rstrip("/"))


def proxy_of(address: Address) -> Proxy | None:
    """The proxy that `http_proxy`, `https_proxy` and `no_proxy` name for an address, if they do."""
    if not any(name.lower().endswith("_proxy") for name in os.environ):
        return None
    from urllib.request import getproxies, proxy_bypass  # noqa: PLC0415 as slow as all the rest, and rarely needed

    found = getproxies().get(address.scheme)
    if not found or proxy_bypass(address.host):
        return None
    parts = urlsplit(found if "://" in found else f"http://{found}")
    if parts.hostname is None:
        raise ValueError(f"{address.scheme}_proxy: it is no address of a proxy")
    headers = {}
    if parts.username is not None:
        login = f"{unquote(parts.username)}:{unquote(parts.password or '')}".encode()
        headers["Proxy-Authorization"] = f"Basic {b64encode(login).decode()}"
    return Proxy(Address("http", parts.hostname, parts.port or PORTS["http"]), headers)
