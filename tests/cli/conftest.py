"""The command in process, on a database that has a workflow, runs and keys; and a server on it, in a thread."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Self

import pytest
import yaml
from click.testing import CliRunner, Result

from perdure.api.server import Server
from perdure.api.settings import Settings
from perdure.cli.main import main
from perdure.engine import Engine
from perdure.engine.runtime.clock import Clock
from perdure.engine.services.access import SCOPES
from perdure.engine.services.bulk import BulkOrder
from tests.api.conftest import quiet, root_logger

__all__ = ["quiet", "root_logger"]  # fixtures

ROOT = Path(__file__).parents[2]
KEY = "pk_the_operator_of_these_tests"
NAME = "invoice approval"

APPROVAL: dict[str, Any] = {
    "StartAt": "Check",
    "States": {
        "Check": {
            "Type": "Choice",
            "Choices": [{"Variable": "$.amount", "NumericGreaterThan": 100, "Next": "Ask"}],
            "Default": "Booked",
        },
        "Ask": {"Type": "Task", "Resource": "wait_for_resume", "ResultPath": "$.approval", "Next": "Booked"},
        "Booked": {"Type": "Succeed"},
    },
}
CHARGE: dict[str, Any] = {
    "StartAt": "Charge",
    "States": {
        "Charge": {"Type": "Task", "Resource": "log", "Next": "Sleep"},
        "Sleep": {"Type": "Wait", "Seconds": 31536000, "End": True},
    },
}
STEPS: dict[str, Any] = {
    "name": "invoice approval",
    "steps": [
        {"id": "ask", "type": "approval", "config": {"title": "Pay {{ input.amount }}?"}},
        {
            "id": "approved",
            "type": "condition",
            "config": {"expression": "{{ steps.ask.approved }}", "then": ["book"]},
        },
        {"id": "book", "type": "log", "config": {"message": "booked by {{ steps.ask.approvedBy }}"}},
    ],
}
EXTERNAL: dict[str, Any] = {
    "StartAt": "Ask",
    "States": {
        "Ask": {
            "Type": "Task",
            "Resource": "transform.waitForTaskToken",
            "Parameters": {"value": {"token.$": "$$.Task.Token"}},
            "HeartbeatSeconds": 3600,
            "End": True,
        },
    },
}
FILES: dict[str, Any] = {
    "invoice.asl.json": APPROVAL,
    "invoice.asl.yaml": APPROVAL,
    "invoice.steps.json": STEPS,
    "charge.asl.json": CHARGE,
    "invoice.json": {"amount": 120},
    "approval.json": {"source": "TEAMS", "approved": True},
    "mock.json": {"Charge": {"receipt": 7}},
    "answers.json": {"ask": {"approved": True, "approvedBy": "ann"}, "book": "done"},
}


async def fill(database: str) -> None:
    """INV-6 is booked, INV-7 waits, and of two keys one is an operator's."""
    async with Engine.open(database) as engine:
        workflow = await engine.create_workflow(NAME, APPROVAL, description="above 100 somebody is asked")
        done = await engine.trigger(workflow.id, {"amount": 50}, process_id="INV-6")
        await engine.result(done.id, timeout=30)
        await engine.trigger(workflow.id, {"amount": 120}, process_id="INV-7")
        caller = await engine.services.access.default_caller("cli:test")
        await engine.services.access.make_key(caller, "operator", SCOPES, text=KEY)
        await engine.services.access.make_key(caller, "ci", ("runs.view",))
        order = BulkOrder("terminate", {"status": "completed"}, "too late")
        await engine.services.bulk.start(caller, order)
        await engine.node.jobs.settle()


async def handed_out(database: str) -> str:
    """A task token that somebody has been handed."""
    async with Engine.open(database) as engine:
        execution = await engine.trigger((await engine.create_workflow("external", EXTERNAL)).id)
        async for recorded in engine.events(execution.id, follow=True):
            if recorded.payload is not None and "parameters" in recorded.payload:
                return str(recorded.payload["parameters"]["value"]["token"])
    raise AssertionError


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The database that every test gets a copy of."""
    path = tmp_path_factory.mktemp("made") / "runs.db"
    asyncio.run(fill(f"sqlite:///{path}"))
    return path


@pytest.fixture
def folder(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with that database and the files of the examples: where commands run."""
    shutil.copy(made, tmp_path / "runs.db")
    for name, content in FILES.items():
        text = yaml.safe_dump(content, sort_keys=False) if name.endswith(".yaml") else json.dumps(content)
        (tmp_path / name).write_text(text)
    for name in [name for name in os.environ if name.startswith("PERDURE_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PERDURE_DATABASE", "sqlite:///runs.db")
    monkeypatch.chdir(tmp_path)
    return tmp_path


class Perdure:
    """The command, called in process."""

    def __call__(self, *arguments: str, exits: int = 0, stdin: str | None = None) -> Result:
        result = CliRunner().invoke(main, arguments, input=stdin, prog_name="perdure")
        assert result.exit_code == exits, (result.output, result.exception)
        return result

    def json(self, *arguments: str, exits: int = 0) -> Any:
        """What it prints with `--json`."""
        return json.loads(self(*arguments, "--json", exits=exits).stdout)

    def status(self, process_id: str) -> str:
        return str(self.json("show", process_id)["status"])

    def until(self, process_id: str, status: str) -> Any:
        """What is shown of a run once it has this status: a server starts and ends children after it has answered."""
        deadline = time.monotonic() + 20
        while True:
            result = CliRunner().invoke(main, ["show", process_id, "--json"], prog_name="perdure")
            shown = json.loads(result.stdout) if result.exit_code == 0 else None
            if shown is not None and shown["status"] == status:
                return shown
            assert time.monotonic() < deadline, result.output
            time.sleep(0.02)


@pytest.fixture
def perdure(folder: Path) -> Perdure:
    return Perdure()


class Served:
    """A server on a database, in a thread of its own."""

    def __init__(self, database: str, clock: Clock | None = None) -> None:
        self._database = database
        self._clock = clock
        self._ready = threading.Event()
        self._server: Server | None = None
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()))
        self.url = ""

    async def _serve(self) -> None:
        engine = await Engine.start(self._database, clock=self._clock)
        listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        self._server = Server(engine, Settings())
        self._ready.set()
        try:
            await self._server.serve([listener])
        finally:
            listener.close()
            await engine.close()

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._ready.wait(30)
        return self

    def __exit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.stop()
        self._thread.join(30)


@pytest.fixture
def served(folder: Path) -> Iterator[str]:
    """The address of a server on the folder's database."""
    with Served("sqlite:///runs.db") as server:
        yield server.url


Mode = str
MODES = ("direct", "served")


@pytest.fixture(params=MODES)
def mode(request: pytest.FixtureRequest, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Mode:
    """Straight to the database, or through a server on it."""
    if "token" in request.fixturenames:
        request.getfixturevalue("token")  # first: a server lets nobody else write
    if request.param == "served":
        monkeypatch.setenv("PERDURE_SERVER", request.getfixturevalue("served"))
        monkeypatch.setenv("PERDURE_KEY", KEY)
    return str(request.param)


@pytest.fixture
def token(folder: Path) -> str:
    """A token of a task of the folder's database; before a server serves it."""
    return asyncio.run(handed_out("sqlite:///runs.db"))


@pytest.fixture
def shell(folder: Path) -> Callable[[str], subprocess.Popen[str]]:
    """Starts lines of a shell that find the command `perdure`."""
    command = folder / "bin" / "perdure"
    command.parent.mkdir()
    program = "import sys; sys.argv[0] = 'perdure'; from perdure.cli.main import main; main()"
    command.write_text(f'#!/bin/sh\nPYTHONPATH={ROOT} exec {sys.executable} -c "{program}" "$@"\n')
    command.chmod(0o755)

    def start(line: str) -> subprocess.Popen[str]:
        token = {"TOKEN": asyncio.run(handed_out("sqlite:///runs.db"))} if "$TOKEN" in line else {}
        environment = {**os.environ, **token, "PATH": f"{command.parent}:{os.environ['PATH']}", "PERDURE_PORT": "0"}
        return subprocess.Popen(
            ["bash", "-c", line],
            cwd=folder,
            env=environment,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    return start
