"""`perdure actions`: what steps can do, from the catalog, a registry or a server."""

from __future__ import annotations

from pathlib import Path

import pytest

from perdure.engine.steps.catalog import CATALOG
from tests.cli.conftest import KEY, Perdure

OWN = """
from perdure.steps import Registry

registry = Registry()

@registry.step("charge", title="Charge a card", config={
    "type": "object", "properties": {"amount": {"type": "number"}}, "required": ["amount"]})
def charge(input):
    return input
"""


def test_the_catalog_is_listed_by_name(perdure: Perdure) -> None:
    """As a table, and as JSON with schemas and examples."""
    lines = perdure("actions").stdout.splitlines()
    assert [line.split()[0] for line in lines[1:]] == sorted(action.name for action in CATALOG)
    found = perdure.json("actions")
    assert [action["name"] for action in found] == sorted(action.name for action in CATALOG)
    assert all("config_schema" in action and "output_schema" in action for action in found)


def test_one_action_is_shown_with_members_schemas_and_examples(perdure: Perdure) -> None:
    """In words, and as JSON."""
    said = perdure("actions", "log").stdout
    for part in ("Log a line", "message  required", "Example: A line", "Schema of the config", "Schema of the output"):
        assert part in said
    assert perdure.json("actions", "log")["config_schema"]["required"] == ["message"]


def test_steps_of_a_registry_are_among_them(perdure: Perdure, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the schema that their registration gives; a registry that is not there is named."""
    (folder / "own_actions.py").write_text(OWN)
    monkeypatch.syspath_prepend(str(folder))
    assert "charge" in perdure("actions", "--steps", "own_actions:registry").stdout
    assert "amount  required" in perdure("actions", "charge", "--steps", "own_actions:registry").stdout
    assert "steps:" in perdure("actions", "--steps", "no_such_module:registry", exits=2).stderr


def test_a_server_tells_its_own(perdure: Perdure, served: str) -> None:
    """The same answer as from the catalog."""
    there = ("--server", served, "--key", KEY)
    assert perdure.json("actions", *there) == perdure.json("actions")
    assert perdure.json("actions", "log", *there) == perdure.json("actions", "log")
    assert "--organization" in perdure("actions", *there, "--organization", "x", exits=2).stderr


def test_what_is_not_there_is_suggested_or_said_to_come(perdure: Perdure) -> None:
    """A misspelt name, one that comes later, and a type of step that holds or awaits something."""
    assert "Did you mean 'log'?" in perdure("actions", "logg", exits=1).stderr
    assert "comes with agents" in perdure("actions", "agent", exits=1).stderr
    assert "loop is a type of step" in perdure("actions", "loop", exits=1).stderr
