"""Schemas: what msgspec makes of the types of requests and answers, brought to what JSON Schema 2020-12 means."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable
from typing import Any, Final, TypeAlias

import msgspec

from perdure.api.http.dialect import Dialect

Schema: TypeAlias = dict[str, Any]

AT: Final = "#/components/schemas/"


def schemas_of(types: Iterable[Any]) -> tuple[list[Schema], dict[str, Schema]]:
    """The schema of each type, and the components that they refer to."""
    schemas, components = msgspec.json.schema_components(types, ref_template=f"{AT}{{name}}")
    return _tidy(list(schemas)), {_named(name): _tidy(schema) for name, schema in components.items()}


def parameters_of(query: type[msgspec.Struct]) -> list[tuple[str, Schema, bool]]:
    """The name, the schema and whether it is required of each parameter of a query. In a query nothing is null."""
    schema = msgspec.json.schema(query)
    own = schema["$defs"][query.__name__]
    required = own.get("required", [])
    return [(name, _without_null(_tidy(member)), name in required) for name, member in own["properties"].items()]


def coded(dialect: Dialect, codes: Iterable[str]) -> Schema:
    """The schema of a dialect's refusal that has one of these codes."""
    found: Schema = {"enum": [dialect.code(code) for code in codes]}
    for member in reversed(dialect.error_code_at):
        found = {"properties": {member: found}}
    return {"allOf": [{"$ref": f"{AT}{dialect.error_schema.__name__}"}, {"type": "object", **found}]}


def _named(name: str) -> str:
    """A component's name: of a generic type `Data_WorkflowShown_` it is `DataWorkflowShown`."""
    return re.sub(r"[\w.]*\.(?=[A-Z])", "", name).replace("_", "")


def _tidy(value: Any) -> Any:
    """Patterns as ECMA-262 writes them, names of components as we do, and no titles that only repeat these.

    Descriptions are without the indentation that docstrings have in the source.
    """
    if isinstance(value, list):
        return [_tidy(item) for item in value]
    if not isinstance(value, dict):
        return value
    tidy = {name: _tidy(member) for name, member in value.items()}
    if isinstance(tidy.get("$ref"), str):
        tidy["$ref"] = AT + _named(tidy["$ref"].removeprefix(AT))
    if isinstance(tidy.get("pattern"), str):
        tidy["pattern"] = tidy["pattern"].replace(r"\Z", "$")
    if isinstance(tidy.get("title"), str):
        del tidy["title"]
    if isinstance(tidy.get("description"), str):
        tidy["description"] = inspect.cleandoc(tidy["description"])  # as Python leaves docstrings from 3.13 on
    if tidy.get("required") == []:
        del tidy["required"]
    return tidy


def _without_null(schema: Schema) -> Schema:
    schema = {name: member for name, member in schema.items() if (name, member) != ("default", None)}
    kinds = [kind for kind in schema.get("anyOf", []) if kind != {"type": "null"}]
    if len(kinds) != 1:
        return schema
    del schema["anyOf"]
    return {**kinds[0], **schema}
