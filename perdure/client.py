"""A client of the HTTP API, blocking and awaited: see `perdure.api.client`, whose names these are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from perdure.api import client
from perdure.api.client import __all__ as __all__  # noqa: PLC0414 type checkers read it so

if TYPE_CHECKING:
    from perdure.api.client import *  # noqa: F403


def __getattr__(name: str) -> Any:
    """Give a name of the client's; one of them is imported late there."""
    return getattr(client, name)
