"""`perdure workflows convert` and `validate`: documents in other formats."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.conftest import APPROVAL, STEPS, Perdure


def converted(perdure: Perdure, *arguments: str) -> object:
    """What a conversion prints."""
    return json.loads(perdure("workflows", "convert", *arguments).stdout)


def test_steps_become_a_definition_that_runs(perdure: Perdure, folder: Path) -> None:
    """What is written to a file is simulated from there."""
    said = perdure(
        *("workflows", "convert", "invoice.steps.json", "--from", "steps", "--to", "asl", "--output", "made.json")
    )
    assert (said.stdout, said.stderr) == ("", "written: made.json\n")
    (folder / "m.json").write_text(json.dumps({"ask": {"approved": True, "approvedBy": "ann"}, "book": "done"}))
    found = perdure.json("simulate", "made.json", "--input", '{"amount": 5}', "--mock", "m.json")
    assert (found["status"], found["output"]) == ("SUCCEEDED", "done")


def test_a_definition_becomes_a_graph_and_is_itself_again(perdure: Perdure, folder: Path) -> None:
    """From YAML too, and through a file."""
    graph = converted(perdure, "invoice.asl.yaml", "--from", "asl", "--to", "graph")
    (folder / "g.json").write_text(json.dumps(graph))
    assert converted(perdure, "g.json", "--from", "graph", "--to", "asl") == APPROVAL


def test_a_valid_document_says_so(perdure: Perdure) -> None:
    """In words, and as JSON."""
    assert perdure("workflows", "validate", "invoice.steps.json", "--format", "steps").stdout == (
        "invoice.steps.json is valid\n"
    )
    found = perdure.json("workflows", "validate", "invoice.steps.json", "--format", "steps")
    assert found == {"valid": True, "problems": [], "warnings": []}


@pytest.mark.parametrize("command", [("validate", "--format"), ("convert", "--to", "asl", "--from")])
def test_every_problem_is_told(perdure: Perdure, folder: Path, command: tuple[str, ...]) -> None:
    """Each in a line, with its place; exit status 1."""
    wrong = {**STEPS, "steps": [{"id": "a", "type": "lgo"}, {"id": "b", "type": "code", "confg": {}}]}
    (folder / "bad.json").write_text(json.dumps(wrong))
    told = perdure("workflows", *command, "steps", "bad.json", exits=1)
    assert told.stdout == ""
    assert "bad.json is not valid" in told.stderr
    assert "/steps/0/type: there is no type of step 'lgo'. Did you mean 'log'" in told.stderr
    assert "/steps/1/confg: unknown member 'confg'" in told.stderr


def test_problems_as_json(perdure: Perdure) -> None:
    """For programs they stand on stdout."""
    found = perdure.json("workflows", "validate", "invoice.json", "--format", "graph", exits=1)
    assert found["valid"] is False
    assert {"path": "/amount", "message": "unknown member 'amount'."} in [
        {**each, "message": each["message"].partition(" There")[0]} for each in found["problems"]
    ]


def test_steps_of_ones_own_are_known(perdure: Perdure, folder: Path) -> None:
    """If a registry is named; else they are no types of steps."""
    (folder / "own_steps_of_formats.py").write_text(
        "from perdure.steps import Registry\nregistry = Registry()\n"
        "@registry.step('billing.charge')\ndef charge(value):\n    return value\n"
    )
    (folder / "own.json").write_text(
        json.dumps({"name": "x", "steps": [{"id": "c", "type": "billing.charge", "config": {"amount": 5}}]})
    )
    command = ("workflows", "validate", "own.json", "--format", "steps")
    assert "no type of step 'billing.charge'" in perdure(*command, exits=1).stderr
    assert "is valid" in perdure(*command, "--steps", "own_steps_of_formats:registry").stdout
    assert "steps:" in perdure(*command, "--steps", "own_steps_of_formats:nothing", exits=2).stderr
