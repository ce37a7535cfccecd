"""Deferred requests: they wait for a stream, quotas, payloads, ends of waits, or a decision in a thread.

Its stream may have to be loaded, and the quotas of its workflow to be read; its decision may ask for payloads and for
the ends of waits, or it may take so long that it is better made in a thread. The others go on meanwhile. No stream is
changed here: each detour gives what it has found to the processor, which goes on with the request.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, contextmanager
from itertools import chain
from typing import Final

from msgspec.structs import replace

from perdure.engine.core import ids
from perdure.engine.core.decision import Facts, Need, Outcome
from perdure.engine.fairness import FairLock, FairThread
from perdure.engine.runtime.processing.quotas import QuotaSource, WorkflowKey
from perdure.engine.runtime.processing.requests import CommandRequest
from perdure.engine.runtime.streams.loader import Loader
from perdure.engine.runtime.streams.stream import HotStream

OFFLOADED_TRANSITIONS_MAX: Final = 4
"""States that a decision in a thread passes at the most: others wait for the thread, and a node that stops too."""

OFFLOADED_RANDOM_MAX: Final = 100
"""Ids at hand for a decision in a thread, where none can be drawn: more than one of MOVES_APART states needs."""


class Deferred:
    """The deferred requests of a processor. All methods are called on its event loop."""

    def __init__(
        self, loader: Loader, quotas: QuotaSource, new_id: Callable[[], bytes], random: Callable[[int], bytes]
    ) -> None:
        self._loader = loader
        self._quotas = quotas
        self._reading: dict[WorkflowKey, list[CommandRequest]] = {}
        self._new_id = new_id
        self._random = random
        self._loading: dict[bytes, list[CommandRequest]] = {}
        self._loading_count = 0
        self._deciding: dict[int, CommandRequest] = {}
        self._turns: Final = FairLock()
        self._thread: Final = FairThread("perdure-apart")

    @property
    def is_loading(self) -> bool:
        return bool(self._loading)

    @property
    def waiting(self) -> int:
        """The number of deferred requests."""
        return self._loading_count + len(self._deciding) + sum(map(len, self._reading.values()))

    @property
    def requests(self) -> Iterator[CommandRequest]:
        """The deferred requests."""
        waiting = (*self._loading.values(), *self._reading.values())
        return chain(chain.from_iterable(waiting), self._deciding.values())

    @contextmanager
    def taken(self, request: CommandRequest) -> Iterator[None]:
        """Count a request whose stream is loaded as deferred while it waits for something else."""
        self._deciding[id(request)] = request
        try:
            yield
        finally:
            del self._deciding[id(request)]

    def want(self, request: CommandRequest) -> bool:
        """Queue a request until its stream is loaded; returns whether a call of `load` is needed.

        All streams that are wanted in one go are read together, by one call.
        """
        self._loading_count += 1
        waiting = self._loading.get(request.stream_id)
        if waiting is not None:
            waiting.append(request)
            return False
        is_first = not self._loader.is_collecting
        self._loading[request.stream_id] = [request]
        self._loader.want(request.stream_id)
        return is_first

    async def load(self) -> AsyncIterator[tuple[HotStream | Exception | None, list[CommandRequest]]]:
        """Load the queued streams; gives each with its requests: null if it does not exist, or the error."""
        async for found in self._loader.load():
            for stream_id, result in found.items():
                requests = self._loading.pop(stream_id, [])
                self._loading_count -= len(requests)
                yield result, requests

    def want_quotas(self, key: WorkflowKey, request: CommandRequest) -> bool:
        """Queue a request until the quotas of its workflow are known; returns whether a call of `quotas` is needed."""
        waiting = self._reading.setdefault(key, [])
        waiting.append(request)
        return len(waiting) == 1

    async def quotas(self, key: WorkflowKey) -> tuple[Exception | None, Sequence[CommandRequest]]:
        """Read the quotas that hold for a workflow; gives the requests that wait for them, and the error, if any."""
        problem: Exception | None = None
        try:
            await self._quotas.read(key)
        except Exception as error:  # noqa: BLE001 told to who asked for them; the others go on
            problem = error
        return problem, self._reading.pop(key)

    async def fetch(self, hot: HotStream, request: CommandRequest, need: Need) -> None:
        """Load the data that a decision needs, so that it can be made again with all else the same.

        Raises `StoreError`, and whatever payloads and rows that do not hold are read with.
        """
        is_in_flight = hot.batch is not None
        payloads = await self._loader.payloads(hot.stream_id, need.seqs)
        waits = await self._loader.wait_outcomes(hot.stream_id, need.waits)
        hot.add_payloads(payloads)
        # A wait that is open on disk and unknown to the state: its end is on its way to the disk, so look again. With
        # nothing on the way the two will never agree, and it is none of the execution's waits.
        unknown = {} if is_in_flight else dict.fromkeys(need.waits)
        request.known_waits = {**request.known_waits, **unknown, **waits}

    def is_next(self, hot: HotStream, request: CommandRequest) -> bool:
        """Whether a request waits for the thread untried: others of its workflow do, which have proved to be slow.

        To try it first would hold up everybody, and gain its workflow little. A caller from outside is not kept waiting
        for them.
        """
        return request.is_internal and self._turns.is_awaited_by(_owner_of(hot))

    def turn(self, hot: HotStream) -> AbstractAsyncContextManager[None]:
        """Wait for the thread. Workflows have one turn each.

        One decision is made at a time: an expression may need much memory before it meets its limit.
        """
        return self._turns.held_by(_owner_of(hot))

    async def decide(self, hot: HotStream, request: CommandRequest, facts: Facts) -> Outcome:
        """Make a slow decision in a thread; it is valid if the stream has not moved meanwhile.

        To be called in one's turn.
        """
        request.seed = request.seed or self._random(32)
        drawn = len(request.chances)
        request.chances = [*request.chances, *(ids.text(self._new_id()) for _ in range(drawn, OFFLOADED_RANDOM_MAX))]
        facts = replace(facts, expression_timeout_s=None, transitions_max=OFFLOADED_TRANSITIONS_MAX)
        whose = hot.workspace_id or hot.organization_id
        return await self._thread.do(whose, hot.kind.decide, hot, request.command, facts)

    def close(self) -> None:
        """Shut the thread down; called when no more decisions are made."""
        self._thread.close()


def _owner_of(hot: HotStream) -> object:
    """Whose turn it is: a workspace's, for a workflow; a run that is about to start has none of its own yet."""
    return hot.workspace_id or hot.organization_id, getattr(hot.state, "workflow", "")
