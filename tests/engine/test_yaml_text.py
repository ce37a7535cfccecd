"""Definitions in YAML: what they mean as JSON, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from perdure.engine import Engine
from perdure.engine.errors import Invalid
from perdure.engine.testing import ManualClock
from perdure.engine.yaml_text import read_yaml
from perdure.store.memory import MemoryStore

DEFINITION = """
# An approval, and what it costs.
StartAt: Ask
States:
  Ask:
    Type: Task
    Resource: wait_for_resume
    TimeoutSeconds: 86400
    Retry: &again
      - ErrorEquals: [States.Timeout]
        BackoffRate: 1.5
    Next: Charge
  Charge: {Type: Task, Resource: log, Parameters: {message: 'yes'}, Retry: *again, End: true}
"""
MEANT: dict[str, Any] = {
    "StartAt": "Ask",
    "States": {
        "Ask": {
            "Type": "Task",
            "Resource": "wait_for_resume",
            "TimeoutSeconds": 86400,
            "Retry": [{"ErrorEquals": ["States.Timeout"], "BackoffRate": 1.5}],
            "Next": "Charge",
        },
        "Charge": {
            "Type": "Task",
            "Resource": "log",
            "Parameters": {"message": "yes"},
            "Retry": [{"ErrorEquals": ["States.Timeout"], "BackoffRate": 1.5}],
            "End": True,
        },
    },
}


def test_a_definition_means_its_json() -> None:
    """Comments, flow and block style, quoted texts and anchors come out as plain JSON."""
    assert read_yaml(DEFINITION) == MEANT
    assert read_yaml(DEFINITION.encode()) == MEANT
    assert read_yaml(json.dumps(MEANT)) == MEANT


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("yes", "yes"),
        ("off", "off"),
        ("2024-01-01", "2024-01-01"),
        ("1:30", "1:30"),
        ("0x10", "0x10"),
        ("1_000", "1_000"),
        ("'7'", "7"),
        ("007", 7),
        ("-7", -7),
        ("9007199254740993", 9007199254740993),
        ("1e3", 1000.0),
        (".5", 0.5),
        ("~", None),
        ("Null", None),
        ("TRUE", True),
        ("|\n  a\n  b\n", "a\nb\n"),
        ("<<", "<<"),
        ("ü €", "ü €"),
    ],
)
def test_a_scalar_is_what_json_has(text: str, value: Any) -> None:
    """Nothing that looks like a date, a clock, or yes and no becomes anything but a text; no number becomes another."""
    read = read_yaml(f"a: {text}")["a"]
    assert (type(read), read) == (type(value), value)


LAUGHS = "a: &a [1,1,1,1,1,1,1,1,1,1]\n" + "".join(
    f"{chr(98 + n)}: &{chr(98 + n)} [{','.join(['*' + chr(97 + n)] * 10)}]\n" for n in range(8)
)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a: [1", "not YAML"),
        ("a: b: c", "line 1, column 5"),
        ("a: 1\na: 2", "the member 'a' stands twice at line 2"),
        ("1: a", "must be a text"),
        ("[a]: b", "must be a text"),
        ("a: !!python/object/apply:os.system [ls]", "the tag tag:yaml.org,2002:python/object/apply:os.system"),
        ("a: !!str 5", "the tag"),
        ("a: .inf\nb: 1e999", "the number 1e999 is out of range at line 2"),
        ("a: *b", "nothing is named 'b'"),
        ("a: &a [*a]", "nothing is named 'a'"),
        (LAUGHS, "more than 100000 values"),
        ("[" * 65 + "]" * 65, "more than 64 levels deep"),
        ("[" * 50_000, "more than 64 levels deep"),
        ("a: 1\n---\nb: 2", "one document; this one has 2"),
        ("", "one document; this one has 0"),
        ("a: \x00", "not YAML"),
        (b"a: \xff", "not YAML"),
    ],
)
def test_what_is_refused(text: str | bytes, says: str) -> None:
    """With the place where it stands."""
    with pytest.raises(Invalid) as caught:
        read_yaml(text)
    assert says in caught.value.message


async def test_an_embedded_engine_takes_yaml_too() -> None:
    """As text, where it takes JSON text; what is stored is JSON."""
    async with Engine.open(MemoryStore(), clock=ManualClock()) as engine:
        made = await engine.create_workflow("approval", DEFINITION)
        same = await engine.create_workflow("approval too", MEANT)
        rows = [
            await engine.store.workflow_version(bytes.fromhex(each.id.replace("-", "")), 1) for each in (made, same)
        ]
        assert rows[0] is not None
        assert rows[1] is not None
        assert rows[0].definition == rows[1].definition
        with pytest.raises(Invalid, match="not YAML"):
            await engine.create_workflow("bad", "StartAt: [")


def test_no_loader_that_makes_objects_is_used() -> None:
    """The whole project reads YAML in one place, by events."""
    root = Path(__file__).parents[2]
    users = [path for folder in ("api", "engine", "store") for path in (root / folder).rglob("*.py")]
    assert [path.name for path in users if "yaml." in path.read_text() and "import yaml" in path.read_text()] == [
        "yaml_text.py"
    ]
