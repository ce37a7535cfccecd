"""`perdure run`: a run is started, followed step by step, and its outcome is the exit status."""

from __future__ import annotations

import json
import threading
import time
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.cli.conftest import KEY, NAME, Mode, Perdure

FAILING: dict[str, Any] = {
    "StartAt": "Look",
    "States": {
        "Look": {"Type": "Pass", "Next": "Refuse"},
        "Refuse": {"Type": "Fail", "Error": "Order.Empty", "Cause": "there is nothing in it"},
    },
}
OWN: dict[str, Any] = {
    "StartAt": "Charge",
    "States": {"Charge": {"Type": "Task", "Resource": "billing.charge", "End": True}},
}


@pytest.fixture
def failing(perdure: Perdure, folder: Path, mode: Mode) -> str:
    """A workflow whose runs fail."""
    (folder / "failing.asl.json").write_text(json.dumps(FAILING))
    perdure("workflows", "create", "failing.asl.json")
    return "failing"


def steps_of(stderr: str) -> list[str]:
    """The lines about steps: the state, and what became of it."""
    lines = (line.split("  ", 1)[1] for line in stderr.splitlines() if line.startswith("20") and " UTC  " in line)
    return [" ".join(line.split()) for line in lines]


def test_a_run_that_completes(perdure: Perdure, mode: Mode) -> None:
    """Its steps go to stderr as they go, its output to stdout; exit status 0."""
    ran = perdure("run", NAME, "--input", '{"amount": 50}', "--process-id", "INV-20", "--wait")
    assert json.loads(ran.stdout) == {"amount": 50}
    assert any(line.startswith("run ") for line in ran.stderr.splitlines())
    assert steps_of(ran.stderr) == ["Check passed by its default, → Booked", "Booked passed"]
    assert ran.stderr.endswith("\ncompleted\n")
    assert perdure.status("INV-20") == "completed"


def test_as_json_it_is_what_show_says(perdure: Perdure, mode: Mode) -> None:
    """On stdout, and nothing else."""
    ran = perdure.json("run", NAME, "--input", '{"amount": 50}', "--process-id", "INV-21", "--wait")
    assert ran == perdure.json("show", "INV-21")
    assert [step["state"] for step in ran["steps"]] == ["Check", "Booked"]


def test_a_run_that_fails(perdure: Perdure, failing: str) -> None:
    """Exit status 1, with its error and cause; nothing goes to stdout that could be taken for an output."""
    ran = perdure("run", failing, "--wait", exits=1)
    assert ran.stdout == ""
    assert "Look passed → Refuse" in steps_of(ran.stderr)
    assert "the run did not complete: it failed" in ran.stderr
    assert 'error: "Order.Empty"' in ran.stderr
    assert 'cause: "there is nothing in it"' in ran.stderr
    assert perdure.json("run", failing, "--wait", exits=1)["status"] == "failed"


def test_without_waiting_it_is_only_started(perdure: Perdure, mode: Mode) -> None:
    """Its id is printed, as `trigger` does; the same process id starts nothing again."""
    started = perdure("run", NAME, "--input", '{"amount": 120}', "--process-id", "INV-22").stdout
    assert started == perdure("trigger", NAME, "--input", '{"amount": 120}', "--process-id", "INV-22").stdout
    assert perdure.json("show", "INV-22")["execution_id"] == started.strip()


def test_a_wait_in_a_database_that_we_hold_ends_the_command(perdure: Perdure) -> None:
    """Exit status 3: nobody else could resume it; it stays as it is, and goes on with the next who resumes it."""
    ran = perdure("run", NAME, "--input", '{"amount": 120}', "--process-id", "INV-23", "--wait", exits=3)
    assert steps_of(ran.stderr) == ["Check passed by rule 0, → Ask", "Ask waits"]
    assert "it waits at Ask: perdure resume INV-23" in ran.stderr
    assert perdure.status("INV-23") == "waiting"
    perdure("resume", "INV-23", "--state", "Ask")
    assert perdure("run", NAME, "--input", '{"amount": 120}', "--process-id", "INV-23", "--wait").stderr.endswith(
        "completed\n"
    )


def test_a_wait_on_a_server_is_followed_until_somebody_resumes_it(
    perdure: Perdure, served: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The command goes on with it."""
    monkeypatch.setenv("PERDURE_SERVER", served)
    monkeypatch.setenv("PERDURE_KEY", KEY)
    resumed: list[int] = []

    def resume() -> None:
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline and resumed[-1:] != [200]:
            answer = httpx2.post(
                f"{served}/v1/executions/INV-24/resume",
                json={"payload": {"approved": True}},
                headers={"x-api-key": KEY, "Prefer": "wait=5"},
            )
            resumed.append(answer.status_code)

    somebody = threading.Thread(target=resume)
    somebody.start()
    ran = perdure("run", NAME, "--input", '{"amount": 120}', "--process-id", "INV-24", "--wait")
    somebody.join()
    assert resumed[-1] == 200
    assert json.loads(ran.stdout)["approval"] == {"approved": True}
    assert [line.split(" → ")[0] for line in steps_of(ran.stderr)][1:3] == ["Ask waits", "Ask resumed"]


def test_what_cannot_start_says_so(perdure: Perdure, mode: Mode) -> None:
    """Exit status 1 for what is not there, 2 for what is no call."""
    assert "Did you mean 'invoice approval'?" in perdure("run", "invoice aproval", "--wait", exits=1).stderr
    assert "--input" in perdure("run", NAME, "--input", "[]", "--wait", exits=2).stderr
    assert (
        "another workflow, version or input" in perdure("run", NAME, "--process-id", "INV-7", "--wait", exits=1).stderr
    )


def test_steps_of_ones_own_are_called(perdure: Perdure, folder: Path) -> None:
    """In a database, if --steps names their registry."""
    (folder / "own_steps_of_runs.py").write_text(
        "from perdure.steps import Registry\nregistry = Registry()\n"
        "@registry.step('billing.charge')\ndef charge(value):\n    return {'charged': value['amount']}\n"
    )
    (folder / "own.asl.json").write_text(json.dumps(OWN))
    own = ("--steps", "own_steps_of_runs:registry")
    perdure("workflows", "create", "own.asl.json", *own)
    ran = perdure("run", "own", "--input", '{"amount": 7}', "--wait", *own)
    assert json.loads(ran.stdout) == {"charged": 7}
    assert steps_of(ran.stderr)[-2:] == ["Charge called", "Charge succeeded"]
    assert "steps:" in perdure("run", "own", "--wait", "--steps", "own_steps_of_runs:nothing", exits=2).stderr


def test_a_database_that_a_server_holds_is_left_to_it(perdure: Perdure, served: str) -> None:
    """Exit status 2, and where to go instead."""
    told = perdure("run", NAME, "--wait", exits=2)
    assert "in use by" in told.stderr
    assert "--server URL" in told.stderr
