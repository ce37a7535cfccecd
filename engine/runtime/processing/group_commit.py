"""The group commit: batches of decisions go to the disk one at a time, and are told of once they are there.

While one is under way the next is filled; when it ends, the next is handed over first, and the answers and effects of
the one that is done follow. What another writer has overtaken, and what the store did not serve, goes back to whoever
decides. After a commit of unknown fate nothing more is told.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Iterator, Mapping
from typing import Any, NamedTuple

import structlog

from perdure.engine.runtime.processing.batch import Batch, PendingReply
from perdure.engine.runtime.processing.commits import Commits
from perdure.engine.runtime.processing.failures import Failures
from perdure.engine.runtime.processing.ports import Ports
from perdure.engine.runtime.processing.replies import Replies
from perdure.engine.runtime.processing.requests import CommandRequest, claim_key
from perdure.engine.runtime.streams.stream import HotStreams
from perdure.engine.runtime.telemetry.metrics import Metrics
from perdure.engine.runtime.watch import Watchers
from perdure.store.errors import CommitUnknown, StoreError
from perdure.store.protocols import Store
from perdure.store.records import Appended, RefusedAppend

_log = structlog.get_logger("perdure.processor")


class WayBack(NamedTuple):
    """The part of the processor that a commit needs.

    `put`: decide this request again. `schedule`: there may be something to decide. `start`: do this beside. `stop`:
    nobody knows what is on disk.
    """

    put: Callable[[CommandRequest], None]
    schedule: Callable[[], None]
    start: Callable[[Coroutine[Any, Any, None]], None]
    stop: Callable[[Exception], None]


class GroupCommit:
    """The commits of one processor. `open` is the batch that decisions go into, `under_way` the one being committed.

    `position` is where the log stands on disk.
    """

    def __init__(
        self,
        store: Store,
        watched: Commits,
        hot: HotStreams,
        replies: Replies,
        failures: Failures,
        metrics: Metrics,
        ports: Ports,
        back: WayBack,
    ) -> None:
        self._store = store
        self._watched = watched
        self._hot = hot
        self._replies = replies
        self._failures = failures
        self._metrics = metrics
        self._ports = ports
        self._back = back
        self._is_stopped = False
        self.open = Batch()
        self.under_way: Batch | None = None
        self.appending: asyncio.Future[Appended] | None = None
        self.watchers = Watchers()
        self.position = 0

    # --- what there is -------------------------------------------------------------------------------------------

    @property
    def is_idle(self) -> bool:
        """Whether nothing is decided that is not on disk."""
        return not self.open and self.under_way is None

    @property
    def is_stalled(self) -> bool:
        """Whether the commit under way takes too long."""
        return self._watched.is_stalled

    @property
    def problem(self) -> str | None:
        """What keeps writes from being answered soon; null if nothing does."""
        return self._watched.problem

    @property
    def requests(self) -> Iterator[CommandRequest]:
        """The requests that are decided and not on disk."""
        return (item.request for batch in (self.under_way, self.open) if batch for item in batch.waiting)

    @property
    def waiting(self) -> int:
        """How many they are."""
        return len(self.open.waiting) + (0 if self.under_way is None else len(self.under_way.waiting))

    def defer(self, request: CommandRequest) -> bool:
        """Let a request wait if one that is not on disk claims the same, or revokes its key; whether there is one."""
        return self.open.defer(request) or (self.under_way is not None and self.under_way.defer(request))

    def stop(self) -> None:
        """Commit nothing more."""
        self._is_stopped = True
        if self.under_way is not None:
            self._metrics.commits.add("unknown")

    # --- a commit ------------------------------------------------------------------------------------------------

    def begin(self) -> None:
        """Commit what is decided, unless a commit is under way: then it follows that one."""
        if self.open and self.under_way is None:
            self._begin()

    def _begin(self) -> None:
        batch, self.open = self.open, Batch()
        self.under_way = batch
        self._watched.begin()
        started = time.perf_counter()
        try:
            # At once: before a job has its turn, the next batch may move the states on; and the store works meanwhile.
            self.appending = asyncio.ensure_future(self._store.append(batch.hand_over()))
        except Exception as defect:  # noqa: BLE001 a defect of ours, and nobody can go on without these events
            self._back.stop(defect)
            return
        self._back.start(self._run(batch, self.appending, started))

    async def _run(self, batch: Batch, appending: asyncio.Future[Appended], started: float) -> None:
        try:
            appended = await appending
        except Exception as error:  # noqa: BLE001 whatever it is, nobody knows what is on disk
            if isinstance(error, CommitUnknown) or not isinstance(error, StoreError):
                self._back.stop(error)
                return
            self.under_way = None
            self._watched.end(error)
            self._on_store_error(batch, error)
            self._back.schedule()
        else:
            self._metrics.commit(started, len(batch.parts), batch.event_count)
            self._on_appended(batch, appended)

    def _on_appended(self, batch: Batch, appended: Appended) -> None:
        """Begin the next commit, and only then tell of this one: the store does not wait for what that sets going."""
        self.position = appended.position
        self._watched.end()
        self._ports.moved(self.position)
        if appended.refused:
            self._on_refused(batch, appended.refused)
        batch.settle(appended.heads, self._metrics.runs)
        self.under_way = None
        if not self._is_stopped:
            self.begin()
        self._back.schedule()
        self._tell_of(batch)

    def _on_refused(self, batch: Batch, refused: Mapping[bytes, RefusedAppend]) -> None:
        """Another writer was faster: forget what was decided from the streams, read them again and decide again."""
        self._metrics.refused.add(by=len(refused))
        again = [*batch.remove(refused), *self.open.remove(refused)]
        for stream_id in refused:
            self._hot.drop(stream_id)
        for request in again:
            refusal = refused.get(request.stream_id)
            claim = None if refusal is None else refusal.claim
            if claim is not None and claim_key(claim) in request.claim_keys():
                self._replies.tell_lost(request)
                continue
            if refusal is not None and refusal.reason == "stale":
                request.may_create = False  # or it would be begun again and again
            self._back.put(request)

    def _on_store_error(self, batch: Batch, error: StoreError) -> None:
        """Nothing was written: who asked from outside is told so, and work from inside is tried again later."""
        _log.error("append_failed", error=str(error), streams=len(batch.parts))
        self._metrics.fail("append_failed")
        self._metrics.commits.add("failed")
        for stream_id in batch.parts:
            self._hot.drop(stream_id)
        for request in [*(item.request for item in batch.waiting), *self.open.remove(batch.parts)]:
            self._failures.not_served(request)

    # --- telling -------------------------------------------------------------------------------------------------

    def tell(self, item: PendingReply) -> None:
        """Tell what a request came to, and set its effects going: all that it rests on is on disk."""
        try:
            self._replies.tell(item, self.position)
        except Exception as defect:  # noqa: BLE001 a defect of ours: the others are told all the same
            self._failures.not_carried_out(item.hot, item.request, defect)

    def _tell_of(self, batch: Batch) -> None:
        for item in batch.waiting:
            self.tell(item)
        for stream_id, part in batch.parts.items():
            if part.events:
                self.watchers.notify(stream_id, part.hot)
                if part.hot.kind.name != "execution":
                    self._ports.administered(part.hot, part.events)
            self._hot.settle(part.hot)
