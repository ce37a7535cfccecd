"""What the resource API's answers have in common: their envelope, and where a page stands."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from perdure.api.http.routing import Reply

NO_HEADERS: Final[Mapping[str, str]] = {}


def data(
    value: Any,
    *,
    status: int = 200,
    meta: Mapping[str, Any] | None = None,
    headers: Mapping[str, str] = NO_HEADERS,
    position: int | None = None,
) -> Reply:
    """A success: `{"success": true, "data", "meta"?}`."""
    body = {"success": True, "data": value}
    return Reply(body if meta is None else {**body, "meta": meta}, status, headers, position)


def page_meta(limit: int, *, has_more: bool, last: Any) -> dict[str, Any]:
    """Where a page stands whose position is the id of its last item."""
    return {"limit": limit, "has_more": has_more, "after": last if has_more else None}
