"""A queue in which everybody has a turn: whoever puts much in it waits behind the others' next, not they behind all."""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import asynccontextmanager
from typing import Generic, TypeVar

T = TypeVar("T")


class FairQueue(Generic[T]):
    """What came first goes first among what has the same owner; owners have one turn each, in a circle."""

    def __init__(self, owner_of: Callable[[T], object]) -> None:
        self._owner_of = owner_of
        self._queues: OrderedDict[object, deque[T]] = OrderedDict()
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[T]:
        for queue in self._queues.values():
            yield from queue

    def has_of(self, owner: object) -> bool:
        """Whether anything of this owner is in it."""
        return owner in self._queues

    def put(self, item: T) -> None:
        """Queue it behind all others of its owner."""
        self._queue(item).append(item)
        self._count += 1

    def put_first(self, item: T) -> None:
        """Queue it before all others of its owner."""
        self._queue(item).appendleft(item)
        self._count += 1

    def _queue(self, item: T) -> deque[T]:
        owner = self._owner_of(item)
        queue = self._queues.get(owner)
        if queue is None:
            queue = self._queues[owner] = deque()
        return queue

    def take(self) -> T:
        """The next one, of the owner whose turn it is. There must be one."""
        owner, queue = next(iter(self._queues.items()))
        item = queue.popleft()
        self._count -= 1
        if not queue:
            del self._queues[owner]
        elif len(self._queues) > 1:
            self._queues.move_to_end(owner)
        return item

    def replace(self, items: Iterable[T]) -> None:
        """Have these in it instead."""
        self._queues.clear()
        self._count = 0
        for item in items:
            self.put(item)


class FairLock:
    """A lock that one has at a time; of those who wait for it each owner has a turn, in a circle."""

    def __init__(self) -> None:
        self._waiting: FairQueue[tuple[object, asyncio.Future[None]]] = FairQueue(lambda entry: entry[0])
        self._is_held = False

    def is_awaited_by(self, owner: object) -> bool:
        """Whether this owner waits for it."""
        return self._waiting.has_of(owner)

    @asynccontextmanager
    async def held_by(self, owner: object) -> AsyncIterator[None]:
        """Wait for it, and have it for a while."""
        if self._is_held:
            turn = asyncio.get_running_loop().create_future()
            self._waiting.put((owner, turn))
            try:
                await turn
            except asyncio.CancelledError:
                if turn.done() and not turn.cancelled():  # it was given, and nobody is there to have it
                    self._give()
                raise
        self._is_held = True
        try:
            yield
        finally:
            self._give()

    def _give(self) -> None:
        while self._waiting:
            _, turn = self._waiting.take()
            if not turn.done():
                turn.set_result(None)  # it stays held: nobody who comes now is faster
                return
        self._is_held = False
