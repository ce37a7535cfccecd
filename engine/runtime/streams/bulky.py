"""Offloads work on large definitions (seconds for one of 1 MiB) from the event loop to a thread."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, TypeVar

from perdure.engine.fairness import FairThread

T = TypeVar("T")

IN_LOOP_MAX: Final = 8192
"""Characters of a definition that is looked at where it is asked for: some 20 ms of work at most."""

WAITING_MAX: Final = 256

_APART: Final = FairThread("perdure-definitions")


def check_bulky(workspace_id: bytes, size: int) -> None:
    """Raise `RateLimited` if a definition of that size is too many for its workspace; asked before anything is done."""
    if size > IN_LOOP_MAX:
        _APART.check(workspace_id, WAITING_MAX)


async def apart_if_bulky(workspace_id: bytes, size: int, work: Callable[..., T], *arguments: Any) -> T:
    """Call `work`, in a thread if `size`, that of the definition, is large; its arguments must not change then."""
    if size <= IN_LOOP_MAX:
        return work(*arguments)
    return await _APART.do(workspace_id, work, *arguments)
