"""What callers sent, as a message shows it to them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec

SHOWN_MAX: Final = 60


def shown(value: Any) -> str:
    """A value as a message shows it: cut, and without control characters."""
    if isinstance(value, Mapping):
        return "an object"
    if isinstance(value, list):
        return "a list"
    text = msgspec.json.encode(value).decode() if not isinstance(value, str) else repr(value)
    return text if len(text) <= SHOWN_MAX else f"{text[:SHOWN_MAX]}…"


def shown_name(name: str) -> str:
    """A name that a caller chose, as a message shows it."""
    name = name if name.isprintable() else repr(name)
    return name if len(name) <= SHOWN_MAX else f"{name[:SHOWN_MAX]}…"
