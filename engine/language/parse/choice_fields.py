"""Parsers of the fields of Choice states, in both query languages."""

from __future__ import annotations

from typing import Final

import msgspec

from perdure.engine.language.diagnostics import JsonPointer
from perdure.engine.language.evaluate.expressions import Expression
from perdure.engine.language.evaluate.jsonata.compile import is_jsonata
from perdure.engine.language.evaluate.operators import NAMES
from perdure.engine.language.model.choices import COMBINATIONS, TOP_FIELDS, Condition, Rule, RuleCompiler
from perdure.engine.language.model.flows import Flow, JsonataFlow, PathFlow
from perdure.engine.language.parse import fields
from perdure.engine.language.parse.jsonata_fields import compile_jsonata_field
from perdure.engine.language.parse.tables import FieldRule, FieldScope, ObjectShape, read_object
from perdure.engine.language.values import Json


def rules(value: Json, pointer: JsonPointer, scope: FieldScope) -> tuple[Rule, ...] | None:
    """Parse Choices."""
    if type(value) is not list or not value:
        scope.diagnostics.add(pointer, "must be a list of one or more rules")
        return None
    compiler = RuleCompiler(scope.diagnostics)
    parsed = []
    for index, source in enumerate(value):
        if scope.diagnostics.is_full:
            break
        at = pointer / index
        parsed.append(_in_jsonata(source, at, scope) if scope.is_jsonata else _in_paths(source, at, scope, compiler))
    return tuple(rule for rule in parsed if rule is not None)


def _in_paths(source: Json, pointer: JsonPointer, scope: FieldScope, compiler: RuleCompiler) -> Rule | None:
    matches = compiler.rule(source, pointer, extra=TOP_FIELDS)
    if type(source) is not dict:
        return None
    assign = fields.assignments(source["Assign"], pointer / "Assign", scope) if "Assign" in source else None
    if "Next" not in source:
        scope.diagnostics.add(pointer, "a top rule needs a Next")
        return None
    following = fields.target(source["Next"], pointer / "Next", scope)
    return None if matches is None or following is None else Rule(matches, following, PathFlow(assign=assign))


def _condition(value: Json, pointer: JsonPointer, scope: FieldScope) -> Condition | None:
    if type(value) is bool:
        return lambda _value, _env: value
    if not is_jsonata(value):
        scope.diagnostics.add(pointer, "must be a JSONata expression, {% … %}, or true or false")
        return None
    found = compile_jsonata_field(value, pointer, scope, "boolean")
    return None if found is None else _holds(found)


def _holds(found: Expression) -> Condition:
    evaluate = found.evaluate
    return lambda value, env: evaluate(value, env) is True


_RULE: Final = ObjectShape(
    {
        "Condition": FieldRule("matches", _condition),
        "Next": FieldRule("next", fields.target),
        "Assign": FieldRule("assign", fields.assignments),
        "Output": FieldRule("output", fields.template),
        "Comment": FieldRule("", fields.text),
        **{name: FieldRule("", fields.anything, "JSONPath") for name in ("Variable", *COMBINATIONS, *sorted(NAMES))},
    },
    required=("Condition", "Next"),
)


def _in_jsonata(source: Json, pointer: JsonPointer, scope: FieldScope) -> Rule | None:
    if type(source) is not dict:
        scope.diagnostics.add(pointer, "a rule must be an object")
        return None
    given = read_object(source, pointer, scope, _RULE)
    if given is None:
        return None
    flow = JsonataFlow(assign=given.get("assign"), output=given.get("output"))
    return Rule(given["matches"], given["next"], flow)


def flowing(rule: Rule, state: Flow) -> Rule:
    """Give a rule the fields of its state that hold for it too: all of JSONPath's but Assign."""
    if isinstance(state, PathFlow) and isinstance(rule.flow, PathFlow):
        return rule._replace(flow=msgspec.structs.replace(state, assign=rule.flow.assign))
    return rule
