"""The inbox: the queue of requests to be decided, and their order.

Workflows have one turn each, in a circle: a decision may take all the time that any may (`TURN_S`), and who has two
hundred such must not keep all others waiting for them. What is not in memory is nobody's yet, and a turn of it is
short: it is loaded, and then queued as its workflow's.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from typing import Final

from perdure.engine.core.commands import Advance
from perdure.engine.fairness import FairQueue
from perdure.engine.runtime.processing.batch import Batch
from perdure.engine.runtime.processing.requests import CommandRequest

REQUESTS_AT_ONCE: Final = 64
"""At most so many requests are decided before everything else on the loop has its turn."""

TURN_S: Final = 0.02
"""After so many seconds of deciding the rest waits for the next turn: each decision alone may use up as many."""

ADVANCE_EVENTS_MAX: Final = 256
"""With so many events to commit, runs that go on by themselves wait: the next commit is what all others wait for."""

ADVANCE_BESIDE_MAX: Final = 64
"""The same while others come: each of them waits for a commit under way, and for its own."""

TURNS_BESIDE: Final = 64
"""So many turns of runs that go on by themselves after the last of the others, nobody else is about."""


class Inbox:
    """Requests in the order in which they came. Runs that go on by themselves wait apart, and have one turn a time.

    `workflow_of` says which workflow a stream in memory is of.
    """

    def __init__(self, workflow_of: Callable[[bytes], str] = lambda _: "") -> None:
        def owner_of(request: CommandRequest) -> object:
            return workflow_of(request.stream_id) or getattr(request.command, "workflow", "")

        self._requests: FairQueue[CommandRequest] = FairQueue(owner_of)
        self._going_on: FairQueue[CommandRequest] = FairQueue(owner_of)
        self._turns_alone = 0
        self.is_closed = False
        """Whether nothing is taken any more."""

    def __len__(self) -> int:
        return len(self._requests) + len(self._going_on)

    def __iter__(self) -> Iterator[CommandRequest]:
        return chain(self._requests, self._going_on)

    def put(self, request: CommandRequest) -> None:
        """Queue a request."""
        if type(request.command) is Advance:
            self._going_on.put(request)
        else:
            self._requests.put(request)
            self._turns_alone = 0

    def put_first(self, requests: Sequence[CommandRequest]) -> None:
        """Queue requests before all others of theirs: they have waited for something that is there now."""
        for request in reversed(requests):
            self._requests.put_first(request)

    def take(self, batch: Batch) -> Iterator[CommandRequest]:
        """The requests to be decided now, limited by the room in the batch and by time."""
        if self.is_closed:
            return
        until = time.perf_counter() + TURN_S
        for _ in range(min(len(self._requests), REQUESTS_AT_ONCE)):
            if batch.is_full or time.perf_counter() > until:
                break
            yield self._requests.take()
        if self._may_go_on(batch):
            self._turns_alone += 1
            batch.has_gone_on = True
            yield self._going_on.take()

    def has_next(self, batch: Batch) -> bool:
        """Whether `take` would return a request; if not, the end of the current commit goes first."""
        return not self.is_closed and (self._may_go_on(batch) or (bool(self._requests) and not batch.is_full))

    def _may_go_on(self, batch: Batch) -> bool:
        """One of them has a turn in each batch, however much the others come to."""
        return bool(self._going_on) and (
            batch.event_count < self._advance_max or not (batch.has_gone_on or batch.is_full)
        )

    def transitions_max(self, request: CommandRequest) -> int:
        """So many states a request that was taken may pass."""
        return self._advance_max if type(request.command) is Advance else sys.maxsize

    @property
    def _advance_max(self) -> int:
        return ADVANCE_BESIDE_MAX if self._turns_alone <= TURNS_BESIDE else ADVANCE_EVENTS_MAX

    def drop_outside(self) -> list[CommandRequest]:
        """Remove and return the requests from outside."""
        dropped = [request for request in self._requests if not request.is_internal]
        self._requests.replace([request for request in self._requests if request.is_internal])
        return dropped
