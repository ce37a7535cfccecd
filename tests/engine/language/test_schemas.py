"""JSON Schemas of inputs and outputs: what is too much work is refused, and nothing that people write is."""

from __future__ import annotations

import time
from typing import Any

import pytest

from perdure.engine.errors import Invalid
from perdure.engine.language.errors import StatesError
from perdure.engine.language.model.schemas import SchemaRefused, schema_of
from perdure.engine.services.inputs import check_input


def doubling(depth: int, way: str) -> dict[str, Any]:
    """A schema of a few lines that asks 2^depth times for the last one."""
    defs: dict[str, Any] = {f"a{n}": {way: [{"$ref": f"#/$defs/a{n + 1}"}] * 2} for n in range(depth)}
    return {"$ref": "#/$defs/a0", "$defs": {**defs, f"a{depth}": {"type": "object"}}}


def nested(depth: int, name: str = "x") -> Any:
    """A value that is nested so deeply."""
    value: Any = {}
    for _ in range(depth):
        value = {name: value}
    return value


TREE = {"$ref": "#/$defs/tree", "$defs": {"tree": {"properties": {n: {"$ref": "#/$defs/tree"} for n in "lr"}}}}
TWICE = {"allOf": [{"properties": {"x": {"$ref": "#"}}}, {"properties": {"x": {"$ref": "#"}}}]}
BY_ANCHOR = {
    "$anchor": "me",
    "anyOf": [{"properties": {"x": {"$ref": "#me"}}}, {"patternProperties": {"x": {"$ref": "#me"}}}],
}
BY_ID = {
    "$ref": "one",
    "$defs": {
        "a": {"$id": "one", "oneOf": [{"additionalProperties": {"$ref": "#"}}, {"properties": {"x": {"$ref": "#"}}}]}
    },
}


@pytest.mark.parametrize("way", ["allOf", "anyOf", "oneOf"])
def test_a_schema_that_doubles_itself_is_refused(way: str) -> None:
    """When it is read, at once, whatever it would be asked about."""
    began = time.process_time()
    with pytest.raises(SchemaRefused, match="10,000 schemas"):
        schema_of(doubling(40, way))
    assert time.process_time() - began < 1
    assert schema_of(doubling(8, way)).problems(7)


@pytest.mark.parametrize("schema", [TWICE, BY_ANCHOR, BY_ID], ids=["members", "anchor", "id"])
def test_a_value_that_doubles_the_work_is_refused(schema: Any) -> None:
    """At once, as input and as output; one that is less deep is judged."""
    began, deep = time.process_time(), nested(60)
    with pytest.raises(Invalid, match="too much work") as refused:
        check_input(deep, schema)
    assert refused.value.details["errors"][0]["path"] == ""
    with pytest.raises(StatesError, match="too much work"):
        schema_of(schema).check_output(deep)
    assert time.process_time() - began < 1
    schema_of(schema).problems(nested(6))


def test_what_refers_to_itself_may_be_as_large_as_it_likes() -> None:
    """A tree is judged once at each place, however it is nested."""
    value: Any = {}
    for _ in range(12):
        value = {"l": value, "r": {"l": {}, "r": {}}}
    check_input(nested(200, "l"), TREE)
    check_input(value, TREE)
    items = {"anyOf": [{"type": "integer"}, {"type": "array", "items": {"$ref": "#"}}]}
    check_input([[1] * 10_000, [[2] * 10_000]], items)
    with pytest.raises(Invalid, match="input"):
        check_input([[1, "a"]], items)


def test_a_wide_schema_is_not_asked_about_a_huge_value() -> None:
    """Thousands of schemas about each of many items are too much, too."""
    schema = {"items": {"allOf": [{"not": {"const": number}} for number in range(3_000)]}}
    check_input([-1, -2], schema)
    with pytest.raises(Invalid, match="too much work"):
        check_input([-number for number in range(1, 2_000)], schema)


def test_what_is_nested_too_deeply_to_be_checked_is_invalid() -> None:
    """For a program that embeds the engine, too, whose values no JSON text has limited."""
    with pytest.raises(Invalid, match=r"input: it cannot be checked: Recursion"):
        check_input(nested(3_000), {"type": "object", "required": ["y"]})
