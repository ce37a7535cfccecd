"""A thread for work that would hold up the loop, in which everybody has a turn."""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from threading import Lock
from typing import Any, Final, TypeAlias, TypeVar

from perdure.engine.errors import RateLimited

T = TypeVar("T")

RETRY_AFTER_S: Final = 2

_Work: TypeAlias = tuple["Future[Any]", Callable[[], Any]]


class FairThread:
    """One thread: whoever has much to do holds up the next one for one piece of it at the most, and itself for all.

    Turns go round by workspace.
    """

    def __init__(self, name: str) -> None:
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=name)
        self._lock = Lock()
        self._queues: OrderedDict[bytes, deque[_Work]] = OrderedDict()
        self._last = b""

    def check(self, workspace_id: bytes, waiting_max: int) -> None:
        """Raise `RateLimited` if so much of a workspace waits that no more of it is to be taken in."""
        if len(self._queues.get(workspace_id, ())) >= waiting_max:
            raise RateLimited(
                f"{waiting_max} calls of this workspace wait for work like this, which is the most; "
                f"repeat the call in {RETRY_AFTER_S} s",
                RETRY_AFTER_S,
            )

    async def do(self, workspace_id: bytes, work: Callable[..., T], *arguments: Any) -> T:
        """What `work` gives for these arguments, which nobody else may change meanwhile. Raises what that raises."""
        future = Future[T]()
        with self._lock:
            self._queues.setdefault(workspace_id, deque()).append((future, partial(work, *arguments)))
        self._thread.submit(self._next)
        return await asyncio.wrap_future(future)

    def close(self) -> None:
        """Let go of the thread; what waits is cancelled."""
        self._thread.shutdown(wait=False, cancel_futures=True)
        with self._lock:
            waiting = [future for queue in self._queues.values() for future, _ in queue]
            self._queues.clear()
        for future in waiting:
            future.cancel()

    def _next(self) -> None:
        """Do a piece of work of whoever's turn it is: one for each that was handed over."""
        with self._lock:
            if not self._queues:  # closed
                return
            if self._last in self._queues:  # only now, so that whoever came meanwhile is before it
                self._queues.move_to_end(self._last)
            self._last, queue = next(iter(self._queues.items()))
            future, work = queue.popleft()
            if not queue:
                del self._queues[self._last]
        if not future.set_running_or_notify_cancel():
            return
        try:
            result = work()
        except BaseException as error:  # noqa: BLE001 whoever waits for it hears of it, whatever it is
            future.set_exception(error)
        else:
            future.set_result(result)
