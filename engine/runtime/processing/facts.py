"""The facts of a decision: what it may know beside state and command."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Final

from perdure.engine.core.decision import Facts
from perdure.engine.limits import Limits
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
    ) -> None:
        self._limits = limits
        self._names = names
        self._new_id = new_id
        self._random = random
        self._refusals = refusals
        self._moves_max = moves_max
        self.engine = "engine:"

    def of(self, hot: HotStream, request: CommandRequest, now: int) -> Facts:
        """The facts for a decision that is about to be made."""
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
            events_max=limits.run_events_max,
            transitions_max=min(limits.transitions_max, self._moves_max(request)),
            payload_sizes=hot.payload_sizes,
            payload_bytes=hot.payload_bytes,
            run_payloads_max=limits.run_payloads_max_bytes,
            engine=self.engine,
            log_bytes_max=limits.run_bytes_max,
            transitions_minute_max=60 * limits.run_transitions_per_s_max,
        )
