"""Work on large definitions, seconds for one of 1 MiB: a thread of its own does it, and the loop goes on."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, TypeVar

T = TypeVar("T")

IN_LOOP_MAX: Final = 8192
"""Characters of a definition that is looked at where it is asked for: some 20 ms of work at most."""

_APART: Final = ThreadPoolExecutor(1, thread_name_prefix="perdure-definitions")
"""One: whoever sends many large definitions holds up nobody but others who do."""


async def apart_if_bulky(size: int, work: Callable[..., T], *arguments: Any) -> T:
    """What `work` gives for these arguments, which nobody else may change meanwhile; `size` is of the definition."""
    if size <= IN_LOOP_MAX:
        return work(*arguments)
    return await asyncio.get_running_loop().run_in_executor(_APART, work, *arguments)
