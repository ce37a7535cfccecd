"""Replies: after the commit, answers are sent and effects are run."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Final

from perdure.engine.core.decision import Rejection
from perdure.engine.core.effects import CancelTask, Effect
from perdure.engine.errors import Unauthorized
from perdure.engine.runtime.callers import Grant
from perdure.engine.runtime.clock import Clock
from perdure.engine.runtime.processing.batch import PendingReply
from perdure.engine.runtime.processing.requests import Accepted, ClaimConflict, CommandRequest, Rejected
from perdure.engine.runtime.streams.stream import HotStream, HotStreams
from perdure.engine.runtime.telemetry.metrics import Metrics
from perdure.engine.runtime.telemetry.request_context import set_request

CANCELLED_AT_ONCE: Final = 256
"""So many steps are let go of before everything else on the loop has its turn."""


class Replies:
    """Tells outcomes, and counts them. `run_effect` is what runs an effect."""

    def __init__(self, hot: HotStreams, metrics: Metrics, run_effect: Callable[[HotStream, Effect], None]) -> None:
        self._hot = hot
        self._metrics = metrics
        self._run_effect = run_effect

    def tell(self, item: PendingReply, position: int) -> None:
        """Tell what a request came to, and run its effects; the log stands at `position`."""
        outcome = item.outcome
        if outcome is None:  # it claimed what a request of this batch had claimed: that one has it now
            self.tell_lost(item.request)
        elif isinstance(outcome, Unauthorized):
            self._metrics.requests.add("denied")
            item.request.fail(outcome)
        elif isinstance(outcome, Rejection):
            if outcome.is_counted and not outcome.steps:
                self._hot.count_refusal(item.hot.stream_id, recorded=False)
            self.tell_denied(item.request, outcome, position)
        else:
            self._metrics.requests.add("told")
            if item.request.reply is not None:
                recorded_at = outcome.steps[-1].recorded.recorded_at if outcome.steps else None
                item.request.tell(Accepted(outcome.answer, position, recorded_at))
            if outcome.effects:
                set_request(item.request.request_id)
                self._run(item.hot, outcome.effects)

    def _run(self, hot: HotStream, effects: Sequence[Effect]) -> None:
        """Run effects. Of a wide run that ends very many steps are to be let go of: that is done by and by."""
        cancelled: list[Effect] = []
        if len(effects) > CANCELLED_AT_ONCE:
            cancelled = [effect for effect in effects if isinstance(effect, CancelTask)]
            effects = [effect for effect in effects if not isinstance(effect, CancelTask)]
        for effect in effects:
            self._run_effect(hot, effect)
        if cancelled:
            self._cancel(hot, cancelled)

    def _cancel(self, hot: HotStream, left: list[Effect]) -> None:
        """Let go of some steps, the latest first: what waits for a place is gone before one is given back."""
        for effect in reversed(left[-CANCELLED_AT_ONCE:]):
            self._run_effect(hot, effect)
        del left[-CANCELLED_AT_ONCE:]
        if left:
            asyncio.get_running_loop().call_soon(self._cancel, hot, left)

    def tell_lost(self, request: CommandRequest) -> None:
        """Reply that another request had the claim first."""
        self._metrics.requests.add("claim_lost")
        request.tell(ClaimConflict())

    def tell_denied(self, request: CommandRequest, rejection: Rejection, position: int) -> None:
        """Reply that the command was rejected."""
        self._metrics.requests.add("denied")
        request.tell(Rejected(rejection, position))

    def refuse_ended(self, request: CommandRequest, grant: Grant, clock: Clock) -> bool:
        """Whether who sent a request may not act any more, and was told so."""
        try:
            grant.check(clock)
        except Unauthorized as ended:
            self._metrics.requests.add("denied")
            request.fail(ended)
            hot = self._hot.get(request.stream_id)
            if hot is not None:
                self._hot.settle(hot)
            return True
        return False

    def fail(self, request: CommandRequest, error: Exception) -> None:
        """Nothing came of it, or nobody knows what."""
        self._metrics.requests.add("failed")
        request.fail(error)
