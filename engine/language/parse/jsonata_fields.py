"""Parsers of JSONata fields and templates."""

from __future__ import annotations

from collections.abc import Iterable

from perdure.engine.language.diagnostics import JsonPointer
from perdure.engine.language.evaluate.environment import Environment
from perdure.engine.language.evaluate.expressions import Evaluate, Expression
from perdure.engine.language.evaluate.jsonata.compile import CLOSING, OPENING, compile_jsonata, expect, source_of
from perdure.engine.language.evaluate.jsonata.reads import ALWAYS, strays
from perdure.engine.language.evaluate.jsonata.text import readable
from perdure.engine.language.parse.tables import FieldScope
from perdure.engine.language.values import Json


def compile_jsonata_field(
    value: str, pointer: JsonPointer, scope: FieldScope, kind: str | None = None
) -> Expression | None:
    """Compile a field that is an expression; None, with a diagnostic, if it is none.

    `value`: the field's whole value.
    `pointer`: where it stands.
    `scope`: whom to tell, and in what state it stands.
    `kind`: what the expression must give, as for `expect`; None for anything.
    """
    field = field_of(pointer)
    try:
        expression = compile_jsonata(value, field)
    except ValueError as error:
        scope.diagnostics.add(pointer, str(error))
        return None
    if not scope.diagnostics.accepts_old:
        for stray in strays(readable(source_of(value)), _seen(field, scope.state_type)):
            scope.diagnostics.add_new(pointer, stray)
    return expression if kind is None else expect(expression, kind, field)


def _seen(field: str, state_type: str) -> frozenset[str]:
    """Give the members of $states that the expressions of a field see."""
    if field.startswith("Catch["):
        return ALWAYS | {"errorOutput"}
    has_result = state_type in ("Task", "Parallel", "Map") and field.partition("/")[0] in ("Output", "Assign")
    return ALWAYS | {"result"} if has_result else ALWAYS


def compile_jsonata_template(source: Json, pointer: JsonPointer, scope: FieldScope) -> Expression | None:
    """Compile any JSON in which texts may be expressions; everything else stands for itself, and is shared.

    Returns the template, of which parts are missing if anything was found.
    """
    evaluate = _node(source, pointer, scope)
    return Expression(source, evaluate or (lambda _value, _env: source))


def field_of(pointer: JsonPointer) -> str:
    """Write a pointer as AWS does in causes: from its state on, `Output/a/b[0]`, `Choices[1]/Condition`."""
    keys: list[str | int] = []
    at: JsonPointer | None = pointer
    while at is not None and at.parent is not None:
        keys.append(at.key)
        at = at.parent
    keys.reverse()
    while keys[:1] == ["States"]:  # a machine; its state may hold machines in turn
        keys = keys[2:]
        if keys[:1] in (["ItemProcessor"], ["Iterator"]) and keys[1:2] == ["States"]:
            keys = keys[1:]
        elif keys[:1] == ["Branches"] and keys[2:3] == ["States"]:
            keys = keys[2:]
    return "".join(f"[{key}]" if isinstance(key, int) else f"/{key}" for key in keys).removeprefix("/")


def _node(value: Json, pointer: JsonPointer, scope: FieldScope) -> Evaluate | None:
    """Compile a part of a template; None if it stands for itself."""
    if type(value) is str:
        if value.startswith(OPENING) or value.endswith(CLOSING):
            expression = compile_jsonata_field(value, pointer, scope)
            return None if expression is None else expression.evaluate
        return None
    children: Iterable[tuple[str | int, Json]] = ()
    if type(value) is dict:
        children = value.items()
    elif type(value) is list:
        children = enumerate(value)
    dynamic = [(key, found) for key, child in children if (found := _node(child, pointer / key, scope)) is not None]
    return _fill(value, dynamic) if dynamic else None


def _fill(static: Json, dynamic: list[tuple[str | int, Evaluate]]) -> Evaluate:
    def evaluate(value: Json, env: Environment) -> Json:
        payload = static.copy()  # a dict or a list
        for key, find in dynamic:
            payload[key] = find(value, env)
        return payload

    return evaluate
