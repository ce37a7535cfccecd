"""`perdure workflows convert` and `validate`: documents in other formats."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from perdure.cli.document_text import FORMATS, DocumentText, guessed
from perdure.engine.language.formats.documents import FORMATS as KNOWN
from tests.cli.conftest import APPROVAL, KEY, STEPS, Mode, Perdure


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


def test_any_format_is_shown_as_any_other(perdure: Perdure, folder: Path) -> None:
    """The four that the engine has; as itself it is the document that was given."""
    assert set(FORMATS) == set(KNOWN)
    for target in FORMATS:
        made: Any = converted(perdure, "invoice.steps.json", "--from", "steps", "--to", target)
        assert {"asl": "States", "graph": "nodes", "steps": "steps", "service": "steps"}[target] in made
        assert (made == STEPS) is (target == "steps")
    shown: Any = converted(perdure, "invoice.asl.json", "--from", "asl", "--to", "steps")
    assert [step["id"] for step in shown["steps"]] == list(APPROVAL["States"])
    shown = converted(perdure, "invoice.asl.json", "--from", "asl", "--to", "service")
    assert [step["step_type"] for step in shown["steps"]] == ["Choice", "wait_for_resume", "Succeed"]


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
    assert {"path": "/amount", "message": "unknown member 'amount'.", "line": 1} in [
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


# --- triggers ----------------------------------------------------------------------------------------------------


def with_trigger(folder: Path, trigger: dict[str, Any]) -> None:
    """Write the steps, with a trigger and a name of their own."""
    (folder / "triggered.json").write_text(json.dumps({**STEPS, "name": "triggered", "trigger": trigger}))


def test_a_trigger_that_comes_later_is_refused_by_name(perdure: Perdure, folder: Path) -> None:
    """By every command that takes a document, each time with its place."""
    with_trigger(folder, {"type": "webhook", "provider": "stripe"})
    for command in ("validate", "create", "apply"):
        told = perdure("workflows", command, "triggered.json", exits=1).stderr
        assert "/trigger/type: 'webhook' is not there yet (they come with webhooks)" in told


def test_a_calendar_that_means_nothing_is_a_problem_among_the_others(perdure: Perdure, folder: Path) -> None:
    """Cron expression and time zone are told with their places, and what else is wrong with them."""
    trigger = {"type": "schedule", "cron": "99 * * * *", "timezone": "Europe/Berlln"}
    bad = {"id": "b", "type": "lgo", "config": {}}
    graph = {
        "nodes": [{"id": "t", "type": "trigger", "config": trigger}, {**bad, "type": "log", "config": {"mesage": ""}}],
        "edges": [{"source": "t", "target": "b"}],
    }
    (folder / "graph.json").write_text(json.dumps(graph))
    with_trigger(folder, trigger)
    steps = json.loads((folder / "triggered.json").read_text())
    (folder / "triggered.json").write_text(json.dumps({**steps, "steps": [*steps["steps"], bad]}))
    for command, path, places in (
        ("validate", "triggered.json", ("/trigger/cron", "/trigger/timezone", "/steps/3/type")),
        ("create", "triggered.json", ("/trigger/cron", "/trigger/timezone", "/steps/3/type")),
        ("apply", "graph.json", ("/nodes/0/config/cron", "/nodes/0/config/timezone", "/nodes/1/config/mesage")),
    ):
        told = perdure("workflows", command, path, exits=1).stderr
        assert all(f"{place}: " in told for place in places), told
        assert "Did you mean 'Europe/Berlin'" in told


def test_a_schedule_in_a_document_starts_the_workflow(perdure: Perdure, folder: Path) -> None:
    """Created or applied into a database it is made; the next version changes it, and the same one does not."""
    with_trigger(folder, {"type": "schedule", "cron": "0 9 * * 1", "timezone": "Europe/Berlin"})
    for command in ("apply", "apply"):
        perdure("workflows", command, "triggered.json")
        (found,) = perdure.json("schedules", "list", "triggered")["items"]
        assert (found["cron_expression"], found["timezone"]) == ("0 9 * * 1", "Europe/Berlin")
    with_trigger(folder, {"type": "schedule", "interval": {"value": 2, "unit": "hours"}})
    perdure("workflows", "apply", "triggered.json")
    (found,) = perdure.json("schedules", "list", "triggered")["items"]
    assert found["interval"] == {"value": 2, "unit": "hours"}
    with_trigger(folder, {"type": "schedule", "cron": "0 9 * * 1"})
    perdure("workflows", "create", "triggered.json", "--name", "another")
    assert perdure.json("schedules", "list", "another")["items"]


def test_the_format_is_told_by_the_members(perdure: Perdure) -> None:
    """`validate` and `convert` guess it, as `create` does."""
    assert "is valid" in perdure("workflows", "validate", "invoice.steps.json").stdout
    assert "States" in perdure("workflows", "convert", "invoice.steps.json", "--to", "asl").stdout


# --- lines -------------------------------------------------------------------------------------------------------

JSON_TEXT = b"""{
  "name": "x",
\t"steps": [
    {"id": "a", "type": "log"},
    {
      "id": "b", "a/b": {"~": [1,
        2]}
    }
  ]
}
"""
YAML_TEXT = b"""# a comment
name: x
steps:
- id: a
  type: log
- {id: b, a/b: {"~": [1,
  2]}}
"""


@pytest.mark.parametrize(
    ("pointer", "in_json", "in_yaml"),
    [
        ("", 1, 2),
        ("/name", 2, 2),
        ("/steps", 3, 3),
        ("/steps/0/type", 4, 5),
        ("/steps/1", 5, 6),
        ("/steps/1/a~1b/~0/1", 7, 7),
        ("/steps/1/nothing", 5, 6),
        ("/steps/7", 3, 3),
        ("/steps/0/type/deeper", 4, 5),
    ],
)
def test_the_line_of_a_place(pointer: str, in_json: int, in_yaml: int) -> None:
    """In JSON, with its tabs, and in YAML; of what is not there, the line of what it would be in."""
    assert DocumentText("f", None, JSON_TEXT).line(pointer) == in_json
    assert DocumentText("f", None, YAML_TEXT).line(pointer) == in_yaml


def test_a_text_that_cannot_be_read_has_no_lines() -> None:
    """Then the pointer alone is told."""
    broken = DocumentText("f", None, b"{a: [")
    assert broken.line("/a") is None
    assert broken.located("/a: it is wrong") == "/a: it is wrong"
    assert DocumentText("f", None, b"").line("/a") is None
    assert DocumentText("f", None, YAML_TEXT).located("--wait-id 7") == "--wait-id 7"
    assert DocumentText("f", None, YAML_TEXT).located("/: it is wrong") == "line 2: /: it is wrong"


# --- workflows of any format -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("document", "form"),
    [
        (APPROVAL, "asl"),
        (STEPS, "steps"),
        ({"nodes": []}, "graph"),
        ({"steps": [{"step_type": "log", "step_config": {}}]}, "service"),
        ({"steps": [{"type": "log", "config": {}}]}, None),
        ({"steps": [{"id": "a", "step_type": "log"}]}, None),
        ({"steps": []}, None),
        ({"steps": "none"}, None),
        ({"States": {}, "steps": []}, None),
        ({}, "asl"),
        ([], "asl"),
    ],
)
def test_a_format_is_guessed_where_it_is_unmistakable(document: object, form: str | None) -> None:
    """By the members that only one format has."""
    assert guessed(document) == form


def test_a_workflow_of_steps_is_kept_as_it_was_written(perdure: Perdure, folder: Path) -> None:
    """Its format is seen by its members; it is shown as it was written, and as the definition that it compiles to."""
    perdure("workflows", "create", "invoice.steps.json", "--name", "by steps")
    shown = json.loads(perdure("workflows", "show", "by steps", "--format", "steps").stdout)
    assert shown == STEPS
    assert "States" in json.loads(perdure("workflows", "show", "by steps", "--format", "asl").stdout)
    again = perdure("workflows", "apply", "invoice.steps.json", "--name", "by steps", "--format", "steps")
    assert "unchanged: by steps, version 1" in again.stderr
    (folder / "invoice.steps.json").write_text(json.dumps({**STEPS, "steps": STEPS["steps"][:1]}))
    changed = perdure("workflows", "apply", "invoice.steps.json", "--name", "by steps")
    assert "changed: by steps, version 2" in changed.stderr
    first = json.loads(perdure("workflows", "show", "by steps", "--version", "1", "--format", "steps").stdout)
    assert first == STEPS
    assert json.loads(perdure("run", "by steps", "--wait", "--json", exits=3).stdout)["status"] == "waiting"


def test_any_workflow_is_shown_in_any_format(perdure: Perdure, mode: Mode) -> None:
    """What was not written so is shown as its definition is; drawing is something else."""
    steps = json.loads(perdure("workflows", "show", "invoice approval", "--format", "steps").stdout)
    assert [each["id"] for each in steps["steps"]] == list(APPROVAL["States"])
    graph = json.loads(perdure("workflows", "show", "invoice approval", "--format", "graph").stdout)
    assert len(graph["nodes"]) == len(APPROVAL["States"]) + 1
    assert json.loads(perdure("workflows", "show", "invoice approval", "--format", "asl").stdout) == APPROVAL
    both = perdure("workflows", "show", "invoice approval", "--format", "asl", "--diagram", exits=2)
    assert "--diagram, --format" in both.stderr


LOG = {"type": "log", "config": {"message": "a"}}


@pytest.mark.parametrize("command", ["create", "apply"])
def test_problems_of_a_workflow_are_told_with_their_lines(perdure: Perdure, folder: Path, command: str) -> None:
    """Of any format, in JSON and in YAML; nothing is made."""
    (folder / "bad.yaml").write_text("name: x\nsteps:\n- id: a\n  type: lgo\n- id: b\n  type: code\n  confg: {}\n")
    told = perdure("workflows", command, "bad.yaml", exits=1).stderr
    assert "  line 4: /steps/0/type: there is no type of step 'lgo'. Did you mean 'log'" in told
    assert "  line 7: /steps/1/confg: unknown member 'confg'" in told
    (folder / "bad.asl.json").write_text('{"StartAt": "A",\n "States": {\n  "A": {"Type": "Pas", "End": true}}}')
    assert "  line 3: /States/A/Type: " in perdure("workflows", command, "bad.asl.json", exits=1).stderr
    assert perdure.json("workflows", "list", "--search", "bad")["total"] == 0


def test_a_format_that_is_not_clear_must_be_said(perdure: Perdure, folder: Path) -> None:
    """Exit status 2, with the formats that there are."""
    (folder / "either.json").write_text(json.dumps({"name": "a", "trigger_type": "manual", "steps": [LOG]}))
    told = perdure("workflows", "create", "either.json", exits=2).stderr
    assert "--format: either.json may be of several formats; say of which: steps, graph, service, asl" in told
    perdure("workflows", "create", "either.json", "--format", "service")


def test_a_server_is_given_documents(perdure: Perdure, served: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It keeps them as they are written, as a database does."""
    monkeypatch.setenv("PERDURE_SERVER", served)
    monkeypatch.setenv("PERDURE_KEY", KEY)
    for command in ("create", "apply"):
        workflow_id = perdure("workflows", command, "invoice.steps.json").stdout.splitlines()[0]
        shown = perdure("workflows", "show", workflow_id, "--format", "steps", "--json").stdout
        assert json.loads(shown)["steps"]
