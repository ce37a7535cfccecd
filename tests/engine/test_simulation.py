"""Virtual-time runs: users test their own definitions on the production core and driver."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from perdure.engine.language import DefinitionError
from perdure.engine.limits import Limits
from perdure.engine.testing import (
    BadMock,
    Failed,
    NotMocked,
    Succeeded,
    TaskRequest,
    Unanswered,
    simulate,
    simulation,
    succeeded,
    test_state,
)

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
    assert simulate(waiting(), {}, tasks=lambda _: Unanswered()).status == "RUNNING"


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


def waiting(resource: str = "wait_for_resume", **more: Any) -> dict[str, Any]:
    """A machine of one state that waits for somebody outside."""
    return {"StartAt": "Ask", "States": {"Ask": {"Type": "Task", "Resource": resource, "End": True, **more}}}


TOKEN = {"Parameters": {"token.$": "$$.Task.Token"}}
CHILD = {"Parameters": {"StateMachineArn": "invoice"}}


@pytest.mark.parametrize(
    "definition",
    [
        waiting(),
        waiting("mail.waitForResume"),
        waiting("mail.waitForTaskToken", **TOKEN),
        waiting("arn:aws:states:::states:startExecution.sync:2", **CHILD),
        waiting("mail"),
    ],
)
def test_one_mock_answers_whatever_waits(definition: dict[str, Any]) -> None:
    """A step, a wait, a token and a child are answered alike, by the name of their state."""
    run = simulate(definition, {}, tasks={"Ask": {"approved": True}})
    assert (run.status, run.output, run.stuck_at) == ("SUCCEEDED", {"approved": True}, ())


def test_waits_inside_iterations_are_answered_each() -> None:
    """Every iteration's wait is asked for, with the index that it belongs to."""
    each = waiting()
    mapped = {"Type": "Map", "ItemsPath": "$.items", "ItemProcessor": each, "End": True}

    def tasks(request: TaskRequest) -> Succeeded:
        return Succeeded(request.iteration[0][1])

    run = simulate({"StartAt": "Each", "States": {"Each": mapped}}, {"items": [7, 8, 9]}, tasks=tasks)
    assert run.output == [0, 1, 2]


def test_a_wait_that_the_mock_leaves_out_times_out() -> None:
    """A wait with a time limit that nobody answers expires, as it would."""
    run = simulate(waiting(TimeoutSeconds=86_400), {}, tasks={})
    assert (run.status, run.error) == ("FAILED", "States.Timeout")


def test_a_stuck_run_says_where() -> None:
    """Of a run that nobody can move it is told which states wait, and for what."""
    run = simulate(waiting("mail.waitForTaskToken", **TOKEN), {}, tasks=lambda _: Unanswered())
    assert [(each.state, each.waits_for) for each in run.stuck_at] == [("Ask", "an answer with its task token")]


@pytest.mark.parametrize(
    "answer", [{"ok": 1}, {"Charge": [{"result": 1}]}, succeeded("Charge", {"ok": 1}), Succeeded, None]
)
def test_an_answer_of_another_kind_is_refused(answer: Any) -> None:
    """What is no answer is refused at once, naming the state and what is accepted."""
    with pytest.raises(TypeError, match=r"state 'Charge'.*Succeeded\(output\), Failed"):
        simulate(CHARGE, {"amount": 7}, tasks=lambda _: answer)


@pytest.mark.parametrize("mock", [{"Charge": []}, {"Charge": {"Result": 1}}, {"Charge": object()}, {"Chrage": 1}, [1]])
def test_a_mock_of_another_form_is_refused(mock: Any) -> None:
    """A mock with a mistake in it is refused before the run begins."""
    with pytest.raises(BadMock):
        simulate(CHARGE, {"amount": 7}, tasks=mock)


def test_a_wait_for_a_resume_cannot_fail() -> None:
    """A resume has no way to fail a wait, so a mock that says so is refused."""
    with pytest.raises(BadMock, match="cannot fail"):
        simulate(waiting(), {}, tasks={"Ask": {"error": "No"}})


def test_a_step_without_a_mock_is_named() -> None:
    """A step of which the mock says nothing ends the simulation; nothing is made up."""
    with pytest.raises(NotMocked, match="state 'Charge' calls 'charge'"):
        simulate(CHARGE, {"amount": 7}, tasks={})


def test_one_state_takes_no_other_result() -> None:
    """`test_state` wants its result as an answer too."""
    with pytest.raises(TypeError, match="Succeeded"):
        test_state(CHARGE, {"amount": 7}, state="Charge", result={"ok": 1})  # type: ignore[arg-type]


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


def test_a_loop_without_an_end_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its run is paused by the quota of events, as an engine would; nobody unpauses it here."""
    monkeypatch.setattr(simulation, "Limits", partial(Limits, run_events_max=200))
    again = {
        "Type": "Choice",
        "Choices": [{"Variable": "$.done", "IsPresent": True, "Next": "Done"}],
        "Default": "More",
    }
    states = {"Again": again, "More": {"Type": "Pass", "Next": "Again"}, "Done": {"Type": "Succeed"}}
    run = simulate({"StartAt": "Again", "States": states}, {}, tasks={})
    assert run.status == "RUNNING"
    assert [stuck.waits_for for stuck in run.stuck_at] == ["an unpause: a quota of events is used up"]
