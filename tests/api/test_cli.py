"""The command: real servers from their first line to their exit status, and what it refuses."""

from __future__ import annotations

import asyncio
import json
import re
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from click.testing import CliRunner

from perdure.api.client import AsyncClient, Retries, Unauthorized, Unavailable
from perdure.cli.main import main
from tests.api.conftest import APPROVED, SLEEPING, WAITING, eventually

KEY = "the-first-key-of-all"
STEPS = """
import threading, time
from perdure.engine.steps import Registry
from perdure.store.errors import CommitUnknown
from perdure.store.sqlite.store import SqliteStore

registry = Registry()

@registry.step("hang")
def hang(value):
    time.sleep(1000)

@registry.step("break_the_disk")
async def break_the_disk(value):
    async def append(self, batch):
        raise CommitUnknown("disk I/O error")
    SqliteStore.append = append
"""

BROKEN_STEPS = """
import threading, time
from perdure.engine.services.access import Access
from perdure.engine.steps import Registry

registry = Registry()
threading.Thread(target=time.sleep, args=[1000]).start()

async def bootstrap(self, text, actor):
    raise RuntimeError("a defect")

Access.bootstrap = bootstrap
"""


class Server:
    """A server in a process of its own."""

    def __init__(self, folder: Path, *arguments: str, **environment: str) -> None:
        self.errors = (folder / "errors").open("w+")
        self.log = (folder / "log").open("a+")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "perdure", "serve", "--port", "0", *arguments],
            cwd=folder,
            env=environ(folder, **environment),
            stdout=self.log,
            stderr=self.errors,
        )
        self._client: AsyncClient | None = None

    @property
    def client(self) -> AsyncClient:
        """Asks once: what these tests look at is what the server does."""
        assert self._client is not None
        return self._client

    def said(self) -> str:
        return Path(self.errors.name).read_text()

    def logged(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in Path(self.log.name).read_text().splitlines()]

    async def ready(self) -> None:
        """Wait until it is; the key is the one that it shows, or was given."""
        await eventually(lambda: "ready at" in self.said() or self.process.poll() is not None, 30)
        found = re.search(r"perdure: ready at (http://\S+)", self.said())
        assert found, self.said()
        shown = re.search(r"wfk_\S+", self.said())
        self.url = found[1]
        self._client = AsyncClient(self.url, shown[0] if shown else KEY, timeout_s=20, retries=Retries(attempts_max=1))

    async def workflow(self, definition: dict[str, Any]) -> str:
        return (await self.client.create_workflow("w", definition)).id

    async def exit_status(self) -> int:
        return await asyncio.to_thread(self.process.wait, 20)

    async def end(self) -> None:
        if self._client is not None:
            await self._client.close()
        self.process.kill()
        self.process.wait()
        self.errors.close()
        self.log.close()


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.glob("runs.db*"))


def environ(folder: Path, **environment: str) -> dict[str, str]:
    root = Path(__file__).parents[2]
    return {
        "PATH": "/usr/bin:/bin",
        "HOME": str(folder),
        "PYTHONPATH": str(root),
        "PERDURE_DATABASE": "sqlite:///runs.db",
        **environment,
    }


def run(folder: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "perdure", *arguments],
        cwd=folder,
        env=environ(folder, **environment),
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "my_steps.py").write_text(STEPS)
    (tmp_path / "my_broken_steps.py").write_text(BROKEN_STEPS)
    return tmp_path


@pytest.fixture
async def servers() -> AsyncIterator[list[Server]]:
    """Servers that a test starts; none outlives it."""
    started: list[Server] = []
    yield started
    for server in started:
        await server.end()


@pytest.mark.real_process
async def test_a_server_serves_and_stops(folder: Path, servers: list[Server]) -> None:
    """It prints a first key once and its address, is alone on its file, can be verified meanwhile, and ends with 0."""
    server = Server(folder)
    servers.append(server)
    await server.ready()
    assert "wfk_" in server.said()
    workflow_id = await server.workflow(WAITING)
    await server.client.trigger(workflow_id, {"process_id": "INV/7"})
    assert (await server.client.ready()).status == "ready"
    second = run(folder, "serve", "--port", "0")
    assert second.returncode == 2
    assert "in use" in second.stderr
    assert str(server.process.pid) in second.stderr
    verified = run(folder, "verify")
    assert (verified.returncode, verified.stdout.count("\n")) == (0, 1)
    await server.client.resume_workflow("INV/7", APPROVED["payload"])
    server.process.send_signal(signal.SIGINT)
    assert await server.exit_status() == 0
    assert "Traceback" not in server.said()
    assert {line["event"] for line in server.logged()} >= {"request", "stopping"}

    again = Server(folder, PERDURE_BOOTSTRAP_KEY=KEY)  # not an empty database any more
    servers.append(again)
    await again.ready()
    assert "wfk_" not in again.said()
    with pytest.raises(Unauthorized):
        await again.client.keys()
    again.process.terminate()
    assert await again.exit_status() == 0
    assert files(folder) == ["runs.db"]


@pytest.mark.real_process
async def test_a_server_stops_in_time_whatever_hangs(folder: Path, servers: list[Server]) -> None:
    """A held call is answered 503 at once; a body that never comes and a step that never ends are not waited for."""
    server = Server(folder, "--steps", "my_steps:registry", PERDURE_BOOTSTRAP_KEY=KEY)
    servers.append(server)
    await server.ready()
    hanging = {"StartAt": "H", "States": {"H": {"Type": "Task", "Resource": "hang", "End": True}}}
    for name, definition in (("A", SLEEPING), ("B", hanging)):
        workflow_id = await server.workflow(definition)
        await server.client.trigger(workflow_id, {"process_id": name})
    held = asyncio.create_task(server.client.resume("A", {}, hold_s=30))
    where = urlsplit(server.url)
    half = socket.create_connection((where.hostname, where.port))
    half.sendall(f"POST /v1/workflows HTTP/1.1\r\nx-api-key: {KEY}\r\nHost: x\r\nContent-Length: 9\r\n\r\n{{".encode())
    for _ in range(5):  # by then the call, which was sent first, is held
        await server.client.ready()
    assert not held.done()
    began = time.monotonic()
    server.process.terminate()
    with pytest.raises(Unavailable):
        await held
    assert time.monotonic() - began < 2
    assert await server.exit_status() == 0
    assert time.monotonic() - began < 10
    half.close()


@pytest.mark.real_process
async def test_a_failed_commit_ends_the_server(folder: Path, servers: list[Server]) -> None:
    """Nobody knows what is on disk, so it says no more, and its exit status is not 0."""
    server = Server(folder, "--steps", "my_steps:registry", PERDURE_BOOTSTRAP_KEY=KEY)
    servers.append(server)
    await server.ready()
    breaking = {"StartAt": "B", "States": {"B": {"Type": "Task", "Resource": "break_the_disk", "End": True}}}
    workflow_id = await server.workflow(breaking)
    await server.client.trigger(workflow_id)
    assert await server.exit_status() == 70


@pytest.mark.real_process
async def test_a_defect_ends_the_server(folder: Path, servers: list[Server]) -> None:
    """It is told in the log, with its traceback, and a thread that hangs keeps nothing alive."""
    server = Server(folder, "--steps", "my_broken_steps:registry")
    servers.append(server)
    assert await server.exit_status() == 70
    assert next(line for line in server.logged() if line["event"] == "server_failed")["exception"]


@pytest.mark.real_process
async def test_a_changed_byte_is_named(folder: Path, servers: list[Server]) -> None:
    """`verify` names the execution and the seq, and ends with 1."""
    server = Server(folder, PERDURE_BOOTSTRAP_KEY=KEY)
    servers.append(server)
    await server.ready()
    workflow_id = await server.workflow(WAITING)
    started = await server.client.trigger(workflow_id, {"amount": 120})
    server.process.terminate()
    assert await server.exit_status() == 0
    with sqlite3.connect(folder / "runs.db") as database:
        database.execute("UPDATE events SET payload = replace(payload, '120', '121') WHERE type = 'ExecutionStarted'")
    database.close()
    verified = run(folder, "verify", "--database", f"sqlite:///{folder}/runs.db")
    assert verified.returncode == 1
    assert f"execution {started.execution_id}, seq 1: " in verified.stdout


@pytest.mark.usefixtures("root_logger")
@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--port", "x"], "port: 'x' (from --port)"),
        (["--steps", "nowhere:registry"], "there is no module 'nowhere'"),
        (["--steps", "nowhere"], "MODULE:ATTRIBUTE"),
    ],
)
def test_a_setting_that_is_wrong_is_refused_in_a_line(arguments: list[str], says: str) -> None:
    """With exit status 2 and no traceback."""
    result = CliRunner().invoke(main, ["serve", *arguments])
    assert result.exit_code == 2
    assert says in result.stderr
    assert "Traceback" not in result.output


@pytest.mark.real_process
@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["serve", "--database", "mysql://host/x", "--port", "0"], "'mysql' is not supported"),
        (["serve", "--host", "256.256.256.256"], "cannot listen on 256.256.256.256"),
        (["verify", "--database", "sqlite:///nowhere.db"], "does not exist"),
    ],
)
def test_what_cannot_be_opened_is_refused_in_a_line(folder: Path, arguments: list[str], says: str) -> None:
    """With exit status 2 and no traceback."""
    refused = run(folder, *arguments)
    assert refused.returncode == 2
    assert says in refused.stderr
    assert "Traceback" not in refused.stderr


def test_help_is_quick() -> None:
    """Nothing heavy is imported for it."""
    script = "import sys, perdure.cli.main; print(*sys.modules)"
    found = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=Path(__file__).parents[2]
    ).stdout.split()
    assert not {"starlette", "uvicorn", "sqlalchemy", "structlog", "msgspec", "aiohttp", "engine"} & set(found)
    assert "verify" in CliRunner().invoke(main, ["--help"]).output
