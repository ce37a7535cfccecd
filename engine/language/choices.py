"""Choice rules of JSONPath: from JSON to a function that says whether a rule matches."""

from collections.abc import Callable
from typing import Final, NamedTuple, TypeAlias

from engine.language.environment import Environment
from engine.language.expressions import Expression, comparand
from engine.language.findings import Findings, Place
from engine.language.flows import Flow
from engine.language.operators import (
    COMPARISONS,
    NAMES,
    PATH,
    STRING_MATCHES,
    TYPE_TESTS,
    Test,
    compile_pattern,
)
from engine.language.paths import Path, PathError, compile_path
from engine.language.values import Json, shown

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
    """Compiles the rules of one Choice state; tells the findings what is wrong with them."""

    def __init__(self, findings: Findings) -> None:
        self.findings = findings

    def rule(self, rule: Json, place: Place, extra: frozenset[str] = frozenset()) -> Condition | None:
        """Compile a rule, or a part of one.

        Args:
            rule: The rule as written.
            place: Where it stands.
            extra: Fields that it may have besides its operator: TOP_FIELDS, at the top.
        """
        if type(rule) is not dict:
            self.findings.add(place, "a rule must be an object")
            return None
        operators = [name for name in rule if name in NAMES or name in COMBINATIONS]
        self._check_fields(rule, place, extra)
        if "Comment" in rule and type(rule["Comment"]) is not str:
            self.findings.add(place / "Comment", "must be a string")
        if len(operators) != 1:
            given = " and ".join(operators[:5]) if operators else "none"
            self.findings.add(place, f"a rule has exactly one operator; this has {given}")
            return None
        name = operators[0]
        at = place / name
        if name not in COMBINATIONS:
            return self._comparison(rule, name, place)
        if "Variable" in rule:
            self.findings.add(place / "Variable", f"{name} takes no Variable; the rules within it do")
        return self._negation(rule[name], at) if name == "Not" else self._list(name, rule[name], at)

    def _check_fields(self, rule: dict[str, Json], place: Place, extra: frozenset[str]) -> None:
        for name in rule:
            if name in NAMES or name in COMBINATIONS or name in PLAIN_FIELDS or name in extra:
                continue
            if self.findings.is_full:
                break
            at = place / name
            if name in TOP_FIELDS:
                self.findings.add(at, f"{name} belongs to the top rule only")
            elif name in JSONATA_FIELDS:
                self.findings.add(at, f"{name} belongs to JSONata, and this state is written in JSONPath")
            else:
                known = (*NAMES, *COMBINATIONS, *PLAIN_FIELDS, *extra)
                self.findings.add(at, f"unknown field or operator {shown(name)}{self.findings.suggestion(name, known)}")

    def _negation(self, rule: Json, place: Place) -> Condition | None:
        condition = self.rule(rule, place)
        return None if condition is None else lambda value, env: not condition(value, env)

    def _list(self, name: str, rules: Json, place: Place) -> Condition | None:
        if type(rules) is not list or not rules:
            self.findings.add(place, f"{name} needs a list of one or more rules")
            return None
        conditions = [self.rule(rule, place / index) for index, rule in enumerate(rules)]
        known = tuple(condition for condition in conditions if condition is not None)
        if len(known) < len(conditions):
            return None
        if name == "And":  # both stop at the first rule that decides: the next may need what this one tests
            return lambda value, env: all(condition(value, env) for condition in known)
        return lambda value, env: any(condition(value, env) for condition in known)

    def _comparison(self, rule: dict[str, Json], name: str, place: Place) -> Condition | None:
        if "Variable" not in rule:
            self.findings.add(place, f"{name} needs a Variable")
        variable = self._path(rule["Variable"], place / "Variable") if "Variable" in rule else None
        at, operand = place / name, rule[name]
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

    def _path(self, text: Json, place: Place) -> Path | None:
        if type(text) is not str:
            self.findings.add(place, "must be a path")
            return None
        try:
            return compile_path(text)
        except PathError as error:
            self.findings.add(place, str(error))
            return None

    def _type_test(self, name: str, wanted: Json, place: Place) -> Test | None:
        if type(wanted) is not bool:
            self.findings.add(place, "must be true or false")
            return None
        test = TYPE_TESTS[name]
        return test if wanted else lambda value: not test(value)

    def _literal(self, name: str, operand: Json, place: Place) -> Test | None:
        if name == STRING_MATCHES:
            try:
                if type(operand) is str:
                    return compile_pattern(operand)
                self.findings.add(place, "must be a string")
            except ValueError as error:
                self.findings.add(place, str(error))
            return None
        comparison = COMPARISONS[name]
        if comparison.operand(operand) is None:
            self.findings.add(place, f"must be {comparison.expects}")
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
