"""The metrics of a node.

Counters count since the process started. What must be right whenever it started (how many executions are alive) is
asked of the store when somebody wants to see it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final, NamedTuple, get_args

from perdure.engine.core.pause_events import Quota
from perdure.engine.core.state import State
from perdure.engine.log.snapshots import FLAWS
from perdure.engine.runtime.telemetry.instruments import SECONDS, SIZES, Counter, Gauge, Gauges, Histogram, Instruments
from perdure.store.batch import OPERATOR
from perdure.store.protocols import Executions

OUTCOMES: Final = ("told", "denied", "claim_lost", "failed")
"""How orders end: answered, refused, overtaken by another with the same claim, or not taken in by the database."""

FAILURES: Final = (
    *("append_failed", "decision_failed", "effect_failed", "engine_failed", "out_of_memory", "stream_not_loaded"),
    *("timers_not_fired", "timers_not_read", "slots_not_decided", "schedule_not_served", "schedule_failed"),
    "clock_stepped",
)
"""What can fail in the engine, by the name of the log line that says so."""

LIVE: Final = ("pending", "running", "waiting")

PAUSERS: Final = (OPERATOR, *get_args(Quota))
"""Whoever pauses runs."""

LATENESS: Final = (0.001, 0.005, 0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0, 600.0, 3600.0)

WORKFLOWS_MAX: Final = 1000
"""So many workflows have numbers of their own."""

KEPT: Final = 20
"""Numbers read from the store are kept so many times as long as reading them took: it costs 5 % of a reader at most."""


class RunCounts(Counter):
    """Runs that started and ended, by workflow. Of very many workflows the later ones are counted together.

    `pauses` counts those that were paused.
    """

    def __init__(self, pauses: Counter) -> None:
        self._pauses = pauses
        super().__init__(
            "runs", "Runs by workflow, and by how they ended or that they started.", ("workflow", "status")
        )
        self._workflows: set[str] = set()

    def moved(self, before: State, after: State) -> None:
        """Count a commit that changed a run's status."""
        if not before.seq:
            self.add(self._shown(after.workflow), "started")
        if after.is_over and not before.is_over:
            self.add(self._shown(after.workflow), after.status)
        if after.pause is not None and (before.pause is None or before.pause.seq != after.pause.seq):
            self._pauses.add(after.pause.quota or OPERATOR)

    def _shown(self, workflow: str) -> str:
        if workflow not in self._workflows:
            if len(self._workflows) >= WORKFLOWS_MAX:
                return "others"
            self._workflows.add(workflow)
        return workflow


def _nothing() -> int:
    return 0


class Sampled(NamedTuple):
    """The sources of a node's gauges, sampled at scrape time."""

    queue_length: Callable[[], int] = _nothing
    hot_streams: Callable[[], int] = _nothing
    tasks_running: Callable[[], int] = _nothing
    suspects_held: Callable[[], int] = _nothing
    clock_offset_ms: Callable[[], int] = _nothing


NOTHING: Final = Sampled()


class Metrics(Instruments):
    """The metrics of one node. The owner of a gauge's number sets the gauge's `read`."""

    def __init__(self, sampled: Sampled = NOTHING) -> None:
        self._fresh_until = 0.0
        self._reading = asyncio.Lock()
        self._holding = 0

        self.queue_length = Gauge("queue_length", "Orders that wait to be decided.", sampled.queue_length)
        self.hot_streams = Gauge("hot_streams", "Streams in memory.", sampled.hot_streams)
        self.tasks_running = Gauge("tasks_running", "Steps that run now.", sampled.tasks_running)
        self.suspects_held = Gauge(
            "suspects_held", "Tasks that were there at several deaths, and wait for their turn.", sampled.suspects_held
        )
        self.clock_offset = Gauge(
            "clock_offset_ms",
            "By so much the computer's clock is ahead of the engine's; less than 0: behind.",
            sampled.clock_offset_ms,
        )
        self.resumes_held = Gauge("resumes_held", "Resumes held until their wait opens.", lambda: self._holding)
        self.live = Gauges("executions", "Executions that are alive, of the whole database.", "status")
        self.paused = Gauges("executions_paused", "Executions that are paused, of the whole database.", "by")

        self.pauses = Counter(
            "pauses", "Pauses of runs by the quota that was used up, or an operator.", ("by",), PAUSERS
        )
        self.runs = RunCounts(self.pauses)
        self.requests = Counter("orders", "Orders by how they ended.", ("outcome",), OUTCOMES)
        self.commits = Counter("commits", "Commits by outcome.", ("outcome",), ("appended", "failed", "unknown"))
        self.refused = Counter("streams_refused", "Streams whose part of a commit another writer had overtaken.")
        self.steps = Counter("steps", "Calls of steps by outcome.", ("outcome",), ("succeeded", "failed"))
        self.recovered = Counter("recovered_executions", "Executions taken up again at the start.")
        self.suspected = Counter("suspects", "Tasks held back at the start.")
        self.quarantined = Counter("quarantined_executions", "Executions set aside because deciding about them failed.")
        self.snapshots_refused = Counter("snapshots_refused", "Snapshots that did not hold, by flaw.", ("flaw",), FLAWS)
        self.failures = Counter("failures", "Failures by the log line that tells of them.", ("event",), FAILURES)

        self.commit_seconds = Histogram("commit_seconds", "How long commits took.", SECONDS)
        self.commit_streams = Histogram("commit_streams", "Streams in a commit.", SIZES)
        self.commit_events = Histogram("commit_events", "Events in a commit.", SIZES)
        self.timer_lateness = Histogram(
            "timer_lateness_seconds", "From when a timer was due to its recorded firing.", LATENESS
        )

    def fail(self, event: str) -> None:
        """Count a failure, by the name of its log line."""
        self.failures.add(event)

    def commit(self, started: float, streams: int, events: int) -> None:
        """Record a commit that was appended; `started` is of `time.perf_counter`."""
        self.commits.add("appended")
        self.commit_seconds.observe(time.perf_counter() - started)
        self.commit_streams.observe(streams)
        self.commit_events.observe(events)

    @contextmanager
    def hold(self) -> Iterator[None]:
        """Count a resume while it is held."""
        self._holding += 1
        try:
            yield
        finally:
            self._holding -= 1

    async def count_live(self, store: Executions) -> None:
        """Bring the numbers of live executions up to date, unless they are fresh. Raises `StoreError`."""
        async with self._reading:  # whoever asks meanwhile gets the same answer
            started = time.perf_counter()
            if started < self._fresh_until:
                return
            found = await store.live_counts()
            paused = await store.paused_counts()
            self.live.values = {status: found.get(status, 0) for status in LIVE}
            self.paused.values = {by: paused.get(by, 0) for by in PAUSERS}
            ended = time.perf_counter()
            self._fresh_until = ended + KEPT * (ended - started)
