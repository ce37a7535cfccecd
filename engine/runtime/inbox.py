"""The inbox: the orders that wait to be decided, and whose turn it is."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Final

from engine.core.commands import Advance
from engine.runtime.batch import Batch
from engine.runtime.orders import Order

ORDERS_AT_ONCE: Final = 64
"""So many orders are decided before everything else on the loop has its turn."""

ADVANCE_EVENTS_MAX: Final = 256
"""With so many events to commit, runs that go on by themselves wait: the next commit is what all others wait for."""


class Inbox:
    """Orders in the order in which they came. Runs that go on by themselves wait apart, and have one turn a time."""

    def __init__(self) -> None:
        self._orders: deque[Order] = deque()
        self._going_on: deque[Order] = deque()

    def __len__(self) -> int:
        return len(self._orders) + len(self._going_on)

    def __iter__(self) -> Iterator[Order]:
        return chain(self._orders, self._going_on)

    def put(self, order: Order) -> None:
        """Queue an order."""
        (self._going_on if type(order.command) is Advance else self._orders).append(order)

    def put_first(self, orders: Sequence[Order]) -> None:
        """Queue orders before all others: they have waited for something that is there now."""
        self._orders.extendleft(reversed(orders))

    def take(self, batch: Batch) -> Iterator[Order]:
        """The orders to be decided now, as long as the batch has room for what they come to."""
        for _ in range(min(len(self._orders), ORDERS_AT_ONCE)):
            if batch.is_full:
                break
            yield self._orders.popleft()
        if self._may_go_on(batch):
            yield self._going_on.popleft()

    def has_next(self, batch: Batch) -> bool:
        """Whether `take` would give something: if not, the end of the commit under way goes on."""
        return self._may_go_on(batch) or (bool(self._orders) and not batch.is_full)

    def _may_go_on(self, batch: Batch) -> bool:
        return bool(self._going_on) and batch.event_count < ADVANCE_EVENTS_MAX

    def drop_outside(self) -> list[Order]:
        """Take out what came from outside."""
        dropped = [order for order in self._orders if not order.is_internal]
        self._orders = deque(order for order in self._orders if order.is_internal)
        return dropped
