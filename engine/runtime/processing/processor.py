"""The processor: everything that changes a stream goes through here, one decision after another.

It takes whatever is waiting, decides it against the hot states, and appends all of it in one transaction. While that
commits, the next batch is decided; as soon as it ends the next begins. Nothing leaves before it is on disk: answers are
told and effects run after the commit of the last batch that they rest on, refusals and no-ops included. The package's
docstring has the states of a request, and why things happen in this order.
"""

from __future__ import annotations

import asyncio
import contextvars
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, Final

import structlog

from perdure.engine.core import ids
from perdure.engine.core.decision import Decision, Facts, Need, Outcome, Rejection
from perdure.engine.errors import EngineFailed, Invalid, Unavailable
from perdure.engine.limits import Limits
from perdure.engine.log.codec import new_events
from perdure.engine.runtime.clock import Clock
from perdure.engine.runtime.processing.batch import Batch, PendingReply
from perdure.engine.runtime.processing.commits import Commits, PutOff
from perdure.engine.runtime.processing.deferred import Deferred
from perdure.engine.runtime.processing.inbox import Inbox
from perdure.engine.runtime.processing.incoming import can_be_written
from perdure.engine.runtime.processing.quarantine import compensation_request, quarantine_request
from perdure.engine.runtime.processing.replies import Replies
from perdure.engine.runtime.processing.requests import CommandReply, CommandRequest, RecordedRandomness, claim_key
from perdure.engine.runtime.streams.loader import Loader
from perdure.engine.runtime.streams.stream import NO_ROWS, HotStream, HotStreams
from perdure.engine.runtime.streams.stream_types import STREAM_TYPES
from perdure.engine.runtime.telemetry.metrics import Metrics
from perdure.engine.runtime.watch import Watchers
from perdure.store.errors import CommitUnknown, StoreError
from perdure.store.protocols import Store
from perdure.store.records import Appended, Claim, NewEvent, Refusal

_log = structlog.get_logger("perdure.processor")

PENDING_MAX: Final = 10_000
"""So many requests may be under way, decided or not, before more from outside are refused."""

PATIENCE_S: Final = 0.02
"""Seconds that one decision may hold up everybody: then it goes on later, or it is made in a thread."""


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
        hot_max: int = 10_000,
        limits: Limits,
        names: Mapping[str, str] | None = None,
    ) -> None:
        self._metrics = metrics
        metrics.queue_length.read = lambda: len(self._inbox)
        metrics.hot_streams.read = lambda: len(self.hot)
        self._context = contextvars.copy_context()
        self._store = store
        store.on_failure = self._stop
        self._clock = clock
        self._random = random
        self._names = names or {}
        self._limits = limits
        self._ids = ids.IdGenerator(random)
        self._detours = Deferred(loader, self.new_id, random)
        self.hot = HotStreams(hot_max)
        self.teller = Replies(self.hot, metrics)
        self._inbox = Inbox()
        self._open = Batch()
        self._committing: Batch | None = None
        self.commits = Commits(clock, limits.commit_stall_ms, self._on_stall)
        self._put_off = PutOff(clock, self._put)
        self._jobs: set[asyncio.Future[Any]] = set()
        self._is_scheduled = self._is_draining = self.is_careful = False
        self._idle = asyncio.Event()
        self._idle.set()
        self.watchers = Watchers()
        self.failure: Exception | None = None
        self.on_administered: list[Callable[[HotStream, Sequence[NewEvent]], None]] = []
        self.on_stop: Callable[[], None] = lambda: None
        self.on_failure: Callable[[Exception], None] = lambda _failure: None
        self.on_far: Callable[[], None] = lambda: None
        self.pin_due = sys.maxsize
        self.position = 0

    # --- intake --------------------------------------------------------------------------------------------------

    def new_id(self) -> bytes:
        """A new id of version 7, above all that this node has seen."""
        return self._ids.next(self._clock.now())

    def seed_ids(self, seen: bytes) -> None:
        self._ids.seed(seen)

    def submit(self, request: CommandRequest) -> asyncio.Future[CommandReply]:
        """Take a request in; its reply is done once what it says is on disk. Raises what `post` does."""
        request.reply = reply = asyncio.get_running_loop().create_future()
        self.post(request)
        return reply

    def post(self, request: CommandRequest) -> None:
        """Take a request in to whose reply nobody listens.

        Raises `EngineFailed` after a commit of unknown fate, `Unavailable` while draining, when too much waits, or
        while a commit stalls.
        """
        if self.failure is not None:
            raise EngineFailed("the engine has stopped after a failed commit; restart it") from self.failure
        if not request.is_internal and (problem := self._why_not(request)) is not None:
            raise Unavailable(f"the engine {problem}; repeat the call later")
        self._put(request)

    def _why_not(self, request: CommandRequest) -> str | None:
        """Why a request cannot be taken in from outside; null if it can."""
        if self._is_draining:
            return "is draining"
        if self.is_careful and request.kind == "execution":  # or who is alone would not be
            return "takes up what was under way bit by bit, after several deaths in a row"
        if self.commits.is_stalled:
            return self.commits.problem
        return "is overloaded" if self.pending >= PENDING_MAX else None

    @property
    def pending(self) -> int:
        """How many requests are under way: in the queue, being loaded, or decided and not on disk."""
        committing = 0 if self._committing is None else len(self._committing.waiting)
        return len(self._inbox) + len(self._open.waiting) + committing + self._detours.waiting

    def _put(self, request: CommandRequest) -> None:
        self._inbox.put(request)
        self._idle.clear()
        self._schedule()

    def _schedule(self) -> None:
        if not self._is_scheduled:
            self._is_scheduled = True
            # In its own context: it works for everybody, not for whoever came first.
            asyncio.get_running_loop().call_soon(self._pump, context=self._context)

    def _pump(self) -> None:
        """Decide what has come in, and start a commit unless one is under way."""
        self._is_scheduled = False
        if self.failure is not None:
            return
        for request in self._inbox.take(self._open):
            self._take(request)
        if self._open and self._committing is None:
            self._commit()
        if self._inbox.has_next(self._open):
            self._schedule()
        self._note_idle()

    def _note_idle(self) -> None:
        if not (self._inbox or self._detours.is_loading or self._open or self._committing or self._jobs):
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
        elif self._detours.want(request):
            self._start(self._load())

    def _is_held_back(self, request: CommandRequest) -> bool:
        """Whether its key has ended, or one that is not yet on disk revokes that or claims the same, and so decides."""
        if request.grant is not None and self.teller.refuse_ended(request, request.grant, self._clock):
            return True
        return self._open.defer(request) or (self._committing is not None and self._committing.defer(request))

    # --- deciding ------------------------------------------------------------------------------------------------

    def _decide(self, hot: HotStream, request: CommandRequest) -> None:
        now = self._clock.now()
        try:
            outcome = hot.kind.decide(hot, request.command, self._facts(hot, request, now))
        except Exception as defect:  # noqa: BLE001 a defect of ours: this stream is set aside, the others go on
            self._on_defect(hot, request, defect)
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
                self._on_defect(hot, request, defect)
        elif isinstance(outcome, Decision) and request.remembered is not None:  # no event, but an answer to be kept
            self._open.add(hot, (), NO_ROWS, self._open.claim(request, hot, outcome.answer, now))
            self._open.waiting.append(PendingReply(request, hot, outcome))
        elif hot.batch is not None:
            hot.batch.waiting.append(PendingReply(request, hot, outcome))
        else:
            self._tell(PendingReply(request, hot, outcome))
            self.hot.settle(hot)

    def _facts(self, hot: HotStream, request: CommandRequest, now: int) -> Facts:
        chance = RecordedRandomness(request, self.new_id, self._random)
        deadline = time.perf_counter() + PATIENCE_S
        return Facts(
            hot.text,
            hot.machine,
            hot.payloads,
            now,
            request.actor,
            chance.draw,
            chance.entropy,
            request.known_waits,
            self.hot.refusals(hot.stream_id),
            self._names,
            lambda: deadline - time.perf_counter(),
            payload_max=self._limits.payload_max_bytes,
            events_max=self._limits.run_events_max,
            transitions_max=min(self._limits.transitions_max, self._inbox.moves_max(request)),
        )

    async def _detour(self, hot: HotStream, request: CommandRequest, need: Need) -> None:
        """Wait for what a decision needs, then go on with it, before all others."""
        state, now, outcome = hot.state, self._clock.now(), None
        try:
            with self._detours.taken(request):
                if need.patience:
                    outcome = await self._detours.decide(hot, request, self._facts(hot, request, now))
                else:
                    await self._detours.fetch(hot, request, need)
        except StoreError as error:
            _log.error("payloads_not_read", execution_id=hot.text, error=str(error))
            self._not_served(request)
            return
        except Exception as defect:  # noqa: BLE001 whoever sent the request must hear of it, whatever it is
            self._on_defect(hot, request, defect)
            return
        finally:
            hot.unpin()
        has_moved = hot.state is not state or self.hot.get(hot.stream_id) is not hot
        if self.failure is not None:
            request.fail(EngineFailed("the engine has stopped after a failed commit; restart it"))
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
        if request.claims and isinstance(outcome, Decision):
            claims = self._open.claim(request, hot, outcome.answer, now)
        hot.move(steps)
        self._open.add(hot, events, changed, claims)
        if isinstance(outcome, Rejection):
            self.hot.count_refusal(hot.stream_id, recorded=True)
        self._open.waiting.append(PendingReply(request, hot, outcome))

    def _on_defect(self, hot: HotStream, request: CommandRequest, defect: Exception) -> None:
        name = type(request.command).__name__
        if hot.batch is None:
            self.hot.drop(hot.stream_id)
        if isinstance(defect, MemoryError):  # it says nothing of this stream: others may have the memory
            _log.error("out_of_memory", **hot.described(), command=name, request_id=request.request_id)
            self._metrics.fail("out_of_memory")
            self._not_served(request, "there was not enough memory for the request")
        elif not request.is_internal and not can_be_written(request.command):
            self.teller.fail(request, Invalid("the request holds something that cannot be written as JSON"))
        else:
            _log.error(
                "decision_failed", **hot.described(), command=name, request_id=request.request_id, exc_info=defect
            )
            self._metrics.fail("decision_failed")
            setting = quarantine_request(hot, request, defect, self._metrics)
            if setting is not None:
                self._put(setting)
            self.teller.fail(request, Unavailable("deciding the request failed; the execution is set aside"))

    # --- what must be read first ---------------------------------------------------------------------------------

    async def _load(self) -> None:
        async for result, requests in self._detours.load():
            if isinstance(result, HotStream):
                self.hot.add(result)
                self._inbox.put_first(requests)
            else:
                for request in requests:
                    self._not_loaded(request, result)
            self._schedule()

    def _not_loaded(self, request: CommandRequest, result: Exception | None) -> None:
        if result is None:
            self.teller.tell_denied(request, Rejection("NOT_FOUND", f"there is no such {request.kind}"), self.position)
            return
        shown = {f"{request.kind}_id": ids.text(request.stream_id), "request_id": request.request_id}
        _log.error("stream_not_loaded", **shown, exc_info=result)
        self._metrics.fail("stream_not_loaded")
        if isinstance(result, StoreError | MemoryError):
            self._not_served(request)
        else:
            self.teller.fail(request, Unavailable("the stream cannot be read by this node"))

    # --- committing ----------------------------------------------------------------------------------------------

    def _commit(self) -> None:
        batch, self._open = self._open, Batch()
        self._committing = batch
        self.commits.begin()
        started = time.perf_counter()
        try:
            # At once: before a job has its turn, the next batch may move the states on; and the store works meanwhile.
            appending = asyncio.ensure_future(self._store.append(batch.hand_over()))
        except Exception as defect:  # noqa: BLE001 a defect of ours, and nobody can go on without these events
            self._stop(defect)
            return
        self._jobs.add(appending)
        appending.add_done_callback(self._jobs.discard)
        self._start(self._run_commit(batch, appending, started))

    async def _run_commit(self, batch: Batch, appending: asyncio.Future[Appended], started: float) -> None:
        try:
            appended = await appending
        except Exception as error:  # noqa: BLE001 whatever it is, nobody knows what is on disk
            if isinstance(error, CommitUnknown) or not isinstance(error, StoreError):
                self._stop(error)
                return
            self._committing = None
            self.commits.end(error)
            self._on_store_error(batch, error)
            self._schedule()
        else:
            self._metrics.commit(started, len(batch.parts), batch.event_count)
            self._on_appended(batch, appended)

    def _on_appended(self, batch: Batch, appended: Appended) -> None:
        """Begin the next commit, and only then tell of this one: the store does not wait for what that sets going."""
        self.position = appended.position
        self.commits.end()
        if self.position >= self.pin_due:
            self.on_far()
        if appended.refused:
            self._on_refused(batch, appended.refused)
        batch.settle(appended.heads, self._metrics.runs)
        self._committing = None
        if self._open and self.failure is None:
            self._commit()
        if self._inbox:
            self._schedule()
        self._tell_of(batch)

    def _tell(self, item: PendingReply) -> None:
        try:
            self.teller.tell(item, self.position)
        except Exception as defect:  # noqa: BLE001 a defect of ours: the others are told all the same
            if (again := compensation_request(item.hot, item.request, defect, self._metrics)) is not None:
                (self._put_off.add if isinstance(defect, MemoryError) else self._put)(again)

    def _tell_of(self, batch: Batch) -> None:
        for item in batch.waiting:
            self._tell(item)
        for stream_id, part in batch.parts.items():
            if part.events:
                self.watchers.notify(stream_id, part.hot)
                if part.hot.kind.name != "execution":
                    for changed in self.on_administered:  # before anybody hears of it
                        changed(part.hot, part.events)
            self.hot.settle(part.hot)

    def _on_refused(self, batch: Batch, refused: Mapping[bytes, Refusal]) -> None:
        """Another writer was faster: forget what was decided from the streams, read them again and decide again."""
        self._metrics.refused.add(by=len(refused))
        again = [*batch.remove(refused), *self._open.remove(refused)]
        for stream_id in refused:
            self.hot.drop(stream_id)
        for request in again:
            refusal = refused.get(request.stream_id)
            claim = None if refusal is None else refusal.claim
            if claim is not None and claim_key(claim) in request.claim_keys():
                self.teller.tell_lost(request)
                continue
            if refusal is not None and refusal.reason == "stale":
                request.may_create = False  # or it would be begun again and again
            self._put(request)

    def _on_store_error(self, batch: Batch, error: StoreError) -> None:
        """Nothing was written: who asked from outside is told so, and work from inside is tried again later."""
        _log.error("append_failed", error=str(error), streams=len(batch.parts))
        self._metrics.fail("append_failed")
        self._metrics.commits.add("failed")
        for stream_id in batch.parts:
            self.hot.drop(stream_id)
        for request in [*(item.request for item in batch.waiting), *self._open.remove(batch.parts)]:
            self._not_served(request)

    def _on_stall(self) -> None:
        """A commit takes too long: tell who waits outside, and take nothing of theirs that is not decided."""
        _log.error("commit_stalled", pending=self.pending, problem=self.commits.problem)
        self._metrics.fail("commit_stalled")
        decided = [item.request for b in (self._committing, self._open) if b for item in b.waiting]
        unsure = Unavailable("the database does not answer: whether the request was carried out is not known yet")
        for request in (*decided, *self._detours.requests):
            if not request.is_internal:
                self.teller.fail(request, unsure)
        for request in self._inbox.drop_outside():
            self.teller.fail(request, Unavailable("the database does not answer; repeat the call later"))

    def _not_served(self, request: CommandRequest, why: str = "the database did not serve the request") -> None:
        """It cannot be done now: try work from inside again later, and tell who is outside to do so."""
        if request.is_internal:
            self._put_off.add(request)
        else:
            self.teller.fail(request, Unavailable(f"{why}; repeat the call later"))

    def _stop(self, failure: Exception) -> None:
        """Fail-stop: nobody knows what is on disk, so nothing more may be said."""
        if self.failure is not None:
            return
        _log.critical("engine_failed", error=str(failure), exc_info=failure)
        self._metrics.fail("engine_failed")
        if self._committing is not None:
            self._metrics.commits.add("unknown")
        self.failure = failure
        failed = EngineFailed("a commit failed and may be durable or not; the engine has stopped")
        requests = [item.request for b in (self._committing, self._open) if b for item in b.waiting]
        for request in [*requests, *self._inbox, *self._detours.requests, *self._put_off.requests]:
            request.fail(failed)
        self._idle.set()
        self.watchers.notify_all()
        self.on_stop()
        self.on_failure(failure)

    # --- life ----------------------------------------------------------------------------------------------------

    def _start(self, coroutine: Any) -> None:
        self._idle.clear()
        job = asyncio.get_running_loop().create_task(coroutine)
        self._jobs.add(job)
        job.add_done_callback(self._on_job_done)

    def _on_job_done(self, job: asyncio.Task[None]) -> None:
        self._jobs.discard(job)
        if not job.cancelled() and (error := job.exception()) is not None:
            self._stop(error if isinstance(error, Exception) else RuntimeError(repr(error)))
        self._note_idle()

    def stop_intake(self) -> None:
        """Refuse new requests from outside; work from inside goes on."""
        self._is_draining = True

    def close(self) -> None:
        """Let go of what was held for good; called when nothing is decided any more."""
        self._detours.close()

    async def settle(self) -> None:
        """Wait until nothing is queued, being read or being committed."""
        await self._idle.wait()

    async def bring_home(self, patience_s: float) -> bool:
        """Wait, so long at most, until all is on disk, what was put off too; whether nothing is being committed."""
        with suppress(TimeoutError):
            async with asyncio.timeout(patience_s):
                while self._put_off.requests or not self._idle.is_set():  # what was put off may be on its way again
                    await self._put_off.wait()
                    await self._idle.wait()
        if self._put_off.requests:
            _log.error("results_not_written", count=len(self._put_off.requests), problem=self.commits.problem)
        return self._committing is None or self.failure is not None

    def is_hot(self, stream_id: bytes) -> bool:
        """Whether a stream is in memory."""
        return self.hot.get(stream_id) is not None
