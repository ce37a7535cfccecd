"""Caches of keys and workflows: what a read was told before a change is never believed after it."""

from __future__ import annotations

import asyncio
from typing import Any, NamedTuple

import pytest

from perdure.engine import Engine
from perdure.engine.core import ids
from perdure.engine.errors import Conflict, Unauthorized, Unavailable
from perdure.engine.runtime.processing import facts
from perdure.engine.services.access import SCOPES
from perdure.engine.services.cache import Cache
from perdure.engine.services.principals import Principal
from perdure.engine.views import Execution, Workflow
from perdure.store.errors import StoreUnavailable
from tests.engine.runtime.conftest import WAITING, Bench, eventually

DONE = {"StartAt": "Done", "States": {"Done": {"Type": "Succeed"}}}
SLOW = {
    "QueryLanguage": "JSONata",
    "StartAt": "Compute",
    "States": {"Compute": {"Type": "Pass", "Output": "{% $sum([1..40000].($ * 2)) %}", "End": True}},
}
FAILS = {"StartAt": "Done", "States": {"Done": {"Type": "Fail"}}}


class Held:
    """A method of a store that has read, and does not answer before it is let go."""

    def __init__(self, store: Any, method: str, monkeypatch: pytest.MonkeyPatch) -> None:
        self.has_read = asyncio.Event()
        self.go = asyncio.Event()
        self._original = getattr(store, method)
        self._is_first = True
        monkeypatch.setattr(store, method, self._read)

    async def _read(self, *given: Any, **more: Any) -> Any:
        found = await self._original(*given, **more)
        if self._is_first:
            self._is_first = False
            self.has_read.set()
            await self.go.wait()
        return found


@pytest.fixture
async def engine(bench: Bench) -> Engine:
    return await bench.start()


async def operator(engine: Engine) -> Principal:
    made = await engine.services.access.make_key(await engine._caller(), "operator", SCOPES)
    found = await engine.services.access.principal(made.text)
    assert found is not None
    return found


async def test_a_key_that_was_read_before_it_was_revoked_is_not_kept(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The read that began before the revocation is made again, so the key is unknown at once and for ever."""
    who = await operator(engine)
    made = await engine.services.access.make_key(who.caller, "worker", ("runs.view",))
    held = Held(engine.store, "api_key_by_digest", monkeypatch)
    reading = asyncio.create_task(engine.services.access.principal(made.text))
    await held.has_read.wait()
    await engine.services.access.revoke_key(who, made.row.key_id)
    held.go.set()
    assert await reading is None
    assert await engine.services.access.principal(made.text) is None


@pytest.mark.parametrize("version", [None, 1])
async def test_a_workflow_that_was_read_before_it_was_archived_is_not_kept(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, version: int | None
) -> None:
    """A trigger whose look-up an archive overtook is refused like all that come later."""
    made = await engine.create_workflow("done", DONE)
    caller, workflow_id = await engine._caller(), ids.parse(made.id)
    held = Held(engine.store, "workflow", monkeypatch)
    first = asyncio.create_task(engine.trigger(made.id, version=version))
    await held.has_read.wait()
    await engine.services.workflows.archive(caller, workflow_id)
    held.go.set()
    with pytest.raises(Conflict, match="archived"):
        await first
    with pytest.raises(Conflict, match="archived"):
        await engine.trigger(made.id, version=version)


async def test_a_version_that_was_read_before_the_next_is_not_kept(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a number the latest version runs, once its publishing was answered."""
    made = await engine.create_workflow("done", DONE)
    caller, workflow_id = await engine._caller(), ids.parse(made.id)
    held = Held(engine.store, "latest_published", monkeypatch)
    first = asyncio.create_task(engine.trigger(made.id))
    await held.has_read.wait()
    await engine.services.workflows.change(caller, workflow_id, definition=FAILS)
    held.go.set()
    await first
    later = await engine.trigger(made.id)
    assert (await engine.result(later.id)).status == "failed"


async def test_what_was_changed_by_a_caller_that_went_away_is_forgotten_too(bench: Bench, engine: Engine) -> None:
    """It is the commit that tells the caches, not whoever asked for it."""
    who = await operator(engine)
    made = await engine.services.access.make_key(who.caller, "worker", ("runs.view",))
    assert await engine.services.access.principal(made.text) is not None
    workflow = await engine.create_workflow("done", DONE)
    await engine.trigger(workflow.id)
    bench.store.gate.clear()
    leaving = [
        asyncio.create_task(engine.services.access.revoke_key(who, made.row.key_id)),
        asyncio.create_task(engine.services.workflows.archive(who.caller, ids.parse(workflow.id))),
    ]
    await eventually(lambda: engine.node.processor.commits.under_way is not None and not engine.node.processor._inbox)
    for call in leaving:
        call.cancel()
    bench.store.gate.set()
    await engine.node.processor.settle()
    assert await engine.services.access.principal(made.text) is None
    with pytest.raises(Conflict, match="archived"):
        await engine.trigger(workflow.id)


async def test_a_command_is_refused_if_its_key_ended_before_it_was_decided(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A resume whose run is still being loaded when the key is revoked ends no wait, and is told so."""
    who = await operator(engine)
    made = await engine.services.access.make_key(who.caller, "erp", ("runs.resume",))
    erp = await engine.services.access.principal(made.text)
    assert erp is not None
    run = await engine.trigger((await engine.create_workflow("ask", WAITING)).id)
    await engine.node.processor.settle()
    held = Held(engine.store, "events_of", monkeypatch)
    resuming = asyncio.create_task(engine.services.runs.resume(erp.caller, run.process_id, {"approved": True}))
    await held.has_read.wait()
    assert await engine.services.access.revoke_key(who, made.row.key_id)
    held.go.set()
    with pytest.raises(Unauthorized, match="revoked or has expired"):
        await resuming
    assert (await engine.services.queries.execution(who.caller, ids.parse(run.id))).row.status == "waiting"


class Revoking(NamedTuple):
    """A run that waits, who may answer it, and who may revoke their key; a commit is held by the store's gate."""

    engine: Engine
    who: Principal
    erp: Principal
    key_id: bytes
    run: Execution
    slow: Workflow

    def resume(self) -> asyncio.Task[Any]:
        return asyncio.create_task(
            self.engine.services.runs.resume(self.erp.caller, self.run.process_id, {"approved": True})
        )

    def revoke(self) -> asyncio.Task[Any]:
        return asyncio.create_task(self.engine.services.access.revoke_key(self.who, self.key_id))

    async def decided(self, count: int) -> None:
        """Wait until so many requests are decided into the batch behind the one that is held."""
        await eventually(lambda: len(self.engine.node.processor.commits.open.waiting) == count)

    async def position_of(self, kind: str) -> int:
        log = [each.row for each in self.engine.store._log]  # type: ignore[attr-defined]
        return max(at for at, row in enumerate(log) if row.type == kind)

    async def is_open(self) -> bool:
        row = (await self.engine.services.queries.execution(self.who.caller, ids.parse(self.run.id))).row
        return row.status == "waiting"


@pytest.fixture
async def revoking(bench: Bench, engine: Engine) -> Revoking:
    who = await operator(engine)
    made = await engine.services.access.make_key(who.caller, "erp", ("runs.resume",))
    erp = await engine.services.access.principal(made.text)
    assert erp is not None
    workflow = await engine.create_workflow("ask", WAITING)
    slow = await engine.create_workflow("slow", SLOW)
    run = await engine.trigger(workflow.id)
    await engine.node.processor.settle()
    bench.store.gate.clear()
    held = asyncio.create_task(engine.trigger(workflow.id))
    await eventually(lambda: engine.node.processor.commits.under_way is not None)
    held.add_done_callback(lambda task: task.exception())
    return Revoking(engine, who, erp, made.row.key_id, run, slow)


async def test_what_comes_behind_a_revocation_in_its_batch_is_refused(bench: Bench, revoking: Revoking) -> None:
    """It waits for the revocation to be on disk, and is told then that its key has ended."""
    revoke = revoking.revoke()
    await revoking.decided(1)
    resume = revoking.resume()
    await revoking.decided(2)
    bench.store.gate.set()
    await revoke
    with pytest.raises(Unauthorized, match="revoked or has expired"):
        await resume
    assert await revoking.is_open()


async def test_what_comes_while_a_revocation_is_being_committed_is_refused(bench: Bench, revoking: Revoking) -> None:
    """As behind it in its batch."""
    deciding = revoking.engine.node.processor
    revoke = revoking.revoke()
    await revoking.decided(1)
    again = asyncio.Event()

    async def hold() -> None:
        bench.store.gate.clear()
        again.set()

    bench.store.before_append = hold
    bench.store.gate.set()
    await again.wait()
    assert deciding.commits.under_way is not None
    resume = revoking.resume()
    await eventually(lambda: deciding.commits.under_way is not None and len(deciding.commits.under_way.waiting) == 2)
    bench.store.gate.set()
    await revoke
    with pytest.raises(Unauthorized, match="revoked or has expired"):
        await resume
    assert await revoking.is_open()


async def test_a_revocation_that_is_not_written_ends_no_key(bench: Bench, revoking: Revoking) -> None:
    """Whoever waits for it is told to come again, and may act then."""
    revoke = revoking.revoke()
    await revoking.decided(1)
    resume = revoking.resume()
    await revoking.decided(2)
    bench.store.fail_next = [StoreUnavailable("no"), StoreUnavailable("no")]
    bench.store.gate.set()
    for call in (revoke, resume):
        with pytest.raises(Unavailable):
            await call
    await revoking.resume()
    assert not await revoking.is_open()


async def test_what_is_decided_apart_while_its_key_is_revoked_is_refused(
    bench: Bench, revoking: Revoking, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its decision took long, and is thrown away: no run begins, and nothing of it stays in memory."""
    engine, node = revoking.engine, revoking.engine.node
    monkeypatch.setattr(facts, "DECISION_TIME_S", 0.0001)
    decide = Held(node.processor._deferred, "decide", monkeypatch)
    caller = revoking.erp.caller
    trigger = asyncio.create_task(
        engine.services.runs.trigger(caller, ids.parse(revoking.slow.id), {}, process_id="SLOW", trigger="MANUAL")
    )
    await decide.has_read.wait()
    revoke = revoking.revoke()
    await revoking.decided(1)
    decide.go.set()
    await revoking.decided(2)
    bench.store.gate.set()
    await revoke
    with pytest.raises(Unauthorized, match="revoked or has expired"):
        await trigger
    assert [row for row in (await engine.executions()).items if row.workflow_id == revoking.slow.id] == []
    assert not [hot for hot in node.processor.hot._streams.values() if not hot.head.seq]


async def test_what_was_decided_before_a_revocation_stands_before_it(bench: Bench, revoking: Revoking) -> None:
    """In the log, too, if the organization had something in that batch already."""
    other = asyncio.create_task(revoking.engine.services.access.make_key(revoking.who.caller, "other", ("runs.view",)))
    await revoking.decided(1)
    resume = revoking.resume()
    await revoking.decided(2)
    revoke = revoking.revoke()
    await revoking.decided(3)
    bench.store.gate.set()
    await asyncio.gather(other, resume, revoke)
    assert not await revoking.is_open()
    assert await revoking.position_of("WaitResumed") < await revoking.position_of("KeyCreated")
    assert await revoking.position_of("KeyCreated") < await revoking.position_of("KeyRevoked")


async def test_who_reads_at_once_shares_one_value() -> None:
    """So that a change reaches all who hold it; and of more than the limit the least recently used go."""
    cache: Cache[str, list[str]] = Cache(limit=2)

    async def read(key: str) -> list[str]:
        await asyncio.sleep(0)
        return [key]

    one, other = await asyncio.gather(cache.read("a", lambda: read("a")), cache.read("a", lambda: read("a")))
    assert one is other
    await cache.read("b", lambda: read("b"))
    assert cache.get("a") is one
    await cache.read("c", lambda: read("c"))
    assert (cache.get("a"), cache.get("b"), cache.get("c")) == (["a"], None, ["c"])
    assert cache.forget(lambda key: key == "a") == [["a"]]


# --- crowds ----------------------------------------------------------------------------------------------------------


class Reading:
    """A read that is counted, and ends when it is let go."""

    def __init__(self, error: Exception | None = None) -> None:
        self.begun = 0
        self.go = asyncio.Event()
        self._error = error

    async def __call__(self) -> str:
        self.begun += 1
        await self.go.wait()
        if self._error is not None:
            raise self._error
        return f"value {self.begun}"


async def test_a_crowd_costs_one_read() -> None:
    """All who want a key while it is read get what that read gave, also if it had to be made again."""
    cache, reading = Cache[str, str](), Reading()
    crowd = [asyncio.ensure_future(cache.read("a", reading)) for _ in range(50)]
    await asyncio.sleep(0)
    reading.go.set()
    assert set(await asyncio.gather(*crowd)) == {"value 1"}
    cache.forget(lambda _: True)
    reading.go.clear()
    crowd = [asyncio.ensure_future(cache.read("a", reading)) for _ in range(50)]
    await asyncio.sleep(0)
    cache.forget(lambda _: True)
    reading.go.set()
    assert set(await asyncio.gather(*crowd)) == {"value 3"}


async def test_a_read_that_is_called_off_is_made_by_another() -> None:
    """Whoever reads for all may go away; and whoever waits may, without a loss to the others."""
    cache, reading = Cache[str, str](), Reading()
    first, second, third = (asyncio.ensure_future(cache.read("a", reading)) for _ in range(3))
    await asyncio.sleep(0)
    first.cancel()
    second.cancel()
    await asyncio.sleep(0)
    reading.go.set()
    assert await third == "value 2"
    assert await cache.read("a", reading) == "value 2"


async def test_a_read_that_fails_is_told_to_all_and_kept_for_nobody() -> None:
    """The next one reads again."""
    cache, reading = Cache[str, str](), Reading(StoreUnavailable("down"))
    crowd = [asyncio.ensure_future(cache.read("a", reading)) for _ in range(3)]
    await asyncio.sleep(0)
    reading.go.set()
    told = await asyncio.gather(*crowd, return_exceptions=True)
    assert [type(each) for each in told] == [StoreUnavailable] * 3
    assert reading.begun == 1
    with pytest.raises(StoreUnavailable):
        await cache.read("a", reading)
