"""Infers a JSON Schema from one example value."""

from __future__ import annotations

from types import NoneType
from typing import Any, Final, TypeAlias

DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"

_SCALARS: Final = {NoneType: "null", bool: "boolean", int: "integer", float: "number", str: "string"}

_Schema: TypeAlias = dict[str, Any]


def schema_of(value: Any) -> dict[str, Any]:
    """A JSON Schema (2020-12) that accepts this JSON value, and what has its shape.

    Members of an object are all required; the items of an array share one schema, merged from theirs: the
    members that each has are required, and the types of all are allowed.
    """
    return {"$schema": DIALECT, **_infer(value)}


def _infer(value: Any) -> _Schema:
    match value:
        case dict():
            properties = {name: _infer(member) for name, member in value.items()}
            return {"type": "object", "properties": properties, "required": list(properties)}
        case list():
            return {"type": "array", **_items([_infer(item) for item in value])}
        case _:
            return {"type": _SCALARS[type(value)]}


def _items(schemas: list[_Schema]) -> _Schema:
    if not schemas:
        return {}
    merged = schemas[0]
    for schema in schemas[1:]:
        merged = _merge(merged, schema)
    return {"items": merged}


def _merge(one: _Schema, other: _Schema) -> _Schema:
    """A schema that accepts what either accepts. Keywords for objects and arrays hold for these only."""
    merged: _Schema = {"type": _types(one, other)}
    described = [schema for schema in (one, other) if "properties" in schema]
    if described:
        properties: _Schema = {}
        for schema in described:
            for name, member in schema["properties"].items():
                properties[name] = _merge(properties[name], member) if name in properties else member
        merged["properties"] = properties
        merged["required"] = [name for name in properties if all(name in schema["required"] for schema in described)]
    merged.update(_items([schema["items"] for schema in (one, other) if "items" in schema]))
    return merged


def _types(one: _Schema, other: _Schema) -> str | list[str]:
    found: list[str] = []
    for schema in (one, other):
        types = schema["type"]
        found += [types] if isinstance(types, str) else types
    found = list(dict.fromkeys(found))
    if "number" in found and "integer" in found:
        found.remove("integer")  # each integer is a number
    return found[0] if len(found) == 1 else found
