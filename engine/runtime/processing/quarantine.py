"""Quarantine of an execution whose decision raised: a defect must neither lose it nor stop the others."""

from __future__ import annotations

import asyncio
from typing import Final

import structlog

from perdure.engine.core.commands import Quarantine, Recover
from perdure.engine.runtime.processing.requests import Accepted, CommandReply, CommandRequest, from_inside
from perdure.engine.runtime.streams.stream import HotStream
from perdure.engine.runtime.telemetry.metrics import Metrics

_log = structlog.get_logger("perdure.processor")

ACTOR: Final = "engine:processor"


def quarantine_request(
    hot: HotStream, request: CommandRequest, defect: Exception, metrics: Metrics
) -> CommandRequest | None:
    """The request that quarantines the execution a request was about; null if there is nothing to quarantine."""
    if hot.kind.name != "execution" or not hot.state.seq or isinstance(request.command, Quarantine):
        return None
    command = Quarantine(type(request.command).__name__, type(defect).__name__)
    setting = from_inside(hot.stream_id, command, ACTOR, request.request_id)
    setting.reply = asyncio.get_running_loop().create_future()
    setting.reply.add_done_callback(lambda reply: _count(reply, metrics))
    return setting


def compensation_request(
    hot: HotStream, request: CommandRequest, defect: Exception, metrics: Metrics
) -> CommandRequest | None:
    """The request that compensates for an effect which raised after its events were on disk.

    If memory was short it is done again, as after a restart; else the execution is set aside. Null if nothing can be.
    """
    _log.error("effect_failed", **hot.described(), request_id=request.request_id, exc_info=defect)
    metrics.fail("effect_failed")
    if isinstance(defect, MemoryError):
        return from_inside(hot.stream_id, Recover(died=False), ACTOR, request.request_id)
    return quarantine_request(hot, request, defect, metrics)


def _count(reply: asyncio.Future[CommandReply], metrics: Metrics) -> None:
    told = None if reply.cancelled() or reply.exception() is not None else reply.result()
    if isinstance(told, Accepted) and told.recorded_at is not None:
        metrics.quarantined.add()
