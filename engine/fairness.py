"""Fairness: a queue, a lock and a thread in which whoever asks for much waits behind the others' next."""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import asynccontextmanager
from functools import partial
from threading import Lock
from typing import Any, Final, Generic, NamedTuple, TypeVar

from perdure.engine.errors import RateLimited

T = TypeVar("T")

RETRY_AFTER_S: Final = 2
"""Seconds after which whoever has too much waiting may ask again."""


class FairQueue(Generic[T]):
    """What came first goes first among what has the same owner; owners have one turn each, in a circle."""

    def __init__(self, owner_of: Callable[[T], object]) -> None:
        self._owner_of = owner_of
        self._queues: OrderedDict[object, deque[T]] = OrderedDict()
        self._count = 0
        self._last: object = None

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[T]:
        for queue in self._queues.values():
            yield from queue

    def count_of(self, owner: object) -> int:
        """How much of this owner is in it."""
        return len(self._queues.get(owner, ()))

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
        if self._last in self._queues:  # only now, so that whoever came meanwhile is before it
            self._queues.move_to_end(self._last)
        self._last, queue = next(iter(self._queues.items()))
        item = queue.popleft()
        self._count -= 1
        if not queue:
            del self._queues[self._last]
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
        return self._waiting.count_of(owner) > 0

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


class _Work(NamedTuple):
    """A piece of work for a thread."""

    owner: object
    future: Future[Any]
    do: Callable[[], Any]


class FairThread:
    """One thread: whoever has much to do holds up the next one for one piece of it at the most, and itself for all."""

    def __init__(self, name: str) -> None:
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=name)
        self._lock = Lock()
        self._waiting: FairQueue[_Work] = FairQueue(lambda work: work.owner)

    def check(self, owner: object, waiting_max: int) -> None:
        """Raise `RateLimited` if so much of a workspace waits that no more of it is to be taken in."""
        if self._waiting.count_of(owner) >= waiting_max:
            raise RateLimited(
                f"{waiting_max} calls of this workspace wait for work like this, which is the most; "
                f"repeat the call in {RETRY_AFTER_S} s",
                RETRY_AFTER_S,
            )

    async def do(self, owner: object, work: Callable[..., T], *arguments: Any) -> T:
        """What `work` gives for these arguments, which nobody else may change meanwhile. Raises what that raises."""
        future = Future[T]()
        with self._lock:
            self._waiting.put(_Work(owner, future, partial(work, *arguments)))
        self._thread.submit(self._next)
        return await asyncio.wrap_future(future)

    def close(self) -> None:
        """Let go of the thread; what waits is cancelled."""
        self._thread.shutdown(wait=False, cancel_futures=True)
        with self._lock:
            waiting = list(self._waiting)
            self._waiting.replace(())
        for work in waiting:
            work.future.cancel()

    def _next(self) -> None:
        """Do a piece of work of whoever's turn it is: one for each that was handed over."""
        with self._lock:
            if not self._waiting:  # closed
                return
            work = self._waiting.take()
        if not work.future.set_running_or_notify_cancel():
            return
        try:
            result = work.do()
        except BaseException as error:  # noqa: BLE001 whoever waits for it hears of it, whatever it is
            work.future.set_exception(error)
        else:
            work.future.set_result(result)
