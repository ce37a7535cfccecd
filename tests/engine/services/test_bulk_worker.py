"""Doing bulk jobs: from a crash at any command on, few runs at once, and never for who may not act any more."""

from __future__ import annotations

import asyncio
import random
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from starlette.datastructures import Headers

from perdure.api.http.headers import idempotency_key
from perdure.engine import Engine
from perdure.engine.audit.rebuild import rebuild
from perdure.engine.audit.store_audit import verify
from perdure.engine.core import ids
from perdure.engine.errors import Invalid, Unavailable
from perdure.engine.runtime.callers import Caller
from perdure.engine.services.access import SCOPES
from perdure.engine.services.bulk import BulkOrder
from perdure.engine.services.bulk_actions import Commanded
from perdure.engine.services.bulk_worker import COMMANDS_AT_ONCE, JOBS_AT_ONCE, KEY_PREFIX, BulkWorker
from perdure.engine.services.unseen import Unseen
from perdure.engine.testing import ManualClock
from perdure.store.memory import MemoryStore
from perdure.store.records import BulkRow
from perdure.store.sqlite import open_sqlite

ROOT = Path(__file__).parents[3]
TWO: dict[str, Any] = {
    "StartAt": "First",
    "States": {
        "First": {"Type": "Task", "Resource": "wait_for_resume", "Next": "Second"},
        "Second": {"Type": "Task", "Resource": "wait_for_resume", "End": True},
    },
}
RUNS = 8
WAITING = {"status": "waiting"}


@pytest.fixture
async def engine(monkeypatch: pytest.MonkeyPatch) -> Any:
    """An engine with eight runs that wait, and turns of three."""
    monkeypatch.setattr("perdure.engine.services.bulk_worker.RUNS_IN_A_TURN", 3)
    engine = await Engine.start(MemoryStore(), clock=ManualClock())
    workflow = await engine.create_workflow("two", TWO)
    for number in range(RUNS):
        await engine.trigger(workflow.id, {}, process_id=f"P-{number}")
    yield engine
    await engine.close()


async def job_of(engine: Engine, order: BulkOrder, caller: Caller | None = None) -> bytes:
    row = await engine.services.bulk.start(caller or await engine._caller(), order)
    return row.bulk_id


async def shown(engine: Engine, bulk_id: bytes) -> BulkRow:
    row = await engine.store.bulk_job(bulk_id)
    assert row is not None
    return row


async def events(engine: Engine) -> Counter[str]:
    """How many events of each type there are in all streams."""
    return Counter([stored.row.type async for stored in engine.store.log()])


class Crash(BaseException):
    """The process dies here."""


def crashing(engine: Engine, monkeypatch: pytest.MonkeyPatch, name: str, at: int, *, is_late: bool) -> None:
    """Let the command of that number be the last one: it is not given, or it is, and nobody learns what came of it."""
    runs, count = engine.services.runs, 0
    real: Callable[..., Any] = getattr(runs, name)

    async def command(*args: Any, **more: Any) -> Any:
        nonlocal count
        count += 1
        number = count
        if number > at or (number == at and not is_late):
            await asyncio.Event().wait()
        answered = await real(*args, **more)
        if number == at:
            await asyncio.Event().wait()
        return answered

    monkeypatch.setattr(runs, name, command)


async def crash(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """End the worker where it stands, and begin another one over what is on disk."""
    for _ in range(200):
        await asyncio.sleep(0)
    await engine.node.jobs.close()
    monkeypatch.undo()
    monkeypatch.setattr("perdure.engine.services.bulk_worker.RUNS_IN_A_TURN", 3)
    unseen = Unseen(engine.store)
    worker = BulkWorker(engine.node.parts, Commanded(engine.services.runs, engine.services.chances), unseen)
    engine.node.jobs = worker
    worker.begin()
    await worker.settle()


@pytest.mark.parametrize("is_late", [False, True])
@pytest.mark.parametrize("at", range(1, RUNS + 1))
async def test_a_crash_at_any_command_changes_nothing(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, at: int, is_late: bool
) -> None:
    """Every run is terminated once, and counted once as done, whether the command came through or not."""
    crashing(engine, monkeypatch, "terminate", at, is_late=is_late)
    bulk_id = await job_of(engine, BulkOrder("terminate", WAITING, "enough"))

    await crash(engine, monkeypatch)

    row = await shown(engine, bulk_id)
    assert (row.status, row.done, row.unchanged, row.failed) == ("completed", RUNS, 0, 0)
    told = await events(engine)
    assert (told["ExecutionTerminated"], told["CommandRefused"]) == (RUNS, 0)
    assert (await verify(engine.store)).breaks == []


@pytest.mark.parametrize("at", [1, 3, 4, 8])
async def test_a_repeated_resume_ends_no_later_wait(engine: Engine, monkeypatch: pytest.MonkeyPatch, at: int) -> None:
    """A resume that came through before the crash is not given again: the run waits at its second state."""
    crashing(engine, monkeypatch, "resume", at, is_late=True)
    bulk_id = await job_of(engine, BulkOrder("resume", {"state": "First"}))

    await crash(engine, monkeypatch)

    assert (await shown(engine, bulk_id)).done == RUNS
    assert (await events(engine))["WaitResumed"] == RUNS
    assert {wait.state for wait in await engine.waits()} == {"Second"}


async def test_nobody_takes_the_keys_of_a_job(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """An idempotency key that names a job and a run, sent by somebody who knows both, is a key like any other."""
    monkeypatch.setattr(engine.services.bulk, "_on_started", lambda *_: None)
    bulk_id = await job_of(engine, BulkOrder("terminate", WAITING))
    for wait in await engine.waits():
        run, name = wait.execution_id, (await engine.status(wait.execution_id)).process_id
        await engine.resume(name, {}, idempotency_key=f"bulk:{ids.text(bulk_id)}:{run}")

    await crash(engine, monkeypatch)

    row = await shown(engine, bulk_id)
    assert (row.done, row.failed) == (RUNS, 0)
    text = {"Idempotency-Key": f"{KEY_PREFIX}1:2"}
    with pytest.raises(Invalid, match="printable ASCII"):
        idempotency_key(Headers(text))


async def test_few_commands_are_under_way_at_once(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of all jobs together."""
    monkeypatch.setattr("perdure.engine.services.bulk_worker.RUNS_IN_A_TURN", 50)
    real, now, most = engine.services.runs.resume, 0, 0

    async def slow(*args: Any, **more: Any) -> Any:
        nonlocal now, most
        now += 1
        most = max(most, now)
        for _ in range(5):
            await asyncio.sleep(0)
        answered = await real(*args, **more)
        now -= 1
        return answered

    monkeypatch.setattr(engine.services.runs, "resume", slow)
    jobs = [await job_of(engine, BulkOrder("resume", {"process_id_prefix": f"P-{number}"})) for number in range(RUNS)]
    jobs.append(await job_of(engine, BulkOrder("resume", {"process_id_prefix": "P-"})))
    await engine.node.jobs.settle()
    assert most <= COMMANDS_AT_ONCE
    assert sum([(await shown(engine, job)).done for job in jobs]) >= RUNS


async def test_jobs_of_one_organization_keep_no_other_waiting(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many it starts, and however long they take."""

    async def stuck(*_: Any, **__: Any) -> Any:
        await asyncio.Event().wait()

    monkeypatch.setattr(engine.services.runs, "terminate", stuck)
    own = [await job_of(engine, BulkOrder("terminate", WAITING)) for _ in range(JOBS_AT_ONCE + 1)]
    elsewhere = Caller(b"o" * 16, b"w" * 16, "embedded:other")
    other = await job_of(engine, BulkOrder("terminate", WAITING), elsewhere)
    for _ in range(200):
        await asyncio.sleep(0)
    assert (await shown(engine, other)).status == "completed"
    begun = [await engine.store.events(job) for job in own]
    assert sorted(len(some) for some in begun) == [1, *[2] * JOBS_AT_ONCE]


async def test_what_cannot_be_done_now_is_done_later(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that is busy is no refusal: the command is given again, after a while."""
    real, refused = engine.services.runs.terminate, 0

    async def busy(*args: Any, **more: Any) -> Any:
        nonlocal refused
        if refused < 2 * RUNS:
            refused += 1
            raise Unavailable("too much is under way")
        return await real(*args, **more)

    monkeypatch.setattr(engine.services.runs, "terminate", busy)
    bulk_id = await job_of(engine, BulkOrder("terminate", WAITING))
    assert isinstance(engine.node.clock, ManualClock)
    while (await shown(engine, bulk_id)).status == "running":
        engine.node.clock.push(1000)
        for _ in range(20):
            await asyncio.sleep(0)

    row = await shown(engine, bulk_id)
    assert (row.status, row.done, row.failed) == ("completed", RUNS, 0)


async def test_a_key_that_was_revoked_acts_no_more(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """After the turn in which it ended, its job stops, and says why."""
    access, own = engine.services.access, await engine._caller()
    clerk = await access.principal((await access.make_key(own, "clerk", ("runs.view", "runs.terminate"))).text)
    operator = await access.principal((await access.make_key(own, "o", SCOPES)).text)
    assert clerk is not None
    assert operator is not None
    real, count = engine.services.runs.terminate, 0

    async def last(*args: Any, **more: Any) -> Any:
        nonlocal count
        count += 1
        if count == 2:
            (key,) = [row for row in await engine.store.api_keys(own.organization_id) if row.name == "clerk"]
            await access.revoke_key(operator, key.key_id)
        return await real(*args, **more)

    monkeypatch.setattr(engine.services.runs, "terminate", last)
    bulk_id = await job_of(engine, BulkOrder("terminate", WAITING), clerk.caller)
    await engine.node.jobs.settle()

    row = await shown(engine, bulk_id)
    assert (row.status, row.why, row.done) == ("stopped", "key_ended", 3)
    assert row.created_by == clerk.caller.actor


async def test_a_job_is_made_again_from_its_log(engine: Engine) -> None:
    """Its row is a projection: rebuilt, and compared by `verify`."""
    bulk_id = await job_of(engine, BulkOrder("terminate", {"status": "waiting,completed"}))
    await engine.node.jobs.settle()
    before = await shown(engine, bulk_id)
    assert isinstance(engine.store, MemoryStore)
    engine.store._bulk.put(before._replace(done=99))
    (flaw,) = (await verify(engine.store)).breaks
    assert "done is 99, the fold says 8" in flaw.reason
    assert (await rebuild(engine.store)).bulk_jobs == 1
    assert await shown(engine, bulk_id) == before


# --- kill -9 ---------------------------------------------------------------------------------------------------------

SERVING = """
import asyncio, sys
from perdure.engine import Engine
from perdure.engine.services.access import SCOPES
from perdure.engine.services.bulk import BulkOrder

async def main():
    engine = await Engine.start(sys.argv[1])
    if not await engine.store.bulk_jobs_under_way():
        order = BulkOrder("terminate", {"status": "waiting"}, "enough")
        await engine.services.bulk.start(await engine._caller(), order)
    print("UNDER WAY", flush=True)
    await engine.node.jobs.settle()
    await engine.close()

asyncio.run(main())
"""
MANY = 250


def serve_for(url: str, seconds: float) -> None:
    """A server that is killed after so long, unless the job has ended before."""
    command = [sys.executable, "-c", SERVING, url]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        assert process.stdout is not None
        while (line := process.stdout.readline()) != b"UNDER WAY\n":
            assert line  # what it says of the death before it
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)


@pytest.mark.real_process
async def test_a_job_goes_on_after_it_was_killed(tmp_path: Path) -> None:
    """Killed again and again, it comes to its end: every run was terminated once, and is counted once."""
    url = f"sqlite:///{tmp_path / 'runs.db'}"
    async with Engine.open(url) as engine:
        workflow = await engine.create_workflow("two", TWO)
        await asyncio.gather(*(engine.trigger(workflow.id, {}) for _ in range(MANY)))
    chance = random.Random(7)
    for delay_s in (0.02, chance.uniform(0.05, 0.15), 60):
        await asyncio.to_thread(serve_for, url, delay_s)

    store = await open_sqlite(tmp_path / "runs.db", read_only=True)
    (organization,) = await store.organizations()
    workspace = await store.workspace_named(organization.organization_id, "default")
    assert workspace is not None
    jobs = await store.bulk_jobs(workspace.workspace_id)
    told = Counter([stored.row.type async for stored in store.log()])
    breaks = (await verify(store)).breaks
    await store.close()
    assert [(row.status, row.failed, row.unchanged) for row in jobs] == [("completed", 0, 0)] * len(jobs)
    assert sum(row.done for row in jobs) == MANY
    assert (told["ExecutionTerminated"], told["CommandRefused"]) == (MANY, 0)
    assert breaks == []
