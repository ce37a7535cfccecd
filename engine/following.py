"""Following executions: their ends and events, as they come."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager

from perdure.engine.core import ids
from perdure.engine.core.events import Recorded
from perdure.engine.core.state import State
from perdure.engine.core.transitions import TERMINAL
from perdure.engine.errors import EngineFailed, NotFound
from perdure.engine.runtime.callers import Caller
from perdure.engine.runtime.node import Node
from perdure.engine.runtime.watch import Watch
from perdure.engine.services.queries import Queries
from perdure.engine.views import Result, result_of
from perdure.store.errors import StoreError


class ExecutionFollower:
    """Waits for what happens to executions; `close` wakes everybody who does, to be told so."""

    def __init__(self, node: Node, queries: Queries, caller: Callable[[], Awaitable[Caller]]) -> None:
        self._node = node
        self._queries = queries
        self._caller = caller
        self._is_closed = False

    def close(self) -> None:
        """Tell whoever waits, and whoever asks from now on, that the engine was closed."""
        self._is_closed = True
        self._node.processor.watchers.notify_all()

    async def result(self, execution_id: str, timeout_s: float | None) -> Result:
        """Wait until an execution has ended.

        Raises `TimeoutError` after `timeout_s` seconds, `NotFound`, `EngineFailed` if the engine stops before.
        """
        stream_id = ids.parse(execution_id)
        processor, clock = self._node.processor, self._node.clock
        deadline = None if timeout_s is None else clock.ticks() + round(timeout_s * 1000)
        with processor.watchers.watch(stream_id, for_end=True) as watch:
            while True:
                watch.clear()
                with self._failing_closed():
                    ended = await self._ended(stream_id, watch)
                if ended is not None:
                    return ended
                self._check_runs()
                if not await watch.wait(clock, deadline):
                    message = f"execution {execution_id} has not ended within {timeout_s} s"
                    raise TimeoutError(message)

    @contextmanager
    def _failing_closed(self) -> Iterator[None]:
        """Say that the engine was closed, where the store says that it was."""
        try:
            yield
        except StoreError:
            self._check_runs()
            raise

    def _check_runs(self) -> None:
        """Raise `EngineFailed` if nothing happens any more that somebody could wait for."""
        if self._node.processor.failure is not None:
            raise EngineFailed("the engine has stopped after a failed commit")
        if self._is_closed:
            raise EngineFailed("the engine was closed")

    async def _ended(self, stream_id: bytes, watch: Watch) -> Result | None:
        """How an execution has ended, from what was just committed, or else from the store; null if it is alive."""
        caller = await self._caller()
        if watch.state is not None:
            state: State = watch.state
            if state.workspace != ids.text(caller.workspace_id):
                raise NotFound(f"there is no execution {ids.text(stream_id)}")
            return result_of(state, watch.payloads) if state.is_over else None
        if self._node.processor.hot.will_tell_end(stream_id):
            return None
        view = await self._queries.execution(caller, stream_id)
        if view.row.status not in TERMINAL:
            return None
        return Result(view.row.status, view.output, view.error, view.cause)

    async def events(self, execution_id: str, *, follow: bool) -> AsyncIterator[Recorded]:
        """The events of an execution in order; with `follow` also those to come, until it has ended."""
        stream_id = ids.parse(execution_id)
        await self._queries.execution(await self._caller(), stream_id)
        after = 0
        with self._node.processor.watchers.watch(stream_id) as watch:
            while True:
                watch.clear()
                with self._failing_closed():
                    found = await self._queries.events(stream_id, after=after)
                for recorded in found:
                    after = recorded.seq
                    yield recorded
                with self._failing_closed():
                    view = await self._queries.execution(await self._caller(), stream_id)
                if not follow or (view.row.status in TERMINAL and view.row.seq <= after):
                    return
                if view.row.seq <= after:
                    self._check_runs()
                    await watch.wait(self._node.clock)
