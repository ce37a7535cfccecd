"""Letting go of wide states by and by: to free a hundred thousand places at once would hold up everybody."""

from __future__ import annotations

import asyncio
from typing import Any, Final

from perdure.engine.core.persistent import PersistentMap

WIDE_MIN: Final = 4096
"""A map of fewer entries is freed in a moment."""

AT_ONCE: Final = 8
"""So many parts of maps are freed before all else on the loop has its turn; each has some hundred entries."""


def let_go(state: Any) -> None:
    """Note that a state is about to be dropped; what of it is in use elsewhere stays as it is."""
    maps = (getattr(state, name, None) for name in ("frames", "waits", "timers"))
    parts = [
        part for each in maps if isinstance(each, PersistentMap) and len(each) >= WIDE_MIN for part in each.parts()
    ]
    if parts:
        asyncio.get_running_loop().call_soon(_free_some, parts)


def _free_some(parts: list[dict[Any, Any]]) -> None:
    del parts[-AT_ONCE:]
    if parts:
        asyncio.get_running_loop().call_soon(_free_some, parts)
