"""`GET /openapi.json` and `GET /docs`: the document, and the page that shows it. Both are open to everybody."""

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

HTML: Final = "text/html"

_INLINE = re.compile(r"<(?P<kind>script|style)>(?P<text>.*?)</(?P=kind)>", re.DOTALL)


def routes(others: Sequence[Route]) -> Sequence[Route]:
    """The routes that serve the document of the others, and of themselves."""

    @cache
    def encoded(sources: str) -> bytes:
        return msgspec.json.encode(document([*others, *own], sources.split(",")))

    async def openapi(call: RouteCall[Any, Any]) -> Reply:
        """This document, in OpenAPI 3.1."""
        headers = {"Content-Type": JSON, "Cache-Control": "no-cache"}
        return Reply(encoded(call.settings.resume_sources), headers=headers)

    route = partial(Route, dialect=ROOT, tag=DOCUMENTATION, method="GET")
    own = (
        route(path="/openapi.json", handler=openapi, answer=dict[str, Any]),
        route(path="/docs", handler=docs, answer=str, media_type=HTML),
    )
    return own


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
