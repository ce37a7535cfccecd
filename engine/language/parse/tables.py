"""Tables of fields: the members that an object of a definition may have, and the parser of each.

A new field is a row. What a row cannot say, because it concerns several fields, is an `ObjectCheck`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import msgspec

from perdure.engine.language.diagnostics import Diagnostics, JsonPointer
from perdure.engine.language.values import Json, shown

if TYPE_CHECKING:
    from perdure.engine.language.model.states import Machine


class FieldScope(msgspec.Struct, frozen=True, kw_only=True):
    """The context of a field's parser: the machine around the field, and the diagnostics.

    `diagnostics`: what takes the problems that it finds.
    `names`: the names of the machine's states, to which a transition may lead.
    `is_express`: whether the definition is to run as an Express workflow.
    `language`: the query language of the state.
    `machine_language`: the query language of the whole definition.
    `state_type`: the type of the state; "" outside of any.
    `start_at`: where the machine starts, as written.
    `taken`: the names of all states met so far, in any machine of the definition; grows.
    `labels`: the labels of all Maps met so far; grows.
    `variables`: the variables that the machine assigns, with how many places do so.
    `outer_variables`: those that each enclosing machine assigns, as the states below must heed them.
    `parse_nested`: compiles a machine that stands in a state.
    """

    diagnostics: Diagnostics
    names: frozenset[str]
    parse_nested: Callable[[Json, JsonPointer, FieldScope], Machine | None]
    is_express: bool = False
    language: str = "JSONPath"
    machine_language: str = "JSONPath"
    state_type: str = ""
    start_at: Json = None
    taken: set[str] = msgspec.field(default_factory=set)
    labels: set[str] = msgspec.field(default_factory=set)
    variables: Counter[str] = msgspec.field(default_factory=Counter)
    outer_variables: tuple[Counter[str], ...] = ()

    @property
    def is_jsonata(self) -> bool:
        """Whether the state is written in JSONata."""
        return self.language == "JSONata"


Parse: TypeAlias = Callable[[Json, JsonPointer, FieldScope], Any]
"""Parses a field's value; None, with a diagnostic, if it is wrong."""


class FieldRule(NamedTuple):
    """A field that an object may hold.

    `attribute`: under which name its parsed value is kept; "" if it is not.
    `parse`: parses its value.
    `language`: the query language that it belongs to; "" for both.
    """

    attribute: str
    parse: Parse
    language: str = ""


FieldTable: TypeAlias = Mapping[str, FieldRule]

ObjectCheck: TypeAlias = Callable[[dict[str, Json], JsonPointer, FieldScope], None]
"""Checks what concerns several fields of an object together."""


class ObjectShape(NamedTuple):
    """The members that an object may have.

    `fields`: its fields.
    `required`: those that it must have.
    `checks`: what concerns several of them.
    `elsewhere`: names of further fields, which somebody else parses.
    """

    fields: FieldTable
    required: tuple[str, ...] = ()
    checks: tuple[ObjectCheck, ...] = ()
    elsewhere: tuple[str, ...] = ()


def read_object(source: Json, pointer: JsonPointer, scope: FieldScope, shape: ObjectShape) -> dict[str, Any] | None:
    """Parse the members of an object by its table.

    Returns the attributes; None if anything was found.
    """
    diagnostics = scope.diagnostics
    before = diagnostics.count
    if type(source) is not dict:
        diagnostics.add(pointer, "must be an object")
        return None
    attributes: dict[str, Any] = {}
    for name, value in source.items():
        if diagnostics.is_full:
            return None
        if name not in shape.elsewhere:
            _read_member(name, value, pointer, scope, shape, attributes)
    for name in shape.required:
        if name not in source:
            diagnostics.add(pointer, f"{name} is missing")
    for check in shape.checks:
        check(source, pointer, scope)
    return None if diagnostics.count > before else attributes


def _read_member(
    name: str, value: Json, pointer: JsonPointer, scope: FieldScope, shape: ObjectShape, attributes: dict[str, Any]
) -> None:
    field = shape.fields.get(name)
    if field is None:
        near = scope.diagnostics.suggestion(name, (*shape.fields, *shape.elsewhere))
        scope.diagnostics.add(pointer / name, f"unknown field {shown(name)}{near}")
    elif field.language and field.language != scope.language:
        message = f"{name} belongs to {field.language}, and this state is written in {scope.language}"
        scope.diagnostics.add(pointer / name, message)
    else:
        parsed = field.parse(value, pointer / name, scope)
        if field.attribute:
            attributes[field.attribute] = parsed


def exactly_one(*names: str) -> ObjectCheck:
    """Make the check that exactly one of some fields is given."""

    def check(source: dict[str, Json], pointer: JsonPointer, scope: FieldScope) -> None:
        given = [name for name in names if name in source]
        if len(given) != 1:
            has = " and ".join(given) if given else "none"
            scope.diagnostics.add(pointer, f"needs exactly one of {', '.join(names)}; it has {has}")

    return check


def not_both(first: str, second: str) -> ObjectCheck:
    """Make the check that two fields exclude each other."""

    def check(source: dict[str, Json], pointer: JsonPointer, scope: FieldScope) -> None:
        if first in source and second in source:
            scope.diagnostics.add(pointer, f"has both {first} and {second}")

    return check
