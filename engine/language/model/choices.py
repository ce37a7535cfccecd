"""Choice rules of JSONPath: compiled from JSON to a predicate."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple, TypeAlias

from perdure.engine.language.diagnostics import Diagnostics, JsonPointer
from perdure.engine.language.evaluate.environment import Environment
from perdure.engine.language.evaluate.expressions import Expression, comparand
from perdure.engine.language.evaluate.operators import (
    COMPARISONS,
    NAMES,
    PATH,
    STRING_MATCHES,
    TYPE_TESTS,
    Test,
    compile_pattern,
)
from perdure.engine.language.evaluate.paths import Path, PathError, compile_path
from perdure.engine.language.model.flows import Flow
from perdure.engine.language.values import Json, shown

Condition: TypeAlias = Callable[[Json, Environment], bool]
"""Whether a rule matches an effective input; raises StatesError."""


class Rule(NamedTuple):
    """A rule of a Choice state: when it matches, where it leads, and what the state is then left with."""

    matches: Condition
    next: str
    flow: Flow


COMBINATIONS: Final = ("And", "Or", "Not")
PLAIN_FIELDS: Final = frozenset({"Comment", "Variable"})
TOP_FIELDS: Final = frozenset({"Next", "Assign"})
"""Fields that only a rule has which is not part of another."""
JSONATA_FIELDS: Final = frozenset({"Condition", "Output"})


class RuleCompiler:
    """Compiles the rules of one Choice state; adds what is wrong with them to the diagnostics."""

    def __init__(self, diagnostics: Diagnostics) -> None:
        self.diagnostics = diagnostics

    def rule(self, rule: Json, pointer: JsonPointer, extra: frozenset[str] = frozenset()) -> Condition | None:
        """Compile a rule, or a part of one.

        `rule`: the rule as written.
        `pointer`: where it stands.
        `extra`: fields that it may have besides its operator: TOP_FIELDS, at the top.
        """
        if type(rule) is not dict:
            self.diagnostics.add(pointer, "a rule must be an object")
            return None
        operators = [name for name in rule if name in NAMES or name in COMBINATIONS]
        self._check_fields(rule, pointer, extra)
        if "Comment" in rule and type(rule["Comment"]) is not str:
            self.diagnostics.add(pointer / "Comment", "must be a string")
        if len(operators) != 1:
            given = " and ".join(operators[:5]) if operators else "none"
            self.diagnostics.add(pointer, f"a rule has exactly one operator; this has {given}")
            return None
        name = operators[0]
        at = pointer / name
        if name not in COMBINATIONS:
            return self._comparison(rule, name, pointer)
        if "Variable" in rule:
            self.diagnostics.add(pointer / "Variable", f"{name} takes no Variable; the rules within it do")
        return self._negation(rule[name], at) if name == "Not" else self._list(name, rule[name], at)

    def _check_fields(self, rule: dict[str, Json], pointer: JsonPointer, extra: frozenset[str]) -> None:
        for name in rule:
            if name in NAMES or name in COMBINATIONS or name in PLAIN_FIELDS or name in extra:
                continue
            if self.diagnostics.is_full:
                break
            at = pointer / name
            if name in TOP_FIELDS:
                self.diagnostics.add(at, f"{name} belongs to the top rule only")
            elif name in JSONATA_FIELDS:
                self.diagnostics.add(at, f"{name} belongs to JSONata, and this state is written in JSONPath")
            else:
                known = (*NAMES, *COMBINATIONS, *PLAIN_FIELDS, *extra)
                self.diagnostics.add(
                    at, f"unknown field or operator {shown(name)}{self.diagnostics.suggestion(name, known)}"
                )

    def _negation(self, rule: Json, pointer: JsonPointer) -> Condition | None:
        condition = self.rule(rule, pointer)
        return None if condition is None else lambda value, env: not condition(value, env)

    def _list(self, name: str, rules: Json, pointer: JsonPointer) -> Condition | None:
        if type(rules) is not list or not rules:
            self.diagnostics.add(pointer, f"{name} needs a list of one or more rules")
            return None
        conditions = [self.rule(rule, pointer / index) for index, rule in enumerate(rules)]
        known = tuple(condition for condition in conditions if condition is not None)
        if len(known) < len(conditions):
            return None
        if name == "And":  # both stop at the first rule that decides: the next may need what this one tests
            return lambda value, env: all(condition(value, env) for condition in known)
        return lambda value, env: any(condition(value, env) for condition in known)

    def _comparison(self, rule: dict[str, Json], name: str, pointer: JsonPointer) -> Condition | None:
        if "Variable" not in rule:
            self.diagnostics.add(pointer, f"{name} needs a Variable")
        variable = self._path(rule["Variable"], pointer / "Variable") if "Variable" in rule else None
        at, operand = pointer / name, rule[name]
        if name.endswith(PATH):
            other = self._path(operand, at)
            if variable is None or other is None:
                return None
            return _compare_paths(name, comparand(variable), comparand(other))
        test = self._type_test(name, operand, at) if name in TYPE_TESTS else self._literal(name, operand, at)
        if variable is None or test is None:
            return None
        if name == "IsPresent":
            return _test_presence(variable, test)
        return _test_value(comparand(variable), test)

    def _path(self, text: Json, pointer: JsonPointer) -> Path | None:
        if type(text) is not str:
            self.diagnostics.add(pointer, "must be a path")
            return None
        try:
            return compile_path(text)
        except PathError as error:
            self.diagnostics.add(pointer, str(error))
            return None

    def _type_test(self, name: str, wanted: Json, pointer: JsonPointer) -> Test | None:
        if type(wanted) is not bool:
            self.diagnostics.add(pointer, "must be true or false")
            return None
        test = TYPE_TESTS[name]
        return test if wanted else lambda value: not test(value)

    def _literal(self, name: str, operand: Json, pointer: JsonPointer) -> Test | None:
        if name == STRING_MATCHES:
            try:
                if type(operand) is str:
                    return compile_pattern(operand)
                self.diagnostics.add(pointer, "must be a string")
            except ValueError as error:
                self.diagnostics.add(pointer, str(error))
            return None
        comparison = COMPARISONS[name]
        if comparison.operand(operand) is None:
            self.diagnostics.add(pointer, f"must be {comparison.expects}")
            return None
        return comparison.test(operand)


def _test_value(variable: Expression, test: Test) -> Condition:
    evaluate = variable.evaluate
    return lambda value, env: test(evaluate(value, env))


def _test_presence(variable: Path, test: Test) -> Condition:
    find = variable.find
    return lambda value, env: test(find(value, env))


def _compare_paths(name: str, variable: Expression, other: Expression) -> Condition:
    holds = COMPARISONS[name.removesuffix(PATH)].holds

    def condition(value: Json, env: Environment) -> bool:
        return holds(variable.evaluate(value, env), other.evaluate(value, env))

    return condition
