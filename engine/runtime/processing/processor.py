"""The processor: the single writer of all streams, one decision after another.

It takes whatever is waiting, decides it against the hot states, and appends all of it in one transaction. While that
commits, the next batch is decided; as soon as it ends the next begins. Nothing leaves before it is on disk: answers are
told and effects run after the commit of the last batch that they rest on, refusals and no-ops included. The package's
docstring has the states of a request, and why things happen in this order.
"""

from __future__ import annotations

import asyncio
import contextvars
import time
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any, Final

import structlog

from perdure.engine.core import ids
from perdure.engine.core.decision import Decision, Facts, Need, Outcome, Rejection
from perdure.engine.errors import EngineFailed, Unavailable
from perdure.engine.limits import Limits
from perdure.engine.log.codec import new_events
from perdure.engine.runtime.clock import Clock
from perdure.engine.runtime.processing.batch import PendingReply
from perdure.engine.runtime.processing.commits import Commits, PutOff
from perdure.engine.runtime.processing.deferred import Deferred
from perdure.engine.runtime.processing.facts import FactsSource
from perdure.engine.runtime.processing.failures import Failures
from perdure.engine.runtime.processing.group_commit import GroupCommit, WayBack
from perdure.engine.runtime.processing.inbox import Inbox
from perdure.engine.runtime.processing.ports import Ports
from perdure.engine.runtime.processing.quotas import WorkflowKey
from perdure.engine.runtime.processing.replies import Replies
from perdure.engine.runtime.processing.requests import MOVED, CommandReply, CommandRequest
from perdure.engine.runtime.streams.loader import Loader
from perdure.engine.runtime.streams.stream import NO_ROWS, HotStream, HotStreams
from perdure.engine.runtime.streams.stream_types import STREAM_TYPES
from perdure.engine.runtime.telemetry.metrics import Metrics
from perdure.store.errors import StoreError
from perdure.store.protocols import Store
from perdure.store.records import Claim

_log = structlog.get_logger("perdure.processor")

PENDING_MAX: Final = 10_000
"""So many requests may be under way, decided or not, before more from outside are refused."""

HOT_MAX: Final = 10_000
"""So many streams stay in memory, those not counted of which something is in flight."""

CLOSED: Final = "the engine is closed; repeat the call later"


class Processor:
    """The single writer of a node. All methods are called on its event loop."""

    def __init__(
        self,
        store: Store,
        loader: Loader,
        clock: Clock,
        random: Callable[[int], bytes],
        *,
        metrics: Metrics,
        limits: Limits,
        names: Mapping[str, str],
        ports: Ports,
    ) -> None:
        self._metrics = metrics
        self._context = contextvars.copy_context()
        self._clock = clock
        self._random = random
        self._ids = ids.IdGenerator(random)
        self._deferred = Deferred(loader, ports.quotas, self.new_id, random)
        self.hot = HotStreams(HOT_MAX)
        self.replies = Replies(self.hot, metrics, ports.effect)
        self._inbox = Inbox(self.hot.workflow_of)
        self._facts = FactsSource(
            limits, names, self.new_id, random, self.hot.refusals, self._inbox.transitions_max, ports.quotas
        )
        self._put_off = PutOff(clock, self._put)
        self._failures = Failures(self.hot, self.replies, self._put_off, self._put, metrics)
        self.commits = GroupCommit(
            store,
            Commits(clock, limits.commit_stall_ms, self._on_stall),
            self.hot,
            self.replies,
            self._failures,
            metrics,
            ports,
            WayBack(self._put, self._schedule_decisions, self._start, self.stop),
        )
        self._jobs: set[asyncio.Future[Any]] = set()
        self._is_scheduled = self._is_draining = self.is_careful = False
        self._idle = asyncio.Event()
        self._idle.set()
        self.watchers = self.commits.watchers
        self.failure: Exception | None = None
        self._ports = ports

    @property
    def position(self) -> int:
        """Where the log stands on disk."""
        return self.commits.position

    @property
    def queue_length(self) -> int:
        """How many requests wait to be decided."""
        return len(self._inbox)

    def resume_at(self, position: int, seen: Iterable[bytes]) -> None:
        """Go on behind a log that stands there; new ids sort above those that were seen."""
        self.commits.position = position
        for each in seen:
            self._ids.seed(each)

    def act_as(self, actor: str) -> None:
        """Be this actor in what is done of the engine's own accord."""
        self._facts.engine = actor

    def be_careful(self, *, is_careful: bool) -> None:
        """Take in nothing about executions from outside, or again: at a careful start each has its turn alone."""
        self.is_careful = is_careful

    # --- intake --------------------------------------------------------------------------------------------------

    def new_id(self) -> bytes:
        """A new id of version 7, above all that this node has seen."""
        return self._ids.next(self._clock.now())

    def submit(self, request: CommandRequest) -> asyncio.Future[CommandReply]:
        """Queue a request; its future is done once the reply is on disk. Raises what `post` does."""
        request.reply = reply = asyncio.get_running_loop().create_future()
        self.post(request)
        return reply

    def post(self, request: CommandRequest) -> None:
        """Queue a request without a listener for its reply.

        Raises `EngineFailed` after a commit of unknown fate, `Unavailable` while draining, when too much waits, or
        while a commit stalls.
        """
        if self.failure is not None:
            raise EngineFailed("the engine has stopped after a failed commit; restart it") from self.failure
        if not request.is_internal and (problem := self._why_not(request)) is not None:
            raise Unavailable(f"the engine {problem}; repeat the call later")
        self._put(request)

    def _why_not(self, request: CommandRequest) -> str | None:
        """The reason why a request from outside is not accepted; null if it is."""
        if self._is_draining:
            return "is draining"
        if self.is_careful and request.kind == "execution":  # or who is alone would not be
            return "takes up what was under way bit by bit, after several deaths in a row"
        if self.commits.is_stalled:
            return self.commits.problem
        return "is overloaded" if self.pending >= PENDING_MAX else None

    @property
    def pending(self) -> int:
        """The number of requests in progress: queued, deferred, or decided and not on disk."""
        return len(self._inbox) + self.commits.waiting + self._deferred.waiting

    def _put(self, request: CommandRequest) -> None:
        self._inbox.put(request)
        self._idle.clear()
        self._schedule()

    def _schedule(self) -> None:
        if not self._is_scheduled:
            self._is_scheduled = True
            # In its own context: it works for everybody, not for whoever came first.
            asyncio.get_running_loop().call_soon(self._pump, context=self._context)

    def _schedule_decisions(self) -> None:
        """After a commit: go on, if there is anything to go on with."""
        if self._inbox or self.commits.open:
            self._schedule()

    def _pump(self) -> None:
        """Decide what has come in, and start a commit unless one is under way."""
        self._is_scheduled = False
        if self.failure is not None:
            return
        for request in self._inbox.take(self.commits.open):
            self._take(request)
        self.commits.begin()
        if self._inbox.has_next(self.commits.open):
            self._schedule()
        self._note_idle()

    def _note_idle(self) -> None:
        if self.commits.is_idle and not (self._inbox or self._deferred.is_loading or self._jobs):
            self._idle.set()

    def _take(self, request: CommandRequest) -> None:
        if (request.grant or request.claims) and self._is_held_back(request):
            return
        kind = STREAM_TYPES[request.kind]
        hot = self.hot.get(request.stream_id)
        if hot is None and request.may_create and kind.creates(request.command):
            hot = HotStream(kind, request.stream_id, request.organization_id, request.workspace_id, request.machine)
            self.hot.add(hot)
        if hot is not None:
            self._decide(hot, request)
        elif self._deferred.want(request):
            self._start(self._load())

    def _is_held_back(self, request: CommandRequest) -> bool:
        """Whether its key has ended, or one that is not yet on disk revokes that or claims the same, and so decides."""
        if request.grant is not None and self.replies.refuse_ended(request, request.grant, self._clock):
            return True
        return self.commits.defer(request)

    # --- deciding ------------------------------------------------------------------------------------------------

    def _decide(self, hot: HotStream, request: CommandRequest) -> None:
        now = self._clock.now()
        if self._deferred.is_next(hot, request):
            self._conclude(hot, request, Need(is_slow=True), now)
            return
        facts = self._facts.of(hot, request, now)
        if not isinstance(facts, Facts):
            if self._deferred.want_quotas(facts, request):
                self._start(self._read_quotas(facts))
            return
        if request.seq is not None and request.seq != hot.state.seq:
            self._conclude(hot, request, MOVED, now)
            return
        try:
            outcome = hot.kind.decide(hot, request.command, facts)
        except Exception as defect:  # noqa: BLE001 a defect of ours: this stream is set aside, the others go on
            self._failures.not_decided(hot, request, defect)
            return
        self._conclude(hot, request, outcome, now)

    def _conclude(self, hot: HotStream, request: CommandRequest, outcome: Outcome, now: int) -> None:
        """Go on with what was decided."""
        if isinstance(outcome, Need):
            hot.pin()
            self._start(self._detour(hot, request, outcome))
        elif outcome.steps:
            try:
                self._record(hot, request, outcome, now)
            except Exception as defect:  # noqa: BLE001 likewise
                self._failures.not_decided(hot, request, defect)
        elif isinstance(outcome, Decision) and request.idempotency is not None:  # no event, but an answer to be kept
            batch = self.commits.open
            batch.add(hot, (), NO_ROWS, batch.claim(request, hot, outcome.answer, now))
            batch.waiting.append(PendingReply(request, hot, outcome))
        elif hot.batch is not None:
            hot.batch.waiting.append(PendingReply(request, hot, outcome))
        else:
            self.commits.tell(PendingReply(request, hot, outcome))
            self.hot.settle(hot)

    async def _detour(self, hot: HotStream, request: CommandRequest, need: Need) -> None:
        """Wait for what a decision needs, then go on with it, before all others."""
        state, now, outcome = hot.state, self._clock.now(), None
        try:
            with self._deferred.taken(request):
                if need.is_slow:
                    async with self._deferred.turn(hot):
                        await self._facts.complete(hot, request)
                        state, now = hot.state, self._clock.now()
                        facts = self._facts.of(hot, request, now)
                        if isinstance(facts, Facts) and not self._inbox.is_closed and self.failure is None:
                            outcome = await self._deferred.decide(hot, request, facts)
                else:
                    await self._deferred.fetch(hot, request, need)
        except StoreError as error:
            _log.error("payloads_not_read", execution_id=hot.text, error=str(error))
            self._failures.not_served(request)
            return
        except Exception as defect:  # noqa: BLE001 whoever sent the request must hear of it, whatever it is
            self._failures.not_decided(hot, request, defect)
            return
        finally:
            hot.unpin()
        has_moved = hot.state is not state or self.hot.get(hot.stream_id) is not hot
        if self.failure is not None:
            request.fail(EngineFailed("the engine has stopped after a failed commit; restart it"))
        elif self._inbox.is_closed:
            request.fail(Unavailable(CLOSED))
        elif outcome is None or has_moved:
            self._inbox.put_first([request])
        elif request.grant and self._is_held_back(request):
            self.hot.forget(hot)
        else:
            self._conclude(hot, request, outcome, now)
        self._schedule()

    def _record(self, hot: HotStream, request: CommandRequest, outcome: Decision | Rejection, now: int) -> None:
        """Put the events of a decision into the open batch, and move the hot state on.

        What can fail comes first: after an error nothing has changed.
        """
        steps = outcome.steps
        events = new_events([step.recorded for step in steps], self._random)
        changed = hot.kind.rows(hot, steps, request.command)
        claims: Sequence[Claim] = ()
        batch = self.commits.open
        if request.claims and isinstance(outcome, Decision):
            claims = batch.claim(request, hot, outcome.answer, now)
        hot.move(steps, events)
        batch.add(hot, events, changed, claims)
        if isinstance(outcome, Rejection):
            self.hot.count_refusal(hot.stream_id, recorded=True)
        batch.waiting.append(PendingReply(request, hot, outcome))

    # --- what must be read first ---------------------------------------------------------------------------------

    async def _load(self) -> None:
        async for result, requests in self._deferred.load():
            if isinstance(result, HotStream):
                self.hot.add(result)
                self._inbox.put_first(requests)
            elif result is None:
                for request in requests:
                    missing = Rejection("NOT_FOUND", f"there is no such {request.kind}")
                    self.replies.tell_denied(request, missing, self.position)
            else:
                for request in requests:
                    self._failures.not_loaded(request, result)
            self._schedule()

    async def _read_quotas(self, workflow: WorkflowKey) -> None:
        """Read the quotas that hold for a workflow, then decide what waits for them."""
        problem, requests = await self._deferred.quotas(workflow)
        if problem is None:
            self._inbox.put_first(requests)
        else:
            for request in requests:
                self._failures.not_loaded(request, problem)
        self._schedule()

    # --- what goes wrong ------------------------------------------------------------------------------------------

    def _on_stall(self) -> None:
        """A commit takes too long: answer callers outside, and drop their requests that are not decided."""
        _log.error("commit_stalled", pending=self.pending, problem=self.commits.problem)
        self._metrics.fail("commit_stalled")
        unsure = Unavailable("the database does not answer: whether the request was carried out is not known yet")
        for request in (*self.commits.requests, *self._deferred.requests):
            if not request.is_internal:
                self.replies.fail(request, unsure)
        for request in self._inbox.drop_outside():
            self.replies.fail(request, Unavailable("the database does not answer; repeat the call later"))

    def stop(self, failure: Exception) -> None:
        """Fail-stop: nobody knows what is on disk, so nothing more may be said."""
        if self.failure is not None:
            return
        _log.critical("engine_failed", error=str(failure), exc_info=failure)
        self._metrics.fail("engine_failed")
        self.commits.stop()
        self.failure = failure
        failed = EngineFailed("a commit failed and may be durable or not; the engine has stopped")
        for each in (self.commits.requests, self._inbox, self._deferred.requests, self._put_off.requests):
            for request in list(each):
                request.fail(failed)
        self._idle.set()
        self.watchers.notify_all()
        self._ports.stopped()
        self._ports.failed(failure)

    # --- life ----------------------------------------------------------------------------------------------------

    def _start(self, coroutine: Coroutine[Any, Any, None]) -> None:
        self._idle.clear()
        job = asyncio.get_running_loop().create_task(coroutine)
        self._jobs.add(job)
        job.add_done_callback(self._on_job_done)

    def _on_job_done(self, job: asyncio.Task[None]) -> None:
        self._jobs.discard(job)
        if not job.cancelled() and (error := job.exception()) is not None:
            self.stop(error if isinstance(error, Exception) else RuntimeError(repr(error)))
        self._note_idle()

    def stop_intake(self) -> None:
        """Refuse new requests from outside; work from inside goes on."""
        self._is_draining = True

    def close(self) -> None:
        """Release the resources of an idle processor."""
        self._deferred.close()

    async def settle(self) -> None:
        """Wait until nothing is queued, being read or being committed."""
        await self._idle.wait()

    async def bring_home(self, patience_s: float) -> bool:
        """Wait, so long at most, until all is on disk, what was put off too; whether nothing is being committed.

        If that is too long nothing more is decided, and what is decided has as long again to come to disk.
        """
        with suppress(TimeoutError):
            async with asyncio.timeout(patience_s):
                # What was put off may be on its way again.
                while not self._inbox.is_closed and (self._put_off.requests or not self._idle.is_set()):
                    await self._put_off.wait()
                    await self._idle.wait()
        if self._put_off.requests:
            _log.error("results_not_written", count=len(self._put_off.requests), problem=self.commits.problem)
        if not self._idle.is_set():
            self._halt()
        end = time.monotonic() + patience_s
        while not self.commits.is_idle and self.failure is None and time.monotonic() < end:  # noqa: ASYNC110 rare
            await asyncio.sleep(0.01)
        return self.commits.under_way is None or self.failure is not None

    def _halt(self) -> None:
        """Decide nothing more, and tell who waits outside."""
        self._inbox.is_closed = True
        for request in (*self._inbox.drop_outside(), *self._deferred.requests):
            if not request.is_internal:
                self.replies.fail(request, Unavailable(CLOSED))
