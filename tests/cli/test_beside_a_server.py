"""Reading beside a real server process, and after it was killed."""

from __future__ import annotations

import gc
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.cli.conftest import KEY, NAME, ROOT, Perdure, Served

pytestmark = pytest.mark.real_process


@pytest.fixture
def process(folder: Path) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """A server process, and its address."""
    with subprocess.Popen(
        [sys.executable, "-m", "perdure", "serve", "--port", "0"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        text=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    ) as server:
        assert server.stderr is not None
        ready = next(found for line in server.stderr if (found := re.search(r"ready at (http://\S+)", line)))
        yield ready[1], server
        server.kill()


def test_reading_beside_a_server_and_after_its_death(
    perdure: Perdure, process: tuple[str, subprocess.Popen[str]], shell: Callable[[str], subprocess.Popen[str]]
) -> None:
    """What a server has answered is read beside it, followed, and still there after kill -9."""
    url, server = process
    there = ("--server", url, "--key", KEY)
    perdure("trigger", NAME, "--input", '{"amount": 900}', "--process-id", "INV-9", *there)
    assert perdure.status("INV-9") == "waiting"
    assert f"process {server.pid} serves it" in perdure("doctor").stdout

    with shell("perdure events INV-9 --follow --json") as following:
        assert following.stdout is not None
        first = [json.loads(following.stdout.readline()) for _ in range(3)]
        perdure("resume", "INV-9", "--source", "SAP", *there)
        rest = [json.loads(line) for line in following.stdout]
    assert following.returncode == 0
    assert [line["seq"] for line in first + rest] == list(range(1, len(first + rest) + 1))
    assert rest[-1]["type"] == "ExecutionSucceeded"

    server.send_signal(signal.SIGKILL)
    server.wait(10)
    assert perdure.status("INV-9") == "completed"
    assert "every chain holds" in perdure("verify").stdout
    nodes = {check["check"]: check for check in perdure.json("doctor")["checks"]}["nodes"]
    assert (nodes["status"], "not stopped cleanly" in nodes["detail"]) == ("warn", True)


def test_following_is_stopped_by_ctrl_c(folder: Path, shell: Callable[[str], subprocess.Popen[str]]) -> None:
    """Ctrl-C is how one stops to follow: status 0."""
    with shell("exec perdure events INV-7 --follow") as following:
        assert following.stdout is not None
        for _ in range(3):
            following.stdout.readline()
        following.send_signal(signal.SIGINT)
        following.communicate(timeout=20)
    assert following.returncode == 0


def test_a_server_that_is_stopped_at_once_ends_quietly(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Before it could say where it is: no task is left with an error that nobody looks at."""
    with Served("sqlite:///runs.db"):
        pass
    gc.collect()
    assert "never retrieved" not in caplog.text
