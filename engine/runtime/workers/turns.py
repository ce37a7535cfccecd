"""Queued steps: records in the log that a step waits for a slot, and when it is called.

A wait of a moment is not worth an event. Of whoever has waited for `REPORTED_AFTER_MS` it is recorded that it is
queued: then its time limit stands still, and no death of the process is held against it. Once it has a place, that it
starts is recorded first, and it is called after that.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from itertools import islice, takewhile
from typing import Final, NamedTuple

from perdure.engine.core.commands import QueueTask, StartTask
from perdure.engine.errors import EngineFailed
from perdure.engine.runtime.clock import Clock, Handle
from perdure.engine.runtime.processing.requests import Accepted, CommandReply
from perdure.engine.runtime.telemetry.request_context import set_request
from perdure.engine.runtime.workers.step_slots import TaskKey

Send = Callable[[bytes, object], asyncio.Future[CommandReply]]

REPORTED_AFTER_MS: Final = 200
"""A time limit is a second at the least: nothing is timed out for want of a place before the log says that it waits."""

AT_ONCE: Final = 256
"""So many are recorded before the orders of others have their turn."""


class _Waiting(NamedTuple):
    """Since when one waits: as the log says it, and in ticks."""

    scope: str
    since: int
    ticks: int


class Turns:
    """The steps that wait for a slot. `on_refused` is called if the record of a start was rejected."""

    def __init__(self, send: Send, clock: Clock, on_refused: Callable[[TaskKey], None]) -> None:
        self._send = send
        self._clock = clock
        self._on_refused = on_refused
        self._new: dict[TaskKey, _Waiting] = {}
        self._reports: dict[TaskKey, asyncio.Future[CommandReply] | None] = {}
        self._alarm: Handle | None = None
        self._last: asyncio.Future[CommandReply] | None = None
        self._is_closed = False

    def wait(self, key: TaskKey, scope: str, *, is_queued: bool) -> None:
        """Note that a step waits from now on. `is_queued`: the log has that already."""
        if is_queued:
            self._reports[key] = None
            return
        self._new[key] = _Waiting(scope, self._clock.now(), self._clock.ticks())
        self._arm()

    def wait_again(self, key: TaskKey, scope: str) -> None:
        """Note that a step waits on, unless the log has that already, or is about to."""
        if key not in self._reports and key not in self._new:
            self.wait(key, scope, is_queued=False)

    def report_all(self, stream_id: bytes) -> None:
        """Have it recorded now of all steps of a stream that they wait, however short."""
        self._record([entry for entry in self._new.items() if entry[0].stream_id == stream_id])

    def forget(self, key: TaskKey) -> None:
        """Remove a step that waits no more."""
        self._new.pop(key, None)
        self._reports.pop(key, None)

    def is_recorded(self, key: TaskKey) -> bool:
        """Whether the log says, or is about to, that this one was queued; if not, it is forgotten. It has its place."""
        self._new.pop(key, None)
        return key in self._reports

    def start(self, key: TaskKey, scope: str) -> None:
        """Record that the step starts, if it was recorded as queued."""
        report = self._reports.pop(key)
        if report is None or report.done():
            self._record_start(key, scope)
        else:
            report.add_done_callback(lambda _: self._record_start(key, scope))

    def close(self) -> None:
        """Record nothing more."""
        self._is_closed = True
        if self._alarm is not None:
            self._alarm.cancel()
        self._new.clear()
        self._reports.clear()

    def _arm(self) -> None:
        """See to it that the next ones are reported: once the first of them has waited long, and no others are."""
        if self._new and self._alarm is None and self._last is None and not self._is_closed:
            first = next(iter(self._new.values()))
            left_ms = first.ticks + REPORTED_AFTER_MS - self._clock.ticks()
            if left_ms > 0:
                self._alarm = self._clock.call_later(left_ms, self._ring)
            else:
                self._report()

    def _ring(self) -> None:
        set_request(None)  # not for the request that happened to set the alarm
        self._alarm = None
        self._arm()

    def _report(self) -> None:
        """Have it recorded of those that have waited long that they are queued, some at a time."""
        long_ago = self._clock.ticks() - REPORTED_AFTER_MS
        due = takewhile(lambda entry: entry[1].ticks <= long_ago, self._new.items())
        self._last = self._record(list(islice(due, AT_ONCE)))
        if self._last is not None:
            self._last.add_done_callback(self._on_reported)

    def _record(self, some: list[tuple[TaskKey, _Waiting]]) -> asyncio.Future[CommandReply] | None:
        """Send that these wait; gives the last of the reports, if there is any."""
        report = None
        for key, waiting in some:
            try:
                report = self._send(key.stream_id, QueueTask(waiting.scope, key.seq, waiting.since))
            except EngineFailed:
                return report
            del self._new[key]
            self._reports[key] = report
            report.add_done_callback(partial(self._on_answered, key))
        return report

    def _on_answered(self, key: TaskKey, report: asyncio.Future[CommandReply]) -> None:
        """Forget a report that was refused (its run is set aside): the log does not say that this one waits."""
        is_told = not report.cancelled() and report.exception() is None and isinstance(report.result(), Accepted)
        if not is_told and self._reports.get(key) is report:
            del self._reports[key]

    def _on_reported(self, _: object) -> None:
        self._last = None
        self._arm()

    def _record_start(self, key: TaskKey, scope: str) -> None:
        try:
            reply = self._send(key.stream_id, StartTask(scope, key.seq))
        except EngineFailed:
            self._on_refused(key)
        else:
            reply.add_done_callback(lambda _: self._on_refused(key))
