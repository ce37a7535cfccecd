"""Virtual-time runs: users test their own definitions on the production core and driver."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from engine.language import DefinitionError
from engine.testing import Failed, Succeeded, TaskRequest, Unanswered, simulate

ROOT = Path(__file__).parent.parent.parent
CONFORMANCE = ROOT.parent / "shared" / "conformance" / "run_asl.py"

CHARGE: dict[str, Any] = {
    "StartAt": "Rest",
    "States": {
        "Rest": {"Type": "Wait", "Seconds": 31_536_000, "Next": "Charge"},
        "Charge": {
            "Type": "Task",
            "Resource": "charge",
            "Parameters": {"amount.$": "$.amount", "at.$": "$$.State.EnteredTime"},
            "ResultPath": "$.receipt",
            "End": True,
        },
    },
}


def test_a_year_passes_in_no_time() -> None:
    """A run that waits a year ends at once, and its task sees the instant a year later."""
    asked: list[TaskRequest] = []

    def tasks(request: TaskRequest) -> Succeeded:
        asked.append(request)
        return Succeeded("R-1")

    began = time.perf_counter()
    run = simulate(CHARGE, {"amount": 7}, tasks=tasks, start_at="2025-01-01T00:00:00Z")
    assert time.perf_counter() - began < 5
    assert (run.status, run.output) == ("SUCCEEDED", {"amount": 7, "receipt": "R-1"})
    assert asked[0].parameters == {"amount": 7, "at": "2026-01-01T00:00:00.000Z"}
    assert asked[0].state_input == {"amount": 7}
    assert [event["type"] for event in run.history][:3] == ["ExecutionStarted", "WaitStateEntered", "WaitStateExited"]


def test_a_task_that_fails_fails_the_run() -> None:
    """The error and the cause of a task are the run's."""
    run = simulate(CHARGE, {"amount": 7}, tasks=lambda _: Failed("Card.Declined", "no money"))
    assert (run.status, run.error, run.cause) == ("FAILED", "Card.Declined", "no money")


def test_a_run_that_nobody_moves_is_running() -> None:
    """A task that never answers, and a wait for an outside party, leave the run where it is."""
    assert simulate(CHARGE, {"amount": 7}, tasks=lambda _: Unanswered()).status == "RUNNING"
    waiting = {"StartAt": "A", "States": {"A": {"Type": "Task", "Resource": "wait_for_resume", "End": True}}}
    assert simulate(waiting, {}, tasks=lambda _: Unanswered()).status == "RUNNING"


def test_what_tasks_raise_is_raised() -> None:
    """An exception of the caller's own function comes back to the caller."""

    def tasks(_: TaskRequest) -> Succeeded:
        raise KeyError("no such mock")

    with pytest.raises(KeyError, match="no such mock"):
        simulate(CHARGE, {"amount": 7}, tasks=tasks)


def test_a_definition_that_is_wrong_is_refused() -> None:
    """A definition with problems is not run."""
    with pytest.raises(DefinitionError):
        simulate({"StartAt": "A", "States": {}}, {}, tasks=lambda _: Unanswered())


async def test_it_works_on_a_running_loop() -> None:
    """A test that is asynchronous itself can simulate as well."""
    await asyncio.sleep(0)
    run = simulate(CHARGE, {"amount": 7}, tasks=lambda _: Succeeded(None))
    assert run.status == "SUCCEEDED"


@pytest.mark.skipif(not CONFORMANCE.exists(), reason="../shared/conformance is not here")
def test_the_recorded_core_cases_agree() -> None:
    """Every core case recorded on AWS has the recorded outcome, and the recorded history where there is one."""
    done = subprocess.run(
        [sys.executable, str(CONFORMANCE), "--core", "--json"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    total = json.loads(done.stdout)["total"]
    assert total["outcome"] == total["cases"] == 411
    assert total["history"] == total["with history"]
