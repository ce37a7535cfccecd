"""Does bulk jobs: a turn at a time, a few runs at once, and after a crash from the turn on that was under way."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

import structlog

from perdure.engine.core import bulk, ids
from perdure.engine.errors import Conflict, PerdureError, RateLimited, Unavailable
from perdure.engine.log.codec import decode_json
from perdure.engine.runtime.callers import KEY_ACTOR, Caller, IdempotencyKey
from perdure.engine.runtime.node import NodeParts
from perdure.engine.runtime.streams.stream_types import STREAM_TYPES
from perdure.engine.services.bulk import narrowed
from perdure.engine.services.bulk_actions import BulkAction, BulkItem, Commanded, action_of
from perdure.engine.services.run_filters import Given, run_filter
from perdure.engine.services.sending import send
from perdure.engine.services.unseen import NONE, Unseen
from perdure.store.errors import StoreError
from perdure.store.records import ApiKeyRow, BulkRow
from perdure.store.run_filter import RunFilter
from perdure.store.viewer import Viewer

_log = structlog.get_logger("perdure.bulk")

RUNS_IN_A_TURN: Final = 50
COMMANDS_AT_ONCE: Final = 8
"""So many commands of all jobs together are under way: what others ask for waits for few of them."""

JOBS_AT_ONCE: Final = 4
"""So many jobs of one organization are done at once; the long ones of one keep those of another waiting for nothing."""

EVENTS_AT_ONCE: Final = 500
PAUSE_MS: Final = 250
PAUSE_MAX_MS: Final = 10_000
KEY_ENDED: Final = "key_ended"

KEY_PREFIX: Final = "\nbulk:"
"""How the idempotency keys of jobs begin: as none does that a caller can send, or whoever may change one run could use
the key of a job first, for something else, and the job would find that it has had its turn."""


class _Order(NamedTuple):
    """A job as it is done: for whom, what, with which runs."""

    caller: Caller
    action: BulkAction
    wanted: RunFilter
    filters: Given
    reason: str | None
    arguments: Mapping[str, Any]


class _Outcome(NamedTuple):
    """What came of one run; `code` if it was refused."""

    execution_id: str
    is_changed: bool = False
    code: str | None = None
    message: str = ""


class BulkWorker:
    """Does the bulk jobs of a node's store. `begin` takes up those that are under way."""

    def __init__(self, node: NodeParts, commanded: Commanded, unseen: Unseen) -> None:
        self._node = node
        self._unseen = unseen
        self._store = node.store
        self._commanded = commanded
        self._commands = asyncio.Semaphore(COMMANDS_AT_ONCE)
        self._places = defaultdict[bytes, asyncio.Semaphore](lambda: asyncio.Semaphore(JOBS_AT_ONCE))
        self._jobs: dict[bytes, asyncio.Task[None]] = {}
        self._survey: asyncio.Task[None] | None = None

    # --- life --------------------------------------------------------------------------------------------------------

    def begin(self) -> None:
        """Take up what is under way; from here on jobs that start are done."""
        self._survey = asyncio.get_running_loop().create_task(self._take_up())

    def go_on(self, bulk_id: bytes, organization_id: bytes) -> None:
        """Do a job, unless that is being done, or this node does none."""
        if self._survey is not None and bulk_id not in self._jobs and not self._node.draining.is_set():
            job = self._jobs[bulk_id] = asyncio.get_running_loop().create_task(self._run(bulk_id, organization_id))
            job.add_done_callback(lambda _: self._jobs.pop(bulk_id, None))

    async def close(self) -> None:
        """Leave all jobs where they are: the next node goes on."""
        under_way = [*self._jobs.values(), *([] if self._survey is None else [self._survey])]
        for task in under_way:
            task.cancel()
        await asyncio.gather(*under_way, return_exceptions=True)

    async def settle(self) -> None:
        """Wait until no job is under way."""
        while self._jobs or (self._survey is not None and not self._survey.done()):
            await asyncio.wait([*self._jobs.values(), *([] if self._survey is None else [self._survey])])

    async def _take_up(self) -> None:
        after = b""
        while rows := await self._patiently(after):
            for row in rows:
                self.go_on(row.bulk_id, row.organization_id)
            after = rows[-1].bulk_id

    async def _patiently(self, after: bytes) -> list[BulkRow]:
        """The next jobs that are under way, whenever the store serves."""
        pause = PAUSE_MS
        while True:
            try:
                return await self._store.bulk_jobs_under_way(after=after)
            except StoreError:
                await self._sleep(pause)
                pause = min(2 * pause, PAUSE_MAX_MS)

    # --- a job -------------------------------------------------------------------------------------------------------

    async def _run(self, bulk_id: bytes, organization_id: bytes) -> None:
        """Do a job until it has ended, whatever is in the way meanwhile."""
        pause = PAUSE_MS
        async with self._places[organization_id]:
            while self._node.processor.failure is None and not self._node.draining.is_set():
                try:
                    if await self._turns(bulk_id):
                        return
                    pause = PAUSE_MS
                except (Unavailable, RateLimited, StoreError) as error:
                    _log.warning("bulk_job_pauses", bulk_id=ids.text(bulk_id), error=str(error))
                    await self._sleep(pause)
                    pause = min(2 * pause, PAUSE_MAX_MS)
                except Exception:  # noqa: BLE001 a defect, or a job of a newer program: it waits for the next start
                    _log.exception("bulk_job_set_aside", bulk_id=ids.text(bulk_id))
                    return

    async def _turns(self, bulk_id: bytes) -> bool:
        """Take turns from where the job stands on disk; whether it has ended. False: look again where it stands."""
        state, payload = await self._read(bulk_id)
        if state.status in bulk.ENDED:
            return True
        order = await self._order(bulk_id, state, payload)
        try:
            if state.turn:
                await self._finish(bulk_id, order, state.turn_seq, state.turn)
            beyond = None if state.last_run is None else ids.parse(state.last_run)
            while not self._node.draining.is_set():
                if not await self._is_good(order.caller):
                    await self._send(order, bulk_id, bulk.StopBulk(KEY_ENDED))
                    return True
                found = await self._store.find_executions(
                    order.wanted, newest_first=False, beyond=beyond, limit=RUNS_IN_A_TURN
                )
                unseen = await self._unseen_by(order.caller)
                if rows := [row for row in found.rows if row.workflow_id not in unseen]:
                    runs = tuple(ids.text(row.execution_id) for row in rows)
                    await self._finish(bulk_id, order, await self._send(order, bulk_id, bulk.BeginTurn(runs)), runs)
                if found.is_end:
                    await self._send(order, bulk_id, bulk.CompleteBulk())
                    return True
                beyond = found.position
        except Conflict:  # it was stopped
            pass
        return False

    async def _finish(self, bulk_id: bytes, order: _Order, seq: int, runs: Sequence[str]) -> None:
        """Touch the runs of a turn, and record what came of them."""
        names = await self._store.process_ids_of([ids.parse(run) for run in runs])
        outcomes = await asyncio.gather(
            *(self._touch(bulk_id, order, run, names.get(ids.parse(run), run)) for run in runs)
        )
        failed: dict[str, int] = {}
        for outcome in outcomes:
            if outcome.code is not None:
                failed[outcome.code] = failed.get(outcome.code, 0) + 1
        failures = [
            {"execution_id": each.execution_id, "code": each.code, "message": each.message}
            for each in outcomes
            if each.code is not None
        ]
        done = sum(outcome.is_changed for outcome in outcomes)
        unchanged = len(outcomes) - done - len(failures)
        await self._send(order, bulk_id, bulk.EndTurn(seq, done, unchanged, failed, failures))

    async def _touch(self, bulk_id: bytes, order: _Order, run: str, process_id: str) -> _Outcome:
        """Give a run the command, however often it takes until that is answered."""
        name = f"{KEY_PREFIX}{ids.text(bulk_id)}:{run}"
        key = IdempotencyKey(name, ["bulk", ids.text(bulk_id), order.action.name])
        item = BulkItem(order.caller, process_id, order.reason, order.arguments, order.filters, key)
        pause = PAUSE_MS
        while True:
            async with self._commands:
                try:
                    answered = await order.action.perform(self._commanded, item)
                    return _Outcome(run, is_changed=answered.answer == order.action.changed)
                except (Unavailable, RateLimited, StoreError):
                    if self._node.processor.failure is not None or self._node.draining.is_set():
                        raise
                except PerdureError as error:
                    return _Outcome(run, code=error.code, message=error.message)
            await self._sleep(pause)
            pause = min(2 * pause, PAUSE_MAX_MS)

    # --- what a job needs --------------------------------------------------------------------------------------------

    async def _read(self, bulk_id: bytes) -> tuple[bulk.BulkState, Mapping[str, Any]]:
        """The state of a job as it is on disk, and the payload of its first event."""
        kind = STREAM_TYPES["bulk"]
        state, after = kind.initial(), 0
        payload: Mapping[str, Any] = {}
        while stored := await self._store.events(bulk_id, after=after, limit=EVENTS_AT_ONCE):
            for each in stored:
                recorded = kind.vocabulary.read(each.row)
                if recorded.seq == 1:
                    payload = recorded.payload or {}
                state = kind.evolve(state, recorded)
            after = stored[-1].row.seq
        return state, payload

    async def _order(self, bulk_id: bytes, state: bulk.BulkState, payload: Mapping[str, Any]) -> _Order:
        """What the job is about. Raises `Invalid` if this program cannot tell: a newer one has started it."""
        row = await self._store.bulk_job(bulk_id)
        if row is None:
            raise AssertionError("a job that is under way has a row")
        workspace = await self._node.store.workspace(row.workspace_id)
        live = None if workspace is None else workspace.live_workspace_id
        caller = Caller(row.organization_id, row.workspace_id, state.created_by, live_workspace_id=live)
        filters = payload.get("filters", {})
        action = action_of(state.action)
        wanted = narrowed(run_filter(caller, filters), action)
        until = state.created_at if wanted.created_to is None else min(wanted.created_to, state.created_at)
        wanted = wanted._replace(before=bulk_id, created_to=until)  # what started later is not touched
        return _Order(caller, action, wanted, filters, payload.get("reason"), payload.get("arguments", {}))

    async def _is_good(self, caller: Caller) -> bool:
        """Whether the key that asked for the job may still act; who acts without a key always may."""
        if not _has_key(caller):
            return True
        row, now = await self._key(caller), self._node.clock.now()
        return row is not None and row.revoked_at is None and (row.expires_at is None or row.expires_at > now)

    async def _unseen_by(self, caller: Caller) -> frozenset[bytes]:
        """The workflows whose runs whoever asked may not see: the job touches none of them."""
        row = await self._key(caller) if _has_key(caller) else None
        if row is None:
            return NONE
        viewer = Viewer(row.user_id, tuple(sorted(decode_json(row.role_ids))), caller.actor)
        return await self._unseen.by_viewer(caller.organization_id, viewer)

    async def _key(self, caller: Caller) -> ApiKeyRow | None:
        return await self._store.api_key(ids.parse(caller.actor.removeprefix(KEY_ACTOR)))

    async def _send(self, order: _Order, bulk_id: bytes, command: bulk.BulkCommand) -> Any:
        """Record what the node does with a job: as itself, not as who asked."""
        by_node = order.caller._replace(actor=self._node.sender.actor)
        return (await send(self._node, by_node, "bulk", bulk_id, command)).answer  # type: ignore[union-attr]

    async def _sleep(self, ms: int) -> None:
        """Wait by the node's clock."""
        woken = asyncio.Event()
        handle = self._node.clock.call_later(ms, woken.set)
        try:
            await woken.wait()
        finally:
            handle.cancel()


def _has_key(caller: Caller) -> bool:
    key = caller.actor.removeprefix(KEY_ACTOR)
    return key != caller.actor and ids.is_id(key)
