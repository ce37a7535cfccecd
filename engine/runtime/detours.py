"""Detours: what an order waits for before it can be decided.

Its stream may have to be loaded, its decision may ask for payloads and for the ends of waits, or it may take so long
that it is better made in a thread. The others go on meanwhile. No stream is changed here: each detour gives what it has
found to the processor, which goes on with the order.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from typing import Final

from msgspec.structs import replace

from engine.core import ids
from engine.core.decision import Facts, Need, Outcome
from engine.runtime.hot import HotStream
from engine.runtime.loader import Loader
from engine.runtime.orders import Order

MOVES_APART: Final = 4
"""States that a decision in a thread passes at the most: others wait for the thread, and a node that stops too."""

CHANCES_APART: Final = 100
"""Ids at hand for a decision in a thread, where none can be drawn: more than one of MOVES_APART states needs."""


class Detours:
    """The detours of one processor. All methods are called on its event loop."""

    def __init__(self, loader: Loader, new_id: Callable[[], bytes], random: Callable[[int], bytes]) -> None:
        self._loader = loader
        self._new_id = new_id
        self._random = random
        self._loading: dict[bytes, list[Order]] = {}
        self.waiting = 0
        """How many orders wait for their streams."""
        self._thread: Final = ThreadPoolExecutor(1, thread_name_prefix="perdure-apart")

    @property
    def is_loading(self) -> bool:
        return bool(self._loading)

    @property
    def orders(self) -> Iterator[Order]:
        """The orders whose streams are being loaded."""
        return chain.from_iterable(self._loading.values())

    def want(self, order: Order) -> bool:
        """Queue an order behind the loading of its stream; whether it takes a call of `load` to begin it.

        All streams that are wanted in one go are read together, by one call.
        """
        self.waiting += 1
        waiting = self._loading.get(order.stream_id)
        if waiting is not None:
            waiting.append(order)
            return False
        is_first = not self._loader.is_collecting
        self._loading[order.stream_id] = [order]
        self._loader.want(order.stream_id)
        return is_first

    async def load(self) -> AsyncIterator[tuple[HotStream | Exception | None, list[Order]]]:
        """Load what is wanted: each stream, null if there is none, or why it cannot be read; and who waited for it."""
        async for found in self._loader.load():
            for stream_id, result in found.items():
                orders = self._loading.pop(stream_id, [])
                self.waiting -= len(orders)
                yield result, orders

    async def fetch(self, hot: HotStream, order: Order, need: Need) -> None:
        """Load what a decision asked for, so that it can be made again with all else the same.

        Raises `StoreError`, and whatever payloads and rows that do not hold are read with.
        """
        is_in_flight = hot.batch is not None
        payloads = await self._loader.payloads(hot.stream_id, need.seqs)
        waits = await self._loader.wait_outcomes(hot.stream_id, need.waits)
        hot.payloads.update(payloads)
        # A wait that is open on disk and unknown to the state: its end is on its way to the disk, so look again. With
        # nothing on the way the two will never agree, and it is none of the execution's waits.
        unknown = {} if is_in_flight else dict.fromkeys(need.waits)
        order.known_waits = {**order.known_waits, **unknown, **waits}

    async def decide(self, hot: HotStream, order: Order, facts: Facts) -> Outcome:
        """Decide in a thread what takes long; it holds if the stream has not moved meanwhile. Raises what that raises.

        One at a time: an expression may need much memory before it meets its limit.
        """
        order.seed = order.seed or self._random(32)
        drawn = len(order.chances)
        order.chances = [*order.chances, *(ids.text(self._new_id()) for _ in range(drawn, CHANCES_APART))]
        facts = replace(facts, patience=None, moves_max=MOVES_APART)
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, hot.kind.decide, hot, order.command, facts)

    def close(self) -> None:
        """Let go of the thread; called when nothing is decided any more."""
        self._thread.shutdown(wait=False, cancel_futures=True)
