"""Connections by workspace and host: nobody's requests, and nobody's look-ups, wait for those of others."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from msgspec.structs import replace

from perdure.engine import Engine
from perdure.engine.core import ids
from perdure.engine.steps import StepContext, StepFailed, http_pools
from perdure.engine.steps.builtin import builtin_steps
from perdure.engine.steps.http import HttpClient
from perdure.engine.steps.http_pools import LOOKUPS_MAX, PER_HOST_MAX
from perdure.engine.testing import ManualClock
from perdure.store.memory import MemoryStore
from tests.present import present

CONTEXT = StepContext(execution_id="e1", state="S", attempt=0, idempotency_key="e1/S/-/1", workspace_id="A")


class Server:
    """A server on loopback that answers `/quick` at once, and all else when it is let go; so many are `waiting`."""

    def __init__(self) -> None:
        self.gate = asyncio.Event()
        self.waiting = 0
        self.port = 0

    async def handle(self, request: web.Request) -> web.Response:
        if request.path == "/away":
            return web.Response(status=302, headers={"Location": self.at("localhost", "/slow")})
        if request.path != "/quick":
            self.waiting += 1
            await self.gate.wait()
        return web.json_response({"path": request.path})

    def at(self, host: str, path: str) -> str:
        return f"http://{host}:{self.port}{path}"


@pytest.fixture
async def server():
    made = Server()
    app = web.Application()
    app.router.add_route("*", "/{rest:.*}", made.handle)
    async with TestServer(app) as running:
        made.port = present(running.port)
        yield made
        made.gate.set()


@pytest.fixture
async def client():
    made = HttpClient(allow_private=True)
    yield made
    await made.close()


def ask(client: HttpClient, url: str, workspace: str = "A", **more: Any) -> asyncio.Task[Any]:
    """The step's own call, under way."""
    step = present(builtin_steps(client).get("http_request"))
    return asyncio.create_task(step.call({"url": url, **more}, replace(CONTEXT, workspace_id=workspace)))


async def until(condition: Any) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 a condition of any kind
            await asyncio.sleep(0.001)


async def crowd(client: HttpClient, server: Server) -> list[asyncio.Task[Any]]:
    """Take all places of workspace A at 127.0.0.1, and some more."""
    asking = [ask(client, server.at("127.0.0.1", "/slow")) for _ in range(PER_HOST_MAX + 20)]
    await until(lambda: server.waiting == PER_HOST_MAX)
    return asking


@pytest.mark.parametrize(("workspace", "host"), [("B", "127.0.0.1"), ("A", "localhost")])
async def test_a_slow_server_makes_nobody_else_wait(server, client, workspace, host):
    """Neither another workspace, nor requests to another host."""
    asking = await crowd(client, server)
    answer = await ask(client, server.at(host, "/quick"), workspace, timeout_s=5)
    assert answer["body"] == {"path": "/quick"}
    assert server.waiting == PER_HOST_MAX
    server.gate.set()
    assert {answer["status"] for answer in await asyncio.gather(*asking)} == {200}


async def test_waiting_for_a_place_is_not_counted_against_the_time(server, client):
    """A request whose turn comes later than its whole time is sent all the same, and answered."""
    asking = await crowd(client, server)
    late = ask(client, server.at("127.0.0.1", "/quick"), timeout_s=0.05)
    await asyncio.wait([late], timeout=0.1)
    assert not late.done()
    server.gate.set()
    assert (await late)["status"] == 200
    await asyncio.gather(*asking)


async def test_the_time_spans_redirects_but_not_the_wait_for_a_place_of_theirs(server, client):
    """What is left of it runs on when the next request is sent."""
    asking = [ask(client, server.at("localhost", "/slow")) for _ in range(PER_HOST_MAX)]
    await until(lambda: server.waiting == PER_HOST_MAX)
    led_away = ask(client, server.at("127.0.0.1", "/away"), timeout_s=0.3)
    await asyncio.wait([led_away], timeout=0.4)
    assert not led_away.done()
    asking.pop().cancel()  # one place is free now
    with pytest.raises(StepFailed, match=r"within 0\.3 s"):
        await led_away
    server.gate.set()
    await asyncio.gather(*asking)


async def test_a_request_that_is_cancelled_leaves_its_place(server, client):
    """Whether it has one or waits for one."""
    asking = await crowd(client, server)
    for task in (asking[0], asking[-1]):
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
    await until(lambda: server.waiting == PER_HOST_MAX + 1)
    server.gate.set()
    await asyncio.gather(*asking[1:-1])
    assert not client._pools._pools["A"].hosts


async def test_a_request_that_waits_when_the_client_is_closed_fails(server):
    """It is not sent."""
    client = HttpClient(allow_private=True)
    asking = await crowd(client, server)
    await client.close()
    outcomes = await asyncio.gather(*asking, return_exceptions=True)
    assert {outcome.error for outcome in outcomes if isinstance(outcome, StepFailed)} == {"States.Http.Socket"}
    assert server.waiting == PER_HOST_MAX


async def test_connections_of_few_workspaces_are_kept(server, client, monkeypatch):
    """Those that were used least recently are closed; one that is in use is not."""
    monkeypatch.setattr(http_pools, "POOLS_MAX", 2)
    slow = ask(client, server.at("127.0.0.1", "/slow"), "busy")
    await until(lambda: server.waiting == 1)
    sessions = []
    for workspace in ("B", "C", "D"):
        await ask(client, server.at("127.0.0.1", "/quick"), workspace)
        sessions.append(client._pools._pools[workspace].session)
    assert list(client._pools._pools) == ["busy", "D"]
    assert [session.closed for session in sessions] == [True, True, False]
    server.gate.set()
    assert (await slow)["status"] == 200


async def test_names_that_are_never_found_hold_up_their_own_workspace_alone(server, client, monkeypatch):
    """A name server that does not answer keeps so many look-ups; those of others have threads of their own."""
    real, is_over, asked = socket.getaddrinfo, threading.Event(), []

    def look_up(host: str, *args: Any, **more: Any) -> Any:
        if host.endswith(".slow.test"):
            asked.append(host)
            is_over.wait(10)
            raise socket.gaierror(socket.EAI_AGAIN, "no answer")
        return real(host, *args, **more)

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    lost = [ask(client, f"http://n{number}.slow.test/") for number in range(100)]
    await until(lambda: len(asked) == LOOKUPS_MAX)
    lost.pop(0).cancel()  # its thread goes on, and so does its share
    assert (await ask(client, server.at("localhost", "/quick"), "B", timeout_s=5))["status"] == 200
    assert len(asked) == LOOKUPS_MAX
    is_over.set()
    outcomes = await asyncio.gather(*lost, return_exceptions=True)
    assert {outcome.error for outcome in outcomes if isinstance(outcome, StepFailed)} == {"States.Http.Socket"}


async def test_the_engine_tells_the_step_whose_it_is(server):
    """The pool is that of the run's workspace."""
    engine = await Engine.start(MemoryStore(), clock=ManualClock(), allow_private_addresses=True)
    call = {
        "Type": "Task",
        "Resource": "http_request",
        "Parameters": {"url": server.at("127.0.0.1", "/quick")},
        "End": True,
    }
    workflow = await engine.create_workflow("w", {"StartAt": "S", "States": {"S": call}})
    result = await engine.result((await engine.trigger(workflow.id)).id)
    assert result.status == "completed"
    (workspace,) = engine._http._pools._pools
    assert workspace == ids.text((await engine._caller()).workspace_id)
    await engine.close(0)
