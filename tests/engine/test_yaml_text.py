"""Definitions in YAML: what they mean as JSON, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

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
    assert read_yaml(f"\ufeff{DEFINITION}") == MEANT


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
        ("é: é\nb: \x00", "the character U+0000 must not stand in it, as at line 2, column 4"),
        ("a: \ud800", "the character U+D800 must not stand in it, as at line 1, column 4"),
        ('a: "\\ud800"', "line 1, column"),
        ("a: 1\n\ufeffb: 2", "the character U+FEFF must not stand in it, as at line 2, column 1"),
        (b"a: 1\nb: \xff", "it is not UTF-8 at line 2, byte 4"),
        (f"a: &a {'x' * 1_000}\nb: [{'*a,' * 20_000}]", "more than 16777216 characters at line 2"),
        (
            f"a: &a {'x' * 1_000}\n" + "".join(f"{n}b: {{*a : 1}}\n" for n in range(20_000)),
            "more than 16777216 characters",
        ),
        (f"a: &a {'[' * 40}{']' * 40}\nb: {'[' * 30}*a{']' * 30}", "more than 64 levels deep at line 2"),
        (f"a: &a [&b [[]]]\nb: &c {'[' * 30}*a{']' * 30}\nc: {'[' * 31}*c{']' * 31}", "levels deep at line 3"),
        (f"&{'a' * 1_000} x: !{'b' * 1_000} 1", "the tag !bbbb"),
    ],
)
def test_what_is_refused(text: str | bytes, says: str) -> None:
    """With the place where it stands."""
    with pytest.raises(Invalid) as caught:
        read_yaml(text)
    assert says in caught.value.message
    assert len(caught.value.message) < 200


@pytest.mark.parametrize(
    "text", ["a: [1", "a: b: c", 'a: "\\ud800"', 'a: "\\ud83d\\ude00"', "a: &b 'x", "*a", LAUGHS, "a: 1\na: 2"]
)
def test_it_is_refused_without_the_c_library_too(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    """Where PyYAML was built without it, with a place all the same."""
    monkeypatch.delattr(yaml, "CSafeLoader")
    with pytest.raises(Invalid, match="at line"):
        read_yaml(text)
    assert read_yaml(DEFINITION) == MEANT


def test_a_bound_can_be_given() -> None:
    """As for a body, which may be no longer than a setting says."""
    with pytest.raises(Invalid, match="more than 100 characters at line 1, column 4"):
        read_yaml(f"a: {'x' * 101}", 100)
    assert read_yaml(f"a: {'x' * 99}", 100) == {"a": "x" * 99}


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
