"""The two ways of paging of the resource API: by number, or by a cursor. A numbered page tells a cursor as well."""

from __future__ import annotations

from typing import Any, NamedTuple

from perdure.engine.core import ids
from perdure.engine.errors import Invalid
from perdure.engine.shown import shown


class PagePlace(NamedTuple):
    """The place of a page: beyond a cursor (empty: the first of those that are asked for so), else by its number."""

    page: int
    cursor: str | None


def page_place(page: int | None, cursor: str | None) -> PagePlace:
    """What a query says of where its page is. Raises `Invalid` if it says two things."""
    if page is not None and cursor is not None:
        raise Invalid(
            "cursor: it cannot be sent together with page; a page has a number or a cursor", {"field": "cursor"}
        )
    return PagePlace(page or 1, cursor)


def page_meta(place: PagePlace, limit: int, next_cursor: str | None, total: int) -> dict[str, Any]:
    """Where a page stands, as it is shown."""
    meta = {"limit": limit, "has_more": next_cursor is not None, "next_cursor": next_cursor}
    return {"page": place.page, "total": total, **meta} if place.cursor is None else meta


def workflow_position(cursor: str) -> bytes:
    """The workflow below which a cursor goes on. Raises `Invalid`."""
    if not ids.is_id(cursor):
        message = f"cursor: {shown(cursor)} is not accepted; it must be `next_cursor` of the `meta` of a page"
        raise Invalid(message, {"field": "cursor"})
    return ids.parse(cursor)


def version_position(cursor: str) -> int:
    """The version below which a cursor goes on. Raises `Invalid`."""
    if not (cursor.isascii() and cursor.isdigit()):
        message = f"cursor: {shown(cursor)} is not accepted; it must be `next_cursor` of the `meta` of a page"
        raise Invalid(message, {"field": "cursor"})
    return int(cursor)
