"""The facts of a decision: what it may know beside state and command."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Final

from perdure.engine.core.decision import Facts
from perdure.engine.limits import Limits
from perdure.engine.runtime.processing.quotas import QuotaSource, WorkflowKey, quotas_of_engine, workflow_key
from perdure.engine.runtime.processing.requests import CommandRequest, RecordedRandomness
from perdure.engine.runtime.streams.stream import HotStream

DECISION_TIME_S: Final = 0.02
"""Seconds that one decision may hold up everybody: then it goes on later, or it is made in a thread."""


class FactsSource:
    """Makes the facts of a processor's decisions. `moves_max` gives how many states a request may pass.

    `engine` is the actor of what the engine does of its own accord.
    """

    def __init__(
        self,
        limits: Limits,
        names: Mapping[str, str],
        new_id: Callable[[], bytes],
        random: Callable[[int], bytes],
        refusals: Callable[[bytes], int],
        moves_max: Callable[[CommandRequest], int],
        quotas: QuotaSource,
    ) -> None:
        self._limits = limits
        self._names = names
        self._new_id = new_id
        self._random = random
        self._refusals = refusals
        self._moves_max = moves_max
        self._quotas = quotas
        self._of_engine: Final = quotas_of_engine(limits)
        self.engine = "engine:"

    async def complete(self, hot: HotStream, request: CommandRequest) -> None:
        """Read what is missing for a decision; it is there until something else is awaited. Raises `StoreError`."""
        if (key := workflow_key(hot, request)) is not None:
            await self._quotas.read(key)

    def of(self, hot: HotStream, request: CommandRequest, now: int) -> Facts | WorkflowKey:
        """The facts for a decision that is about to be made; or the workflow whose quotas must be read first."""
        key = workflow_key(hot, request)
        quotas = self._of_engine
        if key is not None:
            known = self._quotas.known(key)
            if known is None:
                return key
            quotas = known
        chance = RecordedRandomness(request, self._new_id, self._random)
        deadline = time.perf_counter() + DECISION_TIME_S
        limits = self._limits
        return Facts(
            hot.text,
            hot.machine,
            hot.payloads,
            now,
            request.actor,
            chance.draw,
            chance.random_bytes,
            request.known_waits,
            self._refusals(hot.stream_id),
            self._names,
            lambda: deadline - time.perf_counter(),
            payload_max=limits.payload_max_bytes,
            events_max=quotas.events_max,
            transitions_max=min(limits.transitions_max, self._moves_max(request)),
            payload_sizes=hot.payload_sizes,
            payload_bytes=hot.payload_bytes,
            run_payloads_max=limits.run_payloads_max_bytes,
            engine=self.engine,
            log_bytes_max=quotas.bytes_max,
            transitions_minute_max=quotas.transitions_minute_max,
            quota_names=quotas.names,
        )
