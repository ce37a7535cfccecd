"""Pages of a list, one request after the other, within limits."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Awaitable, Callable
from typing import Any, Final

from yarl import URL

from perdure.engine.log.codec import encode_json
from perdure.engine.steps.http_messages import (
    INVALID_RESPONSE,
    HttpRequest,
    HttpResponse,
    following,
    result_of,
)
from perdure.engine.steps.http_plans import Pagination
from perdure.engine.steps.registry import StepFailed

ITEMS_SIZE_MAX: Final = 1_048_576
"""Bytes of JSON text that the items of all pages may have."""
CURSOR_MAX: Final = 2_048

_LINK: Final = re.compile(r"<([^<>]*)>([^<]*)")
_REL: Final = re.compile(r';\s*rel\s*=\s*(?:"([^"]*)"|([^\s",;]+))', re.IGNORECASE)


async def all_pages(request: HttpRequest, send: Callable[[HttpRequest], Awaitable[HttpResponse]]) -> dict[str, Any]:
    """Send a request and those for the pages that follow, until there are no more or a limit is reached.

    Gives what `result_of` gives for the last one, with all items as `body`, the number of `pages`, and whether there
    are more (`hasMore`). Addresses and headers are treated as in redirects.

    Raises StepFailed: what `send` raises; `Http.InvalidResponse` where a page is not what `pagination` says;
        `States.DataLimitExceeded`.
    """
    plan = request.pagination
    if plan is None:
        raise ValueError("the request has no pagination")
    items: list[Any] = []
    seen, size, pages = {request.url}, 0, 0
    while True:
        response = await send(request)
        result, pages = result_of(response, is_aws=False, wanted=request.response), pages + 1
        found = _items(result["body"], plan)
        size += len(encode_json(found))
        if size > ITEMS_SIZE_MAX:
            message = f"The items of {pages} pages have more than {ITEMS_SIZE_MAX:,} bytes, the limit."
            raise StepFailed("States.DataLimitExceeded", message)
        items += found
        following_one = _next(request, response, result["body"], plan)
        is_over = len(items) > plan.items_max
        if following_one is None or pages >= plan.pages_max or len(items) >= plan.items_max:
            has_more = is_over or following_one is not None
            return {**result, "body": items[: plan.items_max], "pages": pages, "hasMore": has_more}
        if following_one.url in seen:
            raise StepFailed(INVALID_RESPONSE, f"Page {pages} leads to a page that was read before.")
        seen.add(following_one.url)
        request = following_one


def _items(body: Any, plan: Pagination) -> list[Any]:
    found = _at(body, plan.items)
    if not isinstance(found, list):
        where = f"at {'.'.join(plan.items)}" if plan.items else "as its body (itemsPath says where they are)"
        raise StepFailed(INVALID_RESPONSE, f"A page has no list of items {where}.")
    return found


def _next(request: HttpRequest, response: HttpResponse, body: Any, plan: Pagination) -> HttpRequest | None:
    if not plan.is_cursor:
        location = next_link(response)
        return None if location is None else following(request, location)
    cursor = _at(body, plan.cursor)
    if cursor is None or cursor is False or cursor == "":
        return None
    if isinstance(cursor, bool) or not isinstance(cursor, str | int) or len(str(cursor)) > CURSOR_MAX:
        raise StepFailed(INVALID_RESPONSE, f"The cursor at {'.'.join(plan.cursor)} is no text of a reasonable length.")
    url: URL = request.url.update_query({plan.parameter: str(cursor)})
    return dataclasses.replace(request, url=url)


def next_link(response: HttpResponse) -> str | None:
    """The target of the response's link to the next page (RFC 8288)."""
    for name, value in response.headers:
        if name.lower() == "link":
            for link in _LINK.finditer(value):
                rel = _REL.search(link[2])
                if rel is not None and "next" in (rel[1] or rel[2] or "").lower().split():
                    return link[1]
    return None


def _at(value: Any, path: tuple[str, ...]) -> Any:
    for name in path:
        if isinstance(value, dict):
            value = value.get(name)
        elif isinstance(value, list) and name.isascii() and name.isdecimal() and len(name) <= 9:  # noqa: PLR2004
            value = value[int(name)] if int(name) < len(value) else None
        else:
            return None
    return value
