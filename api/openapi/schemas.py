"""Schemas: what msgspec makes of the types of requests and answers, brought to what JSON Schema 2020-12 means."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable, Sequence
from typing import Annotated, Any, Final, TypeAlias

import msgspec
from msgspec import UNSET, UnsetType

from perdure.api.dialects.schemas import OpenShape, Scope, Shape, Warned
from perdure.api.http.problems import STATUS
from perdure.api.validation import Uuid

Schema: TypeAlias = dict[str, Any]

AT: Final = "#/components/schemas/"

Code: TypeAlias = Annotated[str, msgspec.Meta(extra_json_schema={"enum": list(STATUS)})]
No: TypeAlias = Annotated[bool, msgspec.Meta(extra_json_schema={"const": False})]


class WaitOpen(OpenShape, frozen=True):
    """A wait that the call could mean."""

    wait_id: Uuid
    state: str


class Details(OpenShape, frozen=True):
    """What a program may want to know of a refusal. Which members there are depends on it."""

    field: str | UnsetType = UNSET
    errors: list[Warned] | UnsetType = UNSET
    scope: Scope | UnsetType = UNSET
    limit: int | UnsetType = UNSET
    allowed: list[str] | UnsetType = UNSET
    status: str | UnsetType = UNSET
    state: str | UnsetType | None = UNSET
    waits: list[WaitOpen] | UnsetType = UNSET


class ProcessProblem(Shape, frozen=True):
    """Which kind of refusal it is."""

    code: Code
    details: Details | UnsetType = UNSET


class ProcessRefusal(Shape, frozen=True):
    """A refusal of the process API. `message` names the field, what is wrong with it, and what is accepted."""

    message: str
    error: ProcessProblem


class Problem(Shape, frozen=True):
    """Which kind of refusal it is. `message` names the field, what is wrong with it, and what is accepted."""

    code: Code
    message: str
    details: Details | UnsetType = UNSET


class Refusal(Shape, frozen=True):
    """A refusal."""

    success: No
    error: Problem


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


def coded(refusal: str, codes: Sequence[str]) -> Schema:
    """The schema of a refusal that has one of these codes."""
    return {
        "allOf": [
            {"$ref": f"{AT}{refusal}"},
            {"type": "object", "properties": {"error": {"properties": {"code": {"enum": list(codes)}}}}},
        ]
    }


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
