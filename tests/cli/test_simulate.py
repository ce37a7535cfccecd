"""`perdure simulate`: a definition in virtual time, its steps answered from a file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Perdure


def mocked(folder: Path, mock: Any, definition: Any = None) -> list[str]:
    """The arguments for a simulation with this mock."""
    (folder / "m.json").write_text(json.dumps(mock))
    if definition is None:
        return ["simulate", "charge.asl.json", "--mock", "m.json"]
    (folder / "d.json").write_text(json.dumps(definition))
    return ["simulate", "d.json", "--mock", "m.json"]


@pytest.mark.parametrize("result", [{"receipt": 7}, 7, None, [1, 2], [{"id": 1}]])
def test_a_result_of_any_kind(perdure: Perdure, folder: Path, result: Any) -> None:
    """What does not look like an outcome is the result itself; a year of waiting is over at once."""
    found = perdure.json(*mocked(folder, {"Charge": result}))
    assert (found["status"], found["output"]) == ("SUCCEEDED", result)
    assert [step["state"] for step in found["steps"]] == ["Charge", "Sleep"]
    assert found["events"][-1]["type"] == "ExecutionSucceeded"


def test_outcomes_of_attempts(perdure: Perdure, folder: Path) -> None:
    """A list of outcomes answers one attempt each; a failure ends the run, and the command with 1."""
    assert perdure.json(*mocked(folder, {"Charge": [{"result": [3]}]}))["output"] == [3]
    failed = perdure.json(*mocked(folder, {"Charge": [{"error": "Card.Declined", "cause": "no money"}]}), exits=1)
    assert (failed["status"], failed["error"], failed["cause"]) == ("FAILED", "Card.Declined", "no money")
    assert "Card.Declined" in perdure(*mocked(folder, {"Charge": [{"error": "Card.Declined"}]}), exits=1).stderr


def test_a_wait_is_answered_by_the_mock(perdure: Perdure, folder: Path) -> None:
    """What the mock says of a state that waits is the payload that resumes it."""
    (folder / "m.json").write_text(json.dumps({"Ask": {"approved": True}}))
    found = perdure.json("simulate", "invoice.asl.json", "--input", "@invoice.json", "--mock", "m.json")
    assert (found["status"], found["output"]["approval"]) == ("SUCCEEDED", {"approved": True})


def test_a_run_that_gets_stuck(perdure: Perdure) -> None:
    """A run that only somebody outside could move ends the command with 1, and it says where and what to do."""
    result = perdure("simulate", "invoice.asl.json", "--input", "@invoice.json", exits=1)
    assert "RUNNING" in result.stdout
    assert "state 'Ask' waits for a resume" in result.stderr
    assert '--mock FILE: {"Ask":{"some":"result"}}' in result.stderr
    found = perdure.json("simulate", "invoice.asl.json", "--input", "@invoice.json", exits=1)
    assert found["stuck_at"] == [{"state": "Ask", "waits_for": "a resume", "iteration": []}]


def test_a_distributed_map_is_refused(perdure: Perdure, folder: Path) -> None:
    """What the engine cannot do yet is refused in one line with its place, before anything runs."""
    processor = {
        "ProcessorConfig": {"Mode": "DISTRIBUTED", "ExecutionType": "STANDARD"},
        "StartAt": "A",
        "States": {"A": {"Type": "Pass", "End": True}},
    }
    definition = {"StartAt": "M", "States": {"M": {"Type": "Map", "ItemProcessor": processor, "End": True}}}
    told = perdure(*mocked(folder, {}, definition), exits=1).stderr
    assert "/States/M: a distributed Map is not supported yet" in told
    assert "Traceback" not in told


def test_words_for_people(perdure: Perdure, folder: Path) -> None:
    """Without --json the steps are a table, and status and output stand below."""
    said = perdure(*mocked(folder, {"Charge": {"receipt": 7}})).stdout
    assert "Charge" in said
    assert 'output  {"receipt":7}' in said


def test_what_cannot_be_simulated(perdure: Perdure, folder: Path) -> None:
    """A step without an answer, or a definition that is not valid: 1, and what is missing."""
    assert "state 'Charge' calls 'log'" in perdure("simulate", "charge.asl.json", exits=1).stderr
    (folder / "bad.json").write_text('{"StartAt": "A", "States": {}}')
    assert "/States" in perdure("simulate", "bad.json", exits=1).stderr


@pytest.mark.parametrize(
    ("mock", "says"),
    [
        ({"Chrage": 1}, "Did you mean 'Charge'?"),
        ([], "must be a JSON object"),
        ({"Sleep": 1}, "no Task state 'Sleep'"),
        ({"Charge": []}, "an empty list"),
        ({"Charge": {"Result": 1}}, "this one: Result"),
        ({"Charge": [{"result": 1, "error": "E"}]}, "this one: result, error"),
        ({"Charge": [{"result": 1}, 2]}, "this one: int"),
        ({"Charge": {"error": 7}}, "error must be a text"),
    ],
)
def test_a_mock_that_is_wrong(perdure: Perdure, folder: Path, mock: Any, says: str) -> None:
    """A mock for what is no Task state, or that looks like an outcome and is none, is refused before anything runs."""
    assert says in perdure(*mocked(folder, mock), exits=2).stderr


def test_one_state_by_itself(perdure: Perdure, folder: Path) -> None:
    """With --state only that state is entered; its step gives what the mock says, attempt by attempt."""
    retry = {"Retry": [{"ErrorEquals": ["Busy"]}]}
    task = {"Type": "Task", "Resource": "log", "Parameters": {"n.$": "$.n", "v.$": "$v"}, "End": True, **retry}
    arguments = [
        *mocked(
            folder, {"Charge": [{"error": "Busy"}, {"result": 5}]}, {"StartAt": "Charge", "States": {"Charge": task}}
        ),
        *("--state", "Charge", "--input", '{"n": 1}', "--variables", '{"v": 2}'),
    ]
    assert perdure.json(*arguments)["status"] == "RETRIABLE"
    found = perdure.json(*arguments, "--retry-count", "1")
    assert (found["status"], found["output"]) == ("SUCCEEDED", 5)
    assert found["inspection"]["afterParameters"] == {"n": 1, "v": 2}
    assert "afterParameters" in perdure(*arguments).stdout
    unanswered = perdure(
        "simulate", "charge.asl.json", "--state", "Charge", "--input", '{"n": 1}', "--variables", '{"v": 2}'
    )
    assert "NEEDS_RESULT" in unanswered.stdout
    assert "--mock FILE" in unanswered.stderr
    assert "no state 'Chage'. Did you mean 'Charge'?" in perdure(*arguments, "--state", "Chage", exits=2).stderr


def test_options_that_go_with_one_state(perdure: Perdure, folder: Path) -> None:
    """Without --state they are refused, not ignored."""
    result = perdure(*mocked(folder, {"Charge": 1}), "--variables", "{}", exits=2)
    assert "--variables goes with --state" in result.stderr


def test_a_file_with_a_byte_order_mark_is_read(perdure: Perdure, folder: Path) -> None:
    """Some editors write one in front of JSON; it is no part of it."""
    (folder / "bom.json").write_bytes(b"\xef\xbb\xbf" + (folder / "charge.asl.json").read_bytes())
    assert perdure.json("simulate", "bom.json", "--mock", "mock.json")["status"] == "SUCCEEDED"


def test_a_document_of_steps_is_simulated(perdure: Perdure, folder: Path) -> None:
    """Its format is guessed or said, its steps are mocked by their ids, and its problems are told with their lines."""
    found = perdure.json("simulate", "invoice.steps.json", "--input", '{"amount": 50}', "--mock", "answers.json")
    assert (found["status"], found["output"]) == ("SUCCEEDED", "done")
    (folder / "bad.json").write_text(json.dumps({"name": "x", "steps": [{"id": "a", "type": "lgo"}]}))
    assert "line 1: /steps/0/type: " in perdure("simulate", "bad.json", "--format", "steps", exits=1).stderr


def test_steps_of_ones_own_are_known_to_a_simulation(
    perdure: Perdure, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If a registry is named."""
    (folder / "simulated_steps.py").write_text(
        "from perdure.steps import Registry\nregistry = Registry()\n"
        "@registry.step('charge')\ndef charge(value):\n    return value\n"
    )
    monkeypatch.syspath_prepend(str(folder))
    (folder / "own.json").write_text(json.dumps({"name": "x", "steps": [{"id": "c", "type": "charge", "config": {}}]}))
    (folder / "m.json").write_text(json.dumps({"c": 7}))
    found = perdure.json("simulate", "own.json", "--mock", "m.json", "--steps", "simulated_steps:registry")
    assert found["output"] == 7
