"""Telling: what whoever sent an order hears, and what its effects set going. All of it after the commit."""

from __future__ import annotations

from collections.abc import Callable

from engine.core.decision import Rejection
from engine.core.effects import Effect
from engine.errors import Unauthorized
from engine.runtime.batch import Waiting
from engine.runtime.bound import work_for
from engine.runtime.callers import Grant
from engine.runtime.clock import Clock
from engine.runtime.hot import HotStream, HotStreams
from engine.runtime.metrics import Metrics
from engine.runtime.orders import ClaimLost, Denied, Order, Told


class Teller:
    """Tells outcomes, and counts them. `on_effect` runs an effect; it is set by whoever knows how."""

    def __init__(self, hot: HotStreams, metrics: Metrics) -> None:
        self._hot = hot
        self._metrics = metrics
        self.on_effect: Callable[[HotStream, Effect], None] = lambda _hot, _effect: None

    def tell(self, item: Waiting, position: int) -> None:
        """Tell what an order came to, and run its effects; the log stands at `position`."""
        outcome = item.outcome
        if outcome is None:  # it claimed what an order of this batch had claimed: that one has it now
            self.tell_lost(item.order)
        elif isinstance(outcome, Rejection):
            if outcome.is_counted and not outcome.steps:
                self._hot.count_refusal(item.hot.stream_id, recorded=False)
            self.tell_denied(item.order, outcome, position)
        else:
            self._metrics.orders.add("told")
            if item.order.reply is not None:
                recorded_at = outcome.steps[-1].recorded.recorded_at if outcome.steps else None
                item.order.tell(Told(outcome.answer, position, recorded_at))
            if outcome.effects:
                work_for(item.order.request_id)
                for effect in outcome.effects:
                    self.on_effect(item.hot, effect)

    def tell_lost(self, order: Order) -> None:
        """Somebody else had first what the order claims."""
        self._metrics.orders.add("claim_lost")
        order.tell(ClaimLost())

    def tell_denied(self, order: Order, rejection: Rejection, position: int) -> None:
        """The order is refused."""
        self._metrics.orders.add("denied")
        order.tell(Denied(rejection, position))

    def refuse_ended(self, order: Order, grant: Grant, clock: Clock) -> bool:
        """Whether who sent an order may not act any more, and was told so."""
        try:
            grant.check(clock)
        except Unauthorized as ended:
            self._metrics.orders.add("denied")
            order.fail(ended)
            hot = self._hot.get(order.stream_id)
            if hot is not None:
                self._hot.settle(hot)
            return True
        return False

    def fail(self, order: Order, error: Exception) -> None:
        """Nothing came of it, or nobody knows what."""
        self._metrics.orders.add("failed")
        order.fail(error)
