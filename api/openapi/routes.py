"""`GET /openapi.json`, its parts, and `GET /docs`, the page that shows it. All are open to everybody."""

from __future__ import annotations

import hashlib
import re
from base64 import b64encode
from collections.abc import Mapping, Sequence
from functools import cache, partial
from importlib import resources
from typing import Any, Final

import msgspec

from perdure.api.dialects.root import DOCUMENTATION, ROOT
from perdure.api.http.json_body import JSON
from perdure.api.http.routing import Reply, Route, RouteCall
from perdure.api.openapi.document import document
from perdure.engine.errors import NotFound
from perdure.engine.shown import shown
from perdure.engine.suggestions import did_you_mean

HTML: Final = "text/html"

_INLINE = re.compile(r"<(?P<kind>script|style)>(?P<text>.*?)</(?P=kind)>", re.DOTALL)


def routes(others: Sequence[Route]) -> Sequence[Route]:
    """The routes that serve the document of the others, and of themselves; whole, and dialect by dialect."""

    @cache
    def encoded(sources: str, name: str | None = None) -> bytes:
        of = None if name is None else by_name[name]
        return msgspec.json.encode(document([*others, *own], sources.split(","), of))

    async def openapi(call: RouteCall[Any, Any]) -> Reply:
        """This document, in OpenAPI 3.1."""
        return _sent(encoded(call.settings.resume_sources))

    async def openapi_of_dialect(call: RouteCall[Any, Any]) -> Reply:
        """The part of this document that is about one API, with all that it refers to and nothing else."""
        name = call.path["dialect"]
        if name not in by_name:
            known = ", ".join(by_name)
            message = f"dialect: {shown(name)} is none of them: {known}.{did_you_mean(name, by_name)}"
            raise NotFound(message, {"field": "dialect"})
        return _sent(encoded(call.settings.resume_sources, name))

    route = partial(Route, dialect=ROOT, tag=DOCUMENTATION, method="GET")
    own = (
        route(path="/openapi.json", handler=openapi, answer=dict[str, Any]),
        route(
            path="/openapi/{dialect}.json",
            handler=openapi_of_dialect,
            answer=dict[str, Any],
            refusals=frozenset({"NOT_FOUND"}),
        ),
        route(path="/docs", handler=docs, answer=str, media_type=HTML),
    )
    by_name = {each.dialect.name: each.dialect for each in [*others, *own]}
    return own


def _sent(encoded: bytes) -> Reply:
    return Reply(encoded, headers={"Content-Type": JSON, "Cache-Control": "no-cache"})


async def docs(_call: RouteCall[Any, Any]) -> Reply:
    """This document as a page. It asks nobody but this server for anything."""
    page, headers = _page()
    return Reply(page, headers=headers)


@cache
def _page() -> tuple[bytes, Mapping[str, str]]:
    """The page, and headers that let only its own script and style run, by their digests."""
    page = resources.files("perdure.api.openapi").joinpath("docs.html").read_text("utf-8")
    digests: dict[str, list[str]] = {"script": [], "style": []}
    for inline in _INLINE.finditer(page):
        digest = b64encode(hashlib.sha256(inline["text"].encode()).digest()).decode()
        digests[inline["kind"]].append(f"'sha256-{digest}'")
    policy = (
        f"default-src 'none'; script-src {' '.join(digests['script'])}; style-src {' '.join(digests['style'])}; "
        "connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    return page.encode(), {
        "Content-Type": f"{HTML}; charset=utf-8",
        "Content-Security-Policy": policy,
        "Referrer-Policy": "no-referrer",
        "Cache-Control": "no-cache",
    }
