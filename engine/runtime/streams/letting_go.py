"""Frees wide states in small pieces: to free one at once would block the event loop."""

from __future__ import annotations

import asyncio
from typing import Any, Final

from perdure.engine.core.state import State

WIDE_MIN: Final = 4096
"""A state of fewer places is freed in a moment."""

AT_ONCE: Final = 8
"""So many parts of maps are freed before all else on the loop has its turn; each has some hundred entries."""


def let_go(state: Any) -> None:
    """Free a state that is about to be dropped, in pieces; parts that are in use elsewhere stay."""
    if isinstance(state, State) and max(len(state.frames), len(state.fallen)) >= WIDE_MIN:
        parts = [part for each in (state.frames, state.fallen, state.waits, state.timers) for part in each.parts()]
        asyncio.get_running_loop().call_soon(_free_some, parts)


def _free_some(parts: list[dict[Any, Any]]) -> None:
    del parts[-AT_ONCE:]
    if parts:
        asyncio.get_running_loop().call_soon(_free_some, parts)
