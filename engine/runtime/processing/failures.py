"""Failures: the end of a request that could not be loaded, decided or carried out: nobody else suffers by it."""

from __future__ import annotations

from collections.abc import Callable

import structlog

from perdure.engine.core import ids
from perdure.engine.errors import Invalid, Unavailable
from perdure.engine.runtime.processing.commits import PutOff
from perdure.engine.runtime.processing.incoming import can_be_written
from perdure.engine.runtime.processing.quarantine import compensation_request, quarantine_request
from perdure.engine.runtime.processing.replies import Replies
from perdure.engine.runtime.processing.requests import CommandRequest
from perdure.engine.runtime.streams.stream import HotStream, HotStreams
from perdure.engine.runtime.telemetry.metrics import Metrics
from perdure.store.errors import StoreError

_log = structlog.get_logger("perdure.processor")


class Failures:
    """Tells who is outside, tries work from inside again later, and sets an execution aside after a defect of ours.

    `put` takes in a request of the engine's own.
    """

    def __init__(
        self,
        hot: HotStreams,
        replies: Replies,
        put_off: PutOff,
        put: Callable[[CommandRequest], None],
        metrics: Metrics,
    ) -> None:
        self._hot = hot
        self._replies = replies
        self._put_off = put_off
        self._put = put
        self._metrics = metrics

    def not_served(self, request: CommandRequest, why: str = "the database did not serve the request") -> None:
        """It cannot be done now: try work from inside again later, and tell who is outside to do so."""
        if request.is_internal:
            self._put_off.add(request)
        else:
            self._replies.fail(request, Unavailable(f"{why}; repeat the call later"))

    def not_loaded(self, request: CommandRequest, problem: Exception) -> None:
        """Its stream cannot be read, or not now."""
        shown = {f"{request.kind}_id": ids.text(request.stream_id), "request_id": request.request_id}
        _log.error("stream_not_loaded", **shown, exc_info=problem)
        self._metrics.fail("stream_not_loaded")
        if isinstance(problem, StoreError | MemoryError):
            self.not_served(request)
        else:
            self._replies.fail(request, Unavailable("the stream cannot be read by this node"))

    def not_decided(self, hot: HotStream, request: CommandRequest, defect: Exception) -> None:
        """Deciding it raised: the stream is set aside, unless it was the request's own fault, or memory was short."""
        name = type(request.command).__name__
        if hot.batch is None:
            self._hot.drop(hot.stream_id)
        if isinstance(defect, MemoryError):  # it says nothing of this stream: others may have the memory
            _log.error("out_of_memory", **hot.described(), command=name, request_id=request.request_id)
            self._metrics.fail("out_of_memory")
            self.not_served(request, "there was not enough memory for the request")
        elif not request.is_internal and not can_be_written(request.command):
            self._replies.fail(request, Invalid("the request holds something that cannot be written as JSON"))
        else:
            _log.error(
                "decision_failed", **hot.described(), command=name, request_id=request.request_id, exc_info=defect
            )
            self._metrics.fail("decision_failed")
            setting = quarantine_request(hot, request, defect, self._metrics)
            if setting is not None:
                self._put(setting)
            self._replies.fail(request, Unavailable("deciding the request failed; the execution is set aside"))

    def not_carried_out(self, hot: HotStream, request: CommandRequest, defect: Exception) -> None:
        """It is on disk, and to tell of it or to run its effects raised."""
        again = compensation_request(hot, request, defect, self._metrics)
        if again is not None:
            (self._put_off.add if isinstance(defect, MemoryError) else self._put)(again)
