"""The demo: it tells the truth, in real processes, and leaves nothing behind."""

import io
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console

from perdure.api.demo import DEFINITION, DemoFailed, Story, history
from perdure.engine.language import problems, warnings
from tests.present import present

ROOT = Path(__file__).resolve().parent.parent
DEADLINE_S = 60
TOLD = (
    "Server",
    "Workflow",
    "Trigger",
    "Waiting",
    "kill -9    of the server",
    "the wait survives: still at 'Wait for approval'",
    "→ restarted",
    "→ already restarted",
    "Completed  in 'Booked'",
    "every chain holds",
    "WaitResumed",
    "ExecutionSucceeded",
    "curl -H",
)


class Demo:
    """`python -m api.demo` as a process, and what it has said so far."""

    def __init__(self, folder, *arguments, **environment):
        self._out = folder / "out"
        clean = {name: value for name, value in os.environ.items() if not name.startswith("PERDURE_")}
        with self._out.open("wb") as out:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "perdure.api.demo", *arguments],
                cwd=ROOT,
                env={**clean, "TMPDIR": str(folder), **environment},
                stdout=out,
                stderr=subprocess.STDOUT,
            )

    @property
    def said(self):
        return self._out.read_text(encoding="utf-8")

    def signal(self, number):
        self._process.send_signal(number)

    def ends(self):
        """Give its exit status."""
        try:
            return self._process.wait(DEADLINE_S)
        finally:
            self._process.kill()

    def says(self, text):
        """Wait until it has said something."""
        deadline = time.monotonic() + DEADLINE_S
        while text not in self.said:
            if self._process.poll() is not None or time.monotonic() > deadline:
                self._process.kill()
                pytest.fail(f"the demo never said {text!r}, only:\n{self.said}")
            time.sleep(0.05)


def is_listening(said):
    port = int(present(re.search(r"http://127\.0\.0\.1:(\d+)", said))[1])
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.mark.real_process
def test_the_story_is_told_once(tmp_path):
    """With --once it runs to its end, in order, exits with 0, and leaves neither server nor files."""
    demo = Demo(tmp_path, "--once")
    assert demo.ends() == 0, demo.said
    places = [demo.said.find(text) for text in TOLD]
    assert places == sorted(places)
    assert -1 not in places, TOLD[places.index(-1)]
    assert not is_listening(demo.said)
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


@pytest.mark.real_process
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_serves_until_it_is_interrupted(tmp_path, number):
    """The commands that it prints work as they are; Ctrl-C, or SIGTERM, ends demo and server with status 0."""
    demo = Demo(tmp_path, "--database", f"sqlite:///{tmp_path}/runs.db")
    demo.says("Serving at")
    assert "until Ctrl-C" in demo.said.partition("\n")[0]
    commands = [line.strip() for line in demo.said.split("\n") if line.startswith("  curl") or " verify " in line]
    answers = [done(command) for command in commands if shutil.which(shlex.split(command)[0])]
    if len(answers) == 5:  # a machine without curl tries the last one only
        triggered, waits, resumed, page, _ = answers
        assert "looply_execution_id" in triggered
        assert '"success":true' in waits
        assert '"message":"restarted"' in resumed
        assert '"count":2' in page
    assert "every chain holds" in answers[-1]
    demo.signal(number)
    assert demo.ends() == 0, demo.said
    assert not is_listening(demo.said)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "runs.db"]


def done(command):
    silent = ["-sS"] if command.startswith("curl") else []
    result = subprocess.run(
        [*shlex.split(command), *silent], capture_output=True, text=True, timeout=DEADLINE_S, check=True
    )
    return result.stdout


@pytest.mark.real_process
def test_what_goes_wrong_is_said(tmp_path):
    """A database that cannot be opened ends the demo with status 1 and the server's own words."""
    demo = Demo(tmp_path, "--once", "--database", f"sqlite:///{tmp_path}/none/runs.db")
    assert demo.ends() == 1
    assert "The demo failed: the server ended with status" in demo.said
    assert "Traceback" not in demo.said


class Liar:
    """A server, and a client of it whose calls give the next of these."""

    url = key = database = ""

    def __init__(self, *answers):
        self._answers = list(answers)
        self.client = self

    def start(self):
        """Be there."""

    def __getattr__(self, _name):
        return lambda *_, **__: SimpleNamespace(**self._answers.pop(0))


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ({"status": "completed"}, "should be waiting, and is completed"),
        ({"status": "failed"}, "should be waiting, and is failed"),
    ],
)
def test_a_story_that_does_not_hold_is_not_told_on(answer, reason):
    """It fails at the first thing that is not as it should be."""
    server: Any = Liar({"id": "w"}, {"execution_id": "e"}, answer)
    with pytest.raises(DemoFailed, match=reason):
        Story(server, Console(quiet=True)).tell()


def test_a_second_winner_would_be_noticed():
    """The repeated resume has to be told that it was too late."""
    server: Any = Liar({"message": "restarted"})
    story = Story(server, Console(quiet=True))
    with pytest.raises(DemoFailed, match="answered with 'restarted' and not 'already restarted'"):
        story._resume("Again", "already restarted")


def test_the_workflow_is_sound():
    """The definition of the demo has no problem, and nothing that a caller is warned of."""
    assert problems(DEFINITION) == []
    assert warnings(DEFINITION) == []


def test_the_history_shows_users_text_as_it_is():
    """What looks like markup in a payload is text like any other."""
    event = {"seq": 1, "type": "T", "at": 0, "actor": "key:1", "state": "[bold]", "result": "[/red]"}
    written = io.StringIO()
    console = Console(file=written, width=100)
    console.print(history([event]))
    assert "[bold]" in written.getvalue()
    assert "[/red]" in written.getvalue()
