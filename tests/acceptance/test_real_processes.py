"""Real servers, really killed: what was under way goes on, and what was answered stays true."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import signal
import time
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from perdure.api.client import NoAnswer, Unavailable
from perdure.engine.audit.store_audit import compare_projections
from perdure.engine.database import open_store

from .conftest import Server, children_of, spawn

pytestmark = pytest.mark.real_process

RUNS = 200


def task(resource: str, **more: Any) -> dict[str, Any]:
    return {"Type": "Task", "Resource": resource, **({"End": True} if "Next" not in more else {}), **more}


IN_A_TASK = {"StartAt": "Hold", "States": {"Hold": task("hold")}}
IN_A_TIMER = {"StartAt": "Rest", "States": {"Rest": {"Type": "Wait", "Seconds": 6, "End": True}}}
WAITING = {"StartAt": "Ask", "States": {"Ask": task("wait_for_resume")}}


async def many(calls: Sequence[Callable[[], Awaitable[Any]]], at_once: int = 32) -> list[Any]:
    """Make calls, so many at once."""
    places = asyncio.Semaphore(at_once)

    async def one(call: Callable[[], Awaitable[Any]]) -> Any:
        async with places:
            return await call()

    return list(await asyncio.gather(*(one(call) for call in calls)))


async def until(condition: Callable[[], Awaitable[bool]], *, seconds: float = 30) -> None:
    """Poll to a deadline."""
    async with asyncio.timeout(seconds):
        while not await condition():  # noqa: ASYNC110 the condition is another process's
            await asyncio.sleep(0.05)


async def statuses(server: Server, workflow_id: str) -> list[str]:
    return [item.status for item in await server.executions(workflow_id)]


async def check_log(server: Server) -> None:
    """The chains hold, told by the command, and every projection is what the log folds to."""
    process = await spawn("verify", "--database", server.database, folder=server.folder)
    output, problems = await process.communicate()
    assert process.returncode == 0, output.decode() + problems.decode()
    store = await open_store(server.database, read_only=True)
    try:
        assert await compare_projections(store) == []
    finally:
        await store.close()


async def test_runs_in_every_phase_survive_a_kill(server: Server) -> None:
    """200 runs in a task, 200 in a timer and 200 that wait are all taken up again after `kill -9`, and end."""
    workflows = {
        name: await server.create(name, definition)
        for name, definition in (("task", IN_A_TASK), ("timer", IN_A_TIMER), ("wait", WAITING))
    }
    calls = [
        partial(server.client.trigger, workflows[name], {"n": n}, process_id=f"{name}-{n}")
        for n, name in itertools.product(range(RUNS), workflows)
    ]
    await many(calls)
    await until(lambda: lines(server.folder / "calls", RUNS))
    await server.kill()

    (server.folder / "open").touch()
    await server.start()
    resumed = await many(
        [
            lambda n=n: server.client.resume_workflow(f"wait-{n}", {"source": "SAP", "n": n})  # type: ignore[misc]
            for n in range(RUNS)
        ]
    )
    assert {answer.message for answer in resumed} == {"restarted"}
    for workflow_id in workflows.values():
        await until(lambda w=workflow_id: _all_completed(server, w))  # type: ignore[misc]
    seen: dict[str, list[Any]] = {}
    for line in (server.folder / "calls").read_text().splitlines():
        key, value = json.loads(line)
        seen.setdefault(key, []).append(value)
    assert len(seen) == RUNS
    assert all(len(values) == 2 and values[0] == values[1] for values in seen.values())
    await check_log(server)


async def lines(path: Path, count: int) -> bool:
    return await asyncio.to_thread(lambda: path.exists() and path.read_text().count("\n") >= count)


async def _all_completed(server: Server, workflow_id: str) -> bool:
    found = await statuses(server, workflow_id)
    return len(found) == RUNS and set(found) == {"completed"}


async def test_what_was_answered_is_there_after_a_kill(server: Server) -> None:
    """Clients that trigger and resume while the server is killed again and again find every answer in the log."""
    workflow_id = await server.create("ask", WAITING)
    started: dict[str, str] = {}
    restarted: set[str] = set()
    numbers = itertools.count()

    async def client() -> None:
        while True:
            name = f"P-{next(numbers)}"
            started[name] = (await server.client.trigger(workflow_id, {"n": name}, process_id=name)).execution_id
            if (await server.client.resume_workflow(name, {"source": "TEAMS"})).message == "restarted":
                restarted.add(name)

    for life in range(3):
        clients = [asyncio.create_task(client()) for _ in range(16)]
        await until(lambda goal=40 * (life + 1): _reached(restarted, goal))  # type: ignore[misc]
        await server.kill()
        await asyncio.gather(*clients, return_exceptions=True)
        await server.start()
    found = {item.workflow_execution_id: item for item in await server.executions(workflow_id)}
    assert set(started.values()) <= set(found)
    for name in restarted:
        assert found[started[name]].status == "completed"
    await check_log(server)


async def test_a_server_whose_writer_is_killed_stops_and_has_lied_to_nobody(server: Server) -> None:
    """Nobody knows what is on disk then: it ends with status 70, and after a restart every answer is in the log."""
    workflow_id = await server.create("ask", WAITING)
    started: set[str] = set()
    numbers = itertools.count()

    async def client() -> None:
        while True:
            started.add((await server.client.trigger(workflow_id, {"n": next(numbers)})).execution_id)

    clients = [asyncio.create_task(client()) for _ in range(16)]
    await until(lambda: _reached(started, 100))
    assert server.process is not None
    (writer,) = children_of(server.process.pid)
    os.kill(writer, signal.SIGKILL)
    await asyncio.gather(*clients, return_exceptions=True)
    async with asyncio.timeout(15):
        assert await server.process.wait() == 70
    await server.stop()
    await server.start()

    assert started <= {item.workflow_execution_id for item in await server.executions(workflow_id)}
    await check_log(server)


async def _reached(things: set[str], goal: int) -> bool:
    return len(things) >= goal


async def test_a_server_whose_writer_hangs_says_so_and_leaves_nothing_behind(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Readiness turns red, calls are answered, the exit status tells, and the next server finds the lock free."""
    await server.stop()
    monkeypatch.setenv("PERDURE_COMMIT_STALL_MS", "200")
    await server.start()
    assert server.process is not None
    workflow = await server.create("ask", WAITING)
    (writer,) = children_of(server.process.pid)
    os.kill(writer, signal.SIGSTOP)
    with pytest.raises(Unavailable, match="not known yet"):
        await server.client.trigger(workflow, {"process_id": "P-1"})
    with pytest.raises(Unavailable, match="waited"):
        await server.client.ready()
    assert await server.stop() == 75
    await server.start()
    await server.client.trigger(workflow, {"process_id": "P-1"})
    assert len(await server.executions(workflow)) == 1


async def test_a_drain_answers_held_calls_and_ends_well(server: Server) -> None:
    """SIGTERM while calls are held and a step hangs: the calls get 503 at once, and the status is 0 within 10 s."""
    timer = await server.create("timer", IN_A_TIMER)
    hanging = await server.create("task", IN_A_TASK)
    await server.client.trigger(timer, process_id="held")
    await server.client.trigger(hanging, {"n": 1}, process_id="hangs")
    held = [asyncio.create_task(server.client.resume("held", {}, hold_s=30)) for _ in range(8)]
    await until(lambda: lines(server.folder / "calls", 1))
    assert (await server.client.ready()).status == "ready"
    assert server.process is not None
    began = time.monotonic()
    server.process.terminate()
    answers = await asyncio.gather(*held, return_exceptions=True)
    told = [type(answer) for answer in answers if not isinstance(answer, NoAnswer)]
    assert told
    assert set(told) == {Unavailable}
    status = await server.stop()
    assert status == 0
    assert time.monotonic() - began < 10
    assert sorted(path.name for path in server.folder.iterdir()) == ["calls", "runs.db"]


async def test_a_second_server_on_the_same_file_is_refused(server: Server) -> None:
    """The second server says who has the file, and ends with status 2; the first goes on."""
    process = await spawn("serve", "--port", "0", "--database", server.database, folder=server.folder)
    _, problems = await process.communicate()
    assert process.returncode == 2
    assert str(server.process.pid if server.process else 0) in problems.decode()
    assert (await server.client.live()).status == "live"
