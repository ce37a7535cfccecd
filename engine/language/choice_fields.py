"""Choices: their parser, for both query languages."""

import dataclasses
from typing import Final

from engine.language import fields
from engine.language.choices import COMBINATIONS, TOP_FIELDS, Condition, Rule, RuleCompiler
from engine.language.expressions import Expression
from engine.language.findings import Place
from engine.language.flows import Flow, JsonataFlow, PathFlow
from engine.language.jsonata import compile_jsonata_field, is_jsonata
from engine.language.operators import NAMES
from engine.language.tables import Field, Scope, Shape, read_object
from engine.language.values import Json


def rules(value: Json, place: Place, scope: Scope) -> tuple[Rule, ...] | None:
    """Parse Choices."""
    if type(value) is not list or not value:
        scope.findings.add(place, "must be a list of one or more rules")
        return None
    compiler = RuleCompiler(scope.findings)
    parsed = []
    for index, source in enumerate(value):
        if scope.findings.is_full:
            break
        at = place / index
        parsed.append(_in_jsonata(source, at, scope) if scope.is_jsonata else _in_paths(source, at, scope, compiler))
    return tuple(rule for rule in parsed if rule is not None)


def _in_paths(source: Json, place: Place, scope: Scope, compiler: RuleCompiler) -> Rule | None:
    matches = compiler.rule(source, place, extra=TOP_FIELDS)
    if type(source) is not dict:
        return None
    assign = fields.assignments(source["Assign"], place / "Assign", scope) if "Assign" in source else None
    if "Next" not in source:
        scope.findings.add(place, "a top rule needs a Next")
        return None
    following = fields.target(source["Next"], place / "Next", scope)
    return None if matches is None or following is None else Rule(matches, following, PathFlow(assign=assign))


def _condition(value: Json, place: Place, scope: Scope) -> Condition | None:
    if type(value) is bool:
        return lambda _value, _env: value
    if not is_jsonata(value):
        scope.findings.add(place, "must be a JSONata expression, {% … %}, or true or false")
        return None
    found = compile_jsonata_field(value, place, scope, "boolean")
    return None if found is None else _holds(found)


def _holds(found: Expression) -> Condition:
    evaluate = found.evaluate
    return lambda value, env: evaluate(value, env) is True


_RULE: Final = Shape(
    {
        "Condition": Field("matches", _condition),
        "Next": Field("next", fields.target),
        "Assign": Field("assign", fields.assignments),
        "Output": Field("output", fields.template),
        "Comment": Field("", fields.text),
        **{name: Field("", fields.anything, "JSONPath") for name in ("Variable", *COMBINATIONS, *sorted(NAMES))},
    },
    required=("Condition", "Next"),
)


def _in_jsonata(source: Json, place: Place, scope: Scope) -> Rule | None:
    if type(source) is not dict:
        scope.findings.add(place, "a rule must be an object")
        return None
    given = read_object(source, place, scope, _RULE)
    if given is None:
        return None
    flow = JsonataFlow(assign=given.get("assign"), output=given.get("output"))
    return Rule(given["matches"], given["next"], flow)


def flowing(rule: Rule, state: Flow) -> Rule:
    """Give a rule the fields of its state that hold for it too: all of JSONPath's but Assign."""
    if isinstance(state, PathFlow) and isinstance(rule.flow, PathFlow):
        return rule._replace(flow=dataclasses.replace(state, assign=rule.flow.assign))
    return rule
