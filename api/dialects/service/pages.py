"""Pages of the service API: by offset, as far as that goes, or by cursor, which costs the same however far it is."""

from __future__ import annotations

from typing import Any

from perdure.engine.errors import Invalid


def start_of(offset: int | None, cursor: str | None) -> int | None:
    """How many items a page leaves out; null if it goes on from a cursor. Raises `Invalid` if both are given."""
    if cursor is None:
        return offset or 0
    if offset is not None:
        raise Invalid("offset: a page has either offset or cursor; leave one of them out", {"field": "offset"})
    return None


def page_meta(limit: int, offset: int | None, cursor: str | None) -> dict[str, Any]:
    """Where a page stands; `cursor` is of the next one, if there is one."""
    return {"limit": limit, "offset": offset, "has_more": cursor is not None, "cursor": cursor}
