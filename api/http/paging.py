"""Paging: limits, positions and numbers of pages. Positions are ids, so that a page costs the same wherever it is."""

from __future__ import annotations

from typing import Annotated, Any, Final, TypeAlias

import msgspec

from perdure.api.validation import id_of
from perdure.engine.core import ids
from perdure.engine.errors import Invalid
from perdure.engine.shown import shown

LIMIT_DEFAULT: Final = 20

Limit: TypeAlias = Annotated[int, msgspec.Meta(ge=1, le=30)]
"""How many items a page of the process API has."""

WideLimit: TypeAlias = Annotated[int, msgspec.Meta(ge=1, le=100)]
"""The same elsewhere."""

PageNumber: TypeAlias = Annotated[int, msgspec.Meta(ge=1, le=1_000_000)]


def position(name: str, text: str | None) -> bytes | None:
    """The id to go on below. Whether it still exists is of no account. Raises `Invalid` unless it is of version 7."""
    if text is None:
        return None
    value = id_of(name, text)
    if not ids.is_version_7(value):
        raise Invalid(
            f"{name}: {shown(text)} is not accepted; it must be a UUID of version 7, as the page before had it",
            {"field": name},
        )
    return value


def page_of(items: list[Any], last_key: dict[str, Any] | None) -> dict[str, Any]:
    """A page of the process API; `lastKey` is there exactly when another page exists."""
    page = {"message": "success", "count": len(items), "items": items}
    return page if last_key is None else {**page, "lastKey": last_key}
