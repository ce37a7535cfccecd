"""Setting an execution aside whose decision raised: a defect of ours is no reason to lose it, or to stop the others."""

from __future__ import annotations

import asyncio

from engine.core.commands import Quarantine
from engine.runtime.hot import HotStream
from engine.runtime.metrics import Metrics
from engine.runtime.orders import Order, Reply, Told, from_inside


def setting_aside(hot: HotStream, order: Order, defect: Exception, metrics: Metrics) -> Order | None:
    """The order that sets aside what an order was about; null if there is nothing to be set aside."""
    if hot.kind.name != "execution" or not hot.state.seq or isinstance(order.command, Quarantine):
        return None
    command = Quarantine(type(order.command).__name__, type(defect).__name__)
    setting = from_inside(hot.stream_id, command, "engine:processor", order.request_id)
    setting.reply = asyncio.get_running_loop().create_future()
    setting.reply.add_done_callback(lambda reply: _count(reply, metrics))
    return setting


def _count(reply: asyncio.Future[Reply], metrics: Metrics) -> None:
    told = None if reply.cancelled() or reply.exception() is not None else reply.result()
    if isinstance(told, Told) and told.recorded_at is not None:
        metrics.quarantined.add()
