"""Setting an execution aside whose decision raised: a defect of ours is no reason to lose it, or to stop the others."""

from __future__ import annotations

import asyncio
from typing import Final

import structlog

from engine.core.commands import Quarantine, Recover
from engine.runtime.bound import described
from engine.runtime.hot import HotStream
from engine.runtime.metrics import Metrics
from engine.runtime.orders import Order, Reply, Told, from_inside

_log = structlog.get_logger("perdure.processor")

ACTOR: Final = "engine:processor"


def setting_aside(hot: HotStream, order: Order, defect: Exception, metrics: Metrics) -> Order | None:
    """The order that sets aside what an order was about; null if there is nothing to be set aside."""
    if hot.kind.name != "execution" or not hot.state.seq or isinstance(order.command, Quarantine):
        return None
    command = Quarantine(type(order.command).__name__, type(defect).__name__)
    setting = from_inside(hot.stream_id, command, ACTOR, order.request_id)
    setting.reply = asyncio.get_running_loop().create_future()
    setting.reply.add_done_callback(lambda reply: _count(reply, metrics))
    return setting


def making_good(hot: HotStream, order: Order, defect: Exception, metrics: Metrics) -> Order | None:
    """The order that makes good an effect which raised: what is on disk was not set going.

    If memory was short it is done again, as after a restart; else the execution is set aside. Null if nothing can be.
    """
    _log.error("effect_failed", **described(hot), request_id=order.request_id, exc_info=defect)
    metrics.fail("effect_failed")
    if isinstance(defect, MemoryError):
        return from_inside(hot.stream_id, Recover(died=False), ACTOR, order.request_id)
    return setting_aside(hot, order, defect, metrics)


def _count(reply: asyncio.Future[Reply], metrics: Metrics) -> None:
    told = None if reply.cancelled() or reply.exception() is not None else reply.result()
    if isinstance(told, Told) and told.recorded_at is not None:
        metrics.quarantined.add()
